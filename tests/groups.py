"""Groups of processes as a launcher starts them, for programs that have imported everything already."""

import os
import socket
import sys
import traceback
from collections.abc import Callable
from typing import Any

import torch


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def places(world: int) -> list[dict[str, str]]:
    """Return what each of ``world`` processes on this machine finds in its environment."""
    shared = {
        "WORLD_SIZE": world,
        "LOCAL_WORLD_SIZE": world,
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": free_port(),
    }
    own = [shared | {"RANK": rank, "LOCAL_RANK": rank} for rank in range(world)]
    return [{name: str(value) for name, value in place.items()} for place in own]


def fork_group(world: int, work: Callable[[int], object]) -> list[int]:
    """Run ``work(rank)`` in ``world`` processes and return how they ended.

    They are forks of this one, which must have computed nothing yet.
    """
    children = []
    for rank, place in enumerate(places(world)):
        if child := os.fork():
            children.append(child)
            continue
        os.environ.update(place)
        torch.set_num_threads(1)
        status: Any = 1
        try:
            work(rank)
            status = 0
        except SystemExit as end:
            status = end.code
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status or 0)
    return [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
