"""CSV files with a header, as datasets publish them: every row with its place, and whole or refused."""

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from gateshift.data.raw.files import read_lines
from gateshift.errors import DataError


@dataclass(frozen=True)
class TableRow:
    """One row: its values by the name of their column.

    Attributes:
        where: file and line, for messages.
        values: what the row holds, without the blanks around it.
    """

    where: str
    values: Mapping[str, str]

    def __getitem__(self, column: str) -> str:
        """Return a value that must not be empty."""
        value = self.values[column]
        if not value:
            raise DataError(f"{self.where} has no {column}. Fill it in, or fetch the file again.")
        return value

    def number(self, column: str, lowest: int = 0) -> int:
        """Return a value that must be a whole number of at least ``lowest``."""
        value = self[column]
        if not (value.isascii() and value.isdigit() and int(value) >= lowest):
            raise DataError(
                f"{self.where}: {column} is '{value[:40]}'. Expected a whole number, {lowest} or more; "
                "correct it, or fetch the file again."
            )
        return int(value)


def read_header(path: Path, delimiter: str = ",") -> tuple[str, ...]:
    """Return the column names in a file's first line that is not blank; none where it has no lines."""
    lines = read_lines(path)
    return tuple(name.strip() for name in _fields(path, *lines[0], delimiter)) if lines else ()


def read_table(path: Path, *needed: str, delimiter: str = ",") -> list[TableRow]:
    """Read a CSV file whose header has the columns ``needed``, and others.

    Raises:
        DataError: a column is missing, or a row does not have the header's number of columns.
    """
    header = read_header(path, delimiter)
    if lacking := [name for name in needed if name not in header]:
        raise DataError(
            f"'{path}' begins with '{delimiter.join(header)[:80]}'. Expected a header with the column "
            f"'{lacking[0]}'; give the file as the dataset publishes it."
        )
    rows = []
    for number, line in read_lines(path)[1:]:
        fields = _fields(path, number, line, delimiter)
        if len(fields) != len(header):
            raise DataError(
                f"{path}:{number} has {len(fields)} columns and the header {len(header)}: '{line[:60]}'. "
                "The file may be cut short; fetch it again."
            )
        values = dict(zip(header, (field.strip() for field in fields), strict=True))
        rows.append(TableRow(f"{path}:{number}", values))
    return rows


def _fields(path: Path, number: int, line: str, delimiter: str) -> list[str]:
    try:
        return next(csv.reader([line], delimiter=delimiter, strict=True))
    except csv.Error as error:
        raise DataError(
            f"{path}:{number} is no whole row ({error}): '{line[-60:]}'. "
            "The file may be cut short; fetch it again."
        ) from error
