"""Score files: written and read, added by name, and refused when they do not belong together."""

from dataclasses import replace

import numpy as np
import pytest

from gateshift.errors import DataError, ScoresMismatch
from gateshift.evidence.scores import Scores

CLASSES = ("push", 'pull, "slowly" <1>', "drehen ü")


def make(seed=0, count=6):
    rng = np.random.default_rng(seed)
    videos = tuple(f"folder/{index}.mp4" for index in range(count))
    return Scores(videos, np.arange(count) % 3, rng.normal(size=(count, 3)).astype(np.float32), CLASSES)


def shuffled(scores, videos=(), classes=()):
    """Return the same scores with videos and classes in another order."""
    rows, columns = np.array(videos), np.array(classes)
    return Scores(
        tuple(scores.videos[row] for row in rows),
        np.argsort(columns)[scores.labels[rows]],
        scores.logits[rows][:, columns],
        tuple(scores.classes[column] for column in columns),
    )


def test_save_then_load(tmp_path):
    path = tmp_path / "new" / "scores.npz"
    scores = make()
    scores.save(path)
    again = Scores.load(path)
    assert (again.videos, again.classes) == (scores.videos, scores.classes)
    assert np.array_equal(again.labels, scores.labels)
    assert np.array_equal(again.logits, scores.logits)
    assert [file.name for file in path.parent.iterdir()] == ["scores.npz"]


def test_file_is_what_the_interface_says(tmp_path):
    make().save(tmp_path / "s.npz")
    with np.load(tmp_path / "s.npz", allow_pickle=False) as file:
        assert {name: file[name].shape for name in file} == {
            "videos": (6,),
            "labels": (6,),
            "logits": (6, 3),
            "classes": (3,),
            "kind": (),
        }


@pytest.mark.parametrize("content", [b"", b"not a zip", None])
def test_other_files_are_refused(tmp_path, content):
    path = tmp_path / "s.npz"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError, match="score file"):
        Scores.load(path)


def test_pickled_arrays_are_refused(tmp_path):
    path = tmp_path / "s.npz"
    np.savez(path, videos=np.array(["a"], dtype=object), labels=[0], logits=[[1.0]], classes=["x"])
    with pytest.raises(DataError, match="not a score file"):
        Scores.load(path)


def test_other_arrays_are_refused(tmp_path):
    np.savez(tmp_path / "s.npz", scores=np.zeros(3))
    with pytest.raises(DataError, match="Expected an .npz with videos"):
        Scores.load(tmp_path / "s.npz")


def test_adding_matches_videos_and_classes_by_name():
    first, second = make(0), make(1)
    total = first + shuffled(second, videos=[3, 1, 5, 0, 2, 4], classes=[2, 0, 1])
    assert (total.videos, total.classes) == (first.videos, first.classes)
    assert np.array_equal(total.labels, first.labels)
    assert np.array_equal(total.logits, first.logits + second.logits)


def test_repeated_videos_add_only_in_the_same_order():
    scores = replace(make(), videos=("a", "a", "b", "c", "d", "e"))
    assert np.array_equal((scores + scores).logits, 2 * scores.logits)
    with pytest.raises(ScoresMismatch, match="'a'"):
        scores + shuffled(scores, videos=[1, 0, 3, 2, 4, 5], classes=[0, 1, 2])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"videos": ("x", *make().videos[1:])},
            "different videos: 1 only in the first file .*'folder/0.mp4'.*'x'",
        ),
        ({"classes": ("shove", *CLASSES[1:])}, "different classes: 1 .*'push'.*'shove'"),
        ({"labels": np.array([1, 1, 2, 0, 1, 2])}, "label of 1 of 6 videos: 'folder/0.mp4'"),
    ],
)
def test_different_scores_do_not_add(change, message):
    with pytest.raises(ScoresMismatch, match=message):
        make() + replace(make(), **change)


def test_shapes_have_to_agree():
    with pytest.raises(ScoresMismatch, match="logits of shape"):
        replace(make(), classes=("one", "two"))


def test_kind_is_kept(tmp_path):
    probabilities = replace(make(), kind="probabilities")
    probabilities.save(tmp_path / "s.npz")
    assert Scores.load(tmp_path / "s.npz").kind == "probabilities"
    assert (probabilities + probabilities).kind == "probabilities"
    assert probabilities.part(np.arange(6) < 2).kind == "probabilities"


def test_files_without_a_kind_hold_logits(tmp_path):
    scores = make()
    arrays = {name: getattr(scores, name) for name in ("videos", "labels", "logits", "classes")}
    np.savez(tmp_path / "old.npz", **arrays)
    assert Scores.load(tmp_path / "old.npz").kind == "logits"


def test_unknown_kinds_are_refused(tmp_path):
    replace(make(), kind="votes").save(tmp_path / "s.npz")
    with pytest.raises(DataError, match="kind 'votes'. Expected logits or probabilities"):
        Scores.load(tmp_path / "s.npz")


def test_logits_and_probabilities_do_not_add():
    with pytest.raises(ScoresMismatch, match="cannot add logits and probabilities. .* same --average"):
        make() + replace(make(), kind="probabilities")


def test_part_is_of_the_chosen_videos():
    scores = make()
    part = scores.part(np.array([False, True, False, False, True, False]))
    assert part.videos == ("folder/1.mp4", "folder/4.mp4")
    assert np.array_equal(part.labels, scores.labels[[1, 4]])
    assert np.array_equal(part.logits, scores.logits[[1, 4]])
