"""The watch that says nothing, which every learner has until somebody watches."""

from typing import Any

from gateshift.engine.progress import Bar
from gateshift.engine.run import Position
from gateshift.engine.tally import Tally


class Unwatched:
    """Of training steps outside of a run, and of all processes but the main one."""

    def window(self, position: Position, step: int, tally: Tally, bar: Bar) -> None:
        """See that ``step`` batches of the running epoch are learnt."""

    def gates(self, epoch: int) -> list[dict[str, Any]]:
        """Return nothing: gates are measured in one process."""
        return []

    def saved(self, position: Position) -> None:
        """See that the state of ``position`` is on disk."""

    def time_left(self, position: Position) -> str:
        """Say nothing of the time that the rest of the run will take."""
        return ""
