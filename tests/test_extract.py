"""Videos to JPEG frames: the reader's frames, all of them, each video whole or not there, and going on."""

import errno
import fcntl
import json
import os
import signal
import subprocess
import sys
import time
import unicodedata
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from conftest import shared
from deadly_task import DeadlyTask
from gateshift.data import conversion, worker_pool
from gateshift.data.conversion import convert_videos
from gateshift.data.extract import Extraction, extract_videos
from gateshift.data.frame_writer import FRAME_TEMPLATE, FrameSettings, count_frames
from gateshift.data.free_names import free_names
from gateshift.data.prepared_log import LOG
from gateshift.data.proxy import Proxying, ProxySettings
from gateshift.data.reader import FewerFrames, VideoFile, open_video
from gateshift.errors import ConfigError, DataError
from test_reader import UNREADABLE
from tricky import tricky_videos
from videos import frame, write_video

CROWD, LONG = 12, 60  # videos that take a while, and frames of each


@pytest.fixture
def root(tmp_path):
    """Two videos of different lengths."""
    write_video(tmp_path / "root" / "a.mp4", 12)
    write_video(tmp_path / "root" / "b" / "c.avi", 7)
    return tmp_path / "root"


def videos(root: Path) -> list[str]:
    return sorted(path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file())


def run(root: Path, quality: int = 95, short_side: int = 0, **options):
    return extract_videos(
        root, videos(root), root.parent / "frames", FrameSettings(quality, short_side), **options
    )


def files(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name != LOG
    }


