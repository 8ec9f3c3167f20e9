"""Ctrl-C and SIGTERM end training after the current step, with everything saved."""

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

REPEAT_SECONDS = 1.0  # a launcher passes on to its processes what the terminal has sent them too


class StopRequest:
    """True once the process was asked to end."""

    def __init__(self) -> None:
        self.asked = False
        self.since = 0.0

    def __bool__(self) -> bool:
        return self.asked

    def ask(self, number: int, frame: FrameType | None) -> None:
        """Note the request; a second one, if it is not an echo of the first, interrupts at once."""
        now = time.monotonic()
        if not self.asked:
            self.asked, self.since = True, now
        elif now - self.since > REPEAT_SECONDS:
            raise KeyboardInterrupt


@contextmanager
def stop_requests() -> Iterator[StopRequest]:
    """Collect SIGINT and SIGTERM while the block runs (in the main thread; elsewhere nothing is caught)."""
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return
    before = {number: signal.signal(number, request.ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def ignore_interrupts(_: int) -> None:
    """Leave Ctrl-C, which a terminal sends to a loader's workers too, to the main process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def outlive_stop_requests(_: int) -> None:
    """Let a loader's worker outlive a signal to the whole group, until the main process has saved.

    Whoever starts such workers must close the iteration, or the interpreter waits for them at its exit.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
