"""Two small charts of a network's confidence: whether it is right, and what silence gains."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from gateshift.engine.chart import Axes, Tick, across, up
from gateshift.evidence.calibration import Bin
from gateshift.evidence.coverage import Answered

MARKS = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)


@dataclass(frozen=True)
class Spot:
    """A place on a chart in pixels, with its words for the pointer, and how large it is drawn."""

    x: float
    y: float
    title: str
    radius: float = 3.0


@dataclass(frozen=True, kw_only=True)
class ShareChart(Axes):
    """All that a chart of one share against another shows; both axes go from 0 to 1."""

    lines: Mapping[str, tuple[Spot, ...]]
    diagonal: bool = False


def reliability_chart(tables: Mapping[str, Sequence[Bin]]) -> ShareChart:
    """Lay out accuracy against confidence, a line for each name; the diagonal is what they should be on."""
    lines = {}
    for name, table in tables.items():
        most = max((row.videos for row in table), default=1)
        lines[name] = tuple(
            Spot(
                across(row.confidence),
                up(row.accuracy),
                f"{name}: {row.videos} videos of confidence {row.confidence:.0%}, {row.accuracy:.0%} right",
                2 + 6 * (row.videos / most) ** 0.5,
            )
            for row in table
            if row.videos
        )
    return _chart("Confidence, and how often it is right", "confidence", lines, diagonal=True)


def coverage_chart(answered: Sequence[Answered]) -> ShareChart:
    """Lay out accuracy against the share of videos that are answered."""
    spots = tuple(
        Spot(
            across(row.coverage),
            up(row.accuracy),
            f"the surest {row.coverage:.0%}: {row.accuracy:.1%} right, confidence from {row.confidence:.1%}",
        )
        for row in sorted(answered, key=lambda row: row.coverage)
    )
    return _chart("Accuracy of the surest videos", "share of the videos", {"accuracy": spots})


def _chart(
    title: str, x_name: str, lines: Mapping[str, tuple[Spot, ...]], diagonal: bool = False
) -> ShareChart:
    return ShareChart(
        title=title,
        x_name=x_name,
        lines=lines,
        diagonal=diagonal,
        x_ticks=tuple(Tick(across(mark), f"{mark:.0%}") for mark in MARKS),
        y_ticks=tuple(Tick(up(mark), f"{mark:.0%}") for mark in MARKS),
    )
