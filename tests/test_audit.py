"""Audits: each alteration is what it says, and the order of frames is judged by what it does to answers."""

import json
import shutil

import numpy as np
import pytest
import torch

import gateshift
from gateshift import cli
from gateshift.data.altered import CORNERS, GREY, MIRRORED, ORDERS, PLAIN, AlteredViews, without_colours
from gateshift.data.annotations import read_annotations
from gateshift.data.dataset import EvalViews
from gateshift.data.transforms import normalize
from gateshift.engine.audit import altered_scores, audit, judge_order, most_changed, read_audit
from gateshift.engine.inference import Inference
from gateshift.engine.test import plan_trial
from gateshift.models.registry import create_model
from gateshift.models.weights import save_weights
from made_scores import make_scores
from small_model import save_small_model
from videos import write_video

CLASSES = ("drop", "move left", "move right")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    root = tmp_path_factory.mktemp("data") / "flat"
    for name in CLASSES:
        for index in range(3):
            write_video(root / name / f"v{index} a.mp4", num_frames=9 + 4 * index, size=(64, 48 + 16 * index))
    return root


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A network with gates, and one that looks at frames one by one, neither ever trained."""
    room = tmp_path_factory.mktemp("runs")
    torch.manual_seed(0)
    blind = create_model("tsn_resnet18", len(CLASSES), 4, size=32)
    torch.nn.init.normal_(blind.head.weight, std=2.0)
    blind.classes = CLASSES
    save_weights(blind, room / "tsn" / "weights.safetensors")
    return {"gsm": save_small_model(room / "gsm", CLASSES), "tsn": room / "tsn"}


def audited(run, data, **changes):
    how = Inference(torch.device("cpu"), **({"workers": 0, "progress": False} | changes))
    return audit(plan_trial(run, data, how))


def altered(data, modality="rgb"):
    annotations = read_annotations(data)
    records = [record for split in annotations.splits.values() for record in split]
    spec = create_model("tsn_resnet18", 2, 4, size=32, modality=modality).input_spec
    views = AlteredViews(annotations, records, 4, spec)
    return views, EvalViews(annotations, records, 4, spec), EvalViews(annotations, records, 4, spec, 1, 5)


def test_each_alteration_is_what_it_says(data):
    views, plain, five = altered(data)
    for index in range(len(views)):
        clips = dict(zip(views.names, views[index][0], strict=True))
        clip = plain[index][0][0]
        assert torch.equal(clips[PLAIN], clip)
        assert torch.equal(clips["reversed"], clip.flip(0))
        assert torch.equal(clips[MIRRORED], clip.flip(-1))
        assert all(torch.equal(frame, clip[2]) for frame in clips["one frame repeated"])
        assert all(torch.equal(clips[name], five[index][0][place]) for place, name in enumerate(CORNERS))
        assert torch.equal(clips[GREY], clips[GREY][:, :1].expand_as(clip))
        places = [[torch.equal(frame, other) for other in clip].index(True) for frame in clips["shuffled"]]
        assert sorted(places) == [0, 1, 2, 3] and places != [3, 2, 1, 0]
        assert all(place != index for index, place in enumerate(places))
        assert torch.equal(views[index][0], AlteredViews(*arguments_of(views))[index][0])
    assert views.flipped == tuple(name == MIRRORED for name in views.names)


def arguments_of(views):
    return views.annotations, views.records, views.num_segments, views.spec


def test_differences_of_a_reversed_clip_are_those_of_its_frames_backwards(data):
    views, plain, _ = altered(data, "rgbdiff")
    clips = dict(zip(views.names, views[0][0], strict=True))
    frames = plain[0][0][0].unflatten(1, (-1, 3)).flatten(0, 1)  # in order
    found = clips["reversed"].unflatten(1, (-1, 3)).flatten(0, 1)
    assert torch.equal(found, frames.flip(0))
    still = clips["one frame repeated"].unflatten(1, (-1, 3))
    assert torch.equal(still, still[:1, :1].expand_as(still))


def test_grey_has_the_brightness_of_colours():
    clip = torch.tensor([255, 0, 0], dtype=torch.uint8)[None, :, None, None]
    assert without_colours(clip).flatten().tolist() == [76, 76, 76]
    assert without_colours(torch.full((1, 3, 2, 2), 255, dtype=torch.uint8)).min() == 255


def test_a_network_of_single_frames_is_called_blind_to_their_order(runs, data):
    found = audited(runs["tsn"], data)
    checks = {check["check"]: check for check in found["checks"]}
    assert found["order_blind"] and found["needs_order"] == 0
    assert found["verdict"].startswith("It is blind to the order of frames")
    for name in ("reversed", "shuffled"):
        assert checks[name]["same"] == 1.0 and checks[name]["change"] == 0
        assert checks[name]["largest_change"] < 1e-5
    assert checks["one frame repeated"]["largest_change"] > 1e-2


def test_a_network_with_gates_is_not(runs, data):
    found = audited(runs["gsm"], data)
    assert not found["order_blind"]
    changes = {check["check"]: check["largest_change"] for check in found["checks"]}
    assert set(changes) == {*ORDERS, MIRRORED, GREY, *CORNERS}
    assert min(changes.values()) > 1e-2


def test_an_audit_does_not_depend_on_batches_and_workers(runs, data):
    def plain(found):
        return {**found, "checks": [check | {"largest_change": 0} for check in found["checks"]]}

    assert plain(audited(runs["gsm"], data, batch_size=1)) == plain(
        audited(runs["gsm"], data, batch_size=64, workers=2)
    )


def test_mirrored_videos_are_right_when_the_other_side_is_said(runs, data):
    """A network whose classes are sides, asked for the mirrored clips, and its answers exchanged."""
    how = Inference(torch.device("cpu"), workers=0, progress=False)
    trial = plan_trial(runs["gsm"], data, how)
    assert trial.label_swaps == {1: 2, 2: 1}
    said = altered_scores(trial)[MIRRORED]
    views = trial.views
    clips = normalize(torch.cat([views[index][0].flip(-1) for index in range(len(views))]), views.spec)
    with torch.inference_mode():
        expected = trial.model(clips)[:, [0, 2, 1]].numpy()
    np.testing.assert_allclose(said.logits, expected, rtol=0, atol=1e-4 * np.abs(expected).max())


def check(change, chance, *, largest=1.0, top1=0.5):
    sure = chance < 0.05
    return {"change": change, "chance": chance, "is_sure": sure, "largest_change": largest, "top1": top1}


@pytest.mark.parametrize(
    ("shuffled", "backward", "words"),
    [
        (check(0.0, 1.0, largest=1e-7), check(0.0, 1.0, largest=1e-7), "It is blind to the order of frames"),
        (check(-0.01, 0.6), check(-0.02, 0.4), "It does not use motion"),
        (check(0.2, 0.001), check(0.0, 1.0), "It does not use motion"),
        (check(-0.4, 1e-6), check(-0.7, 1e-9), "50% of its accuracy needs the order of frames"),
        (check(-0.01, 0.6), check(-0.5, 1e-6), "1% of its accuracy needs the order of frames"),
    ],
)
def test_what_is_said_of_the_order(shuffled, backward, words):
    checks = {"shuffled": shuffled, "reversed": backward, "one frame repeated": check(-0.5, 1e-3, top1=0.3)}
    found = judge_order(0.8, checks, largest=10.0)
    assert found["verdict"].startswith(words)
    assert found["verdict"].endswith("A single frame, repeated, is enough for 30.0%.")
    assert found["uses_order"] == ("needs the order" in words)


def test_classes_that_lose_most_come_first():
    labels = [0, 0, 1, 1, 2, 2]
    plain = make_scores([True] * 6, labels, 3)
    found = most_changed(make_scores([False, False, True, False, True, True], labels, 3), plain)
    assert [(row["class"], row["change"]) for row in found] == [("class 0", -1.0), ("class 1", -0.5)]


def command(*words):
    """Return the exit status of a command."""
    with pytest.raises(SystemExit) as ended:
        cli.main(list(map(str, words)))
    return ended.value.code


def test_the_command_audits(runs, data, capsys):
    words = ("test", runs["tsn"], data, "--audit", "--workers", 0)
    assert command(*words, "--json") == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["audit"]["order_blind"] and len(answer["audit"]["checks"]) == 9
    assert answer["audit"]["top1"] == answer["top1"]
    assert command(*words) == 0
    said = capsys.readouterr().err
    assert "blind to the order of frames" in said and "bottom right crop" in said


def test_a_run_keeps_its_last_audit_until_its_weights_change(data, tmp_path):
    run = save_small_model(tmp_path, CLASSES)
    assert read_audit(run) is None
    found = gateshift.test(run, data, audit=True, workers=0)["audit"]
    kept = read_audit(run)
    assert kept is not None and kept["videos"] == 9
    assert json.loads(json.dumps(found)) == {key: kept[key] for key in found}
    save_small_model(run, (*CLASSES, "another"))
    assert read_audit(run) is None


def test_of_a_weights_file_no_audit_is_kept(runs, data, tmp_path):
    weights = shutil.copy(runs["tsn"] / "weights.safetensors", tmp_path)
    gateshift.test(weights, data, audit=True, workers=0)
    assert [path.name for path in tmp_path.iterdir()] == ["weights.safetensors"]


def test_an_audit_of_several_views_is_refused_before_anything_is_read(runs, data, capsys):
    assert command("test", runs["tsn"], data, "--audit", "--crops", 3) == 2
    assert "--audit looks at one view of each video, and 3 were asked for" in capsys.readouterr().err
