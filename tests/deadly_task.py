"""A task for extraction's workers that ends its process, as a decoder may over a damaged file."""

import os
import signal
from dataclasses import dataclass
from pathlib import Path

from gateshift.data import extract


@dataclass(frozen=True)
class DeadlyTask:
    """What ``extract`` asks of a task; where it is not deadly, its answer is an error that says so."""

    video: str
    deadly: bool
    file: Path = Path("x.mp4")

    def run(self, stopped):
        if self.deadly:
            os.kill(os.getpid(), signal.SIGKILL)
        return extract._Answer(self.video, error="alive")
