"""Peak memory of a step, above what was there before the first one."""

import gc
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context

import torch

from gateshift.engine.memory import STATM, resident, watch_resident
from gateshift.engine.stopping import ignore_interrupts
from gateshift.errors import GateshiftError

STEPS = 3  # the first also makes what later ones keep: gradients, momentum


def peak_of(build: Callable[[], Callable[[], object]], device: torch.device) -> int | None:
    """Return the peak in bytes of a step that ``build`` makes; None where this machine does not tell.

    On a CPU the step is made and taken in a process of its own, so ``build`` must pickle.

    Raises:
        GateshiftError: that process was killed.
    """
    if device.type == "cuda":
        return peak_on_cuda(build())
    if device.type != "cpu" or not STATM.exists():
        return None
    with ProcessPoolExecutor(1, get_context("spawn"), ignore_interrupts, (0,)) as pool:
        try:
            return pool.submit(peak_of_process, build, torch.get_num_threads()).result()
        except BrokenProcessPool as error:
            raise GateshiftError(
                "the process that measures memory was killed, as happens where there is too little of it. "
                "Lower --batch-size or --num-segments."
            ) from error


def peak_on_cuda(step: Callable[[], object]) -> int:
    """Return the peak of what torch allocates on the current CUDA device."""
    gc.collect()
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    for _ in range(STEPS):
        step()
    return torch.cuda.max_memory_allocated() - before


def peak_of_process(build: Callable[[], Callable[[], object]], num_threads: int) -> int:
    """Return the peak of this process's resident memory."""
    torch.set_num_threads(num_threads)
    step = build()
    gc.collect()
    before = resident()
    with watch_resident() as peak:
        for _ in range(STEPS):
            step()
    return max(peak) - before
