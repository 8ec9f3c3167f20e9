"""Tasks in processes of their own: one that dies, as a decoder may over a damaged file, costs one task.

A worker is a process at the other end of a pipe. Closing the pipe asks it to stop, and so does the death of
the main process.
"""

import signal
import sys
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from multiprocessing import get_context, resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import NamedTuple, Protocol, TypeVar

from gateshift.errors import DataError

PATIENCE = 5.0  # seconds that a worker has to end after its step
HANGING = "no end after"  # so begins what is said of a task that took too long
Answer = TypeVar("Answer")
AnswerOut = TypeVar("AnswerOut", covariant=True)


class Stopped(Exception):
    """A task was asked to end on its way."""


class Task(Protocol[AnswerOut]):
    """What a worker is sent: it goes through a pipe, and so does its answer."""

    def run(self, stopped: Callable[[], bool]) -> AnswerOut:
        """Do the work; where ``stopped`` says so, raise ``Stopped``."""


class _Busy(NamedTuple):
    """What a worker does, and when it began; one without a task is still starting."""

    task: Task | None
    since: float


T = TypeVar("T", bound=Task)


def run_tasks(
    tasks: Iterable[T],
    num_workers: int,
    lost: Callable[[T, str], Answer],
    *,
    most_seconds: float = float("inf"),
) -> Generator[Answer, None, None]:
    """Yield an answer to each task as it is done; no process outlives the iteration, so close it.

    Args:
        tasks: what to do, handed out in order.
        num_workers: processes; with 0, tasks run in this one, where nothing catches their death.
        lost: returns the answer to a task that ended its process, from the task and how: "signal 11".
        most_seconds: after which a task counts as hanging: its process is ended.

    Raises:
        DataError: a process ended as it started.
    """
    if num_workers == 0:
        for task in tasks:
            yield task.run(lambda: False)
        return
    waiting = iter(tasks)
    workers: dict[Connection, SpawnProcess] = {}
    busy: dict[Connection, _Busy] = {}
    try:
        for _ in range(num_workers):
            _start_worker(workers, busy)
        while busy:
            _end_hanging(workers, busy, most_seconds)
            for ready in wait(list(busy), _next_limit(busy, most_seconds)):
                assert isinstance(ready, Connection)
                done, since = busy.pop(ready)
                try:
                    answer = ready.recv()
                except (EOFError, OSError):
                    how = _how_it_ended(workers.pop(ready), time.monotonic() - since, most_seconds)
                    answer = lost(_require_started(done, how), how)  # type: ignore[arg-type]
                    _start_worker(workers, busy)
                else:
                    if following := next(waiting, None):
                        busy[ready] = _Busy(following, time.monotonic())
                        with suppress(OSError):  # it has died since, which the next turn finds
                            ready.send(following)
                if done:
                    yield answer
    finally:
        for connection in workers:
            connection.close()
        for process in workers.values():
            process.join(PATIENCE)
            process.terminate()
            process.join()


def _start_worker(workers: dict[Connection, SpawnProcess], busy: dict[Connection, _Busy]) -> None:
    context = get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_work, args=(theirs,), daemon=True)
    with _interrupts_held():
        process.start()
    theirs.close()
    workers[ours] = process
    busy[ours] = _Busy(None, time.monotonic())


def _work(connection: Connection) -> None:
    """Say that this process has started, then do what comes in, until the other end is closed."""
    with suppress(EOFError, OSError, Stopped):
        connection.send(None)
        while True:
            connection.send(connection.recv().run(connection.poll))


def _end_hanging(
    workers: Mapping[Connection, SpawnProcess], busy: Mapping[Connection, _Busy], most_seconds: float
) -> None:
    """End the processes whose task takes too long; their pipes then say so."""
    for connection, (task, since) in busy.items():
        if task and time.monotonic() - since >= most_seconds:
            workers[connection].kill()


def _next_limit(busy: Mapping[Connection, _Busy], most_seconds: float) -> float | None:
    """Return the seconds until the first task of those that run counts as hanging."""
    if most_seconds == float("inf"):
        return None
    return max(0.0, min(since for _, since in busy.values()) + most_seconds - time.monotonic()) + 0.01


def _how_it_ended(process: SpawnProcess, seconds: float, most_seconds: float) -> str:
    process.join()
    if seconds >= most_seconds:
        return f"{HANGING} {most_seconds:g} seconds"
    status = process.exitcode or 0
    return f"signal {-status}" if status < 0 else f"status {status}"


def _require_started(task: Task | None, how: str) -> Task:
    if task is None:
        raise DataError(
            f"a worker process ended as it started ({how}); what it said is above. "
            "In a program of your own, call gateshift under `if __name__ == '__main__':`."
        )
    return task


@contextmanager
def _interrupts_held() -> Iterator[None]:
    """Start processes that Ctrl-C, which a terminal sends to all of them, does not reach."""
    if sys.platform == "win32":
        yield
        return
    resource_tracker.ensure_running()  # it would let interrupts through if it started with the first worker
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
