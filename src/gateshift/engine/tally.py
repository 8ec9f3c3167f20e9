"""What the running epoch has come to: sums over its clips, and the time that it took."""

import time

import torch
from torch import Tensor

from gateshift.engine.run import Position
from gateshift.engine.waiting import Waiting


class Tally:
    """Sums of the running epoch, and what it took since they last went into its position.

    Args:
        position: where the epoch stands.
        device: where losses come from; nothing waits for them there until they are settled.

    Attributes:
        totals: loss sum, right predictions and clips of the epoch, (3,).
        waiting: counts the time without data.
    """

    def __init__(self, position: Position, device: torch.device) -> None:
        self.totals = torch.tensor(position.totals, device=device)
        self.waiting = Waiting(device)
        self._since = time.monotonic()

    @property
    def seconds(self) -> float:
        """Time since the last settlement."""
        return time.monotonic() - self._since

    def add(self, loss: Tensor, right: Tensor, num_clips: int) -> None:
        """Add the summed loss of a batch, its right predictions and its clips."""
        self.totals += torch.stack([loss, right, torch.full_like(right, num_clips)])

    def settle(self, position: Position) -> None:
        """Put sums and time into the position, and count time from nought again."""
        now = time.monotonic()
        position.totals = self.totals.tolist()
        position.seconds += now - self._since
        position.waited += self.waiting.take()
        self._since = now
