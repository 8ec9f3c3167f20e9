"""A split into training and validation videos: seeded, stratified by class, and with groups kept together.

Videos cut from one recording look alike, and a recording on both sides of a split makes validation look
better than it is. Their names usually tell: ``Jump_8_1`` and ``Jump_8_2`` are cuts of recording ``Jump_8``.
"""

import re
from collections import defaultdict
from collections.abc import Sequence
from pathlib import PurePosixPath

import numpy as np

from gateshift.data.records import VideoRecord

SEED = 0  # of a split that nobody asked for otherwise
VAL_FRACTION = 0.2
TIME_SPAN = re.compile(r"^(.+)_\d{6}_\d{6}$")  # Kinetics: <id>_<start second>_<end second>
LAST_NUMBER = re.compile(r"^(.*\d.*)[_\-. ]+\(?[A-Za-z]*\d+\)?$")  # a number, and one before it


def group_of(stem: str) -> str:
    """Return the recording that a video was cut from, as far as its name tells.

    >>> [group_of(stem) for stem in ("Jump_8_10", "v_Punch_g08_c01", "abc1XYZ_000010_000020", "fi001")]
    ['Jump_8', 'v_Punch_g08', 'abc1XYZ', 'fi001']
    """
    match = TIME_SPAN.match(stem) or LAST_NUMBER.match(stem)
    return match[1] if match else stem


def grouped_split(
    records: Sequence[VideoRecord], val_fraction: float, seed: int
) -> tuple[tuple[VideoRecord, ...], tuple[VideoRecord, ...]]:
    """Split records in training and validation, each class in about the same proportion, groups undivided.

    A class whose groups cannot be divided (see ``ungrouped_classes``) is split video by video, and a class of
    one video goes to training. The same records, fraction and seed give the same split.
    """
    rng = np.random.default_rng(seed)
    names = groups_of(records)
    side: dict[str, bool] = {}  # group -> is it in validation; a group of several classes goes to one side
    val: set[int] = set()
    for members in _by_label(records).values():
        groups: dict[str, list[int]] = defaultdict(list)
        for i in members:
            groups[names[i]].append(i)
        chosen = _choose(groups, side, val_fraction * len(members), rng)
        side |= {group: group in chosen for group in groups}
        val.update(i for group in chosen for i in groups[group])
    train = tuple(record for i, record in enumerate(records) if i not in val)
    return train, tuple(record for i, record in enumerate(records) if i in val)


def groups_of(records: Sequence[VideoRecord]) -> list[str]:
    """Return the group of each record: its recording, as far as names tell, or else its video.

    >>> groups_of([VideoRecord(f"Punch/v_Punch_{name}.avi", 0) for name in ("g08_c01", "g08_c02", "g09_c01")])
    ['v_Punch_g08', 'v_Punch_g08', 'v_Punch_g09']
    """
    singly = ungrouped_classes(records)
    return [record.video if record.label in singly else _group(record) for record in records]


def ungrouped_classes(records: Sequence[VideoRecord]) -> frozenset[int]:
    """Return the labels whose videos all come from one group, though there are several."""
    return frozenset(
        label
        for label, members in _by_label(records).items()
        if len(members) > 1 and len({_group(records[i]) for i in members}) == 1
    )


def _by_label(records: Sequence[VideoRecord]) -> dict[int, list[int]]:
    by_label: dict[int, list[int]] = defaultdict(list)
    for i, record in enumerate(records):
        by_label[record.label].append(i)
    return dict(sorted(by_label.items()))


def _group(record: VideoRecord) -> str:
    """A name that gives no group away stands for itself alone, also where two classes use the same names."""
    stem = PurePosixPath(record.video).stem
    group = group_of(stem)
    return group if group != stem else record.video


def _choose(
    groups: dict[str, list[int]], side: dict[str, bool], target: float, rng: np.random.Generator
) -> set[str]:
    """Return the groups of one class for validation: about ``target`` videos, and some left for training."""
    chosen = {group for group in groups if side.get(group, False)}
    free = sorted(group for group in groups if group not in side)
    num_val = sum(len(groups[group]) for group in chosen)
    for group in rng.permutation(free).tolist():
        if num_val + len(groups[group]) <= target + 1e-9:
            chosen.add(group)
            num_val += len(groups[group])
    smallest = min(groups, key=lambda group: (len(groups[group]), group))
    if not chosen:
        chosen = {smallest}
    if len(chosen) == len(groups):
        chosen -= {smallest}
    return chosen
