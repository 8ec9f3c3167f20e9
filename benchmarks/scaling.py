"""Loading, compute and communication, each by itself; what they predict for 1, 2 and 4 processes; training.

    step = max(load, compute + exposed, work / cores)

Load: seconds in which the workers of all processes read a batch. Compute: a step of each process on its
share, all at once, so that they share caches and memory, but none waits for another. Exposed: what is left of
averaging the gradients where most of it goes on during the backward pass; all of it where every core computes
already. Work: all that the cores of a machine have to do for one step. All processes have one thread.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

import torch
import torch.distributed as dist
from accelerate import Accelerator
from trainings import Training

from gateshift.data.shapes import generate
from gateshift.engine.batch_fit import STEPS, training_steps
from gateshift.engine.config import TrainConfig
from gateshift.engine.learner import build_learner
from gateshift.engine.loading import epoch_batches, load_batches
from gateshift.engine.run import open_run
from gateshift.engine.waiting import available_cores
from gateshift.models.registry import create_model

BACKWARD = 2 / 3  # of a step is the backward pass, behind which gradients can be averaged
BUCKET = 25 * 2**20  # bytes of the gradients that travel together, in DistributedDataParallel; the last waits
LAUNCH = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node")


@dataclass(frozen=True)
class Parts:
    """What one step takes, part by part, in seconds.

    Attributes:
        processes: how many share the batch.
        workers: of each of them, that read videos.
        load: the time in which all workers read a batch, where they have the machine to themselves.
        compute: a step of a process on its share, while the others do theirs.
        communication: averaging all gradients over the processes, which do nothing else.
        last: of that, what cannot begin before the backward pass has ended.
    """

    processes: int
    workers: int
    load: float
    compute: float
    communication: float
    last: float

    def exposed(self, cores: int) -> float:
        """Return the communication that a step waits for.

        >>> Parts(2, 1, 0, compute=3, communication=2.5, last=0.25).exposed(cores=4)
        0.5
        >>> Parts(2, 1, 0, compute=3, communication=2.5, last=0.25).exposed(cores=2)
        2.5
        """
        if self.processes >= cores:
            return self.communication
        return max(self.communication - BACKWARD * self.compute, self.last)

    def step(self, cores: int) -> float:
        """Return the seconds of a step on a machine of so many cores.

        >>> Parts(4, 0, load=1, compute=6, communication=0.5, last=0.1).step(cores=2)
        8.0
        """
        readers = min((self.workers or 1) * self.processes, cores)
        computing = min(self.processes, cores)
        work = computing * self.compute + self.processes * self.communication + readers * self.load
        if not self.workers:  # each process reads between its steps
            return max(self.load + self.compute + self.exposed(cores), work / cores)
        return max(self.load, self.compute + self.exposed(cores), work / cores)


def main(arguments: Sequence[str] | None = None) -> list[dict[str, Any]]:
    """Measure what the arguments ask for; return what is printed."""
    options = parse(arguments)
    if options.part:
        PARTS[options.part](options)
        return []
    with tempfile.TemporaryDirectory() as room:
        options.room = options.room or Path(room)
        data = options.videos or generate(
            options.room / "videos",
            train_per_class=options.per_class,
            val_per_class=1,
            test_per_class=1,
            size=options.size + options.size // 4,
        )
        options.videos = data
        found = [measure(options, processes) for processes in options.processes]
    show(found)
    print(json.dumps(found))
    return found


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Return the options of the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--videos", type=Path, help="folder of videos; drawn without it")
    parser.add_argument(
        "--per-class", type=int, default=8, help="drawn training videos of each of 12 classes"
    )
    parser.add_argument("--model", default="gsm_resnet18")
    parser.add_argument("--size", type=int, default=64, help="side of the crop")
    parser.add_argument("--segments", type=int, default=8)
    parser.add_argument("--batch", type=int, default=16, help="clips over all processes")
    parser.add_argument("--workers", type=int, default=1, help="of each process, that read videos")
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--rounds", type=int, default=5, help="how often each part is measured")
    parser.add_argument("--sync-bn", action="store_true", help="for the trainings that are measured")
    parser.add_argument("--room", type=Path, help="folder for runs, which is kept")
    parser.add_argument("--part", choices=list(PARTS), help=argparse.SUPPRESS)
    parser.add_argument("--count", type=int, default=1, help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


def measure(options: argparse.Namespace, processes: int) -> dict[str, Any]:
    """Return the parts of a step on so many processes, the prediction, and what training takes."""
    cores = available_cores()
    loaded = ask(options, "load", processes * options.workers)
    loaded *= 1 if options.workers else processes  # each of which reads for itself
    computed = compute_together(options, processes)
    sent = ask(options, "communication", processes) if processes > 1 else [0.0, 0.0]
    parts = Parts(processes, options.workers, options.batch / loaded, computed, *sent)
    found = asdict(parts) | {"exposed": parts.exposed(cores), "cores": cores, "loaded": loaded}
    return found | {"predicted": parts.step(cores), "measured": train(options, processes)}


def settings(options: argparse.Namespace) -> dict[str, Any]:
    """Return the settings of the trainings, by their names in `gateshift train`."""
    return {
        "model": options.model,
        "pretrained": False,
        "num_segments": options.segments,
        "size": options.size,
        "epochs": 2,
        "batch_size": options.batch,
        "precision": "float32",
        "sync_bn": options.sync_bn,
    }


def ask(options: argparse.Namespace, part: str, count: int) -> Any:
    """Measure a part in a process, or a group, of its own; return what it prints."""
    start = [*LAUNCH, str(count)] if part == "communication" else [sys.executable]
    done = subprocess.run(
        [*start, *words_for(options, part, count)],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        env=one_thread(),
    )
    return json.loads(done.stdout)


def words_for(options: argparse.Namespace, part: str, count: int) -> list[str]:
    """Return the command line by which this script measures a part."""
    names = ("videos", "model", "size", "segments", "batch", "rounds")
    own = {name: getattr(options, name) for name in names} | {"part": part, "count": count}
    return [__file__, *(word for name, value in own.items() for word in (f"--{name}", str(value)))]


def compute_together(options: argparse.Namespace, processes: int) -> float:
    """Return the seconds of a step of so many processes, each on its share, which go off at once."""
    words = [sys.executable, *words_for(options, "compute", options.batch // processes)]
    group = [
        subprocess.Popen(
            words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1, env=one_thread()
        )
        for _ in range(processes)
    ]
    ends = [(process.stdin, process.stdout) for process in group]
    for _, answers in ends:
        answers.readline()  # it has taken its first step
    for orders, _ in ends:
        orders.write("go\n")
    steps = [json.loads(answers.readline()) for _, answers in ends]
    for process in group:
        process.communicate()
    return max(steps)  # the others wait for the slowest


def one_thread() -> dict[str, str]:
    """Return the environment of a process that is to compute in one thread."""
    return os.environ | {"OMP_NUM_THREADS": "1"}


def load(options: argparse.Namespace) -> None:
    """Print the clips a second of so many workers, without their start."""
    with tempfile.TemporaryDirectory() as room:
        config = TrainConfig(**settings(options))
        run = open_run(Path(room) / "run", config, options.videos)
        learner = build_learner(run, Accelerator(cpu=True), options.count)
        batches = epoch_batches(learner.train_clips.labels, config, 0) * options.rounds
        loaded = load_batches(learner, batches, 0)
        first = len(batches) // 4  # which come out of what the workers read ahead as they started
        for _ in range(first):
            next(loaded)
        started = time.perf_counter()
        clips = sum(len(batch.labels) for batch in loaded)
    print(json.dumps(clips / (time.perf_counter() - started)))


def compute(options: argparse.Namespace) -> None:
    """Print the seconds of a step with so many clips that are there already, once told to go."""
    steps = training_steps(TrainConfig(**settings(options)), options.videos, Accelerator(cpu=True), False)
    steps(options.count)
    print("ready", flush=True)
    sys.stdin.readline()
    print(json.dumps(median(timed(steps, options.count) / STEPS for _ in range(options.rounds))))


def communicate(options: argparse.Namespace) -> None:
    """Print the seconds of averaging the gradients of the model, and of their last bucket."""
    with torch.device("meta"):
        model = create_model(options.model, 2, options.segments)
    size = sum(parameter.numel() for parameter in model.parameters())
    dist.init_process_group("gloo")
    found = []
    for count in (size, min(size, BUCKET // 4)):
        gradients = list(torch.zeros(count).split(BUCKET // 4))
        dist.barrier()
        found.append(median(timed(average, gradients) for _ in range(options.rounds + 1)))
    if dist.get_rank() == 0:
        print(json.dumps(found))
    dist.destroy_process_group()


def average(buckets: Sequence[torch.Tensor]) -> None:
    """Add up buckets over all processes, as DistributedDataParallel does: one on the way after another."""
    for work in [dist.all_reduce(bucket, async_op=True) for bucket in buckets]:
        work.wait()


def timed(do: Callable[..., object], *arguments: Any) -> float:
    """Return the seconds that ``do(*arguments)`` takes."""
    started = time.perf_counter()
    do(*arguments)
    return time.perf_counter() - started


PARTS = {"load": load, "compute": compute, "communication": communicate}


def train(options: argparse.Namespace, processes: int) -> float:
    """Return the seconds of a step in the second epoch of a training."""
    own = settings(options) | {"workers": options.workers, "device": "cpu"}
    training = Training(options.room / f"run{processes}", options.videos, own)
    command = [*LAUNCH, str(processes), *training.command()[1:]]
    done = subprocess.run(command, capture_output=True, text=True, env=one_thread())
    if done.returncode:
        raise RuntimeError(done.stderr.strip()[-2000:])
    row = training.log()[-1]
    clips = row["clips_per_second"] * row["seconds"]
    return row["seconds"] / -(-round(clips) // options.batch)


def show(found: Sequence[Mapping[str, Any]]) -> None:
    """Print a table to stderr."""
    names = ("load", "compute", "communication", "exposed", "predicted", "measured")
    print("processes" + "".join(f"{name:>15}" for name in names) + "   measured / predicted", file=sys.stderr)
    for row in found:
        times = "".join(f"{1000 * row[name]:12.0f} ms" for name in names)
        ratio = row["measured"] / row["predicted"]
        print(f"{row['processes']:>9}{times}{ratio:>23.2f}", file=sys.stderr)


if __name__ == "__main__":
    main()
