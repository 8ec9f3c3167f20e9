"""Times of routes that do the same work, taken in turns in one run, and what they say of each other."""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median, quantiles

import numpy as np

TURN = 0.1  # seconds: a route that is quicker is called several times in its turn
MOST_CALLS = 100
WARM_UP = 2  # calls before anything counts


@dataclass(frozen=True)
class Ratio:
    """How one route compares with another: the median over the rounds, and the quartiles around it."""

    median: float
    low: float
    high: float


def in_turns(
    routes: Mapping[str, Callable[[], object]],
    rounds: int,
    *,
    settle: Callable[[], object],
    advance: Callable[[], object],
) -> dict[str, list[float]]:
    """Return the seconds a call of each route in each round.

    The routes of a round follow each other, every second time in the reverse order, so that other work on
    the machine hits all of them alike.

    Args:
        routes: what to time.
        rounds: how often.
        settle: waits until the device has done what it was given.
        advance: called after the warm-up and after each round.
    """
    calls = {}
    for name, route in routes.items():
        for _ in range(WARM_UP):
            seconds = _seconds(route, 1, settle)
        calls[name] = max(1, min(MOST_CALLS, math.ceil(TURN / max(seconds, 1e-9))))
    advance()
    times: dict[str, list[float]] = {name: [] for name in routes}
    for number in range(rounds):
        for name in list(routes) if number % 2 == 0 else reversed(list(routes)):
            times[name].append(_seconds(routes[name], calls[name], settle))
        advance()
    return times


def _seconds(route: Callable[[], object], calls: int, settle: Callable[[], object]) -> float:
    settle()
    started = time.perf_counter()
    for _ in range(calls):
        route()
    settle()
    return (time.perf_counter() - started) / calls


def paired(ours: Sequence[float], other: Sequence[float]) -> Ratio:
    """Return how long one route takes in units of another, by pairs of the same round.

    >>> paired([1.0, 2.0, 3.0], [2.0, 4.0, 4.0])
    Ratio(median=0.5, low=0.5, high=0.625)
    """
    ratios = [one / two for one, two in zip(ours, other, strict=True)]
    if len(ratios) == 1:
        return Ratio(ratios[0], ratios[0], ratios[0])
    low, _, high = quantiles(ratios, n=4, method="inclusive")
    return Ratio(median(ratios), low, high)


def growth(counts: Sequence[int], costs: Sequence[float]) -> float:
    """Return the power of the count that a cost grows with; 1 is a straight line through nothing.

    >>> round(growth([8, 16, 32], [1.0, 2.0, 4.0]), 3)
    1.0
    """
    slope, _ = np.polyfit(np.log(counts), np.log(costs), 1)
    return float(slope)
