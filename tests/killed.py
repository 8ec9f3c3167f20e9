"""A program that runs `gateshift.prepare` in children, and kills them at one step after the other.

    killed.py DATA PLACE OPTIONS KILLS

OPTIONS are those of `gateshift.prepare`, as JSON. A step is a call to the system that Python makes: to open,
move, link, make or remove a file. PLACE/whole is what comes of a run that nobody kills, PLACE/killed<step> of
one that is killed once, of which there are KILLS, and PLACE/chain of one that is killed again and again.
Prints the steps.
"""

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import gateshift
from gateshift.data import conversion
from gateshift.data.worker_pool import run_tasks

STEPS = frozenset(("open", "os.rename", "os.mkdir", "os.link", "os.remove", "os.rmdir", "os.truncate"))


def run(data: str, out: Path, options: dict[str, Any], step: int) -> int:
    """Prepare in a child that is killed at a step; return how many it made, or -1 where it was killed."""
    ours, theirs = os.pipe()
    if child := os.fork():
        os.close(theirs)
        with os.fdopen(ours) as answer:
            said = answer.read()
        _, status = os.waitpid(child, 0)
        if os.WIFSIGNALED(status):
            assert os.WTERMSIG(status) == signal.SIGKILL
            return -1
        assert os.WEXITSTATUS(status) == 0, f"status {status}"
        return int(said)
    count = 0

    def on_event(name: str, _: object) -> None:
        nonlocal count
        count += name in STEPS
        if name in STEPS and count == step:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(on_event)
    gateshift.prepare(data, out=out, workers=1, **options)
    os.write(theirs, str(count).encode())
    os._exit(0)


def main() -> None:
    """Kill at steps from the first to the last."""
    data, place, options, kills = sys.argv[1], sys.argv[2], json.loads(sys.argv[3]), int(sys.argv[4])
    conversion.run_tasks = lambda tasks, workers, lost: run_tasks(tasks, 0, lost)
    gateshift.prepare(data, out=Path(place, "warm"), workers=1, **options)  # imports what is imported late
    total = run(data, Path(place, "whole"), options, 0)
    kills = min(kills, total)
    steps = sorted({1 + i * (total - 1) // max(kills - 1, 1) for i in range(kills)})
    for step in steps:
        out = Path(place, f"killed{step}")
        assert run(data, out, options, step) == -1
        run(data, out, options, 0)
    step = total // 7
    while run(data, Path(place, "chain"), options, step) < 0:
        step += 5  # a run that goes on has things to look at before
    print(*steps)


if __name__ == "__main__":
    main()
