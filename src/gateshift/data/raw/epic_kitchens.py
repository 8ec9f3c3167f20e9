"""EPIC-KITCHENS-55 and -100: segments of long videos, whose classes are verbs, nouns, or pairs of them."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from gateshift.data.catalog import DATASETS
from gateshift.data.label_swaps import find_label_swaps
from gateshift.data.raw.consistency import Part, part
from gateshift.data.raw.files import crlf_note, find_file, find_optional_file
from gateshift.data.raw.records import Choices, RawDataset, RawVideo
from gateshift.data.raw.tables import TableRow, read_table
from gateshift.errors import ConfigError, DataError

TASKS = ("verb", "noun", "action")
SEGMENT = ("video_id", "start_timestamp", "stop_timestamp", "start_frame", "stop_frame")
TIME = re.compile(r"(\d+):([0-5]\d):([0-5]\d(?:\.\d+)?)", re.ASCII)
LAST_TRAINING_PARTICIPANT = 25  # Baradel et al., arXiv 1806.06157; the dataset's authors point to it
HELD_OUT = (
    "EPIC-KITCHENS-55 has no public validation list: participants P01 to P25 train and all others validate, "
    "as Baradel et al. (arXiv 1806.06157) divide them. Its test lists have no labels."
)


def read_epic_kitchens_55(root: Path, choices: Choices) -> RawDataset:
    """Read ``EPIC_train_action_labels.csv`` and the class files; whole participants are held out to validate.

    Raises:
        DataError: a file is missing, or a row cannot be right.
    """
    name = "epic-kitchens-55"
    task = _task(name, choices)
    class_files, keys = _classes(root, name, "EPIC", "class_key")
    file = find_file(root, "EPIC_train_action_labels.csv")
    rows = _labelled(file, task, keys)
    splits: dict[str, list[RawVideo]] = {"train": [], "val": []}
    for video in rows:
        splits["train" if _participant(video) <= LAST_TRAINING_PARTICIPANT else "val"].append(video)
    tests = [find_optional_file(root, f"EPIC_test_{which}_timestamps.csv") for which in ("s1", "s2")]
    test = [video for path in tests if path for video in _segments(path)]
    published = DATASETS[name].num_videos["train"] - len(splits["val"])
    files = (file, *class_files, *(path for path in tests if path))
    return _dataset(name, task, keys, splits, test, {"train": published}, files, (HELD_OUT,))


def read_epic_kitchens_100(root: Path, choices: Choices) -> RawDataset:
    """Read ``EPIC_100_train.csv`` and ``EPIC_100_validation.csv``, or the one there is, and the class files.

    Raises:
        DataError: a file is missing, or a row cannot be right.
    """
    name = "epic-kitchens-100"
    task = _task(name, choices)
    class_files, keys = _classes(root, name, "EPIC_100", "key")
    lists = {"train": "EPIC_100_train.csv", "val": "EPIC_100_validation.csv"}
    found = {split: find_optional_file(root, file) for split, file in lists.items()}
    there = {split: file for split, file in found.items() if file}
    if not there:
        find_file(root, *lists.values())  # refuses
    splits = {split: _labelled(file, task, keys) for split, file in there.items()}
    tests = find_optional_file(root, "EPIC_100_test_timestamps.csv")
    notes = tuple(
        f"There is no {lists[split]} in '{root}'; the split '{split}' is empty."
        for split in lists
        if split not in there
    )
    files = (*there.values(), *class_files, *((tests,) if tests else ()))
    test = _segments(tests) if tests else []
    return _dataset(name, task, keys, splits, test, DATASETS[name].num_videos, files, notes)


def _task(dataset: str, choices: Choices) -> str:
    choices.refuse(dataset, "split", "labels")
    task = "verb" if choices.task is None else choices.task
    if task not in TASKS:
        raise ConfigError(f"task is '{task}'; {dataset} has verb, noun and action. Change --task.")
    return task


def _class_keys(dataset: str, kind: str, file: Path, column: str) -> tuple[str, ...]:
    """Return the names of the verb or noun classes, numbered from 0 in order."""
    number = "id" if column == "key" else f"{kind}_id"
    keys: list[str] = []
    for row in read_table(file, number, column):
        if row.number(number) != len(keys):
            raise DataError(
                f"{row.where}: {number} is {row[number]}, where {len(keys)} comes next. Fetch the file again."
            )
        keys.append(row[column])
    expected = DATASETS[dataset].task_classes[kind]
    if len(keys) != expected or len(set(keys)) != expected:
        raise DataError(
            f"'{file}' holds {len(set(keys))} {kind} classes; {dataset} has {expected}. The file may be cut "
            "short, or of the other edition; fetch it again."
        )
    return tuple(keys)


def _classes(
    root: Path, name: str, stem: str, column: str
) -> tuple[tuple[Path, ...], dict[str, tuple[str, ...]]]:
    """Return the class files of an edition, and the names of its verbs and nouns from a column of them."""
    files = {kind: find_file(root, f"{stem}_{kind}_classes.csv") for kind in ("verb", "noun")}
    return tuple(files.values()), {
        kind: _class_keys(name, kind, file, column) for kind, file in files.items()
    }


def _labelled(file: Path, task: str, keys: Mapping[str, Sequence[str]]) -> list[RawVideo]:
    """Return the segments of a list with the classes of one task as labels."""
    rows = read_table(file, *SEGMENT, "verb_class", "noun_class")
    return [_segment(row, _label(row, task, keys)) for row in rows]


def _segments(file: Path) -> list[RawVideo]:
    """Return the segments of a list without labels."""
    return [_segment(row, None) for row in read_table(file, *SEGMENT)]


def _label(row: TableRow, task: str, keys: Mapping[str, Sequence[str]]) -> str:
    names = [_class_of(row, kind, keys[kind]) for kind in ("verb", "noun")]
    for column in (
        "all_nouns",
        "all_noun_classes",
    ):  # the last ones: where a file is cut, they are not closed
        value = row.values.get(column, "[]")
        if not (value.startswith("[") and value.endswith("]")):
            raise DataError(
                f"{row.where}: {column} is '{value[:40]}'. Expected a list such as ['door']; the file may be "
                "cut short."
            )
    return " ".join(names) if task == "action" else names[TASKS.index(task)]


def _class_of(row: TableRow, kind: str, keys: Sequence[str]) -> str:
    index = row.number(f"{kind}_class")
    if index >= len(keys):
        raise DataError(
            f"{row.where}: there is no {kind} class {index}; they go from 0 to {len(keys) - 1}. "
            "Fetch the lists and the class files of one edition."
        )
    return keys[index]


def _segment(row: TableRow, label: str | None) -> RawVideo:
    """Return a segment; its frames are given as the released ones are numbered: from 1, the last included."""
    start, stop = row.number("start_frame", lowest=1), row.number("stop_frame", lowest=1)
    begin, end = _seconds(row, "start_timestamp"), _seconds(row, "stop_timestamp")
    if stop < start or end <= begin:
        raise DataError(
            f"{row.where}: the segment of '{row['video_id']}' ends before it begins (frames {start} to "
            f"{stop}, {row['start_timestamp']} to {row['stop_timestamp']}). Correct it, or fetch "
            "the file again."
        )
    return RawVideo(
        video=row["video_id"],
        label=label,
        where=row.where,
        start_frame=start - 1,
        end_frame=stop,
        start_seconds=begin,
        end_seconds=end,
    )


def _seconds(row: TableRow, column: str) -> float:
    match = TIME.fullmatch(row[column])
    if not match:
        raise DataError(
            f"{row.where}: {column} is '{row[column][:40]}'. Expected a time such as 00:01:02.50; correct "
            "it, or fetch the file again."
        )
    return round(int(match[1]) * 3600 + int(match[2]) * 60 + float(match[3]), 6)


def _participant(video: RawVideo) -> int:
    """Return the number of the participant: 1 of ``P01_11``."""
    match = re.fullmatch(r"P(\d+)_\d+", video.video, re.ASCII)
    if not match:
        raise DataError(f"{video.where}: video_id is '{video.video}'. Expected a name such as 'P01_11'.")
    return int(match[1])


def _dataset(
    name: str,
    task: str,
    keys: Mapping[str, tuple[str, ...]],
    splits: Mapping[str, Sequence[RawVideo]],
    test: Sequence[RawVideo],
    published: Mapping[str, int],
    files: tuple[Path, ...],
    notes: tuple[str, ...],
) -> RawDataset:
    notes += tuple(remark for videos in splits.values() for remark in _same_times(videos))
    labels = {video.label for videos in splits.values() for video in videos if video.label}
    classes = tuple(sorted(labels)) if task == "action" else keys[task]
    return RawDataset(
        name=f"{name}-{task}",
        classes=classes,
        label_swaps=find_label_swaps(classes),
        splits={split: tuple(videos) for split, videos in splits.items() if videos},
        unlabelled={"test": tuple(test)} if test else {},
        published=published,
        files=files,
        frame_template=DATASETS[name].frame_template,
        first_frame=DATASETS[name].first_frame,
        notes=notes + tuple(note for file in files for note in crlf_note(file)),
    )


def _same_times(videos: Sequence[RawVideo]) -> tuple[str, ...]:
    """Remark on segments that are the same part of a video: two things done at once, each with its label."""
    first: dict[Part, RawVideo] = {}
    again = [video for video in videos if first.setdefault(part(video), video) is not video]
    if not again:
        return ()
    return (
        f"{again[0].where}: the segment has the times of {first[part(again[0])].where} "
        f"({len(again)} such segments); all are kept.",
    )
