"""Ensembles: sums of score files and of models, with equal, given and fitted weights."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from gateshift import cli_tables
from gateshift.apps.ensemble import ensemble, model_and_clips
from gateshift.engine.test import test as run_test
from gateshift.engine.trial import Trial
from gateshift.errors import ConfigError, DataError, ScoresMismatch
from gateshift.evidence.ensemble import fit_weights, fitting_share
from gateshift.evidence.scores import Scores
from gateshift.models.weights import save_weights
from small_model import small_model
from videos import write_video

CLASSES = ("push", "pull", "turn")
CPU = {"device": "cpu", "workers": 0}


def make(seed=0, count=30, signal=0.0):
    """Return scores whose logits favour the true class by ``signal``."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % 3
    logits = rng.normal(size=(count, 3)) + signal * np.eye(3)[labels]
    videos = tuple(f"folder/{index}.mp4" for index in range(count))
    return Scores(videos, labels, logits.astype(np.float32), CLASSES)


def shuffled(scores, seed=0):
    """Return the same scores with videos and classes in another order."""
    rng = np.random.default_rng(seed)
    rows, columns = rng.permutation(len(scores.videos)), rng.permutation(len(scores.classes))
    return replace(
        scores,
        videos=tuple(scores.videos[row] for row in rows),
        labels=np.argsort(columns)[scores.labels[rows]],
        logits=scores.logits[rows][:, columns],
        classes=tuple(scores.classes[column] for column in columns),
    )


def as_probabilities(scores):
    odds = np.exp(scores.logits)
    return replace(scores, logits=odds / odds.sum(axis=1, keepdims=True), kind="probabilities")


def save(folder, **scores):
    """Write each of the scores; return the files as the command takes them."""
    for name, one in scores.items():
        one.save(folder / f"{name}.npz")
    return [str(folder / f"{name}.npz") for name in scores]


@pytest.fixture
def files(tmp_path):
    return save(tmp_path, a=make(0), b=make(1))


@pytest.mark.parametrize(
    ("weights", "first", "second"), [(None, 1, 1), ("1,0.25", 1, 0.25), ([2.0, 1.0], 2, 1)]
)
def test_sum_of_files(files, weights, first, second):
    found = ensemble(files, weights=weights)
    logits = first * make(0).logits + second * make(1).logits
    assert found["top1"] == np.mean(logits.argmax(1) == np.arange(30) % 3)
    assert found["top1_interval"][0] < found["top1"] < found["top1_interval"][1]
    assert (found["top5"], found["videos"]) == (1.0, 30)
    assert [(row["member"], row["file"], row["weight"]) for row in found["members"]] == [
        (files[0], files[0], first),
        (files[1], files[1], second),
    ]
    json.dumps(found)


def test_shuffled_files_give_what_ordered_ones_do(tmp_path):
    one, two, three = (make(seed, signal=0.5) for seed in range(3))
    ordered = save(tmp_path, one=one, two=two, three=three)
    mixed = save(tmp_path, mixed_two=shuffled(two, 1), mixed_three=shuffled(three, 2))
    for fit in (None, 0.5):
        expected = ensemble(ordered, fit=fit, out=tmp_path / "ordered.npz")
        found = ensemble([ordered[0], *mixed], fit=fit, out=tmp_path / "mixed.npz")
        for key in set(expected) - {"members"}:
            assert found[key] == expected[key]
        sums = [Scores.load(tmp_path / name) for name in ("ordered.npz", "mixed.npz")]
        assert sums[0].videos == sums[1].videos
        np.testing.assert_allclose(sums[0].logits, sums[1].logits, rtol=1e-4, atol=1e-5)


def test_out_is_a_score_file_of_the_sum(files, tmp_path):
    ensemble(files, weights="1,0.5", out=tmp_path / "new" / "sum.npz")
    total = Scores.load(tmp_path / "new" / "sum.npz")
    np.testing.assert_allclose(total.logits, make(0).logits + 0.5 * make(1).logits, rtol=1e-6)
    assert ensemble([str(tmp_path / "new" / "sum.npz")])["videos"] == 30


