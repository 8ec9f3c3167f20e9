"""The list files of a dataset: one video a row, its label as a class name or an index."""

import csv
import io
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from gateshift.data.records import VideoRecord
from gateshift.errors import DataError

COUNTED = ("num_frames", "start_frame", "end_frame")
TIMED = ("start_seconds", "end_seconds")
COLUMNS = ("video", "label", *COUNTED, *TIMED)
SPLITS = ("train", "val", "test")
NAMES = ("{}.csv", "{}.txt", "{}_videofolder.txt")
TIME = re.compile(r"\d+(\.\d*)?")  # no sign, and no infinity
OnFault = Callable[[DataError], object]  # told of a row that cannot be used, which is then left out


def refuse(error: DataError) -> None:
    """Take no list with a row that cannot be used."""
    raise error


class Row(NamedTuple):
    """One line of a list, before its label is looked up."""

    where: str  # file:line, for messages
    video: str
    label: str
    num_frames: int | None
    start_frame: int
    end_frame: int | None
    start_seconds: float | None = None
    end_seconds: float | None = None


def find_lists(folder: Path) -> dict[str, Path]:
    """Return the list file of each split: ``train.csv``, ``train.txt`` or ``train_videofolder.txt``."""
    found = {}
    for split in SPLITS:
        files = [folder / name.format(split) for name in NAMES]
        if file := next((file for file in files if file.is_file()), None):
            found[split] = file
    return found


def read_rows(file: Path, on_fault: OnFault = refuse) -> list[Row]:
    """Read a list: CSV with a header, or ``path num_frames class_index`` separated by spaces.

    Raises:
        DataError: the file as a whole is no list, or has no rows.
    """
    try:
        text = file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"'{file}' is not UTF-8 text ({error.reason}). Save it as UTF-8.") from error
    parse = _csv_rows if file.suffix == ".csv" else _spaced_rows
    try:
        rows = parse(file, text, on_fault)
    except csv.Error as error:
        raise DataError(f"'{file}' is not CSV ({error}). Save it as CSV in UTF-8.") from error
    if not rows:
        raise DataError(f"'{file}' lists no videos. Add rows, or remove the file.")
    return rows


def to_records(
    rows: Sequence[Row], classes: Sequence[str], on_fault: OnFault = refuse
) -> tuple[VideoRecord, ...]:
    """Look up the labels, each a class name or an index; a fault names the line of another."""
    return tuple(record for _, record in label_rows(rows, classes, on_fault))


def label_rows(
    rows: Sequence[Row], classes: Sequence[str], on_fault: OnFault = refuse
) -> Iterator[tuple[Row, VideoRecord]]:
    """Yield the rows whose labels are found, each with its record."""
    index = {name: i for i, name in enumerate(classes)}
    for row in rows:
        label = index.get(row.label, index.get(row.label.strip(), -1))
        if label < 0 and is_index(row.label):
            label = int(row.label)
        if not 0 <= label < len(classes):
            on_fault(_label_fault(row, rows, classes))
            continue
        yield row, VideoRecord(row.video, label, *row[3:])


def is_index(label: str) -> bool:
    """Tell whether a label is written as a number."""
    return label.isascii() and label.strip().isdigit()


def format_list(records: Sequence[VideoRecord], classes: Sequence[str]) -> str:
    """Return the CSV of records, with class names as labels and only the columns that say something."""
    optional = {
        "num_frames": any(record.num_frames is not None for record in records),
        "start_frame": any(record.start_frame for record in records),
        "end_frame": any(record.end_frame is not None for record in records),
        "start_seconds": any(record.start_seconds is not None for record in records),
        "end_seconds": any(record.end_seconds is not None for record in records),
    }
    columns = [column for column in COLUMNS if optional.get(column, True)]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    for record in records:
        values = vars(record) | {"label": classes[record.label]}
        writer.writerow([values[column] for column in columns])
    return text.getvalue()


def _csv_rows(file: Path, text: str, on_fault: OnFault) -> list[Row]:
    reader = csv.DictReader(io.StringIO(text, newline=""))
    header = [name.strip() for name in reader.fieldnames or ()]
    if not {"video", "label"} <= set(header):
        raise DataError(
            f"'{file}' begins with '{','.join(header)[:60]}'. Expected a header with the columns "
            "'video' and 'label'; a dataset's own files become lists with `gateshift prepare`."
        )
    reader.fieldnames = header
    rows = []
    for values in reader:
        try:
            rows.append(_csv_row(f"{file}:{reader.line_num}", values, len(header)))
        except DataError as error:
            on_fault(error)
    return rows


