"""The rows and columns of a list that somebody wrote: which sign separates them, and what each one is."""

import csv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from gateshift.data.lists import is_index
from gateshift.data.raw.files import read_lines
from gateshift.errors import DataError

COLUMNS = {  # what a column is -> the names it goes by
    "video": ("path", "video", "file", "filename", "name", "clip", "video_path", "video_name", "file_name"),
    "label": ("label", "class", "action", "category", "target", "label_name", "class_name"),
    "split": ("split", "set", "subset", "partition"),
    "num_frames": ("num_frames", "total_frames", "n_frames", "frames"),
    "start_frame": ("start_frame", "first_frame"),
    "end_frame": ("end_frame", "stop_frame"),
    "start_seconds": ("start_seconds", "start_second", "start_time", "start_sec", "start_s", "time_start"),
    "end_seconds": ("end_seconds", "end_second", "end_time", "end_sec", "end_s", "time_end", "stop_time"),
    "start": ("start", "begin"),  # frames or seconds: what is written there has to tell
    "end": ("end", "stop"),
}
MEANING = {name: column for column, names in COLUMNS.items() for name in names}
EXPECTED = (
    "Expected a header with a column for the video (path, video, file, filename, name or clip) and one for "
    "the label (label, class, action, category or target), and optionally split, start_seconds and "
    "end_seconds, or start_frame and end_frame; or no header, and 'path label' or 'folder num_frames label' "
    "in each row."
)
SIGNS = ("\t", ";", ",", " ")


@dataclass(frozen=True)
class OwnRow:
    """One line of a list: what it holds in each column that was recognised.

    Attributes:
        where: file and line, for messages.
        values: by the keys of ``COLUMNS``.
    """

    where: str
    values: Mapping[str, str]

    def get(self, column: str) -> str:
        """Return a value, empty where there is none."""
        return self.values.get(column, "")


def read_own_table(file: Path) -> list[OwnRow]:
    """Return the rows of a list, with their columns named by its header, or by their order without one.

    Raises:
        DataError: the columns cannot be told, or a row does not have them.
    """
    lines = [(f"{file}:{number}", line.strip()) for number, line in read_lines(file)]
    if not lines:
        raise DataError(f"'{file}' is empty. {EXPECTED}")
    sign = _sign([line for _, line in lines])
    cells = [(where, _cells(where, line, sign)) for where, line in lines]
    columns = _header(file, [fields for _, fields in cells])
    if columns:
        cells = cells[1:]
    else:
        columns = _columns_by_order(file, [fields for _, fields in cells], sign)
    if not cells:
        raise DataError(f"'{file}' holds a header and no rows. Add the videos.")
    return list(_rows(cells, _times_told(file, cells, columns), sign))


def _sign(lines: Sequence[str]) -> str:
    """Return the sign between columns: what makes the first line a header, else what most lines have."""
    for sign in SIGNS:
        if {"video", "label"} <= set(_meanings(lines[0].split(sign))):
            return sign
    for sign in SIGNS[:-1]:
        if sum(sign in line for line in lines) > len(lines) / 2:
            return sign
    return " "


def _cells(where: str, line: str, sign: str) -> list[str]:
    try:
        fields = next(csv.reader([line], delimiter=sign, strict=True, skipinitialspace=True))
    except csv.Error as error:
        raise DataError(
            f"{where} is no whole row ({error}): '{line[-60:]}'. The file may be cut short."
        ) from error
    return [field.strip() for field in fields if field or sign != " "]


def _meanings(fields: Sequence[str]) -> list[str]:
    names = (field.strip().strip('"').lower().replace(" ", "_").replace("-", "_") for field in fields)
    return [MEANING.get(name, f"({name})") for name in names]


def _header(file: Path, rows: Sequence[Sequence[str]]) -> tuple[str, ...]:
    """Return what each column is, where the first line names them; nothing where it is a row already."""
    columns = _meanings(rows[0])
    named = [i for i, column in enumerate(columns) if column in ("video", "label")]
    if not named or all(rows[0][i] in [row[i] for row in rows[1:] if len(row) > i] for i in named):
        return ()  # no such name, or one that other rows hold too: a class called "action"
    if twice := [column for column in COLUMNS if columns.count(column) > 1]:
        raise DataError(f"'{file}' names two columns for the {twice[0]}: {_shown(rows[0])}. Rename one.")
    if lacking := [column for column in ("video", "label") if column not in columns]:
        raise DataError(f"'{file}' has the header {_shown(rows[0])}, without the {lacking[0]}. {EXPECTED}")
    return tuple(columns)


def _columns_by_order(file: Path, rows: Sequence[Sequence[str]], sign: str) -> tuple[str, ...]:
    """Return what the columns of a list without header are, or refuse a first line that seems a header."""
    first, rest = rows[0], rows[1:]
    count = min(len(first), 3) if sign == " " else len(first)  # more, between blanks, are parts of the path
    if count == 3 and is_index(first[-1]) and is_index(first[-2]):
        return ("video", "num_frames", "label")
    label_only = rest and not is_index(first[-1]) and all(is_index(row[-1]) for row in rest)
    word_only = rest and first[0].isalpha() and not any(row[0].isalpha() for row in rest)
    if not (count == 2 or (count == 3 and sign == " ")) or label_only or word_only:
        raise DataError(f"'{file}' begins with {_shown(first)}. {EXPECTED}")
    return ("video", "label")


def _times_told(file: Path, cells: Sequence[tuple[str, list[str]]], columns: Sequence[str]) -> list[str]:
    """Return the columns with "start" and "end" as seconds, or refuse them where they may be frames too."""
    told = list(columns)
    for edge in ("start", "end"):
        if edge not in told:
            continue
        i = told.index(edge)
        if all(is_index(fields[i]) for _, fields in cells if len(fields) > i and fields[i]):
            raise DataError(
                f"'{file}': the column '{edge}' may hold frames or seconds. Name it {edge}_frame or "
                f"{edge}_seconds."
            )
        told[i] = f"{edge}_seconds"
    return told


def _rows(cells: Sequence[tuple[str, list[str]]], columns: Sequence[str], sign: str) -> Iterator[OwnRow]:
    for where, fields in cells:
        extra = len(fields) - len(columns)
        if sign == " " and extra > 0 and columns[0] == "video":  # a path that holds blanks
            fields = [" ".join(fields[: extra + 1]), *fields[extra + 1 :]]
        if len(fields) != len(columns):
            raise DataError(
                f"{where} has {len(fields)} columns, where {len(columns)} are expected: {_shown(fields)}. "
                "Quote values that hold the separator; the file may be cut short."
            )
        row = OwnRow(where, dict(zip(columns, fields, strict=True)))
        if lacking := [column for column in ("video", "label") if not row.get(column)]:
            raise DataError(f"{where} has no {lacking[0]}. Fill it in, or remove the row.")
        yield row


def _shown(fields: Sequence[str]) -> str:
    return f"'{', '.join(fields)[:80]}'"