@pytest.mark.parametrize(
    ("weights", "message"),
    [("1", "1 weights for 2"), ("1,2,3", "3 weights for 2"), ("1,x", "not numbers"), ("1,nan", "finite")],
)
def test_weights_that_do_not_fit_are_refused(files, weights, message):
    with pytest.raises(ConfigError, match=message):
        ensemble(files, weights=weights)


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (make(0, count=5), "the scores are of different videos: 25 only"),
        (replace(make(1), labels=(np.arange(30) + 1) % 3), "disagree on the label of 30 of 30 videos"),
        (as_probabilities(make(1)), "cannot add logits and probabilities"),
    ],
)
def test_files_that_do_not_belong_together_are_named(files, tmp_path, other, message):
    with pytest.raises(ScoresMismatch, match=f"a.npz' and .*c.npz': .*{message}"):
        ensemble([*files, *save(tmp_path, c=other)])


def test_needs_a_member():
    with pytest.raises(ConfigError, match="at least one"):
        ensemble([])


@pytest.mark.parametrize("share", [0.1, 0.5, 0.7])
def test_fitting_share_is_seeded_and_even_over_the_classes(share):
    scores = make(count=90)
    chosen = fitting_share(scores, share, seed=3)
    assert chosen.sum() == pytest.approx(90 * share)
    for label in range(3):
        assert abs(chosen[scores.labels == label].sum() - 30 * share) <= 1
    other = shuffled(scores)
    names = {other.videos[i] for i in np.flatnonzero(fitting_share(other, share, seed=3))}
    assert names == {scores.videos[i] for i in np.flatnonzero(chosen)}
    assert not np.array_equal(chosen, fitting_share(scores, share, seed=4))


@pytest.mark.parametrize("share", [0.0, 1.0, -0.5, 0.001])
def test_fitting_share_that_leaves_a_side_empty_is_refused(files, share):
    with pytest.raises(ConfigError, match="change --fit|Change --fit"):
        ensemble(files, fit=share)


def loss(members, weights):
    """Return the cross-entropy, computed another way than the fit does."""
    total = sum(weight * member.logits.astype(float) for weight, member in zip(weights, members, strict=True))
    truth = total[np.arange(len(total)), members[0].labels]
    if members[0].kind == "probabilities":
        return -np.log(truth / sum(weights)).mean()
    return (np.log(np.exp(total).sum(axis=1)) - truth).mean()


@pytest.mark.parametrize("change", [lambda scores: scores, as_probabilities], ids=["logits", "probabilities"])
def test_fitted_weights_have_the_least_loss_of_a_grid(change):
    members = [change(make(seed, 120, signal)) for seed, signal in ((0, 1.5), (1, 0.7))]
    weights = fit_weights(members)
    grid = np.linspace(0.02, 3, 150)
    best = min(loss(members, (one, other)) for one in grid for other in grid)
    found = min(loss(members, (scale * weights[0], scale * weights[1])) for scale in grid)
    assert found < best + 1e-3
    assert found < min(loss(members, (scale, scale)) for scale in grid) - 0.01
    assert weights[0] > weights[1] >= 0
    assert sum(weights) == pytest.approx(2)


def test_fitted_weights_are_never_negative():
    good = make(0, 120, signal=2.0)
    bad = replace(good, logits=-make(5, 120, signal=1.0).logits)
    assert fit_weights([good, bad])[1] == pytest.approx(0, abs=1e-4)


def test_weights_of_a_perfect_member_are_found():
    weights = fit_weights([make(0, 30, signal=50.0), make(1, 30)])
    assert np.isfinite(weights).all()
    assert weights[0] > 0.5


def test_members_that_know_nothing_count_alike():
    nothing = replace(make(), logits=np.zeros((30, 3), np.float32))
    assert fit_weights([nothing, nothing]) == [1.0, 1.0]
    misleading = make(0, 120, signal=-5.0)
    assert sum(fit_weights([misleading, misleading])) == pytest.approx(2)


