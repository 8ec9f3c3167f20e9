"""A scan of many videos: its log, what it takes from there, and workers that die."""

import json
import os
from pathlib import Path

import pytest

from deadly_probe import DeadlyProbe
from gateshift.data.check import scan
from gateshift.data.check.probe import probe_video
from gateshift.data.check.scan import scan_videos
from gateshift.errors import DataError
from videos import write_frames, write_video

VIDEOS = ["a/1.mp4", "b/frames", "a/2.mp4", "b/gone.mp4"]


@pytest.fixture
def root(tmp_path) -> Path:
    write_video(tmp_path / "root/a/1.mp4")
    write_video(tmp_path / "root/a/2.mp4", 10)
    write_frames(tmp_path / "root/b/frames")
    return tmp_path / "root"


@pytest.fixture
def probed(monkeypatch) -> list[str]:
    """The videos that were looked at, and not taken from the log."""
    seen: list[str] = []

    def counting(path, **options):
        seen.append(options["video"])
        return probe_video(path, **options)

    monkeypatch.setattr(scan, "probe_video", counting)
    return seen


def scan_here(root: Path, videos=VIDEOS, **options):
    return scan_videos(root, videos, log=root.parent / "out/probes.jsonl", workers=0, **options)


def test_each_video_is_probed_once_and_in_order(root, probed):
    done: list[int] = []
    probes = scan_here(root, [*VIDEOS, "a/1.mp4"], advance=done.append)
    assert list(probes) == VIDEOS
    assert probed == VIDEOS
    assert sum(done) == 4
    assert [probe.num_frames for probe in probes.values()] == [12, 12, 10, 0]
    assert [finding.kind for finding in probes["b/gone.mp4"].findings] == ["missing-file"]


def test_a_second_scan_takes_all_from_the_log(root, probed):
    first = scan_here(root)
    probed.clear()
    done: list[int] = []
    assert scan_here(root, advance=done.append) == first
    assert probed == []
    assert sum(done) == 4


def test_only_what_is_new_or_changed_is_probed_again(root, probed):
    scan_here(root)
    probed.clear()
    write_video(root / "a/2.mp4", 9)
    write_video(root / "b/gone.mp4")
    (root / "b/frames/00012.jpg").unlink()
    os.utime(root / "a/1.mp4", ns=(1, 1))
    write_video(root / "c.mp4")
    probes = scan_here(root, [*VIDEOS, "c.mp4"])
    assert probed == [*VIDEOS, "c.mp4"]
    assert [probe.num_frames for probe in probes.values()] == [12, 11, 9, 12, 12]
    probed.clear()
    assert scan_here(root, [*VIDEOS, "c.mp4"]) == probes
    assert probed == []


def test_other_settings_probe_all_again(root, probed):
    scan_here(root)
    for options in ({"fast": True}, {"num_segments": 11}, {"frame_template": "{:05d}.jpg"}):
        probed.clear()
        scan_here(root, **options)
        assert probed == VIDEOS


def test_a_killed_scan_goes_on(root, probed):
    whole = scan_here(root)
    log = root.parent / "out/probes.jsonl"
    lines = log.read_text().splitlines(keepends=True)
    log.write_text("".join(lines[:3]) + lines[3][:40])  # killed as it wrote the third probe
    probed.clear()
    assert [probe.digest for probe in scan_here(root).values()] == [probe.digest for probe in whole.values()]
    assert probed == VIDEOS[2:]
    probed.clear()
    assert list(scan_here(root)) == VIDEOS
    assert probed == []


def test_an_interrupted_scan_keeps_what_it_has(root, probed):
    def interrupt(videos):
        if len(probed) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        scan_here(root, advance=interrupt)
    probed.clear()
    assert list(scan_here(root)) == VIDEOS
    assert probed == VIDEOS[2:]


def test_a_log_of_something_else_is_written_anew(root, probed):
    log = root.parent / "out/probes.jsonl"
    log.parent.mkdir()
    log.write_text("[1, 2]\nnothing\n")
    scan_here(root)
    probed.clear()
    scan_here(root)
    assert probed == []
    assert all(isinstance(json.loads(line), dict) for line in log.read_text().splitlines() if line)


def test_a_log_that_cannot_be_written_is_refused(root):
    (root.parent / "out").write_text("a file")
    with pytest.raises(DataError, match=r"probes.jsonl' cannot be written .*--out"):
        scan_here(root)


def test_a_crash_and_a_hang_cost_one_video_each_and_are_tried_again(root, monkeypatch):
    monkeypatch.setattr(scan, "_Task", DeadlyProbe)
    videos = ["crash.mp4", "a/1.mp4", "hang.mp4", "a/2.mp4"]
    log = root.parent / "probes.jsonl"
    probes = scan_videos(root, videos, log=log, workers=1, most_seconds=1)
    found = {video: [finding.kind for finding in probe.findings] for video, probe in probes.items()}
    assert found == {"crash.mp4": ["crash"], "a/1.mp4": [], "hang.mp4": ["hang"], "a/2.mp4": []}
    assert "signal 9" in probes["crash.mp4"].findings[0].detail
    assert "no end after 1 seconds" in probes["hang.mp4"].findings[0].detail
    monkeypatch.undo()
    again = scan_videos(root, videos, log=log, workers=0)
    assert [finding.kind for finding in again["hang.mp4"].findings] == ["missing-file"]


def test_workers_find_what_one_process_finds(root):
    alone = scan_here(root)
    probes = scan_videos(root, VIDEOS, log=root.parent / "other.jsonl", workers=2)
    for video, probe in probes.items():
        assert probe.to_json() | {"seconds": 0} == alone[video].to_json() | {"seconds": 0}
