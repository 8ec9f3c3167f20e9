"""What the tables of all commands are made of."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table

Answer = Mapping[str, Any]


def percent(fraction: float) -> str:
    """Return a fraction as people read it.

    >>> percent(0.4724)
    '47.24%'
    """
    return f"{100 * fraction:.2f}%"


def percent_or_dash(fraction: float | None) -> str:
    """Return a fraction in percent, or a dash for a class without videos."""
    return "-" if fraction is None else percent(fraction)


def percent_with_interval(answer: Answer, name: str) -> str:
    """Return an accuracy with its 95 % interval.

    >>> percent_with_interval({"top1": 0.4724, "top1_interval": [0.4633, 0.4816]}, "top1")
    '47.24% (46.3 to 48.2)'
    """
    low, high = answer[f"{name}_interval"]
    return f"{percent(answer[name])} ({100 * low:.1f} to {100 * high:.1f})"


def rows(columns: Sequence[str], values: Sequence[Sequence[object]], title: str | None = None) -> Table:
    """Return a table whose first column is text and whose others are figures."""
    table = Table(title=title, title_justify="left")
    for index, column in enumerate(columns):
        table.add_column(column, justify="right" if index else "left", overflow="fold")
    for line in values:
        table.add_row(*map(str, line))
    return table
