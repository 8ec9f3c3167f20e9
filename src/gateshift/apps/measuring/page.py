"""The page of `gateshift bench`: time as a share of the plain implementation's, growth, and all figures."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from gateshift.apps.measuring.cases import WHOLE
from gateshift.engine.chart import TOP, WIDTH, Axes, Tick, across, nice_ticks, up
from gateshift.engine.machine import describe
from gateshift.engine.pages import render_page
from gateshift.writing import write_text

Row = Mapping[str, Any]
BAR, GAP = 16, 8  # height of a bar, and what is free above and below it, in pixels
NAMES, FIGURES = 390, 60  # room for the name of a bar on its left, and for its figure on its right


@dataclass(frozen=True)
class Bar:
    """One case: its name, its share of the plain time, and the quartiles around it, in pixels."""

    name: str
    text: str
    y: float
    width: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class Bars(Axes):
    """Time as a share of the plain implementation's; ``plain`` is where that is."""

    bars: tuple[Bar, ...]
    plain: float


@dataclass(frozen=True)
class Mark:
    """One measurement of a line, in pixels, with its words for the pointer."""

    x: float
    y: float
    title: str


@dataclass(frozen=True, kw_only=True)
class Growth(Axes):
    """Seconds a step against segments, ours and plain."""

    lines: Mapping[str, tuple[Mark, ...]]


def write_page(path: Path, answer: Mapping[str, Any]) -> None:
    """Write the page of what is measured so far."""
    values = {
        "title": "What gateshift spends, beside the plain implementation",
        "machine": describe(answer["hardware"]),
        "date": answer["date"],
        "rounds": answer["rounds"],
        "waiting": answer["waiting"],
        "bars": bars(answer["results"]),
        "growths": growth_charts(answer["results"]),
        "results": answer["results"],
    }
    write_text(path, render_page("bench.html.j2", values))


def case_name(row: Row) -> str:
    """Return a case as people read it.

    >>> case_name({"what": "train", "model": "gsm_resnet18", "part": "", "precision": "float32",
    ...            "batch_size": 4, "num_segments": 8})
    'train gsm_resnet18 float32, 4 x 8'
    """
    words = (row["what"], row["model"], row["part"], row["precision"])
    return " ".join(filter(None, words)) + f", {row['batch_size']} x {row['num_segments']}"


def bars(results: Sequence[Row]) -> Bars:
    """Lay out one bar a case, in the order of the results."""
    most = max(1.0, *(row["ratio_high"] for row in results))
    marks = nice_ticks(0, most)
    right = NAMES + WIDTH
    bottom = TOP + len(results) * (BAR + 2 * GAP)

    def x_of(ratio: float) -> float:
        return round(NAMES + ratio / marks[-1] * WIDTH, 1)

    return Bars(
        title="Time in units of the plain implementation's",
        x_name="",
        bars=tuple(
            Bar(
                name=case_name(row),
                text=f"{row['ratio']:.2f}",
                y=TOP + number * (BAR + 2 * GAP) + GAP,
                width=round(x_of(row["ratio"]) - NAMES, 1),
                low=x_of(row["ratio_low"]),
                high=x_of(row["ratio_high"]),
            )
            for number, row in enumerate(results)
        ),
        plain=x_of(1.0),
        x_ticks=tuple(Tick(x_of(mark), f"{mark:g}") for mark in marks),
        y_ticks=(),
        width=right + FIGURES,
        height=bottom + 30,
        left=NAMES,
        right=right,
        bottom=bottom,
    )


def growth_charts(results: Sequence[Row]) -> list[Growth]:
    """Lay out a chart for each group of rows of whole networks that differ in their segments alone."""

    def alike(row: Row) -> tuple[Any, ...]:
        return tuple(row[name] for name in ("what", "model", "part", "precision", "batch_size"))

    whole = sorted((row for row in results if row["what"] in WHOLE), key=alike)
    groups = [list(rows) for _, rows in groupby(whole, key=alike)]
    return [_growth(rows) for rows in groups if len({row["num_segments"] for row in rows}) > 1]


def _growth(rows: Sequence[Row]) -> Growth:
    marks_x = nice_ticks(0, max(row["num_segments"] for row in rows))
    marks_y = nice_ticks(0, max(max(row["seconds"], row["plain_seconds"]) for row in rows))

    def x_of(segments: float) -> float:
        return across(segments / marks_x[-1])

    def y_of(seconds: float) -> float:
        return up(seconds / marks_y[-1])

    def line(name: str, key: str) -> tuple[Mark, ...]:
        ordered = sorted(rows, key=lambda row: row["num_segments"])
        return tuple(
            Mark(
                x_of(row["num_segments"]),
                y_of(row[key]),
                f"{name}, {row['num_segments']} segments: {row[key]:.4g} s",
            )
            for row in ordered
        )

    return Growth(
        title=case_name(rows[0]).rpartition(",")[0] + ", seconds",
        x_name="segments",
        lines={"gateshift": line("gateshift", "seconds"), "plain": line("plain", "plain_seconds")},
        x_ticks=tuple(Tick(x_of(mark), f"{mark:g}") for mark in marks_x),
        y_ticks=tuple(Tick(y_of(mark), f"{mark:g}") for mark in marks_y),
    )
