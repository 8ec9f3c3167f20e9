"""What became of a process that reads videos and is no longer there, and what to do."""

import signal
import threading
import traceback
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing import active_children
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from typing import TypeVar

from torch.utils.data import DataLoader

from gateshift.errors import FaultError

T = TypeVar("T")
OF_TORCH = "DataLoader worker"  # begins what it says of a worker that died, and stands in what one raised
DYING = 1.0  # seconds that a killed process may take to be gone
MEMORY = "Give fewer --workers or a smaller --batch-size, or use a machine with more memory"
SHARED = (
    "Make /dev/shm larger, through which they hand over clips (docker run --shm-size 8g, or mount -o "
    "remount,size=8G /dev/shm), or give fewer --workers; --workers 0 needs none of it"
)
FILES = "Raise the limit (ulimit -n 65536), or give --workers 0"
CRASH = "Look for a video that does this with `gateshift check`, or give --workers 0 to see where it happens"
SIGNALS = {  # that ended a worker -> what that means, and what to do
    signal.SIGKILL: ("was killed, as the system does where memory runs out", MEMORY),
    signal.SIGBUS: ("found no room in shared memory", SHARED),
    signal.SIGSEGV: ("crashed", CRASH),
    signal.SIGABRT: ("crashed", CRASH),
    signal.SIGILL: ("crashed", CRASH),
    signal.SIGFPE: ("crashed", CRASH),
}
SAID = {  # a part of what an error says -> what that means, and what to do
    "shared memory": ("found no room in shared memory", SHARED),
    "/torch_": ("found no room in shared memory", SHARED),
    "Cannot allocate memory": ("found no memory", MEMORY),
    "can't allocate memory": ("found no memory", MEMORY),
    "MemoryError": ("found no memory", MEMORY),
    "Too many open files": ("may not open more files", FILES),
    "ancdata": ("may not open more files", FILES),
}


def read_on(loader: DataLoader[T]) -> Generator[T, None, None]:
    """Start the workers of ``loader``, and return what yields its batches.

    Raises:
        FaultError: a worker cannot be started, died, or could not go on for want of memory or files; what
            became of it, and what to do.
    """
    with _naming_fates(()):
        batches = iter(loader)
    return _read_on(batches, active_children())


def _read_on(batches: Iterator[T], workers: Sequence[BaseProcess]) -> Generator[T, None, None]:
    try:
        with _naming_fates(workers):
            yield from batches
    finally:
        del batches  # so would the frame of this one


@contextmanager
def _naming_fates(workers: Sequence[BaseProcess]) -> Iterator[None]:
    try:
        yield
    except (RuntimeError, OSError, MemoryError, EOFError) as error:
        fate = fate_of(error, workers)
        if fate is None:
            raise
        traceback.clear_frames(error.__traceback__)  # they hold the other workers, which outlive signals
        raise FaultError(
            f"a process that reads videos {fate[0]}. {fate[1]}, then give the same command again."
        ) from error


def fate_of(error: BaseException, workers: Sequence[BaseProcess]) -> tuple[str, str] | None:
    """Return what happened to a worker and what to do; None if ``error`` is of something else."""
    broken_off = isinstance(error, OSError | EOFError)  # while a worker handed something over
    if OF_TORCH not in str(error) and not broken_off:
        return None
    for text, fate in SAID.items():
        if text in str(error):
            return fate
    wait([worker.sentinel for worker in workers], timeout=DYING)
    codes = [worker.exitcode for worker in workers if worker.exitcode]
    for code in codes:
        if -code in SIGNALS:
            return SIGNALS[signal.Signals(-code)]
    if codes:
        return f"ended (status {codes[0]})", CRASH
    return ("ended", CRASH) if "exited unexpectedly" in str(error) or "is killed" in str(error) else None


@contextmanager
def deaths_found_by_waiting() -> Iterator[None]:
    """While the block runs, notice a worker's death only where its next clips are waited for.

    Otherwise torch raises from a signal handler, in the middle of whatever runs: a step of the optimiser. The
    workers have to run by then, as it is with them that torch sets its handler.
    """
    if threading.current_thread() is not threading.main_thread() or not hasattr(signal, "SIGCHLD"):
        yield
        return
    before = signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    try:
        yield
    finally:
        signal.signal(signal.SIGCHLD, before)
