"""The page of a learning-rate range test: the loss against the rate."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gateshift.engine.chart import RIGHT, Axes, Tick, across, nice_ticks, up
from gateshift.engine.config import TrainConfig
from gateshift.engine.pages import render_page
from gateshift.writing import write_text

WIDE = 720  # pixels
ROOM = 1.2  # of the loss at the start: what lies above is cut off, as the explosion would hide all else


@dataclass(frozen=True, kw_only=True)
class RateChart(Axes):
    """Points of each step's loss, a line through the smoothed one, and rates to mark, in pixels."""

    points: tuple[tuple[float, float, str], ...]
    line: str
    marks: tuple[tuple[float, str], ...]


def write_page(path: Path, data: Path, config: TrainConfig, values: Mapping[str, Any]) -> None:
    """Write the page of what `find-lr` answers."""
    marked = {"proposed": values["lr"], "lowest loss": values["turning"]}
    page = {
        "title": f"Learning rates for {config.model} on {data.name}",
        "chart": rate_chart(values["steps"], marked),
        "settings": f"{config.optimizer}, {config.effective_batch} clips a step, recipe {values['recipe']}",
        **values,
    }
    write_text(path, render_page("find_lr.html.j2", page))


def rate_chart(steps: Sequence[Mapping[str, float]], marked: Mapping[str, float]) -> RateChart:
    """Lay out the loss over the logarithm of the rate; marks beyond its ends are left out."""
    smoothed = [step["smoothed"] for step in steps]
    top = ROOM * max(smoothed[: max(len(smoothed) // 4, 1)])
    marks_y = nice_ticks(min(0.0, *smoothed), top)
    low, high = marks_y[0], marks_y[-1]
    first, last = (math.log10(steps[end]["lr"]) for end in (0, -1))

    def x_of(rate: float) -> float:
        return across((math.log10(rate) - first) / (last - first), WIDE)

    def y_of(loss: float) -> float:
        return up((loss - low) / (high - low))

    seen = [step for step in steps if low <= step["loss"] <= high]
    line = [step for step in steps if step["smoothed"] <= high]
    powers = range(math.ceil(first), math.floor(last) + 1)
    return RateChart(
        title="Loss by learning rate",
        x_name="learning rate",
        x_ticks=tuple(Tick(x_of(10.0**power), f"1e{power}") for power in powers),
        y_ticks=tuple(Tick(y_of(mark), f"{mark:g}") for mark in marks_y),
        width=WIDE,
        right=WIDE - RIGHT,
        points=tuple(
            (x_of(step["lr"]), y_of(step["loss"]), f"lr {step['lr']:.2g}: loss {step['loss']:.3g}")
            for step in seen
        ),
        line=" ".join(f"{x_of(step['lr'])},{y_of(step['smoothed'])}" for step in line),
        marks=tuple(
            (x_of(rate), f"{name} {rate:.2g}")
            for name, rate in marked.items()
            if first <= math.log10(rate) <= last
        ),
    )
