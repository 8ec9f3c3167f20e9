"""Groups that a launcher starts again: nobody calls the dead."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch.distributed as dist

from gateshift.engine.meeting import agree_on_name

LATE_FIRST = Path(__file__).with_name("late_first.py")


def names_of_group(store, late, world=3):
    """Return the name that each process of a group was told, where one of them comes last."""
    ranks = [rank for rank in range(world) if rank != late]
    with ThreadPoolExecutor(world) as pool:
        early = [pool.submit(agree_on_name, store, rank, world) for rank in ranks]
        assert not any(name.done() for name in early if late == 0)
        last = pool.submit(agree_on_name, store, late, world)
        return {name.result(timeout=60) for name in [*early, last]}


@pytest.mark.parametrize("late", [0, 1, 2])
def test_a_group_agrees_on_a_name_that_no_earlier_group_had(late):
    store = dist.HashStore()
    groups = [names_of_group(store, late) for _ in range(3)]
    assert [len(names) for names in groups] == [1, 1, 1]
    assert len(set.union(*groups)) == 3


def test_a_call_of_a_process_that_died_unanswered_keeps_nobody():
    store = dist.HashStore()
    store.set("call/1", "dead")
    assert len(names_of_group(store, late=1, world=2)) == 1


def test_a_process_alone_waits_for_nobody():
    assert agree_on_name(dist.HashStore(), 0, 1)


@pytest.mark.slow
def test_after_a_restart_processes_meet_though_the_first_comes_last():
    """One restart is used, by the script; a call to the dead process's address would use another."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = subprocess.run(
        [*command, "--max-restarts", "3", str(LATE_FIRST)],
        capture_output=True,
        text=True,
        timeout=300,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert sorted(done.stdout.split("\n")) == ["", "met as 0 after 1", "met as 1 after 1"]