def test_fit_measures_on_the_other_videos_only(tmp_path):
    good, noise = make(0, 300, signal=1.5), replace(make(1, 300), logits=3 * make(1, 300).logits)
    files = save(tmp_path, good=good, noise=noise)
    found = ensemble(files, fit=0.4, seed=5, out=tmp_path / "sum.npz")
    chosen = fitting_share(good, 0.4, 5)
    rest = [one.part(~chosen) for one in (good, noise)]
    weights = fit_weights([good.part(chosen), noise.part(chosen)])
    right = (weights[0] * rest[0].logits + weights[1] * rest[1].logits).argmax(1) == rest[0].labels
    assert (found["fitted_on"], found["measured_on"], found["videos"], found["seed"]) == (120, 180, 180, 5)
    assert found["top1"] == np.mean(right)
    equal = (rest[0].logits + rest[1].logits).argmax(1) == rest[0].labels
    assert found["top1_equal_weights"] == np.mean(equal) < found["top1"] - 0.05
    assert [row["weight"] for row in found["members"]] == weights
    assert found["members"][0]["top1"] == np.mean(rest[0].logits.argmax(1) == rest[0].labels)
    assert Scores.load(tmp_path / "sum.npz").videos == rest[0].videos


def test_fit_does_not_look_at_the_videos_it_measures_on(tmp_path):
    good, other = make(0, 60, 1.0), make(1, 60, 1.0)
    chosen = fitting_share(good, 0.5, 0)
    wrong = replace(other, logits=np.where(chosen[:, None], other.logits, -other.logits))
    first = ensemble(save(tmp_path, good=good, other=other), fit=0.5)
    second = ensemble(save(tmp_path, good=good, other=wrong), fit=0.5)
    assert [row["weight"] for row in first["members"]] == [row["weight"] for row in second["members"]]
    assert first["top1"] > second["top1"]


def test_fit_and_weights_together_are_refused(files):
    with pytest.raises(ConfigError, match="one of the two"):
        ensemble(files, weights="1,1", fit=0.5)


def test_scores_that_are_not_finite_cannot_be_fitted():
    with pytest.raises(DataError, match="not finite"):
        fit_weights([replace(make(), logits=np.full((30, 3), np.nan))])


def test_table_says_what_was_fitted_on_what(files, capsys):
    cli_tables.show("ensemble", ensemble(files, fit=0.5))
    said = " ".join(capsys.readouterr().err.split())
    assert "weights fitted on 15 videos (seed 0); all figures are of the other 15" in said
    assert "% (" in said and " to " in said


@pytest.mark.parametrize(
    ("member", "model", "clips"),
    [
        ("runs/t8:2", "runs/t8", 2),
        ("runs/t8", "runs/t8", 1),
        ("C:/runs/t8", "C:/runs/t8", 1),
        ("gsm_inceptionv3_something-v1_8:10", "gsm_inceptionv3_something-v1_8", 10),
    ],
)
def test_members_name_a_model_and_its_clips(member, model, clips):
    assert model_and_clips(member) == (model, clips)


