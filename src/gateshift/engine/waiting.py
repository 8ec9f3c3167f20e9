"""The share of training that goes by in waiting for data, and what shortens it."""

import math
import os
import time
from collections.abc import Generator, Iterable
from typing import Any, TypeVar

import torch

T = TypeVar("T")
LARGE = 0.2  # of an epoch's time: worth a word
SECONDS = 10.0  # less than that is the start of the workers, and not worth one


class Waiting:
    """Counts the seconds in which a device had nothing to do but wait for the next batch.

    On CUDA the program runs ahead of the device: there its own clock counts, from the end of one batch's work
    to the beginning of the next one's, so that what is read while it works is not counted.
    """

    def __init__(self, device: torch.device) -> None:
        self._cuda = device.type == "cuda"
        self._spans: list[tuple[Any, Any]] = []

    def over(self, batches: Iterable[T]) -> Generator[T, None, None]:
        """Yield the batches, and count the time until each is there."""
        coming = iter(batches)
        while True:
            free = self._now()
            try:
                batch = next(coming)
            except StopIteration:
                return
            self._spans.append((free, self._now()))
            yield batch

    def take(self) -> float:
        """Return the seconds since this was last asked, and count from nought again."""
        seconds = self.so_far()
        self._spans = []
        return seconds

    def so_far(self) -> float:
        """Return the seconds since ``take`` was last asked."""
        if not self._cuda:
            return sum(there - free for free, there in self._spans)
        if self._spans:
            self._spans[-1][1].synchronize()
        return sum(free.elapsed_time(there) for free, there in self._spans) / 1000

    def _now(self) -> Any:
        if not self._cuda:
            return time.monotonic()
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event


def waiting_advice(share: float, workers: int | None = None, cores: int | None = None) -> str:
    """Say what to do where a ``share`` of training went by in waiting for data; nothing where it is small.

    The workers that would keep up follow from the share, had all of them a core to themselves.

    >>> waiting_advice(0.1)
    ''
    >>> print(waiting_advice(0.5, workers=2, cores=16))
    50 % of training went by in waiting for data. Read with --workers 4.
    """
    if not share >= LARGE:  # a log of an earlier version has no number
        return ""
    said = f"{100 * share:.0f} % of training went by in waiting for data."
    proxy = "make copies that are read sooner with `gateshift prepare DATA --proxy 256`"
    if workers is None:
        return f"{said} Read with more --workers, or {proxy}."
    enough = math.ceil(workers / (1 - share)) if workers else math.ceil(share / (1 - share))
    cores = cores or available_cores()
    if enough <= cores:
        return f"{said} Read with --workers {enough}."
    return f"{said} That takes {enough} --workers, and there are {cores} cores: {proxy}."


def available_cores() -> int:
    """Return the cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
