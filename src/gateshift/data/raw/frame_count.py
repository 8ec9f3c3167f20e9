"""The frames of a folder by their names: how they are named, how many there are, which are missing."""

import os
from collections import defaultdict
from collections.abc import Collection
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from gateshift.data.frame_folder import FRAME_EXTENSIONS, NUMBERED, find_template, template_pattern


class FrameCount(NamedTuple):
    """What the names in a frame folder say.

    Attributes:
        template: names of the frames, such as ``{:05d}.jpg``.
        first: number of the first frame.
        last: number of the last frame that is there.
        num_frames: frames that are there; all from first to last, where there are no gaps.
        gaps: names of the first and the last frame of each run of missing ones.
        stray: names of files that are no frames.
    """

    template: str
    first: int
    last: int
    num_frames: int
    gaps: tuple[tuple[str, str], ...]
    stray: tuple[str, ...]


def count_frames(
    names: Collection[str], frame_template: str | None = None, first_frame: int | None = None
) -> FrameCount | None:
    """Return what file names say of a folder's frames; None where it holds no frames.

    >>> count_frames(["00001.jpg", "00002.jpg", "00004.jpg"], "{:05d}.jpg", 1).gaps
    (('00003.jpg', '00003.jpg'),)
    """
    numbers = _numbers(names, frame_template) if frame_template else {}
    if not numbers:
        frame_template, first_frame = _own_template(names), None
        numbers = _numbers(names, frame_template) if frame_template else {}
    if not numbers or frame_template is None:
        return None
    there = sorted(numbers)
    first = there[0] if first_frame is None else min(first_frame, there[0])
    name = frame_template.format
    gaps = tuple(
        (name(before + 1), name(number - 1))
        for before, number in zip([first - 1, *there], there, strict=False)
        if number != before + 1
    )
    stray = tuple(sorted(set(names) - set(numbers.values()))) if len(numbers) < len(names) else ()
    return FrameCount(frame_template, first, there[-1], len(there), gaps, stray)


def _numbers(names: Collection[str], frame_template: str) -> dict[int, str]:
    """Return the names that follow a template by their number."""
    numbered = ((_frame_number(frame_template, name), name) for name in names)
    return {number: name for number, name in numbered if number is not None}


@lru_cache(maxsize=1 << 16)  # the folders of a dataset repeat the same few hundred names
def _frame_number(frame_template: str, name: str) -> int | None:
    match = template_pattern(frame_template).fullmatch(name)
    number = int(match[1]) if match else None
    return number if number is not None and frame_template.format(number) == name else None


def _own_template(names: Collection[str]) -> str | None:
    """Return the template that most of the numbered images follow, optical flow beside them left out."""
    series: dict[tuple[str, str], list[str]] = defaultdict(list)
    for name in names:
        match = NUMBERED.match(name)
        if match and os.path.splitext(name)[1].lower() in FRAME_EXTENSIONS and not name.startswith("."):
            series[match[1], match[3]].append(name)
    if not series:
        return None
    images = {key: found for key, found in series.items() if not key[0].lower().startswith("flow")}
    return find_template(Path(), max((images or series).values(), key=len))
