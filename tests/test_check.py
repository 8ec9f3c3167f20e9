"""The `check` command: its answer, its files, what it leaves out, and how it goes on."""

import json
import re
import shutil
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

import gateshift
from gateshift import cli
from gateshift.apps import check as check_module
from gateshift.apps import check_speed
from gateshift.apps.check import check
from gateshift.data.check import scan
from gateshift.engine.config import TrainConfig
from gateshift.engine.loop import train_config
from gateshift.errors import ConfigError, DataError, UnknownName

TINY = TrainConfig(
    model="tsn_resnet18",
    pretrained=False,
    num_segments=2,
    size=32,
    epochs=1,
    warmup_epochs=0,
    batch_size=2,
    precision="float32",
)


def write_scene(path: Path, seed: int, num_frames: int = 9) -> Path:
    """Encode a smooth random picture that a window passes over: no two seeds look alike."""
    rng = np.random.default_rng(seed)
    small = Image.fromarray(rng.integers(0, 256, (5, 7, 3), dtype=np.uint8))
    picture = np.asarray(small.resize((64 + 2 * num_frames, 48), Image.Resampling.BICUBIC))
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.codec_context.thread_count = 1
        for i in range(num_frames):
            pixels = np.ascontiguousarray(picture[:, 2 * i : 2 * i + 64])
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode())
    return path


@pytest.fixture(scope="session")
def scenes(tmp_path_factory):
    root = tmp_path_factory.mktemp("scenes")
    for k, name in enumerate(("turn left", "turn right", "wait")):
        for i in range(4):
            write_scene(root / "train" / name / f"{i}.mp4", 100 * k + i)
        for i in range(2):
            write_scene(root / "val" / name / f"{i}.mp4", 100 * k + 50 + i)
    return root


@pytest.fixture
def data(scenes, tmp_path):
    return shutil.copytree(scenes, tmp_path / "scenes")


@pytest.fixture
def look(tmp_path):
    """The command, in this process and without its measurement."""

    def call(data, **options):
        return check(data, **{"out": tmp_path / "out", "workers": 0, "speed": False} | options)

    return call


