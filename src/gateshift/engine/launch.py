"""The place of this process among those that a launcher started.

`torchrun` and `accelerate launch` say it in RANK, WORLD_SIZE, LOCAL_RANK, LOCAL_WORLD_SIZE, MASTER_ADDR and
MASTER_PORT. SLURM's `srun` and Open MPI's `mpirun` say it otherwise, and are translated here.
"""

import os
import re
from collections.abc import Mapping

from gateshift.errors import ConfigError

FIRST_PORT = 12000  # of those for SLURM's jobs: registered to few, and below the ones that systems hand out
NUM_PORTS = 18000
OPEN_MPI_PORT = "29500"  # torch's own


def adopt_launcher() -> None:
    """Say this process's place in the words of `torchrun`, where another launcher started it.

    Raises:
        ConfigError: the processes are on several machines, and nothing says where the first one is.
    """
    os.environ.update(place_among(os.environ))


def place_among(environment: Mapping[str, str]) -> dict[str, str]:
    """Return what `torchrun` would add to ``environment``; nothing where it, or no launcher, was there.

    A script of `sbatch` is no process of a group, though SLURM tells it how many there will be.

    >>> place_among({"SLURM_NTASKS": "4", "SLURM_PROCID": "0"})
    {}

    Raises:
        ConfigError: the processes are on several machines, and nothing says where the first one is.
    """
    if "RANK" in environment:
        return {}
    if int(environment.get("SLURM_STEP_NUM_TASKS", "1")) > 1:
        place = _from_slurm(environment)
    elif int(environment.get("OMPI_COMM_WORLD_SIZE", "1")) > 1:
        place = _from_open_mpi(environment)
    else:
        return {}
    return {name: environment.get(name, value) for name, value in place.items()}


def _from_slurm(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the place of a task that `srun` started."""
    tasks = expand_counts(environment.get("SLURM_STEP_TASKS_PER_NODE", "1"))
    hosts = environment.get("SLURM_STEP_NODELIST") or environment.get("SLURM_JOB_NODELIST", "localhost")
    return {
        "RANK": environment["SLURM_PROCID"],
        "WORLD_SIZE": environment["SLURM_STEP_NUM_TASKS"],
        "LOCAL_RANK": environment["SLURM_LOCALID"],
        "LOCAL_WORLD_SIZE": str(tasks[int(environment.get("SLURM_NODEID", "0")) % len(tasks)]),
        "MASTER_ADDR": expand_hosts(hosts)[0],
        "MASTER_PORT": str(slurm_port(environment)),
    }


def slurm_port(environment: Mapping[str, str]) -> int:
    """Return the port of a step, the same in all of its tasks and another one in other jobs and steps.

    >>> slurm_port({"SLURM_JOB_ID": "123456", "SLURM_STEP_ID": "2"})
    27458
    """
    job, step = (int(environment.get(name, "0")) for name in ("SLURM_JOB_ID", "SLURM_STEP_ID"))
    return FIRST_PORT + (job + step) % NUM_PORTS


def _from_open_mpi(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the place of a process that Open MPI's `mpirun` started."""
    place = {
        "RANK": environment["OMPI_COMM_WORLD_RANK"],
        "WORLD_SIZE": environment["OMPI_COMM_WORLD_SIZE"],
        "LOCAL_RANK": environment["OMPI_COMM_WORLD_LOCAL_RANK"],
        "LOCAL_WORLD_SIZE": environment["OMPI_COMM_WORLD_LOCAL_SIZE"],
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": OPEN_MPI_PORT,
    }
    if place["WORLD_SIZE"] != place["LOCAL_WORLD_SIZE"] and "MASTER_ADDR" not in environment:
        raise ConfigError(
            f"mpirun started {place['WORLD_SIZE']} processes on several machines, and nothing says where the "
            "first one is. Add -x MASTER_ADDR=HOST to mpirun, with the name of its machine, or use torchrun."
        )
    return place


def expand_hosts(text: str) -> list[str]:
    """Return the machines of a list in SLURM's spelling, in its order.

    >>> expand_hosts("node[01-03,07],gpu2")
    ['node01', 'node02', 'node03', 'node07', 'gpu2']
    >>> expand_hosts("rack[1-2]-n[9-10]")
    ['rack1-n9', 'rack1-n10', 'rack2-n9', 'rack2-n10']
    """
    names = re.split(r",(?![^\[]*\])", text)  # commas outside of brackets
    return [host for name in names for host in _expand_name(name)]


def _expand_name(name: str) -> list[str]:
    found = re.fullmatch(r"(.*?)\[([^\]]*)\](.*)", name)
    if found is None:
        return [name]
    before, numbers, after = found.groups()
    return [
        f"{before}{number:0{len(first)}d}{rest}"
        for first, _, last in (part.partition("-") for part in numbers.split(","))
        for number in range(int(first), int(last or first) + 1)
        for rest in _expand_name(after)
    ]


def expand_counts(text: str) -> list[int]:
    """Return the tasks of each machine, from SLURM's spelling.

    >>> expand_counts("4(x2),1")
    [4, 4, 1]
    """
    counts = []
    for part in text.split(","):
        count, _, times = part.partition("(x")
        counts += [int(count)] * int(times.rstrip(")") or 1)
    return counts
