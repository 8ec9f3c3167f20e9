"""How much memory this process has, and how much of the machine's it may still take. Linux tells."""

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

EVERY = 0.001  # seconds between two looks at a process
STATM = Path("/proc/self/statm")  # in pages: all, resident, ...
MEMINFO = Path("/proc/meminfo")
CGROUPS = Path("/proc/self/cgroup")  # hierarchy:controllers:path, a line each
LIMITS = Path("/sys/fs/cgroup")
NAMES = {  # of the limit, what is used, and of that what the system would give back: cgroup v2, and v1
    "": ("memory.max", "memory.current", "inactive_file"),
    "memory": ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
}


def resident() -> int:
    """Return the bytes of this process that lie in memory."""
    return int(STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@contextmanager
def watch_resident() -> Iterator[list[int]]:
    """While the block runs, keep the largest resident memory that was seen, as the one item of a list."""
    peak, done = [resident()], threading.Event()

    def watch() -> None:
        while not done.is_set():
            peak[0] = max(peak[0], resident())
            time.sleep(EVERY)

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield peak
    finally:
        done.set()
        watcher.join()


def available_memory() -> int | None:
    """Return the bytes that can be taken without swapping, on the machine and in its containers.

    None where the system does not tell: on others than Linux.
    """
    if not (MEMINFO.exists() and STATM.exists()):
        return None
    lines = dict(line.split(":", 1) for line in MEMINFO.read_text().splitlines())
    kilobytes = int(lines["MemAvailable"].split()[0])
    return max(0, min([kilobytes * 1024, *_left_in_containers()]))


def _left_in_containers() -> Iterator[int]:
    """Yield what each cgroup with a limit that this process is in leaves."""
    lines = CGROUPS.read_text().splitlines() if CGROUPS.exists() else []
    for _, controllers, path in (line.split(":", 2) for line in lines):
        kind = "memory" if "memory" in controllers.split(",") else controllers
        if kind not in NAMES:
            continue
        limit, used, given_back = NAMES[kind]
        top = LIMITS / kind
        inside = top / path.lstrip("/")
        for folder in {top, inside, *(parent for parent in inside.parents if parent.is_relative_to(top))}:
            text = (folder / limit).read_text().strip() if (folder / limit).exists() else "max"
            if text != "max":
                stat = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
                yield int(text) - int((folder / used).read_text()) + int(stat[given_back])
