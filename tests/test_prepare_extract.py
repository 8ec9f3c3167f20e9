"""`gateshift prepare --extract` and prepared flow: the lists, and the same answers on both routes."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import gateshift
from conftest import shared
from gateshift import cli
from gateshift.data import conversion, extract
from gateshift.data.annotations import Annotations, VideoRecord, read_annotations
from gateshift.data.dataset import EvalViews
from gateshift.data.frame_writer import FRAME_TEMPLATE
from gateshift.data.reader import VideoFile, open_video
from gateshift.data.shapes import generate
from gateshift.data.transforms import normalize
from gateshift.data.worker_pool import run_tasks
from gateshift.engine.inference import Inference
from gateshift.engine.trial import score
from gateshift.errors import ConfigError
from gateshift.evidence.scores import Scores
from gateshift.models.classifier import VideoClassifier
from gateshift.models.registry import create_model
from small_model import small_model
from something_root import small_root
from videos import write_frames, write_video

HEADER = "video,label,split,start_frame,end_frame\n"


@pytest.fixture(autouse=True)
def in_this_process(monkeypatch):
    """Decode without starting processes; what these do is tested with them."""
    monkeypatch.setattr(conversion, "run_tasks", lambda tasks, workers, lost: run_tasks(tasks, 0, lost))


@pytest.fixture
def root(tmp_path):
    """Three videos, one of them in two parts, below a folder that the list does not name."""
    for name, count in {"run/a b.mp4": 12, "sit/long.mp4": 30, "run/c.mp4": 8}.items():
        write_video(tmp_path / "root" / "videos" / name, count)
    rows = ["run/a b.mp4,run,train,,", "sit/long.mp4,sit,train,0,10", "sit/long.mp4,run,train,10,28"]
    (tmp_path / "own.csv").write_text(HEADER + "\n".join([*rows, "run/c.mp4,run,val,,"]) + "\n")
    return tmp_path / "root"


def prepare(root: Path, **options):
    options = {"out": root.parent / "out", "extract": True, "workers": 1} | options
    return gateshift.prepare(str(root.parent / "own.csv"), root, **options)


def of_kind(answer, kind):
    return [problem for problem in answer["problems"] if problem["kind"] == kind]


def listed(out: Path, split: str = "train"):
    records = read_annotations(out).splits[split]
    return [(r.video, r.num_frames, r.start_frame, r.end_frame) for r in records]


def test_lists_name_the_frames(root):
    answer = prepare(root)
    out = root.parent / "out"
    assert answer["complete"] and answer["root"] == str(out / "frames")
    assert listed(out) == [("run/a b", 12, 0, None), ("sit/long", 30, 0, 10), ("sit/long", 30, 10, 28)]
    assert listed(out, "val") == [("run/c", 8, 0, None)]
    described = json.loads((out / "dataset.json").read_text())
    assert described["root"] == "frames/videos"
    assert described["frame_template"] == FRAME_TEMPLATE
    assert (out / "val_videofolder.txt").read_text() == "run/c 8 0\n"
    assert len(list((out / "frames" / "videos" / "sit" / "long").iterdir())) == 30
    moved = out.rename(root.parent / "moved")  # lists and frames go together
    annotations = read_annotations(moved)
    for record in annotations.splits["train"]:
        assert open_video(annotations.path(record), FRAME_TEMPLATE).num_frames == record.num_frames


def test_each_video_is_decoded_once_and_not_again(root, monkeypatch):
    decoded = []
    original = VideoFile.frames

    def frames(video):
        decoded.append(video.path.name)
        return original(video)

    monkeypatch.setattr(VideoFile, "frames", frames)
    first = prepare(root)
    assert sorted(decoded) == ["a b.mp4", "c.mp4", "long.mp4"]
    assert prepare(root) == first
    assert len(decoded) == 3


def test_an_unreadable_video_makes_the_answer_no(root, capsys, monkeypatch):
    monkeypatch.undo()
    (root / "videos" / "run" / "a b.mp4").write_bytes(b"no video")
    out = root.parent / "out"
    words = [str(root.parent / "own.csv"), str(root), "--out", str(out), "--extract", "--json"]
    assert cli.run("prepare", words) == 1
    answer = json.loads(capsys.readouterr().out)
    (problem,) = of_kind(answer, "unreadable-video")
    assert problem["where"].endswith("videos/run/a b.mp4")
    assert "cannot be opened as a video" in problem["detail"]
    assert not answer["complete"]
    assert answer["missing"] == ["run/a b"]
    assert [row[0] for row in listed(out)] == ["sit/long", "sit/long"]


def test_a_part_that_ends_after_its_video_is_not_listed(root):
    text = (root.parent / "own.csv").read_text().replace("10,28", "10,200")
    (root.parent / "own.csv").write_text(text)
    answer = prepare(root)
    assert not answer["complete"]
    assert "frames 10 to 199 are annotated, and there are 30" in str(of_kind(answer, "missing-frame"))


def test_times_become_the_same_frames_with_and_without_extraction(root):
    (root.parent / "own.csv").write_text(
        "video,label,split,start_seconds,end_seconds\n"
        "sit/long.mp4,sit,train,0.2,0.6\nsit/long.mp4,run,train,0.8,2\nrun/c.mp4,run,val,,\n"
    )
    parts = [(5, 15), (20, 30)]  # at 25 frames a second; the second is annotated to frame 50
    for frames in (False, True):
        assert prepare(root, extract=frames)["complete"]
        assert [row[2:] for row in listed(root.parent / "out")] == parts


def test_frames_are_not_extracted_again(tmp_path):
    small_root(tmp_path / "root")
    with pytest.raises(ConfigError, match="nothing to extract: 5 of 5 videos are frames already, such as"):
        gateshift.prepare("something-v1", tmp_path / "root", out=tmp_path / "out", extract=True)
    assert not (tmp_path / "out").exists()


def test_settings_of_frames_need_frames(root):
    with pytest.raises(ConfigError, match="Add --extract"):
        prepare(root, extract=False, quality=80)
    with pytest.raises(ConfigError, match="quality is 101"):
        prepare(root, quality=101)
    prepare(root, short_side=24)
    with pytest.raises(ConfigError, match="--short-side 24, and 0 is asked for"):
        prepare(root)


def write_flow(place: Path, lengths: dict[str, int]) -> None:
    for side in ("flow_x", "flow_y"):
        for video, count in lengths.items():
            folder = place / side / video
            folder.mkdir(parents=True)
            for i in range(1, count + 1):
                Image.new("L", (8, 8), 127).save(folder / f"{i:05d}.jpg")


@pytest.mark.parametrize("inside", [True, False])
@pytest.mark.parametrize("frames", [True, False])
def test_flow_in_the_root_or_beside_it_is_found(root, inside, frames):
    place = root / "videos" if inside else root.parent
    write_flow(place, {"run/a b": 11, "sit/long": 29, "run/c": 8})
    answer = prepare(root, extract=frames)
    assert answer["complete"], answer["problems"]
    flow = read_annotations(root.parent / "out").flow
    assert flow == (str(place / "flow_x"), str(place / "flow_y"))


def test_what_flow_lacks_is_named(root):
    write_flow(root, {"run/a b": 11, "sit/long": 28})
    (root / "flow_y" / "run" / "a b" / "00004.jpg").unlink()
    answer = prepare(root)
    details = {Path(problem["where"]).as_posix(): problem["detail"] for problem in answer["problems"]}
    assert not answer["complete"]
    assert {path.removeprefix(f"{root}/"): detail for path, detail in details.items()} == {
        "flow_x/run/c": "'run/c' has no frames in 'flow_x'",
        "flow_y/run/c": "'run/c' has no frames in 'flow_y'",
        "flow_y/run/a b": "'00004.jpg' is missing from 'flow_y/run/a b'",
        "flow_x/sit/long": "'sit/long' has 28 frames in 'flow_x' and 28 frames in 'flow_y'; "
        "the video has 30, between which flow has 29",
    }
    assert read_annotations(root.parent / "out").flow is not None


def test_flow_of_other_videos_is_not_taken(root):
    write_flow(root.parent, {"other": 3})
    assert prepare(root)["complete"]
    assert read_annotations(root.parent / "out").flow is None
    write_flow(root, {"other": 3})
    answer = prepare(root)
    assert "none of the 3 videos has a folder in" in of_kind(answer, "missing-flow")[0]["detail"]
    (root / "flow_y").rename(root / "away")
    assert "flow_y' is not there" in of_kind(prepare(root), "missing-flow")[0]["detail"]
    (root / "away").rename(root / "flow_y")
    write_flow(root / "videos", {"other": 3})
    assert "nothing tells which is meant" in of_kind(prepare(root), "missing-flow")[0]["detail"]
    assert read_annotations(root.parent / "out").flow is None


def test_flow_counts_are_held_against_frames_that_come_as_they_are(tmp_path):
    for name in ("a", "b"):
        write_frames(tmp_path / "root" / "frames" / name, 6)
    write_flow(tmp_path / "root", {"a": 5, "b": 7})
    (tmp_path / "own.csv").write_text("video,label,split\na,x,train\nb,y,train\n")
    answer = prepare(tmp_path / "root", extract=False)
    assert [problem["detail"].split(" ")[0] for problem in of_kind(answer, "flow-count")] == ["'b'"]


def both_routes(
    model: VideoClassifier, annotations: Annotations, videos: Sequence[VideoRecord], frames: Path
) -> list[Scores]:
    """Return the scores of a network on video files, and on the frames that are extracted from them."""
    extracted = extract.extract_videos(annotations.root, [r.video for r in videos], frames, workers=0)
    assert all(one.error is None for one in extracted.values())
    as_frames = [
        replace(record, video=extracted[record.video].path, num_frames=extracted[record.video].num_frames)
        for record in videos
    ]
    how = Inference(torch.device("cpu"), workers=0, progress=False)
    of_frames = replace(annotations, root=frames, frame_template=FRAME_TEMPLATE)
    return [
        score(model, EvalViews(route, records, model.num_segments, model.input_spec), how, label_swaps={})
        for route, records in ((annotations, videos), (of_frames, as_frames))
    ]


def agreement(scores: list[Scores]) -> float:
    direct, frames = (one.logits.argmax(axis=1) for one in scores)
    return float((direct == frames).mean())


def test_both_routes_choose_the_same_frames_and_give_the_same_answers(tmp_path):
    data = generate(
        tmp_path / "data", train_per_class=1, val_per_class=1, test_per_class=2, size=32, num_frames=10
    )
    annotations = read_annotations(data)
    videos = annotations.splits["test"]
    scores = both_routes(small_model(("a", "b")), annotations, videos, tmp_path / "frames")
    differences = []
    for record in videos:
        original = VideoFile(annotations.path(record))
        folder = open_video(tmp_path / "frames" / record.video.removesuffix(".mp4"), FRAME_TEMPLATE)
        assert folder.num_frames == original.num_frames == 10
        pairs = np.abs(folder.read(range(10))[:, None].astype(int) - original.read(range(10)))
        means = pairs.mean(axis=(2, 3, 4))  # (10 frames, 10 originals)
        assert np.array_equal(means.diagonal(), means.min(axis=1))  # the things stand still at times
        differences.append(means.diagonal().mean())
        assert pairs[range(10), range(10)].max() <= 32
    assert np.mean(differences) < 2.5  # 1.8: noise in small frames is what JPEG keeps worst
    direct, frames = (one.logits for one in scores)
    assert direct.shape == (24, 2)
    assert 0 < np.abs(direct - frames).mean() < 0.05 * np.ptp(direct)  # JPEG, and no more
    assert agreement(scores) == 1.0


def fitted_model(annotations: Annotations, videos: Sequence[VideoRecord]) -> VideoClassifier:
    """Return a network with ImageNet's features that has made up its mind about these videos."""
    num_classes = len(annotations.classes)
    model = create_model("tsn_efficientnet_lite0", num_classes, 8, size=112, pretrained=True).eval()
    views = EvalViews(annotations, videos, 8, model.input_spec)
    with torch.inference_mode():
        clips = (normalize(views[i][0], model.input_spec) for i in range(len(videos)))
        features = torch.cat([model.forward_features(clip).mean(dim=1) for clip in clips]).double()
        centre, scale = features.mean(dim=0), features.std(dim=0)
        inputs = (features - centre) / scale  # (N, D)
        targets = torch.eye(num_classes, dtype=torch.float64)[[record.label for record in videos]]
        kernel = inputs @ inputs.T + 100 * torch.eye(len(videos), dtype=torch.float64)
        weight = (targets.T @ torch.linalg.solve(kernel, inputs)) / scale  # ridge regression
        model.head.weight.copy_(weight)
        model.head.bias.copy_(-weight @ centre)
    return model


@pytest.mark.slow
@pytest.mark.parametrize(("name", "count"), [("arid6", 96), ("fights", 300)])
def test_real_videos_are_judged_alike_on_both_routes(tmp_path, name, count):
    annotations = read_annotations(shared(f"data/{name}"))
    splits = annotations.splits
    videos = splits["val"] if name == "arid6" else (*splits["train"], *splits["val"])
    assert len(videos) == count
    scores = both_routes(fitted_model(annotations, videos), annotations, videos, tmp_path / "frames")
    right = [float((one.logits.argmax(axis=1) == one.labels).mean()) for one in scores]
    assert right[0] > 0.9
    assert abs(right[0] - right[1]) <= 0.01
    assert agreement(scores) >= 0.99
