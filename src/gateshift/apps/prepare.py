"""``gateshift prepare``: a dataset as it is downloaded becomes lists that the other commands take."""

import os
from pathlib import Path
from typing import Any

from gateshift.data.frame_writer import FrameSettings
from gateshift.data.prepare import read_raw, refuse_other, write_lists
from gateshift.data.raw.copy import Copy, find_videos
from gateshift.data.raw.extracted import extract_copy, labelled_videos
from gateshift.data.raw.records import Choices
from gateshift.engine.progress import progress_bar
from gateshift.errors import ConfigError


def prepare(
    dataset: str,
    root: Path,
    *,
    out: Path | None = None,
    split: int | None = None,
    labels: str | None = None,
    task: str | None = None,
    extract: bool = False,
    quality: int = 95,
    short_side: int = 0,
    workers: int = 8,
) -> dict[str, Any]:
    """Turn a dataset as it is downloaded into lists, and say what of it is missing; exit 1 if anything is.

    Example: `gateshift prepare something-v1 /data/something --out lists/something-v1`

    With `--extract`, each video is decoded once to OUT/frames/<path in ROOT>/00001.jpg and on, and the lists
    name these folders. The same command again decodes what is not there yet. JPEG rounds: at quality 95,
    pixels differ from the video's by about one grey level of 255, which can tip a prediction that was a tie.

    Args:
        dataset: something-v1, something-v2, jester, diving48, kinetics-400, kinetics-600, kinetics-700,
            ucf101, hmdb51, epic-kitchens-55, epic-kitchens-100, or a .csv or .txt list of your own.
        root: the folder of the download: its annotation files, and its videos or frames at any depth.
        out: where to write; ./prepared/<dataset> otherwise. The same command again refreshes it.
        split: official split of ucf101 and hmdb51: 1, 2 or 3.
        labels: edition of Diving48's labels: v1 or v2.
        task: classes of EPIC-KITCHENS: verb, noun or action.
        extract: decode video files to JPEG frames, and list those.
        quality: of the frames, 1 to 100.
        short_side: pixels that larger frames are shrunk to, on their short side; 0 keeps their size.
        workers: threads that look for videos, and processes that decode, of these at most one a core.

    Raises:
        ConfigError: there is nothing to extract, or other settings than those of frames that are there.
        DataError: an annotation file is missing or cannot be right, or ``out`` holds another dataset.
    """
    if workers < 1:
        raise ConfigError(f"workers is {workers}; it must be at least 1. Change --workers.")
    settings = FrameSettings(quality, short_side)
    if not extract and settings != FrameSettings():
        raise ConfigError("--quality and --short-side say how frames are written. Add --extract.")
    root = Path(root)
    raw = read_raw(dataset, root, Choices(split, labels, task))
    out = Path("prepared", raw.name) if out is None else Path(out)
    refuse_other(raw, out)
    rows = sum(map(len, (*raw.splits.values(), *raw.unlabelled.values())))
    with progress_bar("looking for videos", rows) as bar:
        copy = find_videos(raw, root, skip=out, workers=workers, advance=bar.advance)
    if extract:
        copy = _extract(copy, out / "frames", settings, min(workers, os.cpu_count() or 1))
    return write_lists(copy, out)


def _extract(copy: Copy, frames: Path, settings: FrameSettings, workers: int) -> Copy:
    files = {video.path for video in labelled_videos(copy).values()}
    with progress_bar("extracting frames", len(files)) as bar:
        return extract_copy(copy, frames, settings, workers=workers, advance=bar.advance)
