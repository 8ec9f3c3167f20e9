"""A program that gives commands to groups of processes, one after the other: ``test_processes`` runs it.

    group_commands.py ASKED

ASKED is a JSON list of {"world", "words"} and perhaps "stop": {"rank", "epoch", "step"}, where that process
gets SIGTERM before that batch of training. Prints a JSON list of {"ended", "said"}: how each process ended,
and what all of them wrote to stderr.
"""

import json
import os
import signal
import sys
import tempfile
from typing import Any

from gateshift import cli
from gateshift.engine import loop, test, train  # noqa: F401  # what the commands import
from groups import fork_group


def stop_before(rank: int, epoch: int, step: int) -> None:
    """Have this process signalled before a batch, if it is the one."""
    begin_batch = loop.begin_batch

    def begin(learner: Any, at_epoch: int, at_step: int, *others: Any) -> None:
        if (at_epoch, at_step) == (epoch, step) and learner.accelerator.process_index == rank:
            os.kill(os.getpid(), signal.SIGTERM)
        begin_batch(learner, at_epoch, at_step, *others)

    loop.begin_batch = begin


def answer(world: int, words: list[str], stop: dict[str, int] | None = None) -> dict[str, Any]:
    with tempfile.TemporaryFile("w+") as said:

        def work(rank: int) -> None:
            os.dup2(said.fileno(), 2)
            if stop:
                stop_before(**stop)
            cli.main(words)

        ended = fork_group(world, work)
        said.seek(0)
        return {"ended": ended, "said": said.read()}


if __name__ == "__main__":
    sys.stdout.flush()
    ours = os.dup(1)
    os.dup2(2, 1)  # what the commands answer is of no interest here
    answers = [answer(**asked) for asked in json.loads(sys.argv[1])]
    os.write(ours, json.dumps(answers).encode())
