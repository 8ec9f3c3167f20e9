"""What several processes of one training have in common: the batch, what they decide, what they start from.

One process alone computes what it would without this file, to the last bit, but with ``sync_bn``.
"""

import time
from typing import Any

import torch
import torch.distributed as dist
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list
from torch import Tensor, nn

from gateshift.engine.device import pick_device
from gateshift.engine.meeting import meet
from gateshift.engine.run import Position, Run
from gateshift.errors import ConfigError
from gateshift.models.classifier import VideoClassifier
from gateshift.nn.shared_dropout import SharedDropout
from gateshift.nn.sync_norm import synchronize_norms

ASK_SECONDS = 1.0  # between two agreements, about: a request to stop waits so long, and work goes on as long
MOST_WINDOWS = 100  # between two agreements, however short they were: the next may be long


def join_processes(device: str) -> Accelerator:
    """Return this process's place among those that learn together, on the device that a name means.

    Raises:
        ConfigError: there is no such device.
    """
    where = pick_device(device)
    if where.type == "cuda":
        torch.cuda.set_device(where)  # accelerate takes the current one
    meet(where)
    return Accelerator(cpu=where.type == "cpu")


def require_shares(batch_size: int, num_processes: int) -> None:
    """Refuse a batch that does not divide over the processes.

    Raises:
        ConfigError: it does not; the message has the numbers of processes that would do.
    """
    if batch_size % num_processes:
        fitting = [str(count) for count in range(1, batch_size + 1) if batch_size % count == 0]
        raise ConfigError(
            f"batch_size {batch_size} does not divide over {num_processes} processes. Start "
            f"{_any_of(fitting)} of them, also to resume; or give a new run a --batch-size that is a "
            f"multiple of {num_processes}."
        )


def _any_of(words: list[str]) -> str:
    """Return words as a choice.

    >>> _any_of(["1", "2", "4"]), _any_of(["1"])
    ('1, 2 or 4', '1')
    """
    return " or ".join(part for part in (", ".join(words[:-1]), words[-1]) if part)


def share_network(model: VideoClassifier, accelerator: Accelerator, sync_bn: bool) -> None:
    """Make a network's dropout, and with ``sync_bn`` its batch-norms, those of the batch of all processes."""
    if accelerator.num_processes > 1:
        model.dropout = SharedDropout(model.dropout.p, accelerator.process_index, accelerator.num_processes)
    if sync_bn:  # also of one process, which then rounds as several do
        synchronize_norms(model)


def share_dropout(model: VideoClassifier, num_clips: int) -> None:
    """Say how many clips the next batch has, over all processes."""
    if isinstance(model.dropout, SharedDropout):
        model.dropout.num_clips = num_clips


def share_buffers(model: nn.Module, num_processes: int) -> None:
    """Give all processes the buffers of the main one: without ``sync_bn`` each has those of its share."""
    if num_processes > 1:
        for buffer in model.buffers():
            dist.broadcast(buffer, src=0)


def load_for_all(run: Run, accelerator: Accelerator) -> tuple[Position, dict[str, Any] | None]:
    """Return where the run stands, as ``Run.load`` does, in all processes, also where they share no disk.

    Sums of the running epoch, to which each process adds its own, are the main one's alone.
    """
    if accelerator.num_processes == 1:
        return run.load(main=True)
    found = list(run.load(main=True)) if accelerator.is_main_process else [None, None]
    position, state = broadcast_object_list(found)
    if not accelerator.is_main_process:
        position.totals = [0.0 for _ in position.totals]
    return position, state


def collect_totals(totals: Tensor, accelerator: Accelerator) -> Tensor:
    """Move the sums that the processes have to the main one: return those of all there, zeros elsewhere."""
    if accelerator.num_processes == 1:
        return totals
    everywhere = accelerator.reduce(totals)
    return everywhere if accelerator.is_main_process else torch.zeros_like(everywhere)


class Agreement:
    """Has all processes stop and save at the same window, though each has signals and a clock of its own.

    One alone decides at once. Several ask each other at the ends of windows that follow from their last
    agreement, about ``ASK_SECONDS`` apart, and at the last one of each epoch.
    """

    def __init__(self, accelerator: Accelerator) -> None:
        self._alone = accelerator.num_processes == 1
        self._device = accelerator.device
        self._interval = 1  # windows from one agreement to the next; the same in all processes
        self._windows = 0  # since the last one
        self._since = time.monotonic()

    def __call__(self, stop: bool, save: bool, last: bool) -> tuple[bool, bool]:
        """Return whether any process wants to stop, and whether any wants to save, at the end of a window.

        Args:
            stop: whether this one was asked to stop.
            save: whether it finds that it is time to save.
            last: whether the window is the last one of its epoch.
        """
        if self._alone:
            return stop, save
        self._windows += 1
        if self._windows < self._interval and not last:
            return False, False
        seconds = (time.monotonic() - self._since) / self._windows
        wishes = torch.tensor([float(stop), float(save), seconds], device=self._device)
        dist.all_reduce(wishes, op=dist.ReduceOp.MAX)
        any_stops, any_saves, longest = wishes.tolist()
        self._interval = windows_for(longest)
        self._windows, self._since = 0, time.monotonic()
        return bool(any_stops), bool(any_saves)


def windows_for(seconds: float) -> int:
    """Return after how many windows, of so many seconds, processes ask each other again.

    >>> windows_for(0.24), windows_for(7.0), windows_for(1e-6)
    (4, 1, 100)
    """
    return max(1, min(MOST_WINDOWS, int(ASK_SECONDS / max(seconds, 1e-9))))