def test_a_path_that_ends_in_a_number_is_a_path(tmp_path):
    (tmp_path / "run:2").mkdir()
    assert model_and_clips(str(tmp_path / "run:2")) == (str(tmp_path / "run:2"), 1)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Two networks of other backbones and numbers of frames, and videos: (folder, data)."""
    folder = tmp_path_factory.mktemp("trained")
    for name, num_segments in (("t4", 4), ("t2", 2)):
        model = small_model(CLASSES, num_segments=num_segments)
        save_weights(model, folder / name / "weights.safetensors")
    for name in CLASSES:
        for index in range(2):
            write_video(folder / "videos" / name / f"{index}.mp4", num_frames=5 + 3 * index)
    return folder, folder / "videos"


def test_models_are_tested_and_added_in_one_command(trained, tmp_path, monkeypatch):
    folder, data = trained
    members = [f"{folder / 't4'}:2", str(folder / "t2")]
    by_hand = []
    for name, clips in (("t4", 2), ("t2", 1)):
        by_hand.append(str(tmp_path / f"{name}.npz"))
        run_test(folder / name, data, clips=clips, save_scores=tmp_path / f"{name}.npz", **CPU)
    expected = ensemble(by_hand)
    found = ensemble(members, data=data, scores=tmp_path / "kept", **CPU)
    assert {**found, "members": 0} == {**expected, "members": 0}
    assert [row["member"] for row in found["members"]] == members
    for row, file in zip(found["members"], by_hand, strict=True):
        np.testing.assert_array_equal(Scores.load(Path(row["file"])).logits, Scores.load(Path(file)).logits)

    tested = []
    run = Trial.run
    monkeypatch.setattr(Trial, "run", lambda *words: tested.append(words) or run(*words))
    assert ensemble(members, data=data, scores=tmp_path / "kept", **CPU) == found
    assert ensemble([members[0], by_hand[1]], data=data, scores=tmp_path / "kept", **CPU)["videos"] == 6
    assert not tested
    ensemble(members, data=data, scores=tmp_path / "kept", average="softmax", **CPU)
    assert len(tested) == 2
    ensemble(members, data=data, scores=tmp_path / "kept", crops=3, **CPU)
    assert len(tested) == 4


def test_a_changed_model_or_video_is_tested_again(trained, tmp_path):
    data = tmp_path / "videos"
    for name in CLASSES:
        for index in range(2):
            write_video(data / name / f"{index}.mp4", num_frames=6)
    weights = tmp_path / "w.safetensors"
    save_weights(small_model(CLASSES, num_segments=2), weights)

    def file():
        (row,) = ensemble([str(weights)], data=data, scores=tmp_path / "kept", **CPU)["members"]
        return row["file"]

    first = file()
    assert file() == first
    write_video(data / "push" / "0.mp4", num_frames=7)
    second = file()
    assert second != first
    model = small_model(CLASSES, num_segments=2)
    model.head.bias.data += 1
    save_weights(model, weights)
    assert file() not in (first, second)


def test_kept_scores_that_are_damaged_are_made_again(trained, tmp_path, capsys):
    folder, data = trained

    def row():
        (row,) = ensemble([str(folder / "t2")], data=data, scores=tmp_path / "kept", **CPU)["members"]
        return row

    first = row()
    whole = Path(first["file"]).read_bytes()
    flipped = bytearray(whole)
    start = flipped.index(b"logits.npy") + 40
    flipped[start : start + 8] = b"\xff" * 8  # no such block of compressed bytes
    for damaged in (b"", whole[:-40], bytes(flipped)):
        Path(first["file"]).write_bytes(damaged)
        capsys.readouterr()
        assert row() == first
        assert "is damaged" in " ".join(capsys.readouterr().err.split())
        assert Scores.load(Path(first["file"])).videos == Scores.load(Path(row()["file"])).videos
    assert "tested before" in capsys.readouterr().err


def test_kept_scores_lie_beside_the_runs(trained, tmp_path, monkeypatch):
    folder, data = trained
    monkeypatch.chdir(tmp_path)
    found = ensemble([str(folder / "t2")], data=data, **CPU)
    assert found["members"][0]["file"].startswith("runs/scores-videos/t2-1x1-")


def test_a_model_without_data_is_refused():
    with pytest.raises(ConfigError, match="'runs/t8:2' is no score file .* --data DATA"):
        ensemble(["runs/t8:2"])


@pytest.mark.parametrize(
    ("options", "flags"),
    [
        ({"average": "softmax"}, "--average"),
        ({"crops": 3, "full_resolution": True}, "--crops and --full-resolution"),
        ({"split": "val"}, "--split"),
        ({"scores": "kept"}, "--scores"),
    ],
)
def test_options_of_tests_are_refused_where_nothing_is_tested(files, options, flags):
    with pytest.raises(ConfigError, match=f"got {flags} without --data. .* how models are tested"):
        ensemble(files, **options)


def test_a_member_of_no_clips_is_refused(trained):
    folder, data = trained
    member = f"{folder / 't2'}:0"
    with pytest.raises(ConfigError, match=f"member '{member}': clips must be 1 or more"):
        ensemble([member], data=data, **CPU)


@pytest.mark.parametrize("kind", [str, Path])
def test_one_member_may_be_given_alone(files, kind):
    (row,) = ensemble(kind(files[0]))["members"]
    assert (row["member"], row["file"]) == (files[0], files[0])