def plant(data: Path) -> None:
    """Put in a file of each of some kinds of damage."""
    (data / "train" / "wait" / "empty.mp4").touch()
    (data / "train" / "wait" / "text.mp4").write_text("no video", encoding="utf-8")
    whole = (data / "val" / "wait" / "1.mp4").read_bytes()
    (data / "val" / "wait" / "broken.mp4").write_bytes(whole[: len(whole) // 2])
    shutil.copy(data / "val" / "turn left" / "0.mp4", data / "train" / "turn left" / "copy.mp4")


def test_nothing_is_found_in_clean_data(look, data, tmp_path):
    before = {path: path.read_bytes() for path in data.rglob("*.mp4")}
    answer = look(data)
    assert answer["ok"] and answer["problems"] == []
    assert answer["videos"] == 18
    assert answer["classes"] == ["turn left", "turn right", "wait"]
    assert answer["class_counts"]["wait"] == {"train": 4, "val": 2}
    assert answer["label_swaps"] == [["turn left", "turn right"]]
    assert json.loads(Path(answer["report"]).read_text(encoding="utf-8")) == answer
    assert {path: path.read_bytes() for path in data.rglob("*.mp4")} == before
    assert look(data, fast=True)["ok"]


def test_what_is_found_is_said_and_left_out_and_the_rest_trains(look, data, tmp_path):
    plant(data)
    answer = look(data, fix=tmp_path / "clean")
    assert not answer["ok"]
    found = {(problem["video"], problem["kind"]) for problem in answer["problems"]}
    assert {
        ("train/wait/empty.mp4", "empty-file"),
        ("train/wait/text.mp4", "not-a-video"),
        ("train/turn left/copy.mp4", "duplicate"),
    } <= found
    assert len(found) == 4 and "val/wait/broken.mp4" in {video for video, _ in found}
    assert all(problem["severity"] == "error" and problem["fix"] for problem in answer["problems"])
    assert answer["fixed"] == {"out": str(tmp_path / "clean"), "kept": 18, "left_out": 4}

    clean = look(tmp_path / "clean", out=tmp_path / "again")
    assert clean["ok"] and clean["videos"] == 18
    trained = train_config(TINY, tmp_path / "clean", out=tmp_path / "run", workers=0, device="cpu")
    assert trained["epochs"] == 1


def test_findings_come_errors_first_and_accepted_kinds_do_not_count(look, data):
    for i in range(5):
        write_scene(data / "train" / "wait" / f"short{i}.mp4", 1000 + i, num_frames=3)
    (data / "train" / "wait" / "empty.mp4").touch()
    answer = look(data)
    assert [problem["kind"] for problem in answer["problems"]] == ["empty-file"] + ["few-frames"] * 5
    assert answer["problem_counts"] == {"empty-file": 1, "few-frames": 5}
    assert answer["severity_counts"] == {"error": 1, "warning": 5, "note": 0}
    accepted = look(data, accept="few-frames, empty-file")
    assert accepted["ok"] and accepted["problem_counts"] == answer["problem_counts"]
    assert look(data, num_segments=3, accept="empty-file")["problem_counts"] == {"empty-file": 1}


def test_the_same_command_again_looks_at_what_changed(look, data, monkeypatch):
    looked_at = []
    probe = scan.probe_video
    monkeypatch.setattr(
        scan, "probe_video", lambda path, **how: looked_at.append(path.name) or probe(path, **how)
    )
    look(data)
    assert len(looked_at) == 18
    looked_at.clear()
    write_scene(data / "val" / "wait" / "new.mp4", 7)
    assert look(data)["videos"] == 19
    assert looked_at == ["new.mp4"]


def test_a_stopped_check_says_what_is_kept_and_goes_on(look, data, monkeypatch, tmp_path):
    probe, looked_at = scan.probe_video, []

    def interrupted(path, **how):
        if len(looked_at) == 5:
            raise KeyboardInterrupt
        looked_at.append(path.name)
        return probe(path, **how)

    monkeypatch.setattr(scan, "probe_video", interrupted)
    with pytest.raises(KeyboardInterrupt, match=r"stopped after 5 of 18 videos; .*scan.jsonl"):
        look(data)
    monkeypatch.setattr(
        scan, "probe_video", lambda path, **how: looked_at.append(path.name) or probe(path, **how)
    )
    assert look(data)["ok"]
    assert len(looked_at) == 18


def test_the_page_holds_what_it_shows(look, data):
    plant(data)
    (data / "train" / "<b>bold").mkdir()
    write_scene(data / "train" / "<b>bold" / "0.mp4", 77)
    page = Path(look(data)["page"]).read_text(encoding="utf-8")
    assert "&lt;b&gt;bold" in page and "<b>bold" not in page
    assert not re.findall(r"""(?:src|href)=["'](?!data:)""", page)
    assert page.count("data:image/jpeg") == 2  # the copy, and what it is a copy of
    assert "train/turn left/copy.mp4" in page and "files of 0 bytes" in page


def test_speed_is_measured_on_what_can_be_read(look, data, monkeypatch):
    monkeypatch.setattr(check_speed, "SECONDS", 0.0)
    plant(data)
    answer = look(data, speed=True, model="tsn_resnet18", num_segments=2, recipe="shapes", device="cpu")
    assert answer["speed"]["read_clips_per_second"] > 0 < answer["speed"]["needed_clips_per_second"]
    assert answer["speed"]["advice"] in Path(answer["page"]).read_text(encoding="utf-8")


def test_lists_with_faults_are_looked_at_all_the_same(look, data, tmp_path):
    rows = [f"train/wait/{i}.mp4,wait" for i in range(4)] + [
        f"train/turn left/{i}.mp4,turn left" for i in range(4)
    ]
    rows += ["train/wait/nowhere.mp4,wait", "train/turn right/0.mp4,turn roght"]
    (data / "train.csv").write_text("\n".join(["video,label", *rows]) + "\n", encoding="utf-8")
    (data / "dataset.json").write_text(
        '{"classes": ["turn left", "wait"], "recipe": "finetun"}', encoding="utf-8"
    )
    answer = look(data, fix=tmp_path / "clean")
    kinds = {(problem["video"], problem["kind"]) for problem in answer["problems"]}
    assert kinds == {
        ("", "bad-description"),
        ("train.csv:11", "label-range"),
        ("train/wait/nowhere.mp4", "missing-file"),
    }
    left_out = (tmp_path / "clean" / "left_out.csv").read_text(encoding="utf-8")
    assert "train.csv:11" in left_out and "train/wait/nowhere.mp4" in left_out
    assert look(tmp_path / "clean", out=tmp_path / "again")["ok"]


@pytest.mark.parametrize(
    ("options", "error", "says"),
    [
        ({"accept": "imbalanced"}, UnknownName, "Did you mean imbalance"),
        ({"workers": -1}, ConfigError, "workers is -1"),
        ({"recipe": "finetun"}, UnknownName, "finetune"),
        ({"model": "gsm_resnet19"}, UnknownName, "gsm_resnet18"),
        ({"device": "tpu"}, ConfigError, "tpu"),
        ({"fix": Path(__file__).parent}, DataError, "holds something else"),
    ],
)
def test_settings_are_refused_before_anything_is_read(look, data, options, error, says, tmp_path):
    with pytest.raises(error, match=says):
        look(data, **options)
    assert not (tmp_path / "out").exists()


def test_a_missing_dataset_is_refused(look, tmp_path):
    with pytest.raises(DataError, match="there is no folder"):
        look(tmp_path / "nowhere")


def test_exit_status_and_json(data, tmp_path, capsys):
    words = [str(data), "--out", str(tmp_path / "out"), "--workers", "0", "--no-speed", "--json"]
    assert cli.run("check", words) == 0
    assert json.loads(capsys.readouterr().out)["ok"]
    plant(data)
    assert cli.run("check", words) == 1
    assert not json.loads(capsys.readouterr().out)["ok"]
    assert cli.run("check", words[:-1]) == 1
    said = capsys.readouterr()
    assert said.out == "" and "not-a-video" in said.err and "check.html" in said.err.replace("\n", "")


def test_it_is_public():
    assert gateshift.check is check and check_module.check is check
