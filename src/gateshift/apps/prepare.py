"""``gateshift prepare``: a dataset becomes lists, frames, small copies or shards for the other commands."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gateshift.data.annotations import read_annotations
from gateshift.data.conversion import Conversion
from gateshift.data.extract import Extraction
from gateshift.data.frame_writer import FrameSettings
from gateshift.data.list_files import refuse_other
from gateshift.data.prepare import RAW, read_raw, write_lists
from gateshift.data.prepare_data import (
    Converted,
    answer,
    convert_data,
    each_video,
    refuse_place,
    write_converted,
)
from gateshift.data.proxy import Proxying, ProxySettings
from gateshift.data.raw.converted import common_template, convert_copy, labelled_videos, refuse_frames
from gateshift.data.raw.copy import Copy, find_videos
from gateshift.data.raw.records import Choices
from gateshift.data.records import Annotations
from gateshift.data.remote import is_url
from gateshift.data.shard_writer import SHARD_BYTES, count_samples, write_shards
from gateshift.engine.progress import progress_bar
from gateshift.engine.waiting import available_cores
from gateshift.errors import ConfigError

FRAMES, PROXIES, SHARDS = "frames", "videos", "shards"  # what is written beside the lists


def prepare(
    dataset: str,
    root: Path | None = None,
    *,
    out: Path | None = None,
    split: int | None = None,
    labels: str | None = None,
    task: str | None = None,
    extract: bool = False,
    proxy: int | None = None,
    shards: bool = False,
    quality: int = 95,
    short_side: int = 0,
    shard_bytes: int = SHARD_BYTES,
    workers: int = 8,
) -> dict[str, Any]:
    """Turn a dataset into lists, frames, small copies or shards; exit 1 if anything of it is missing.

    Example: `gateshift prepare something-v1 /data/something --out lists/something-v1`

    With ROOT, a dataset as it is downloaded becomes lists, and every video that is missing is named. Without
    it, DATASET is a folder that `train` takes, and `--extract`, `--proxy` or `--shards` say what becomes of
    it: `gateshift prepare my_videos --proxy 256`. The same command again goes on where it was stopped, and
    ends with the same bytes.

    With `--extract`, each video is decoded once to OUT/frames/<its path>/00001.jpg and on, and the lists name
    these folders. JPEG rounds: at quality 95, pixels differ from the video's by about one grey level of 255,
    which can tip a prediction that was a tie.

    With `--proxy 256`, each video whose short side has more than 256 pixels is encoded once at that size to
    OUT/videos/<its path>.mp4, upright and with square pixels, frame by frame, for fast reading anywhere in
    it; pixels differ by less than with JPEG. Folders of larger frames become folders of JPEG. What is not
    larger is the file itself: a hard link, or a copy on another disk.

    With `--shards`, the videos, or what the other two made of them, go into WebDataset tar files in
    OUT/shards, or in OUT where nothing else is written.

    Args:
        dataset: something-v1, something-v2, jester, diving48, kinetics-400, kinetics-600, kinetics-700,
            ucf101, hmdb51, epic-kitchens-55, epic-kitchens-100, or a .csv or .txt list of your own; without
            ROOT, a folder of class sub-folders or of lists.
        root: the folder of the download: its annotation files, and its videos or frames at any depth.
        out: where to write; ./prepared/<dataset> otherwise. The same command again refreshes it.
        split: official split of ucf101 and hmdb51: 1, 2 or 3.
        labels: edition of Diving48's labels: v1 or v2.
        task: classes of EPIC-KITCHENS: verb, noun or action.
        extract: decode video files to JPEG frames, and list those.
        proxy: pixels of the short side of small copies; 0 encodes every video anew at its own size.
        shards: write WebDataset tar files.
        quality: of JPEG frames, 1 to 100.
        short_side: pixels that larger frames are shrunk to with --extract; 0 keeps their size.
        shard_bytes: how large a tar file gets, unless one video is larger.
        workers: threads that look for videos, and processes that decode, of these at most one a core.

    Raises:
        ConfigError: there is nothing to do, settings are at odds, or others than those of what is there.
        DataError: an annotation file is missing or cannot be right, or ``out`` holds something else.
    """
    if workers < 1:
        raise ConfigError(f"workers is {workers}; it must be at least 1. Change --workers.")
    step = _step(extract, proxy, FrameSettings(quality, short_side))
    choices = Choices(split, labels, task)
    tar_bytes = shard_bytes if shards else None
    if root is None:
        choices.refuse(f"'{dataset}', without the folder of a download,", "split", "labels", "task")
        return _prepare_data(dataset, out, step, tar_bytes, workers)
    raw = read_raw(dataset, Path(root), choices)
    out = Path("prepared", raw.name) if out is None else Path(out)
    refuse_other(out, raw.name, raw.name)
    rows = sum(map(len, (*raw.splits.values(), *raw.unlabelled.values())))
    with progress_bar("looking for videos", rows) as bar:
        copy = find_videos(raw, Path(root), skip=out, workers=workers, advance=bar.advance)
    values = write_lists(_convert_copy(copy, out, step, workers) if step else copy, out)
    if tar_bytes and any(row["found"] for row in values["splits"].values()):
        values |= _write_shards(read_annotations(out), out / SHARDS, tar_bytes)
    return values


@dataclass(frozen=True)
class _Step:
    """What becomes of each video.

    Attributes:
        folder: where it is written, beside the lists.
        doing: what to call it on the way.
        suffix: what to add to the name of a dataset, so that what is made of it lies beside it.
        conversion: how it is done, from the template of frames in folders.
    """

    folder: str
    doing: str
    suffix: str
    conversion: Callable[[str | None], Conversion]


def _step(extract: bool, proxy: int | None, frames: FrameSettings) -> _Step | None:
    """Return what becomes of each video; None where they stay as they are."""
    if extract and proxy is not None:
        raise ConfigError(
            "--extract and --proxy both say what becomes of videos. Give one; extracted frames get small by "
            "--short-side."
        )
    if frames.short_side and not extract:
        raise ConfigError("--short-side says how large extracted frames are. Add --extract, or give --proxy.")
    if extract:
        return _Step(FRAMES, "extracting frames", "-frames", lambda template: Extraction(frames))
    if proxy is not None:
        small = ProxySettings(proxy, frames.quality)
        suffix = f"-proxy{proxy}"
        return _Step(PROXIES, "writing small copies", suffix, lambda template: Proxying(small, template))
    if frames != FrameSettings():
        raise ConfigError("--quality says how frames are written. Add --extract or --proxy.")
    return None


def _prepare_data(
    dataset: str, out: Path | None, step: _Step | None, tar_bytes: int | None, workers: int
) -> dict[str, Any]:
    """Prepare what ``train`` takes already."""
    if step is None and tar_bytes is None:
        raise _nothing_to_do(dataset)
    annotations = read_annotations(dataset)
    name = dataset.rstrip("/").rpartition("/")[2] if is_url(dataset) else Path(dataset).resolve().name
    out = Path("prepared", name + (step.suffix if step else "-shards")) if out is None else Path(out)
    if step is None:
        assert tar_bytes, "one of the two is asked for"
        whole = Converted(annotations, dict.fromkeys(annotations.splits, ()))
        return answer(whole, out, name) | _write_shards(annotations, out, tar_bytes)
    refuse_place(dataset, annotations, out, (FRAMES, PROXIES))
    videos = each_video(annotations)
    if step.folder == FRAMES:
        folders = [video for video in videos if (annotations.root / video).is_dir()]
        refuse_frames(annotations.root, folders, len(videos))
    conversion = step.conversion(annotations.frame_template)
    with progress_bar(step.doing, len(videos)) as bar, _going_on_later(out):
        converted = convert_data(
            annotations, out / step.folder, conversion, workers=_processes(workers), advance=bar.advance
        )
    values = write_converted(converted, out, name)
    if tar_bytes and converted.annotations.splits:
        values |= _write_shards(converted.annotations, out / SHARDS, tar_bytes)
    return values


def _convert_copy(copy: Copy, out: Path, step: _Step, workers: int) -> Copy:
    """Convert the videos of a download."""
    videos = labelled_videos(copy)
    if step.folder == FRAMES:
        refuse_frames(copy.root, [video.path for video in videos.values() if video.frames], len(videos))
    conversion = step.conversion(common_template(videos))
    num_videos = len({video.path for video in videos.values()})
    with progress_bar(step.doing, num_videos) as bar, _going_on_later(out):
        return convert_copy(
            copy, out / step.folder, conversion, workers=_processes(workers), advance=bar.advance
        )


def _write_shards(annotations: Annotations, out: Path, shard_bytes: int) -> dict[str, Any]:
    """Write shards; return what the answer says of them."""
    with progress_bar("writing shards", count_samples(annotations)) as bar, _going_on_later(out):
        write_shards(annotations, out, shard_bytes=shard_bytes, advance=bar.advance)
    return {"shards": str(out)}


@contextmanager
def _going_on_later(out: Path) -> Iterator[None]:
    """Say what Ctrl-C leaves."""
    try:
        yield
    except KeyboardInterrupt as error:
        raise KeyboardInterrupt(
            f"stopped; what is whole is kept in '{out}'. The same command goes on with the rest."
        ) from error


def _processes(workers: int) -> int:
    return min(workers, available_cores())


def _nothing_to_do(dataset: str) -> ConfigError:
    if dataset in RAW or dataset.lower().endswith((".csv", ".txt")):
        return ConfigError(
            f"'{dataset}' says what to look for, and not where. Give the folder of its videos: "
            f"`gateshift prepare {dataset} ROOT`."
        )
    return ConfigError(
        f"nothing is asked for that '{dataset}' should become. Add --extract, --proxy or --shards, or give a "
        "dataset's name and the folder of its download."
    )
