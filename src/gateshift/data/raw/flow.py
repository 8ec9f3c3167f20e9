"""Optical flow that lies prepared beside a dataset's videos: which folders, and whether it is all there."""

import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from gateshift.data.flow_folder import FLOW_FOLDERS, flow_name
from gateshift.data.raw.frame_count import FrameCount, count_frames
from gateshift.data.raw.problems import FLOW_COUNT, MISSING_FLOW, Problem
from gateshift.data.records import VideoRecord


class Flow(NamedTuple):
    """The folders of x and of y flow, and whether they lie in the dataset's root or only beside it."""

    x: Path
    y: Path
    inside: bool


def find_flow(root: Path, seen: Sequence[str]) -> tuple[Flow | None, list[Problem]]:
    """Return the flow of a dataset, and what is wrong where it does not have the two folders it should.

    Args:
        root: the dataset; ``flow_x`` and ``flow_y`` may lie in it, or beside it.
        seen: paths of the folders of these names that lie in it, relative to it.
    """
    inside = list(dict.fromkeys((root / path).parent for path in seen))
    beside = root.resolve().parent
    if len(inside) > 1:
        detail = f"there is flow in '{inside[0]}' and in '{inside[1]}', and nothing tells which is meant"
        return None, [Problem(MISSING_FLOW, str(root), detail, "Keep one pair of flow_x and flow_y.")]
    if inside:
        x, y = (inside[0] / name for name in FLOW_FOLDERS)
        if lacking := [folder for folder in (x, y) if not folder.is_dir()]:
            detail = f"flow has two folders, and '{lacking[0]}' is not there"
            return None, [Problem(MISSING_FLOW, str(inside[0]), detail, "Extract the flow again.")]
        return Flow(x, y, inside=True), []
    x, y = (beside / name for name in FLOW_FOLDERS)
    return (Flow(x, y, inside=False) if x.is_dir() and y.is_dir() else None), []


def check_flow(
    flow: Flow, records: Iterable[VideoRecord], workers: int = 8
) -> tuple[tuple[str, str] | None, list[Problem]]:
    """Return the flow as ``Annotations`` has it, and what is wrong with it, video by video.

    A video has none, or gaps, or not as many frames as it should: n - 1 where the video has n, or n where an
    extractor repeated one. Flow that lies beside the root and is of none of its videos is another dataset's.
    """
    lengths = {record.video: record.num_frames for record in records}
    names = [flow_name(video) for video in lengths]
    with ThreadPoolExecutor(workers) as pool:
        x = list(pool.map(lambda name: _count(flow.x / name), names))
        y = list(pool.map(lambda name: _count(flow.y / name), names))
    if not any(x) and not any(y):
        detail = f"none of the {len(names)} videos has a folder in '{flow.x}' or '{flow.y}'"
        fix = "Name the folders of flow as the videos are named, or move flow_x and flow_y away."
        return None, [Problem(MISSING_FLOW, str(flow.x), detail, fix)] if flow.inside and names else []
    problems = [
        problem
        for name, num_frames, in_x, in_y in zip(names, lengths.values(), x, y, strict=True)
        for problem in _problems(flow, name, num_frames, in_x, in_y)
    ]
    return (str(flow.x.resolve()), str(flow.y.resolve())), problems


def _problems(flow: Flow, name: str, num_frames: int | None, *counts: FrameCount | None) -> Iterator[Problem]:
    sides = (flow.x, flow.y)
    fix = f"Extract the flow of '{name}' again, before a network is trained on flow."
    for side, count in zip(sides, counts, strict=True):
        if count is None or count.gaps:
            lacks = f"'{count.gaps[0][0]}' is missing from" if count else f"'{name}' has no frames in"
            where = f"{side.name}/{name}" if count else side.name
            yield Problem(MISSING_FLOW, str(side / name), f"{lacks} '{where}'", fix)
    there = [count.num_frames for count in counts if count and not count.gaps]
    if len(there) < len(sides):
        return
    if num_frames is not None and any(count not in (num_frames, num_frames - 1) for count in there):
        wanted = f"the video has {num_frames}, between which flow has {num_frames - 1}"
    elif there[0] != there[1]:
        wanted = "x and y belong together"
    else:
        return
    counted = " and ".join(
        f"{count} frames in '{side.name}'" for side, count in zip(sides, there, strict=True)
    )
    yield Problem(FLOW_COUNT, str(flow.x / name), f"'{name}' has {counted}; {wanted}", fix)


def _count(folder: Path) -> FrameCount | None:
    try:
        return count_frames(os.listdir(folder))
    except (FileNotFoundError, NotADirectoryError):
        return None
