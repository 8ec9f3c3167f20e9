"""Trials: which frames and crops a network is shown, how its views vote, and what a stopped one keeps."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from gateshift.data.frame_folder import FrameFolder
from gateshift.engine import inference
from gateshift.engine import test as testing
from gateshift.engine.kept_answers import KeptAnswers
from gateshift.errors import ConfigError
from gateshift.evidence.scores import Scores
from gateshift.models.input_size import require_size
from gateshift.models.registry import create_model
from gateshift.models.weights import save_weights
from small_model import known_model, save_small_model, small_model

CLASSES = ("drop", "move left", "move right")
SIDES = ("bright on the left", "bright on the right", "hard to say")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return save_small_model(tmp_path_factory.mktemp("run"), SIDES)


def write_list(folder: Path, rows, classes, **described) -> Path:
    """Write a test list beside frame folders: rows of video, label, start and end."""
    lines = [f"{video},{label},{start},{end}" for video, label, start, end in rows]
    (folder / "test.csv").write_text("\n".join(["video,label,start_frame,end_frame", *lines]) + "\n")
    (folder / "dataset.json").write_text(json.dumps({"classes": classes, **described}))
    return folder


def numbered_frames(folder: Path, count: int) -> Path:
    """Write frames that have their number, from 1, in red (sixteens) and green (ones)."""
    folder.mkdir(parents=True)
    for number in range(1, count + 1):
        colour = (12 * (number // 16), 12 * (number % 16), 0)
        Image.new("RGB", (8, 8), colour).save(folder / f"{number:05d}.png")
    return folder


def numbers_of(frames):
    """Read the numbers back from frames (N, 3, S, S) of pixels from 0 to 1."""
    red, green = (frames[:, :2].mean((-2, -1)) * 255 / 12).round().long().unbind(1)
    return 16 * red + green


@pytest.mark.parametrize("num_segments", [8, 12, 16, 24])
@pytest.mark.parametrize(("clips", "golden"), [(1, "test_1clip"), (2, "test_2clip"), (3, None)])
def test_clips_show_the_golden_frames(tmp_path, monkeypatch, run, num_segments, clips, golden):
    entries = json.loads((Path(__file__).parent / "golden" / "sampling_something.json").read_text())
    entries = [entry for entry in entries if entry["segments"] == num_segments]
    numbered_frames(tmp_path / "v", 300)
    rows = [("v", CLASSES[index % 3], 0, entry["num_frames"]) for index, entry in enumerate(entries)]
    seen = []

    def say(frames):
        seen.append(numbers_of(frames).view(-1, clips, num_segments))
        return torch.zeros(len(frames), 3)

    model = known_model(say, CLASSES, num_segments=num_segments, size=8, resize=8)
    monkeypatch.setattr(inference, "load", lambda _: model)
    data = write_list(tmp_path, rows, CLASSES, frame_template="{:05d}.png")
    answer = testing.test(run, data, clips=clips, batch_size=8 * clips, device="cpu", workers=0)
    assert answer["views"] == clips
    for entry, shown in zip(entries, torch.cat(seen), strict=True):
        if golden:
            assert shown.tolist() == np.reshape(entry[golden], (clips, num_segments)).tolist(), entry
        else:
            tick = entry["num_frames"] / num_segments
            expected = [[1 + int(tick * i + tick * k / 3) for i in range(num_segments)] for k in range(3)]
            assert (shown - torch.tensor(expected)).abs().max() <= 1  # rounding of floats apart
            assert shown[0].tolist() == expected[0]


@pytest.fixture
def sides(tmp_path, run, monkeypatch):
    """Videos with a bright half, a network that says which, and doubts: write(label_swaps) -> data."""
    rows = []
    for index in range(8):
        pixels = np.full((48, 64 + index, 3), 20, dtype=np.uint8)
        half = slice(0, 32 + index // 2) if index % 2 == 0 else slice(32 + index // 2, None)
        pixels[:, half] = 220 - 5 * index
        (tmp_path / f"v{index}").mkdir()
        for number in range(1, 4):
            Image.fromarray(pixels).save(tmp_path / f"v{index}" / f"{number:05d}.png")
        rows.append((f"v{index}", SIDES[index % 2], 0, 3))

    def say(frames):
        columns = frames.mean((1, 2))  # (N, S)
        left = (columns[:, :12].mean(1) > columns[:, -12:].mean(1)).float()
        return torch.stack([left, 1 - left, torch.full_like(left, 0.6)], dim=1)

    model = known_model(say, SIDES, num_segments=2, size=32, resize=40)
    monkeypatch.setattr(inference, "load", lambda _: model)
    return lambda swaps: write_list(tmp_path, rows, SIDES, frame_template="{:05d}.png", label_swaps=swaps)


def test_ten_crops_need_the_labels_swapped(sides, run):
    swapped = testing.test(run, sides([SIDES[:2]]), crops=10, device="cpu", workers=0)
    assert (swapped["top1"], swapped["views"]) == (1.0, 10)
    unswapped = testing.test(run, sides([]), crops=10, device="cpu", workers=0)
    assert unswapped["top1"] == 0.0  # five votes left, five right: the doubt wins
    assert testing.test(run, sides([]), crops=5, device="cpu", workers=0)["top1"] == 1.0


@pytest.mark.parametrize(("batch_size", "workers"), [(1, 0), (7, 2), (64, 1)])
def test_answer_is_the_same_for_any_batch_size_and_workers(sides, run, tmp_path, batch_size, workers):
    data = sides([SIDES[:2]])
    expected = testing.test(
        run, data, clips=2, crops=10, device="cpu", workers=0, save_scores=tmp_path / "a.npz"
    )
    options = {"batch_size": batch_size, "workers": workers, "save_scores": tmp_path / "b.npz"}
    assert testing.test(run, data, clips=2, crops=10, device="cpu", **options) == expected
    one, other = (Scores.load(tmp_path / name).logits for name in ("a.npz", "b.npz"))
    np.testing.assert_allclose(one, other, rtol=0, atol=1e-6)
    assert expected["views"] == 20


def test_full_resolution_shows_larger_crops_and_leaves_the_weights_alone(sides, run, monkeypatch):
    model, shapes = inference.load(run), []
    monkeypatch.setattr(testing, "require_size", lambda *_: None)  # or it would be among the shapes
    say = model.backbone.said.say
    model.backbone.said.say = lambda frames: shapes.append(tuple(frames.shape[1:])) or say(frames)
    answer = testing.test(run, sides([]), crops=3, full_resolution=True, device="cpu", workers=0)
    assert (answer["top1"], answer["views"]) == (1.0, 3)
    assert set(shapes) == {(3, 40, 40)}
    assert (model.input_spec.size, model.input_spec.resize) == (32, 40)


def test_full_resolution_of_a_real_network(sides, run, monkeypatch):
    monkeypatch.undo()
    data = sides([])
    before = hashlib.sha256((run / "weights.safetensors").read_bytes()).digest()
    answer = testing.test(run, data, crops=3, full_resolution=True, size=28, device="cpu", workers=0)
    assert answer["views"] == 3
    assert hashlib.sha256((run / "weights.safetensors").read_bytes()).digest() == before


def test_sizes_that_a_network_cannot_take_are_refused():
    model = create_model("gsm_inceptionv3", num_classes=3, num_segments=2)
    weights = model.head.weight.clone()
    require_size(model, model.input_spec.resize)  # 261, full resolution
    with pytest.raises(
        ConfigError, match="gsm_inceptionv3 cannot take crops of 64 pixels: .* made for 229"
    ) as no:
        require_size(model, 64)
    smallest = int(str(no.value).split("size that it takes is ")[1].split(";")[0])
    with torch.inference_mode():
        assert model.eval()(torch.zeros(1, 2, 3, smallest, smallest)).shape == (1, 3)
        with pytest.raises(RuntimeError):
            model(torch.zeros(1, 2, 3, smallest - 1, smallest - 1))
    assert torch.equal(model.head.weight, weights)


def stop_at(monkeypatch, name):
    """Interrupt when a video of that name is read; return the list of those that were."""
    read, seen = FrameFolder.read, []

    def stopping(folder, indices):
        if Path(folder.path).name == name:
            raise KeyboardInterrupt
        seen.append(Path(folder.path).name)
        return read(folder, indices)

    monkeypatch.setattr(FrameFolder, "read", stopping)
    return seen


def test_a_stopped_test_goes_on_where_it_was(sides, run, tmp_path, monkeypatch):
    data, options = sides([SIDES[:2]]), {"batch_size": 1, "device": "cpu", "workers": 0}
    whole = testing.test(run, data, save_scores=tmp_path / "out" / "whole.npz", **options)
    with monkeypatch.context() as patch:
        stop_at(patch, "v5")
        with pytest.raises(KeyboardInterrupt, match="stopped after 5 of 8 videos. The same command goes on"):
            testing.test(run, data, save_scores=tmp_path / "out" / "s.npz", **options)
    with monkeypatch.context() as patch:
        seen = stop_at(patch, "none")
        Image.new("RGB", (64, 48)).save(tmp_path / "v1" / "00004.png")  # this one has changed since
        assert testing.test(run, data, save_scores=tmp_path / "out" / "s.npz", **options) == whole
        assert seen == ["v1", "v5", "v6", "v7"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["s.npz", "whole.npz"]
    one, other = (Scores.load(tmp_path / "out" / name) for name in ("whole.npz", "s.npz"))
    assert one.videos == other.videos
    assert np.array_equal(one.logits, other.logits)


@pytest.mark.parametrize(
    "change", [{"clips": 2}, {"crops": 3}, {"average": "softmax"}, {"size": 28}, "weights"]
)
def test_nothing_is_kept_for_another_test(sides, run, tmp_path, monkeypatch, change):
    data, options = sides([SIDES[:2]]), {"batch_size": 1, "device": "cpu", "workers": 0}
    weights = save_small_model(tmp_path / "other", SIDES)
    with monkeypatch.context() as patch:
        stop_at(patch, "v5")
        with pytest.raises(KeyboardInterrupt):
            testing.test(weights, data, save_scores=tmp_path / "s.npz", **options)
    if change == "weights":
        model = small_model(SIDES)
        model.head.bias.data += 1
        save_weights(model, weights / "weights.safetensors")
    else:
        options |= change
    seen = stop_at(monkeypatch, "none")
    testing.test(weights, data, save_scores=tmp_path / "s.npz", **options)
    assert len(seen) == 8


def test_kept_answers_are_found_by_key_and_damaged_ones_are_not(tmp_path):
    scores = np.arange(6, dtype=np.float32).reshape(2, 3)
    kept = KeptAnswers(tmp_path / "s.npz", ["a", "b", "c"], seconds=0)
    assert kept.due()
    kept.write({0: (2, scores[0])}, process=0)
    kept.write({2: (1, scores[1])}, process=1)
    assert not KeptAnswers(tmp_path / "s.npz", "abc", seconds=60).due()
    found = KeptAnswers(tmp_path / "s.npz", ["c", "b", "a"]).read()  # the order has changed
    assert {index: (label, row.tolist()) for index, (label, row) in found.items()} == {
        0: (1, [3.0, 4.0, 5.0]),
        2: (2, [0.0, 1.0, 2.0]),
    }
    (tmp_path / ".s.npz.1.kept").write_bytes(b"half a file")
    assert set(KeptAnswers(tmp_path / "s.npz", ["a", "b", "c"]).read()) == {0}
    (tmp_path / ".other.npz.0.kept").touch()
    kept.clear()
    assert [path.name for path in tmp_path.iterdir()] == [".other.npz.0.kept"]