def _csv_row(where: str, values: dict[str, str], num_columns: int) -> Row:
    if None in values or None in values.values():
        raise DataError(
            f"{where} does not have {num_columns} columns. Quote values that hold a comma.", "bad-row"
        )
    numbers = [_frame_number(where, column, values.get(column) or "") for column in COUNTED]
    row = _row(where, values["video"], values["label"], *numbers)
    return _timed(row, *(_time(where, column, values.get(column) or "") for column in TIMED))


def _timed(row: Row, start: float | None, end: float | None) -> Row:
    if start is None and end is None:
        return row
    if row.start_frame or row.end_frame is not None:
        raise DataError(
            f"{row.where} says in frames and in seconds where the action is. Leave one of them empty.",
            "bad-span",
        )
    if end is not None and end <= (start or 0):
        raise DataError(
            f"{row.where} ends at {end} seconds and begins at {start or 0}. Give an end after the beginning.",
            "bad-span",
        )
    return row._replace(start_seconds=start, end_seconds=end)


def _time(where: str, column: str, value: str) -> float | None:
    value = value.strip()
    if value and not TIME.fullmatch(value):
        raise DataError(
            f"{where}: {column} is '{value}'. Expected seconds such as 12.5, 0 or more, or nothing.",
            "bad-row",
        )
    return float(value) if value else None


def _spaced_rows(file: Path, text: str, on_fault: OnFault) -> list[Row]:
    rows = []
    for i, line in enumerate(text.splitlines(), start=1):
        try:
            if line.strip():
                rows.append(_spaced_row(f"{file}:{i}", line.strip()))
        except DataError as error:
            on_fault(error)
    return rows


def _spaced_row(where: str, line: str) -> Row:
    fields = line.rsplit(maxsplit=2)  # the path may hold spaces
    if len(fields) != 3 or not (is_index(fields[1]) and is_index(fields[2])):
        raise DataError(f"{where} is '{line[:60]}'. Expected 'path num_frames class_index'.", "bad-row")
    return _row(where, fields[0], fields[2], int(fields[1]), None, None)


def _row(
    where: str, video: str, label: str, num_frames: int | None, start_frame: int | None, end_frame: int | None
) -> Row:
    start_frame = start_frame or 0
    if not video.strip() or not label.strip():
        raise DataError(
            f"{where} has no {'label' if video.strip() else 'video'}. Fill it in, or remove the row.",
            "bad-row",
        )
    if num_frames == 0 or (end_frame is not None and end_frame <= start_frame):
        raise DataError(
            f"{where} leaves no frames of '{video}'. Frames are 0-based and end_frame is exclusive.",
            "bad-span",
        )
    return Row(where, video, label, num_frames, start_frame, end_frame)


def _frame_number(where: str, column: str, value: str) -> int | None:
    value = value.strip()
    if value and not is_index(value):
        raise DataError(
            f"{where}: {column} is '{value}'. Expected a number of frames, 0 or more, or nothing.",
            "bad-row",
        )
    return int(value) if value else None


def _label_fault(row: Row, rows: Sequence[Row], classes: Sequence[str]) -> DataError:
    if not is_index(row.label):
        return DataError(
            f"{row.where}: there is no class '{row.label}'. "
            f"Write one of the {len(classes)} names in dataset.json, to the letter, or an index.",
            "label-range",
        )
    help_text, kind = "Correct it, or the classes.", "label-range"
    if labels_from_one([row.label for row in rows], len(classes)):
        help_text, kind = "Labels here start at 1: subtract 1 from all of them.", "labels-from-1"
    span = f"0..{len(classes) - 1} ({len(classes)} classes)"
    return DataError(f"{row.where}: label {row.label} is outside {span}. {help_text}", kind)


def labels_from_one(labels: Sequence[str], num_classes: int) -> bool:
    """Tell whether labels that are indices go from 1 to the number of classes, and not from 0 to one less."""
    indices = {int(label) for label in labels if is_index(label)}
    return bool(indices) and min(indices) == 1 and max(indices) == num_classes
