"""Where the axes of a small chart go, and the lines and points of a line chart; pages draw them as SVG."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

WIDTH, HEIGHT = 480, 270
LEFT, RIGHT, TOP, BOTTOM = 52, 14, 14, 40


@dataclass(frozen=True)
class Tick:
    """A mark on an axis: where, in pixels along it, and what it says."""

    at: float
    text: str


@dataclass(frozen=True)
class Point:
    """One epoch of one line, in pixels, with its words for the pointer."""

    epoch: int
    x: float
    y: float
    title: str


@dataclass(frozen=True, kw_only=True)
class Axes:
    """Title, names, ticks and frame of a chart, in pixels of a ``width`` x ``height`` picture."""

    title: str
    x_name: str
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    width: int = WIDTH
    height: int = HEIGHT
    left: int = LEFT
    right: int = WIDTH - RIGHT
    top: int = TOP
    bottom: int = HEIGHT - BOTTOM


@dataclass(frozen=True, kw_only=True)
class Chart(Axes):
    """All that a line chart shows."""

    lines: Mapping[str, tuple[Point, ...]]


def across(share: float, width: int = WIDTH) -> float:
    """Return where a share of the horizontal axis is, in pixels from the left."""
    return round(LEFT + share * (width - LEFT - RIGHT), 1)


def up(share: float) -> float:
    """Return where a share of the vertical axis is, in pixels from the top."""
    return round(HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM), 1)


def line_chart(title: str, lines: Mapping[str, Sequence[float]], *, percent: bool = False) -> Chart:
    """Lay out one line per name over epochs 1, 2, ...; values that are not finite leave a gap.

    A percent chart spans 0 to 1, any other from 0 (or its least value) to its greatest.
    """
    epochs = max((len(values) for values in lines.values()), default=0)
    finite = [value for values in lines.values() for value in values if math.isfinite(value)]
    low, high = (0.0, 1.0) if percent else (min([0.0, *finite]), max([1e-9, *finite]))
    marks = nice_ticks(low, high)
    low, high = min(low, marks[0]), max(high, marks[-1])

    def x_of(epoch: float) -> float:
        return across(0.5 if epochs < 2 else (epoch - 1) / (epochs - 1))

    def y_of(value: float) -> float:
        return up((value - low) / (high - low))

    def words(value: float) -> str:
        return f"{value:.1%}" if percent else f"{value:.4g}"

    points = {
        name: tuple(
            Point(epoch, x_of(epoch), y_of(value), f"{name}, epoch {epoch}: {words(value)}")
            for epoch, value in enumerate(values, start=1)
            if math.isfinite(value)
        )
        for name, values in lines.items()
    }
    steps = [
        epoch for epoch in nice_ticks(1, max(epochs, 2), most=8) if epoch % 1 == 0 and 1 <= epoch <= epochs
    ]
    x_ticks = tuple(Tick(x_of(epoch), f"{epoch:.0f}") for epoch in sorted({1, *steps} if epochs else ()))
    y_ticks = tuple(Tick(y_of(mark), f"{mark:.0%}" if percent else short(mark)) for mark in marks)
    return Chart(title=title, x_name="epoch", lines=points, x_ticks=x_ticks, y_ticks=y_ticks)


def short(value: float) -> str:
    """Return a round value in few letters, for which there is room beside an axis.

    >>> [short(value) for value in (0, 2.5, 0.015, 0.00015)]
    ['0', '2.5', '0.015', '1.5e-4']
    """
    if value == 0 or abs(value) >= 1e-3:
        return f"{value:g}"
    digits, power = f"{value:.1e}".split("e")
    return f"{digits.removesuffix('.0')}e{int(power)}"


def nice_ticks(low: float, high: float, most: int = 6) -> list[float]:
    """Return round values from ``low`` to the first one at or above ``high``, about ``most`` of them.

    >>> nice_ticks(0, 1)
    [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
    >>> nice_ticks(0, 2.6)
    [0.0, 1.0, 2.0, 3.0]
    """
    rough = (high - low) / (most - 1)
    power = 10 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * 0.9999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(index * step, 10) for index in range(first, last + 1)]
