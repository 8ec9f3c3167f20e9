"""The user's own list as a dataset: labels as names or as indices, splits and times where it has them."""

import re
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from gateshift.data.label_swaps import find_label_swaps
from gateshift.data.lists import is_index
from gateshift.data.raw.consistency import listed_once
from gateshift.data.raw.files import crlf_note, find_optional_file, read_lines
from gateshift.data.raw.own_table import OwnRow, read_own_table
from gateshift.data.raw.records import Choices, RawDataset, RawVideo
from gateshift.data.reader import VIDEO_EXTENSIONS
from gateshift.errors import DataError

SPLITS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validate", "validation", "dev"), "val"),
    **dict.fromkeys(("test", "testing"), "test"),
}
TIME = re.compile(r"(?:(?:(\d+):)?(\d+):)?(\d+(?:\.\d*)?)", re.ASCII)
CLASSES = "classes.txt"


def read_own(file: Path, root: Path, choices: Choices) -> RawDataset:
    """Read a list of the user's own.

    Columns may be separated by commas, semicolons, tabs or blanks. Labels are class names, or indices; the
    names of indices come from ``classes.txt`` beside the list or in the root, one a line.

    Raises:
        DataError: the columns cannot be told, or a row cannot be right.
    """
    choices.refuse(f"a list such as '{file.name}'", "split", "labels", "task")
    if not file.is_file():
        raise DataError(f"there is no list '{file}'. Give an existing file, or the name of a dataset.")
    rows = _below_root(read_own_table(file), root)
    named = _classes_file(file, root)
    classes, notes = _read_classes(named, rows) if named else _found_classes(rows)
    splits: dict[str, list[RawVideo]] = {}
    for row in rows:
        splits.setdefault(_split_of(row), []).append(_video(row, classes))
    once = {split: listed_once(splits[split]) for split in ("train", "val", "test") if split in splits}
    notes += tuple(remark for _, remarks in once.values() for remark in remarks)
    return RawDataset(
        name=file.stem,
        classes=classes,
        label_swaps=find_label_swaps(classes),
        splits={split: videos for split, (videos, _) in once.items()},
        unlabelled={},
        published={},
        files=(file, *((named,) if named else ())),
        frame_template=None,
        first_frame=None,
        notes=notes + crlf_note(file),
    )


def _below_root(rows: Sequence[OwnRow], root: Path) -> list[OwnRow]:
    """Return the rows with videos named from the root, where all of them are named from outside of it."""
    videos = [row.get("video").replace("\\", "/") for row in rows]
    folder = root.resolve()
    beside = () if (folder / folder.name).is_dir() else (f"{folder.name}/",)
    for prefix in (f"{folder.as_posix()}/", f"{root.absolute().as_posix()}/", *beside):
        if all(video.startswith(prefix) for video in videos):
            videos = [video.removeprefix(prefix) for video in videos]
            break
    if outside := [row for row, video in zip(rows, videos, strict=True) if video.startswith("/")]:
        raise DataError(
            f"{outside[0].where}: '{outside[0].get('video')}' does not lie in '{root}'. Give the folder that "
            "all videos lie in as the root, or paths that start there."
        )
    return [OwnRow(row.where, {**row.values, "video": v}) for row, v in zip(rows, videos, strict=True)]


def _classes_file(file: Path, root: Path) -> Path | None:
    beside = file.parent / CLASSES
    return beside if beside.is_file() else find_optional_file(root, CLASSES)


def _read_classes(file: Path, rows: Sequence[OwnRow]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the class names that a file gives in index order, checked against the labels of the list."""
    names = tuple(line.strip() for _, line in read_lines(file))
    if twice := [name for i, name in enumerate(names) if name in names[:i]]:
        raise DataError(f"'{file}' names the class '{twice[0]}' twice. Write each class once, in order.")
    _require_from_zero(rows, len(names))
    return names, ()


def _found_classes(rows: Sequence[OwnRow]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the classes that the labels are, names or indices, and remarks on indices."""
    labels = {row.get("label") for row in rows}
    if not all(map(is_index, labels)):
        return tuple(sorted(labels)), ()
    numbers = set(map(int, labels))
    _require_from_zero(rows, len(numbers))
    classes = tuple(str(index) for index in range(max(numbers) + 1))
    note = f"The classes have no names; write them to '{CLASSES}' beside the list, one a line."
    lacking = sorted(set(range(len(classes))) - numbers)
    few = (f"No row has the label {lacking[0]} ({len(lacking)} such labels).",) if lacking else ()
    return classes, (note, *few)


def _require_from_zero(rows: Sequence[OwnRow], num_classes: int) -> None:
    """Refuse indices that run from 1 to the number of classes."""
    indices = [int(row.get("label")) for row in rows if is_index(row.get("label"))]
    if len(indices) == len(rows) and min(indices) == 1 and max(indices) == num_classes:
        raise DataError(
            f"{rows[0].where}: labels here start at 1, and go to {num_classes}. Subtract 1 from all of them, "
            "or write the names of the classes as labels."
        )


def _video(row: OwnRow, classes: Sequence[str]) -> RawVideo:
    start, end = _frame(row, "start_frame"), _frame(row, "end_frame")
    end = _frame(row, "num_frames") if end is None else end
    begin, stop = _seconds(row, "start_seconds"), _seconds(row, "end_seconds")
    if (end is not None and end <= (start or 0)) or (stop is not None and stop <= (begin or 0)):
        raise DataError(
            f"{row.where} leaves no frames of '{row.get('video')}': it ends before it begins. Frames are "
            "0-based and end_frame is exclusive."
        )
    return RawVideo(
        video=_name(row.get("video")),
        label=_label(row, classes),
        where=row.where,
        start_frame=start or 0,
        end_frame=end,
        start_seconds=begin,
        end_seconds=stop,
    )


def _name(path: str) -> str:
    """Return a path as annotations give it: no leading './', no extension of a video."""
    path = path.removeprefix("./").rstrip("/")
    suffix = PurePosixPath(path).suffix
    return path.removesuffix(suffix) if suffix.lower() in VIDEO_EXTENSIONS else path


def _label(row: OwnRow, classes: Sequence[str]) -> str:
    label = row.get("label")
    if label in classes:
        return label
    if not is_index(label):
        raise DataError(
            f"{row.where}: there is no class '{label}' in '{CLASSES}'. Write one of its {len(classes)} "
            "names, to the letter, or an index."
        )
    if int(label) >= len(classes):
        raise DataError(
            f"{row.where}: label {label} is outside 0..{len(classes) - 1} ({len(classes)} classes). "
            "Correct it, or the classes."
        )
    return classes[int(label)]


def _split_of(row: OwnRow) -> str:
    if "split" not in row.values:
        return "train"
    if row.get("split").lower() not in SPLITS:
        raise DataError(
            f"{row.where}: split is '{row.get('split')}'. Expected train, val or test; correct it."
        )
    return SPLITS[row.get("split").lower()]


def _frame(row: OwnRow, column: str) -> int | None:
    value = row.get(column)
    if value and not is_index(value):
        raise DataError(f"{row.where}: {column} is '{value[:40]}'. Expected a number of frames, 0 or more.")
    return int(value) if value else None


def _seconds(row: OwnRow, column: str) -> float | None:
    value = row.get(column)
    match = TIME.fullmatch(value)
    if value and not match:
        raise DataError(
            f"{row.where}: {column} is '{value[:40]}'. Expected seconds, such as 12.5, or a time, 00:00:12.5."
        )
    return int(match[1] or 0) * 3600 + int(match[2] or 0) * 60 + float(match[3]) if match else None
