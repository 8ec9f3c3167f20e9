"""The list files of a dataset: one video a row, its label as a class name or an index."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from gateshift.data.records import VideoRecord
from gateshift.errors import DataError

COLUMNS = ("video", "label", "num_frames", "start_frame", "end_frame")
SPLITS = ("train", "val", "test")
NAMES = ("{}.csv", "{}.txt", "{}_videofolder.txt")


class Row(NamedTuple):
    """One line of a list, before its label is looked up."""

    where: str  # file:line, for messages
    video: str
    label: str
    num_frames: int | None
    start_frame: int
    end_frame: int | None


def find_lists(folder: Path) -> dict[str, Path]:
    """Return the list file of each split: ``train.csv``, ``train.txt`` or ``train_videofolder.txt``."""
    found = {}
    for split in SPLITS:
        files = [folder / name.format(split) for name in NAMES]
        if file := next((file for file in files if file.is_file()), None):
            found[split] = file
    return found


def read_rows(file: Path) -> list[Row]:
    """Read a list: CSV with a header, or ``path num_frames class_index`` separated by spaces."""
    try:
        text = file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"'{file}' is not UTF-8 text ({error.reason}). Save it as UTF-8.") from error
    rows = _csv_rows(file, text) if file.suffix == ".csv" else _spaced_rows(file, text)
    if not rows:
        raise DataError(f"'{file}' lists no videos. Add rows, or remove the file.")
    return rows


def to_records(rows: Sequence[Row], classes: Sequence[str]) -> tuple[VideoRecord, ...]:
    """Look up the labels, each a class name or an index.

    Raises:
        DataError: a label is neither; named with its file and line.
    """
    index = {name: i for i, name in enumerate(classes)}
    records = []
    for row in rows:
        label = index.get(row.label, index.get(row.label.strip(), -1))
        if label < 0 and is_index(row.label):
            label = int(row.label)
        if not 0 <= label < len(classes):
            raise DataError(_label_help(row, rows, classes))
        records.append(VideoRecord(row.video, label, row.num_frames, row.start_frame, row.end_frame))
    return tuple(records)


def is_index(label: str) -> bool:
    """Tell whether a label is written as a number."""
    return label.isascii() and label.strip().isdigit()


def format_list(records: Sequence[VideoRecord], classes: Sequence[str]) -> str:
    """Return the CSV of records, with class names as labels and only the columns that say something."""
    optional = {
        "num_frames": any(record.num_frames is not None for record in records),
        "start_frame": any(record.start_frame for record in records),
        "end_frame": any(record.end_frame is not None for record in records),
    }
    columns = [column for column in COLUMNS if optional.get(column, True)]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    for record in records:
        values = vars(record) | {"label": classes[record.label]}
        writer.writerow([values[column] for column in columns])
    return text.getvalue()


def _csv_rows(file: Path, text: str) -> list[Row]:
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
        where = f"{file}:{reader.line_num}"
        if None in values or None in values.values():
            raise DataError(f"{where} does not have {len(header)} columns. Quote values that hold a comma.")
        numbers = [_frame_number(where, column, values.get(column) or "") for column in COLUMNS[2:]]
        rows.append(_row(where, values["video"], values["label"], *numbers))
    return rows


def _spaced_rows(file: Path, text: str) -> list[Row]:
    rows = []
    for i, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        fields = line.strip().rsplit(maxsplit=2)  # the path may hold spaces
        if len(fields) != 3 or not (is_index(fields[1]) and is_index(fields[2])):
            raise DataError(f"{file}:{i} is '{line.strip()[:60]}'. Expected 'path num_frames class_index'.")
        rows.append(_row(f"{file}:{i}", fields[0], fields[2], int(fields[1]), None, None))
    return rows


def _row(
    where: str, video: str, label: str, num_frames: int | None, start_frame: int | None, end_frame: int | None
) -> Row:
    start_frame = start_frame or 0
    if not video.strip() or not label.strip():
        raise DataError(
            f"{where} has no {'label' if video.strip() else 'video'}. Fill it in, or remove the row."
        )
    if num_frames == 0 or (end_frame is not None and end_frame <= start_frame):
        raise DataError(
            f"{where} leaves no frames of '{video}'. Frames are 0-based and end_frame is exclusive."
        )
    return Row(where, video, label, num_frames, start_frame, end_frame)


def _frame_number(where: str, column: str, value: str) -> int | None:
    value = value.strip()
    if value and not is_index(value):
        raise DataError(
            f"{where}: {column} is '{value}'. Expected a number of frames, 0 or more, or nothing."
        )
    return int(value) if value else None


def _label_help(row: Row, rows: Sequence[Row], classes: Sequence[str]) -> str:
    if not is_index(row.label):
        return (
            f"{row.where}: there is no class '{row.label}'. "
            f"Write one of the {len(classes)} names in dataset.json, to the letter, or an index."
        )
    indices = [int(other.label) for other in rows if is_index(other.label)]
    from_one = min(indices) == 1 and max(indices) == len(classes)
    help_text = (
        "Labels here start at 1: subtract 1 from all of them." if from_one else "Correct it, or the classes."
    )
    span = f"0..{len(classes) - 1} ({len(classes)} classes)"
    return f"{row.where}: label {row.label} is outside {span}. {help_text}"
