"""A dataset on disk as records: lists with their dataset.json, or a folder of class sub-folders.

Lists are CSV with the columns ``video,label`` and, where known, ``num_frames,start_frame,end_frame`` or
``start_seconds,end_seconds``; the released code's ``path num_frames class_index`` lists are read too. See
``folders`` for the other layout.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from gateshift.data.description import DESCRIPTION, read_description, write_annotations, write_text
from gateshift.data.folders import scan_classes
from gateshift.data.label_swaps import find_label_swaps
from gateshift.data.lists import find_lists, is_index, read_rows, to_records
from gateshift.data.locate import locate, read_shards
from gateshift.data.records import Annotations, VideoRecord
from gateshift.data.shards import find_place
from gateshift.data.splitting import SEED, VAL_FRACTION, grouped_split, ungrouped_classes
from gateshift.errors import DataError, VideoError

__all__ = [
    "DESCRIPTION",
    "Annotations",
    "VideoRecord",
    "read_annotations",
    "read_description",
    "write_annotations",
    "write_text",
]

FEW_VIDEOS = 5


def read_annotations(
    data: str | Path, *, seed: int = SEED, val_fraction: float = VAL_FRACTION
) -> Annotations:
    """Read a dataset: a folder with lists, or a folder of class sub-folders.

    Training videos without validation videos beside them are split, by ``seed``, into both. A
    ``dataset.json`` may lie in either kind of folder; what it says goes before what is found.

    Args:
        data: the folder; also the URL of one, or one of shards, see ``locate``.
        seed: of the split, where one has to be made.
        val_fraction: share of the videos that the split gives to validation.

    Raises:
        DataError: the folder, its lists or its labels cannot be used; the message says what to mend.
    """
    folder = locate(data)
    if not folder.is_dir():
        raise DataError(f"there is no folder '{folder}'. Give a folder of class sub-folders, or of lists.")
    described = _read_description(folder)
    lists = find_lists(folder)
    annotations = _from_lists(folder, lists, described) if lists else _from_classes(folder, described)
    if "train" in annotations.splits and "val" not in annotations.splits:
        annotations = _split_training(annotations, seed, val_fraction)
    return replace(annotations, notes=annotations.notes + _remarks(annotations))


def _from_lists(folder: Path, lists: Mapping[str, Path], described: Mapping[str, Any]) -> Annotations:
    root = folder / described.get("root", ".")
    if not root.is_dir():
        raise DataError(
            f"there is no folder '{root}', the root of the lists in '{folder}'. "
            "Correct 'root' in dataset.json."
        )
    rows = {split: read_rows(file) for split, file in lists.items()}
    labels = {row.label for found in rows.values() for row in found}
    notes: tuple[str, ...] = ()
    if "classes" in described:
        classes = described["classes"]
    elif all(map(is_index, labels)):
        classes = tuple(map(str, range(max(map(int, labels)) + 1)))
        notes = ("The classes have no names; write them to 'classes' in dataset.json.",)
    else:
        classes = tuple(sorted(labels))
    splits = {split: to_records(found, classes) for split, found in rows.items()}
    annotations = _annotations(root, classes, splits, described, f"lists in {folder}", notes)
    return _in_shards(annotations, folder, described["shards"]) if "shards" in described else annotations


def _in_shards(annotations: Annotations, folder: Path, location: str) -> Annotations:
    """Return annotations whose videos lie in shards; refuse a video that does not."""
    shards = read_shards(folder, location)
    for split, records in annotations.splits.items():
        for record in records:
            try:
                find_place(shards, record)
            except VideoError as error:
                raise DataError(f"{split}: {error}") from error
    return replace(annotations, shards=shards)


def _from_classes(folder: Path, described: Mapping[str, Any]) -> Annotations:
    root = folder / described.get("root", ".")
    found = scan_classes(root)
    classes = described.get("classes", found.classes)
    if sorted(classes) != sorted(found.classes):
        differ = sorted(set(classes) ^ set(found.classes))
        raise DataError(
            f"'classes' in '{folder / DESCRIPTION}' and the class folders disagree about '{differ[0]}'. "
            "Name every class folder once, in the order of the labels, or remove 'classes'."
        )
    splits = {
        split or "train": tuple(
            VideoRecord(video, label) for label, name in enumerate(classes) for video in videos.get(name, ())
        )
        for split, videos in found.videos.items()
        if videos  # an empty val/ is as good as none
    }
    return _annotations(root, classes, splits, described, f"class folders in {folder}", found.notes)


def _annotations(
    root: Path,
    classes: Sequence[str],
    splits: Mapping[str, tuple[VideoRecord, ...]],
    described: Mapping[str, Any],
    source: str,
    notes: tuple[str, ...],
) -> Annotations:
    """Put together what was found and what dataset.json says, which goes first."""
    if len(classes) < 2:
        raise DataError(
            f"'{root}' holds one class only, '{classes[0]}'. Telling actions apart takes 2 or more."
        )
    swaps = described.get("label_swaps", find_label_swaps(classes))
    if unknown := [name for pair in swaps for name in pair if name not in classes]:
        raise DataError(
            f"'label_swaps' in dataset.json names '{unknown[0]}', which is no class. Correct the name."
        )
    return Annotations(
        root=root,
        classes=tuple(classes),
        label_swaps=swaps,
        frame_template=described.get("frame_template"),
        source=described.get("source", source),
        splits=splits,
        notes=notes,
        flow=described.get("flow"),
        dataset=described.get("dataset"),
        recipe=described.get("recipe"),
    )


def _split_training(annotations: Annotations, seed: int, val_fraction: float) -> Annotations:
    records = annotations.splits["train"]
    train, val = grouped_split(records, val_fraction, seed)
    if not val:
        raise DataError(
            f"'{annotations.root}' has {len(records)} videos, too few to keep some for validation. "
            "Add videos, so that a class has 2 or more, or a val/ folder."
        )
    notes = [f"Split by seed {seed}: {len(train)} videos to train on, {len(val)} to validate."]
    if singly := sorted(ungrouped_classes(records)):
        names = ", ".join(f"'{annotations.classes[label]}'" for label in singly)
        notes.append(
            f"All videos of {names} seem cut from one recording; they were split one by one all the same."
        )
    rest = {split: found for split, found in annotations.splits.items() if split != "train"}
    return replace(
        annotations, splits={"train": train, "val": val} | rest, notes=annotations.notes + tuple(notes)
    )


def _remarks(annotations: Annotations) -> tuple[str, ...]:
    """Return what to know of the training videos: classes with few or none."""
    train = annotations.splits.get("train", ())
    counts = Counter(record.label for record in train)
    few = [
        (name, counts[i]) for i, name in enumerate(annotations.classes) if train and counts[i] < FEW_VIDEOS
    ]
    shown = [f"Class '{name}' has {_videos(count)}." for name, count in few[:5]]
    return tuple(shown) + (
        (f"{len(few) - 5} more classes have few training videos.",) if len(few) > 5 else ()
    )


def _videos(count: int) -> str:
    return "no training video" if count == 0 else f"only {count} training video{'s' if count > 1 else ''}"


def _read_description(folder: Path) -> dict[str, Any]:
    """Return what a folder's dataset.json says, checked; nothing where there is none."""
    file = folder / DESCRIPTION
    return read_description(file) if file.is_file() else {}