def times(folder: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*.jpg")}


def test_every_frame_of_every_video_is_there_and_is_the_readers(root):
    steps = []
    answer = run(root, workers=0, advance=steps.append)
    frames = root.parent / "frames"
    assert {name: (one.path, one.num_frames, one.error) for name, one in answer.items()} == {
        "a.mp4": ("a", 12, None),
        "b/c.avi": ("b/c", 7, None),
    }
    assert steps == [1, 1]
    for name, one in answer.items():
        folder = open_video(frames / one.path, FRAME_TEMPLATE)
        original = open_video(root / name)
        assert folder.num_frames == original.num_frames == one.num_frames
        assert sorted(os.listdir(folder.path)) == [f"{i:05d}.jpg" for i in range(1, one.num_frames + 1)]
        everything = range(one.num_frames)
        difference = np.abs(folder.read(everything).astype(int) - original.read(everything))
        assert difference.mean() < 0.5  # neighbouring frames differ by 4
        assert difference.max() <= 8


def test_any_number_of_workers_writes_the_same(root):
    written = {}
    for workers in (0, 1, 2):
        frames = root.parent / f"frames{workers}"
        answer = extract_videos(root, videos(root), frames, workers=workers)
        written[workers] = answer, files(frames)
    assert written[0] == written[1] == written[2]
    assert len(written[0][1]) == 19


def first_frame(root: Path) -> tuple[tuple[int, int], int, list[tuple[int, int]]]:
    """Return the size of the first frame in pixels and in bytes, and the sampling of its channels."""
    path = root.parent / "frames" / "a" / "00001.jpg"
    with Image.open(path) as image:
        return image.size, path.stat().st_size, [layer[1:3] for layer in image.layer]


def test_frames_are_not_subsampled_and_as_good_as_asked(root):
    run(root, workers=0)
    size, num_bytes, sampling = first_frame(root)
    assert (size, sampling) == ((64, 48), [(1, 1)] * 3)
    (root.parent / "frames").rename(root.parent / "sharp")
    run(root, quality=30, short_side=24, workers=0)
    assert first_frame(root)[0] == (32, 24)
    assert first_frame(root)[1] < num_bytes
    (root.parent / "frames").rename(root.parent / "small")
    run(root, short_side=100, workers=0)
    assert first_frame(root)[:2] == (size, num_bytes)  # shrinks, and never enlarges


@pytest.mark.parametrize(
    ("values", "says"), [({"quality": 0}, "quality is 0"), ({"short_side": -1}, "is -1")]
)
def test_settings_out_of_range(values, says):
    with pytest.raises(ConfigError, match=says):
        FrameSettings(**values)


NAMES = (
    "-dash",
    "a b  c",
    'it\'s "quoted"',
    "50% é ü 火",
    "a?b=c&d#",
    "a\\b",
    "$(rm -r x);`y`",
    "...",
    ".hid",
)


def test_any_file_name_will_do(tmp_path):
    root = tmp_path / "root"
    for name in NAMES:
        write_video(tmp_path / "v.mp4", 2).rename(root / f"{name}.mp4") if root.exists() else root.mkdir()
    answer = run(root, workers=0)
    assert len(answer) == len(NAMES) - 1
    for name, one in answer.items():
        assert one.error is None and count_frames(tmp_path / "frames" / one.path) == 2, name
        assert not one.path.startswith(".")
    assert sorted(os.listdir(tmp_path)) == ["frames", "root"]
    assert len(os.listdir(tmp_path / "frames")) == len(answer) + 1


@pytest.mark.parametrize("name", ["../a.mp4", "b/../../a.mp4", "/etc/a.mp4", ""])
def test_paths_out_of_the_root_are_refused(tmp_path, name):
    write_video(tmp_path / "a.mp4", 2)
    with pytest.raises(DataError, match="does not lie in its root"):
        extract_videos(tmp_path / "root", [name], tmp_path / "out" / "frames", workers=0)
    assert files(tmp_path / "out") == {}


def test_folders_never_collide():
    composed = unicodedata.normalize("NFC", "é.mp4")
    names = ["a.mp4", "a.avi", "a.mkv", "A.mp4", "a_mp4.mp4", "a/b.mp4", "A/b.avi", "a/b/c.mp4", composed]
    names += [unicodedata.normalize("NFD", composed), ".partial/x.mp4", ".mp4", "..mp4", "x/...mp4", "a."]
    folders = free_names(names, {})
    assert folders["a/b/c.mp4"] == "a/b/c"
    assert set(folders) == set(names)
    spelled = [unicodedata.normalize("NFC", folder).casefold() + "/" for folder in folders.values()]
    for one in spelled:
        assert sum(other.startswith(one) for other in spelled) == 1, one
        assert not any(part.startswith(".") for part in one.split("/"))
    assert free_names(reversed(names), {}) == folders


def test_a_video_keeps_its_folder_when_others_come():
    before = free_names(["b.mp4", "x.mp4"], {})
    after = free_names(["b.avi", "b.mp4", "b/c.mp4"], before)
    assert after["b.mp4"] == "b"
    assert after["b.avi"] == "b_avi"
    assert not after["b/c.mp4"].startswith("b/")


def test_equal_names_with_other_extensions_keep_their_own_frames(tmp_path):
    for name, count in {"a.mp4": 3, "a.avi": 5, "A.mp4": 4}.items():
        write_video(tmp_path / "root" / name, count)
    answer = run(tmp_path / "root", workers=0)
    counts = {name: count_frames(tmp_path / "frames" / one.path) for name, one in answer.items()}
    assert counts == {"a.mp4": 3, "a.avi": 5, "A.mp4": 4}


def test_a_second_run_does_only_what_is_missing(root):
    frames = root.parent / "frames"
    first = run(root, workers=0)
    before = times(frames)
    assert run(root, workers=0) == first
    assert times(frames) == before

    (frames / "a" / "00003.jpg").unlink()
    (frames / "b" / "c" / "00007.jpg").write_bytes(b"")
    write_video(root / "d.mp4", 3)
    answer = run(root, workers=0)
    assert [one.num_frames for one in answer.values()] == [7, 12, 3]
    assert all(times(frames)[path] > before[path] for path in before if path in times(frames))
    assert run(root, workers=0) == answer

    before = times(frames)
    write_video(root / "a.mp4", 5)  # another file under the same name
    assert run(root, workers=0)["a.mp4"].num_frames == count_frames(frames / "a") == 5
    assert all(times(frames)[path] == before[path] for path in before if path.parent.name != "a")


def test_what_a_killed_process_left_of_the_log_is_made_up_for(root):
    frames = root.parent / "frames"
    first = run(root, workers=0)
    log = frames / LOG
    whole = log.read_text()
    for cut in (len(whole) - 1, len(whole) - 30, len(whole.splitlines()[0]) + 1, 5, 0):
        log.write_text(whole[:cut])
        (frames / ".partial" / "0" / "frames").mkdir(parents=True)
        assert run(root, workers=0) == first
        assert log.read_text().splitlines() == whole.splitlines()
        assert not (frames / ".partial").exists()


def test_other_settings_over_existing_frames_are_refused(root):
    run(root, workers=0)
    before = files(root.parent / "frames")
    with pytest.raises(ConfigError, match="--quality 95, and 80 is asked for"):
        run(root, quality=80, workers=0)
    with pytest.raises(ConfigError, match="--short-side 0, and 24 is asked for"):
        run(root, short_side=24, workers=0)
    assert files(root.parent / "frames") == before


def test_folders_of_others_are_left_alone(root):
    frames = root.parent / "frames"
    frames.mkdir()
    (frames / "mine.txt").write_text("mine")
    with pytest.raises(DataError, match=r"'mine\.txt', which was not prepared here"):
        run(root, workers=0)
    (frames / "mine.txt").unlink()
    run(root, workers=0)
    (frames / LOG).write_text((frames / LOG).read_text() + '{"video": 3}\n')
    with pytest.raises(DataError, match=rf"{LOG}:4 is '{{\"video\": 3}}', which is not of this preparation"):
        run(root, workers=0)
    (root.parent / "file").write_text("")
    with pytest.raises(DataError, match="'.*file' cannot be written"):
        extract_videos(root, videos(root), root.parent / "file", workers=0)


def test_two_extractions_do_not_share_a_folder(root):
    run(root, workers=0)
    with (root.parent / "frames" / LOG).open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(DataError, match="another process writes into"):
            run(root, workers=0)
    run(root, workers=0)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_video_that_cannot_be_decoded_is_reported_and_the_others_go_on(root, workers):
    whole = write_video(root / "z.mp4", 40, "libx264")
    whole.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    damaged = bytearray((root / "a.mp4").read_bytes())
    (root / "text.mp4").write_text("no video" * 50)
    (root / "a0.mp4").write_bytes(damaged)
    answer = run(root, workers=workers)
    assert {name: one.num_frames for name, one in answer.items() if one.error is None} == {
        "a.mp4": 12,
        "a0.mp4": 12,
        "b/c.avi": 7,
    }
    for name in ("text.mp4", "z.mp4"):
        assert name in answer[name].error and "cannot be opened" in answer[name].error
        assert not (root.parent / "frames" / name[:-4]).exists()
    assert not (root.parent / "frames" / ".partial").exists()
    write_video(root / "text.mp4", 3)
    assert run(root, workers=workers)["text.mp4"].num_frames == 3


def test_damage_in_the_middle_leaves_no_frames(tmp_path):
    path = write_video(tmp_path / "root" / "a.mkv", 40, "libx264")
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2] + bytes(len(data) // 4) + data[len(data) * 3 // 4 :])
    (one,) = run(tmp_path / "root", workers=0).values()
    if one.error is None:  # the decoder got over it: then all of its frames are there
        assert one.num_frames == open_video(path).num_frames == count_frames(tmp_path / "frames" / "a")
    else:
        assert files(tmp_path / "frames") == {}


def test_tricky_videos_are_extracted_or_refused_as_the_reader_does(tmp_path):
    folder = shared("data/tricky_videos")
    small = [probed for probed in tricky_videos() if probed.path.stat().st_size < 200_000]
    answer = extract_videos(folder, [probed.path.name for probed in small], tmp_path / "frames", workers=0)
    assert len(answer) > 15 and any(one.error for one in answer.values())
    for path, count in ((probed.path, probed.decoded) for probed in small):
        one = answer[path.name]
        if path.name in UNREADABLE:
            assert UNREADABLE[path.name] in one.error
        else:
            assert (one.error, one.num_frames) == (None, count), path.name
            frames = open_video(tmp_path / "frames" / one.path, FRAME_TEMPLATE)
            assert frames.read([count - 1]).shape == open_video(path).read([count - 1]).shape


def test_a_full_disk_is_named_and_leaves_nothing_half_written(root, monkeypatch):
    original, written = Path.write_bytes, []

    def full(path, data):
        written.append(path)
        if len(written) == 16:  # in the second video
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        return original(path, data)

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(DataError, match=r"no space left for '.*'. Free some"):
        run(root, workers=0)
    frames = root.parent / "frames"
    there = {"a", "b"} & set(os.listdir(frames))
    assert len(there) == 1 and not (frames / ".partial").exists()
    before = times(frames)
    answer = run(root, workers=0)
    assert sum(one.num_frames for one in answer.values()) == len(times(frames)) == 19
    assert before.items() <= times(frames).items()


def test_a_packet_without_a_frame_is_not_counted(root, monkeypatch):
    monkeypatch.setattr(VideoFile, "num_frames", 15)
    video = VideoFile(root / "a.mp4")
    with pytest.raises(FewerFrames, match="has 12 frames"):
        list(video.frames())
    assert video.num_frames == 12
    answer = run(root, workers=0)
    assert [one.num_frames for one in answer.values()] == [7, 12]


def test_the_reader_streams_what_it_reads(root):
    video = VideoFile(root / "a.mp4")
    streamed = video.frames()
    assert isinstance(streamed, Iterator)
    assert np.array_equal(np.stack(list(streamed)), video.read(range(12)))


def test_a_size_that_changes_is_that_of_the_first_frame(tmp_path):
    path = tmp_path / "a.mjpeg"
    with path.open("wb") as file:  # one JPEG after the other
        for i, size in enumerate([(64, 48), (64, 48), (32, 24)]):
            Image.fromarray(frame(i, *size)).save(file, "JPEG", quality=95)
    video = VideoFile(path)
    assert video.read([2]).shape == (1, 48, 64, 3)
    assert np.array_equal(np.stack(list(video.frames()))[2:], video.read([2]))


def test_a_worker_that_dies_costs_one_video():
    tasks = [DeadlyTask(str(i), deadly=i in (0, 2)) for i in range(5)]
    answers = {answer.video: answer.error for answer in worker_pool.run_tasks(tasks, 2, conversion._lost)}
    assert {video for video, error in answers.items() if error == "alive"} == {"1", "3", "4"}
    assert "'x.mp4' ended the process that decoded it (signal 9)" in answers["0"]


COMMAND = """
from gateshift.data.conversion import convert_videos
from gateshift.data.extract import Extraction
from gateshift.data.frame_writer import FrameSettings
from gateshift.data.proxy import Proxying, ProxySettings
from pathlib import Path
import signal
import sys
if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job would ignore it
    root, out = map(Path, sys.argv[1:3])
    conversion = {"frames": Extraction(FrameSettings()), "proxies": Proxying(ProxySettings(0))}[sys.argv[3]]
    convert_videos(root, [path.name for path in sorted(root.iterdir())], out, conversion, workers=2,
                   advance=lambda _: print("one", flush=True))
"""


def start(root: Path, out: Path, kind: str) -> subprocess.Popen:
    script = root.parent / "command.py"
    script.write_text(COMMAND)
    return subprocess.Popen(
        [sys.executable, str(script), str(root), str(out), kind],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def children(process: subprocess.Popen) -> list[int]:
    found = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    return [int(pid) for pid in found.read_text().split()]


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.parametrize(
    ("kind", "number"),
    [("frames", signal.SIGINT), ("frames", signal.SIGKILL), ("proxies", signal.SIGKILL)],
)
def test_what_was_ended_goes_on_and_ends_with_the_same_bytes(tmp_path, kind, number):
    root, out = tmp_path / "root", tmp_path / "out"
    write_video(root / "00.mp4", LONG, size=(320, 240))
    for i in range(1, CROWD):
        (root / f"{i:02d}.mp4").write_bytes((root / "00.mp4").read_bytes())
    process = start(root, out, kind)
    assert process.stdout.readline() == "one\n"
    workers = children(process)
    assert len(workers) >= 2
    if number == signal.SIGKILL:
        process.kill()  # of the main process alone: the workers must notice
    else:
        os.killpg(process.pid, number)  # as a terminal does
    _, said = process.communicate(timeout=30)
    deadline = time.monotonic() + 20
    while any(map(is_running, workers)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(map(is_running, workers))
    assert process.returncode == (-signal.SIGKILL if number == signal.SIGKILL else -signal.SIGINT)
    whole = {name for name in os.listdir(out) if not name.startswith(".")}
    assert 1 <= len(whole) < CROWD
    assert all(open_video(out / name).num_frames == LONG for name in whole)
    if number == signal.SIGINT:
        assert said.count("Traceback") == 1  # of the script itself; the workers are silent
        assert not (out / ".partial").exists()
    logged = [json.loads(line) for line in (out / LOG).read_text().splitlines()[1:]]
    paths = [out / (entry["name"] + entry["suffix"]) for entry in logged]
    before = {path: path.stat().st_mtime_ns for path in paths}
    conversion = Extraction(FrameSettings()) if kind == "frames" else Proxying(ProxySettings(0))
    answer = convert_videos(root, videos(root), out, conversion, workers=0)
    assert [one.num_frames for one in answer.values()] == [LONG] * CROWD
    assert all(path.stat().st_mtime_ns == before[path] for path in paths)
    convert_videos(root, ["00.mp4"], tmp_path / "one", conversion, workers=0)
    wanted = files(tmp_path / "one")  # of one video, which all of them are
    assert len(files(out)) == CROWD * len(wanted)
    assert all(content == wanted["00" + name[2:]] for name, content in files(out).items())


@pytest.mark.slow
def test_a_video_of_more_than_99999_frames(tmp_path):
    folder = tmp_path / "frames" / "long"
    folder.mkdir(parents=True)
    for i, level in ((1, 0), (100_001, 40)):
        Image.fromarray(np.full((8, 8, 3), level, np.uint8)).save(folder / FRAME_TEMPLATE.format(i))
    for i in range(2, 100_001):
        (folder / FRAME_TEMPLATE.format(i)).symlink_to(folder / "00001.jpg")
    assert count_frames(folder) == open_video(folder, FRAME_TEMPLATE).num_frames == 100_001
    assert open_video(folder, FRAME_TEMPLATE).read([99_999, 100_000])[:, 0, 0, 0].tolist() == [0, 40]
