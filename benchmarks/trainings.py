"""Many trainings, some at a time, each a `gateshift train` of its own; what is done is not done again."""

import csv
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean, stdev
from typing import Any

Row = dict[str, float]


@dataclass(frozen=True)
class Training:
    """One run.

    Attributes:
        out: its directory.
        data: folder of its videos.
        settings: of `gateshift train`, by name.
    """

    out: Path
    data: Path
    settings: Mapping[str, Any] = field(default_factory=dict)

    def command(self) -> list[str]:
        """Return the words to type."""
        words = [sys.executable, "-m", "gateshift", "train", str(self.data), "--out", str(self.out)]
        for name, value in self.settings.items():
            flag = name.replace("_", "-")
            if isinstance(value, bool):
                words.append(f"--{flag}" if value else f"--no-{flag}")
            else:
                words += [f"--{flag}", str(value)]
        return words

    def log(self) -> list[Row]:
        """Return the numbers of each epoch."""
        with (self.out / "log.csv").open(encoding="utf-8", newline="") as file:
            return [
                {name: float(text or "nan") for name, text in row.items()} for row in csv.DictReader(file)
            ]


def run_all(trainings: Sequence[Training], jobs: int) -> None:
    """Run trainings, ``jobs`` at a time with as many threads each as that leaves.

    Raises:
        RuntimeError: one of them failed, with what it said.
    """
    threads = max(1, (os.cpu_count() or 1) // jobs)

    def run(training: Training) -> None:
        found = subprocess.run(
            training.command(),
            capture_output=True,
            text=True,
            env=os.environ | {"OMP_NUM_THREADS": str(threads)},
        )
        if found.returncode:
            raise RuntimeError(f"{training.out}: {found.stderr.strip()[-2000:]}")
        last = training.log()[-1]
        print(f"{training.out}: {last['val_top1']:.1%} after the last epoch", file=sys.stderr, flush=True)

    with ThreadPoolExecutor(jobs) as pool:
        try:
            list(pool.map(run, trainings))
        finally:
            pool.shutdown(cancel_futures=True)  # after a failure, the rest would train for hours first


def spread(values: Sequence[float]) -> str:
    """Return the mean of fractions and their standard deviation, in percent.

    >>> spread([0.5, 0.6, 0.7])
    '60.0 ± 10.0'
    """
    doubt = f" ± {100 * stdev(values):.1f}" if len(values) > 1 else ""
    return f"{100 * mean(values):.1f}{doubt}"
