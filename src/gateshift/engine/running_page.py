"""The page of a run that is not over: where it stands, its curves so far, how to go on if it was stopped."""

import time
from dataclasses import dataclass
from pathlib import Path

from gateshift.engine.curves import curves_of, data_wait, read_log
from gateshift.engine.pages import render_page
from gateshift.engine.report import described_run, duration
from gateshift.engine.waiting import waiting_advice
from gateshift.writing import write_text

REFRESH = 30  # seconds after which a browser reads the page again


@dataclass(frozen=True)
class Standing:
    """Where a run stands.

    Attributes:
        epoch: epochs finished.
        epochs: that there are.
        step: batches learnt of the running epoch.
        num_batches: of an epoch.
        left: seconds until the end; None where nothing tells yet.
        loss: mean training loss of the last batches; None where there were none.
        next_write: seconds within which the page is written again.
    """

    epoch: int
    epochs: int
    step: int
    num_batches: int
    left: float | None = None
    loss: float | None = None
    next_write: float = 600.0

    @property
    def share(self) -> float:
        """Return the share of all batches that is learnt."""
        return (self.epoch * self.num_batches + self.step) / (self.epochs * self.num_batches)

    @property
    def place(self) -> str:
        """Say where that is.

        >>> Standing(2, 12, 50, 200).place, Standing(2, 12, 0, 200).place
        ('epoch 3, batch 50', 'epoch 2')
        """
        if self.step:
            return f"epoch {self.epoch + 1}, batch {self.step}"
        return f"epoch {self.epoch}" if self.epoch else "its start"


def write_running_page(run_dir: Path, standing: Standing, ended: str = "") -> Path:
    """Write ``report.html`` of a run that goes on, or that ``ended`` too early; return its path."""
    path = run_dir / "report.html"
    log = read_log(run_dir)
    now = time.time()
    values = {
        **vars(standing),
        **described_run(run_dir),
        **curves_of(run_dir, log),
        "log": log,
        "data_wait": data_wait(log),
        "waiting_advice": waiting_advice(data_wait(log)),
        "share": standing.share,
        "place": standing.place,
        "ended": ended,
        "duration": duration,
        "refresh": REFRESH,
        "written": time.strftime("%H:%M:%S", time.localtime(now)),
        "overdue": now + standing.next_write,
    }
    write_text(path, render_page("running.html.j2", values))
    return path
