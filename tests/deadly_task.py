"""A task for extraction's workers that ends its process, as a decoder may over a damaged file."""

import os
import signal
from dataclasses import dataclass
from pathlib import Path

from gateshift.data import conversion


@dataclass(frozen=True)
class DeadlyTask:
    """What ``conversion`` asks of a task; where it is not deadly, its answer is an error that says so."""

    video: str
    deadly: bool
    source: Path = Path("x.mp4")

    def run(self, stopped):
        if self.deadly:
            os.kill(os.getpid(), signal.SIGKILL)
        return conversion._Answer(self.video, error="alive")
