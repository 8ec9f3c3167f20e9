"""Where the marks of a small chart of accuracy against cost go; the page's template draws them as SVG."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from gateshift.engine.chart import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, Axes, Tick, across, nice_ticks, up

LETTER, LINE = 6.6, 13  # room that a letter and a line of a label take, in pixels


@dataclass(frozen=True)
class Measured:
    """What to draw: a name, what it costs, its accuracy and the interval around it."""

    name: str
    cost: float
    accuracy: float
    interval: tuple[float, float]


@dataclass(frozen=True)
class Mark:
    """A point with its interval and its name, in pixels; ``title`` is for the pointer."""

    name: str
    title: str
    x: float
    y: float
    low: float
    high: float
    anchor: str
    text_x: float
    text_y: float


@dataclass(frozen=True, kw_only=True)
class Scatter(Axes):
    """All that the chart shows."""

    marks: tuple[Mark, ...]


def scatter_chart(title: str, x_name: str, measured: Sequence[Measured]) -> Scatter:
    """Lay out accuracy against cost; both axes span what there is to see, intervals included."""
    costs = [one.cost for one in measured]
    room = 0.06 * (max(costs) - min(costs)) or 0.05 * max(costs)
    least, most = min(costs) - room, max(costs) + room
    lows, highs = zip(*(one.interval for one in measured), strict=True)
    marks_y = nice_ticks(max(0.0, min(*lows, max(highs) - 0.1)), max(highs))
    bottom, top = marks_y[0], marks_y[-1]

    def x_of(cost: float) -> float:
        return across((cost - least) / (most - least))

    def y_of(accuracy: float) -> float:
        return up((accuracy - bottom) / (top - bottom))

    marks = []
    for one in sorted(measured, key=lambda one: -one.accuracy):
        low, high = one.interval
        x, y = x_of(one.cost), y_of(one.accuracy)
        title_text = f"{one.name}: {one.accuracy:.1%} ({low:.1%} to {high:.1%}), {one.cost:.4g} {x_name}"
        side = ("end", x - 9) if x > (LEFT + WIDTH - RIGHT) / 2 else ("start", x + 9)
        marks.append(Mark(one.name, title_text, x, y, y_of(low), y_of(high), *side, y + 4))
    x_ticks = tuple(
        Tick(x_of(cost), f"{cost:g}") for cost in nice_ticks(least, most) if least <= cost <= most
    )
    y_ticks = tuple(Tick(y_of(mark), f"{mark:.0%}") for mark in marks_y)
    return Scatter(title=title, x_name=x_name, marks=spread_names(marks), x_ticks=x_ticks, y_ticks=y_ticks)


def spread_names(marks: Sequence[Mark]) -> tuple[Mark, ...]:
    """Return the marks with names that would cover each other moved up or down."""
    placed: list[Mark] = []
    for mark in marks:
        steps = (sign * step * LINE for step in range(len(marks) + 1) for sign in (1, -1))
        options = [replace(mark, text_y=mark.text_y + step) for step in steps]
        inside = [option for option in options if TOP + LINE / 2 <= option.text_y <= HEIGHT - BOTTOM]
        free = (option for option in inside if not any(_overlap(option, other) for other in placed))
        placed.append(next(free, mark))
    return tuple(placed)


def _overlap(one: Mark, other: Mark) -> bool:
    (left, right), (other_left, other_right) = _extent(one), _extent(other)
    return left < other_right and other_left < right and abs(one.text_y - other.text_y) < LINE


def _extent(mark: Mark) -> tuple[float, float]:
    length = LETTER * len(mark.name)
    return (
        (mark.text_x, mark.text_x + length) if mark.anchor == "start" else (mark.text_x - length, mark.text_x)
    )
