"""A dataset on disk as records: lists with their dataset.json, or a folder of class sub-folders.

Lists are CSV with the columns ``video,label`` and, where known, ``num_frames,start_frame,end_frame``; the
released code's ``path num_frames class_index`` lists are read too. See ``folders`` for the other layout.
"""

import json
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from gateshift.data.folders import scan_classes
from gateshift.data.frame_folder import template_pattern
from gateshift.data.label_swaps import find_label_swaps
from gateshift.data.lists import find_lists, format_list, is_index, read_rows, to_records
from gateshift.data.records import Annotations, VideoRecord
from gateshift.data.splitting import grouped_split, ungrouped_classes
from gateshift.errors import DataError

__all__ = ["Annotations", "VideoRecord", "read_annotations", "read_description", "write_annotations"]

DESCRIPTION = "dataset.json"
KEYS = ("root", "classes", "label_swaps", "frame_template", "source", "flow", "dataset", "recipe")
FEW_VIDEOS = 5


def read_annotations(data: str | Path, *, seed: int = 0, val_fraction: float = 0.2) -> Annotations:
    """Read a dataset: a folder with lists, or a folder of class sub-folders.

    Training videos without validation videos beside them are split, by ``seed``, into both. A
    ``dataset.json`` may lie in either kind of folder; what it says goes before what is found.

    Args:
        data: the folder.
        seed: of the split, where one has to be made.
        val_fraction: share of the videos that the split gives to validation.

    Raises:
        DataError: the folder, its lists or its labels cannot be used; the message says what to mend.
    """
    folder = Path(data)
    if not folder.is_dir():
        raise DataError(f"there is no folder '{folder}'. Give a folder of class sub-folders, or of lists.")
    described = _read_description(folder)
    lists = find_lists(folder)
    annotations = _from_lists(folder, lists, described) if lists else _from_classes(folder, described)
    if "train" in annotations.splits and "val" not in annotations.splits:
        annotations = _split_training(annotations, seed, val_fraction)
    return replace(annotations, notes=annotations.notes + _remarks(annotations))


def write_annotations(annotations: Annotations, folder: str | Path) -> Path:
    """Write ``dataset.json`` and a CSV a split, which ``read_annotations`` reads back; return the folder."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for split, records in annotations.splits.items():
        write_text(folder / f"{split}.csv", format_list(records, annotations.classes))
    values = {
        "root": _portable(annotations.root, folder),
        "classes": annotations.classes,
        "label_swaps": annotations.label_swaps,
        "frame_template": annotations.frame_template,
        "source": annotations.source,
        "flow": annotations.flow,
        "dataset": annotations.dataset,
        "recipe": annotations.recipe,
    }
    write_text(folder / DESCRIPTION, json.dumps(values, indent=2, ensure_ascii=False) + "\n")
    return folder


def _portable(root: Path, folder: Path) -> str:
    """Return a root as ``dataset.json`` in ``folder`` names it: relative where the two move together."""
    root, folder = root.resolve(), folder.resolve()
    return root.relative_to(folder).as_posix() if root.is_relative_to(folder) else str(root)


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
    return _annotations(root, classes, splits, described, f"lists in {folder}", notes)


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


def read_description(file: Path) -> dict[str, Any]:
    """Return what a ``dataset.json`` says, its values in the form of ``Annotations``; keys may be missing.

    Raises:
        DataError: the file is no such description.
    """
    try:
        values = json.loads(file.read_text(encoding="utf-8-sig"))
    except ValueError as error:  # JSON and Unicode errors are both of this kind
        raise DataError(f"'{file}' is not JSON ({error}). Correct it, or remove it.") from error
    if not isinstance(values, dict) or (unknown := sorted(set(values) - set(KEYS))):
        name = f"the key '{unknown[0]}'" if isinstance(values, dict) else "no object"
        raise DataError(f"'{file}' holds {name}. Expected an object with the keys {', '.join(KEYS)}.")
    values = {key: value for key, value in values.items() if value is not None}
    for key in values:
        if not _fits(key, values[key]):
            raise DataError(f"'{key}' in '{file}' is {json.dumps(values[key])[:60]}. {EXPECTED[key]}")
    if "frame_template" in values:
        template_pattern(values["frame_template"])  # refuses a template that cannot be filled in
    if "classes" in values:
        values["classes"] = tuple(values["classes"])
    if "label_swaps" in values:
        values["label_swaps"] = tuple((a, b) for a, b in values["label_swaps"])
    if "flow" in values:
        values["flow"] = tuple(values["flow"])
    return values


EXPECTED = {
    "root": "Expected a path, relative to the file or absolute.",
    "classes": "Expected a list of different names in the order of the labels.",
    "label_swaps": 'Expected pairs of names, such as [["Swipe left", "Swipe right"]]; each name in one pair.',
    "frame_template": "Expected a name such as '{:05d}.jpg'.",
    "source": "Expected a text.",
    "dataset": "Expected a name, such as 'something-v1'.",
    "recipe": "Expected a name of `gateshift recipes`.",
    "flow": 'Expected the folders of x and of y flow, such as ["flow_x", "flow_y"].',
}


def _fits(key: str, value: object) -> bool:
    """Tell whether a value of dataset.json has the form that its key wants."""
    if key not in ("classes", "label_swaps", "flow"):
        return isinstance(value, str)
    if not isinstance(value, list) or (key == "flow" and len(value) != 2):
        return False
    if key == "label_swaps":
        if not all(isinstance(pair, list) and len(pair) == 2 for pair in value):
            return False
        value = [name for pair in value for name in pair]
    names = all(isinstance(name, str) for name in value) and len(set(value)) == len(value)
    return names and (key == "label_swaps" or bool(value))


def write_text(path: Path, text: str) -> None:
    """Write a file in one step, so that nobody reads half of it."""
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    partial.write_text(text, encoding="utf-8")
    os.replace(partial, path)
