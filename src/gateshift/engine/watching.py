"""What is told of a run while it trains: on the bar, in report.html, to trackers.

A fault in the telling is said once, and ends nothing.
"""

import math
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gateshift.engine.early_stopping import is_over
from gateshift.engine.faults import cause_of
from gateshift.engine.gate_statistics import GateClips, measure_gates
from gateshift.engine.learner import Learner
from gateshift.engine.optim import current_rate
from gateshift.engine.progress import Bar, console
from gateshift.engine.report import duration, write_report
from gateshift.engine.run import Position
from gateshift.engine.running_page import Standing, write_running_page
from gateshift.engine.tally import Tally
from gateshift.engine.tracking import Tracking, lacking
from gateshift.engine.unwatched import Unwatched
from gateshift.errors import GateshiftError

LOOK_SECONDS = 1.0  # how often the totals are fetched from the device
POINT_SECONDS = 10.0  # how often trackers get numbers within an epoch
WORD_SECONDS = 600.0  # a page that was not written for so long says that the run may have ended


@dataclass
class Seen:
    """Totals of the running epoch at some moment, from which rates since then follow."""

    at: float
    loss: float = 0.0
    clips: float = 0.0
    waited: float = 0.0


def seen_at(position: Position) -> Seen:
    """Return the totals that a position holds, as of now."""
    loss, _, clips = position.totals
    return Seen(time.monotonic(), loss, clips, position.waited)


class Watch(Unwatched):
    """The watch of the main process.

    Args:
        learner: whose run it is.
        position: where it begins or goes on.
        tracking: what gets its numbers.
    """

    def __init__(self, learner: Learner, position: Position, tracking: Tracking) -> None:
        self._learner = learner
        self._tracking = tracking
        self._num_batches = count_batches(learner)
        self._gate_clips = GateClips(learner.val_views, len(learner.train_clips))
        self._began = self._looked = self._wrote = time.monotonic()
        self._first = self._done(position, position.step)
        self._longest = 0.0  # between two pages
        self._loss: float | None = None
        self._broken = False
        self._look = self._point = seen_at(position)

    def window(self, position: Position, step: int, tally: Tally, bar: Bar) -> None:
        """See that ``step`` batches of the running epoch are learnt, with this tally of it."""
        now = time.monotonic()
        if now - self._looked < LOOK_SECONDS:
            return
        self._looked = now
        loss, _, clips = tally.totals.tolist()
        if clips > self._look.clips:
            self._loss = (loss - self._look.loss) / (clips - self._look.clips)
        self._look = Seen(now, loss, clips)
        left = self._seconds_left(position, step)
        bar.show(self._note(left))
        if now - self._point.at >= POINT_SECONDS and clips > self._point.clips:
            seen = Seen(now, loss, clips, position.waited + tally.waiting.so_far())
            self._tracking.add(self._done(position, step), self._rates(self._point, seen))
            self._point = seen

    def gates(self, epoch: int) -> list[dict[str, Any]]:
        """Return the rows of ``gates.csv`` for an epoch, counted from 1, of the network that is kept."""
        learner = self._learner
        return measure_gates(learner.kept, self._gate_clips.read(), learner.precision, epoch)

    def saved(self, position: Position) -> None:
        """See that the state of ``position`` is on disk: now it can be told."""
        # What was saved are the totals of all processes, and later ones are of this one.
        self._look = self._point = seen_at(position)
        self._tracking.send(position)
        self.draw(position)

    def time_left(self, position: Position) -> str:
        """Say how long the rest of the run will take, for the line at an epoch's end."""
        if is_over(position.history, self._learner.config):
            return ""
        left = self._seconds_left(position, position.step)
        return f"  about {duration(left)} left" if left else ""

    def draw(self, position: Position, ended: str = "") -> None:
        """Write the page of a run that is not over."""
        now = time.monotonic()
        self._longest, self._wrote = max(self._longest, now - self._wrote), now
        standing = Standing(
            position.epoch,
            self._learner.config.epochs,
            position.step,
            self._num_batches,
            self._seconds_left(position, position.step),
            self._loss if self._loss is not None and math.isfinite(self._loss) else None,
            max(WORD_SECONDS, 3 * self._longest),
        )
        try:
            write_running_page(self._learner.run.dir, standing, ended)
        except Exception as error:  # whatever it is, the training is worth more than its picture
            if not self._broken:
                console().print(f"report.html cannot be drawn: {error}. Training goes on.", markup=False)
            self._broken = True

    def _done(self, position: Position, step: int) -> int:
        """Return how many batches are learnt, over all epochs."""
        return position.epoch * self._num_batches + step

    def _seconds_left(self, position: Position, step: int) -> float | None:
        """Return the seconds until the last epoch's end, at the pace since this process began."""
        done = self._done(position, step)
        if done <= self._first:
            return None
        pace = (time.monotonic() - self._began) / (done - self._first)
        return pace * (self._learner.config.epochs * self._num_batches - done)

    def _note(self, left: float | None) -> str:
        loss = "" if self._loss is None else f"loss {self._loss:.3f}"
        return loss + ("" if left is None else f"  {duration(left)} left of the run")

    def _rates(self, before: Seen, now: Seen) -> dict[str, float]:
        seconds, clips = now.at - before.at, now.clips - before.clips
        return {
            "loss": (now.loss - before.loss) / clips,
            "lr": current_rate(self._learner.optimizer),
            "clips_per_second": clips * self._learner.accelerator.num_processes / seconds,
            "data_wait": (now.waited - before.waited) / seconds,
        }


def count_batches(learner: Learner) -> int:
    """Return the batches of an epoch."""
    return -(-len(learner.train_clips) // learner.config.batch_size)


@contextmanager
def watched(learner: Learner, position: Position, trackers: Sequence[str]) -> Iterator[None]:
    """Watch what the block trains, from the main process; say on the page how it ended if it did not finish.

    Args:
        learner: what trains.
        position: where it stands, all along.
        trackers: their names, of TRACKERS.

    Raises:
        GateshiftError: a tracker cannot be opened.
    """
    if not learner.accelerator.is_main_process:
        yield
        return
    over = is_over(position.history, learner.config)
    if over:
        trackers = lacking(learner.run.dir, trackers, position)
    tracking = Tracking(learner.run, trackers, count_batches(learner))
    watch = learner.watch = Watch(learner, position, tracking)
    try:
        tracking.send(position)
        if not over:
            watch.draw(position)
        yield
    except KeyboardInterrupt:
        watch.draw(position, "Training was stopped.")
        raise
    except Exception as error:
        said = str(error) if isinstance(error, GateshiftError) else cause_of(error)
        watch.draw(position, f"Training ended before its time: {said}")
        raise
    finally:
        tracking.finish()


def finish_page(run_dir: Path) -> None:
    """Write the page of a finished run; where only the drawing fails, the run is whole without it.

    Raises:
        GateshiftError: there is no room for it, or something of the run is missing.
    """
    try:
        write_report(run_dir)
    except GateshiftError:
        raise
    except Exception as error:  # anything else would make a finished training look like a failed one
        console().print(f"report.html cannot be drawn: {error}. All else of the run is there.", markup=False)
