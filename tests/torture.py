"""Kills small trainings at random moments, in every way that one machine can, until each of them has ended.

    python tests/torture.py --runs 50

All must end as a training that nobody disturbed: weights and their average, optimiser, log, gates and scores
the same to the last bit, and no file left half-written. Progress goes to stderr, a summary in JSON to stdout;
the exit status is 1 if a run ended otherwise. A seed decides what is done to each run; when it happens, where
a signal comes from outside, follows from the clock.

What is imported, is once: each start of a training is a fork, with the command line of `gateshift train`.
"""

import argparse
import csv
import importlib
import json
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file

import gateshift.cli
from gateshift.data.shapes import generate
from gateshift.engine import checkpoint, loop
from gateshift.evidence.scores import Scores
from gateshift.models.weights import read_metadata

IMPORTED = ("tyro", "gateshift.cli_tables", "gateshift.engine.train", "torch._dynamo")  # sooner or later
SETTINGS = {
    "model": "gsm_mobilenet_v2",  # its states are small
    "num-segments": 4,
    "size": 32,
    "epochs": 2,
    "warmup-epochs": 0,
    "batch-size": 2,
    "accumulate": 2,
    "lr": 1e-3,
    "ema": 0.9,
    "augment": "mixup=0.2,cutmix=1,jitter=0.2",
    "device": "cpu",
}
STEPS = frozenset(("open", "os.rename", "os.mkdir", "os.link", "os.remove", "os.rmdir", "os.truncate"))
TIMES = ("seconds", "clips_per_second", "data_wait", "waited")
SIGNALS = {"interrupt": signal.SIGINT, "terminate": signal.SIGTERM, "kill the group": signal.SIGKILL}
HARMS = (
    *SIGNALS,
    *("kill the main process", "kill a worker", "kill between two writes", "fill the disk"),
    *("tear the state", "plant a NaN"),
)
SAID = {  # what a training that is harmed so says, if the harm comes to it at all
    "interrupt": "The same command resumes",
    "terminate": "The same command resumes",
    "kill a worker": "a process that reads videos was killed",
    "fill the disk": "cannot be written",
    "plant a NaN": "is nan or infinite",
}
MANY_WRITES = 100  # to a state count as one step, or hardly one would be between two files
MOST_HARMS = 4  # to one run
PATIENCE = 300.0  # seconds that one start may take


class Steps:
    """Counts what a process does to files of a run, and does something at one of these steps."""

    def __init__(self, run: Path, at: int = 0, do: Any = None) -> None:
        self.run, self.at, self.do, self.count, self.writes = str(run), at, do, 0, 0

    def watch(self) -> None:
        """Begin, in this process."""
        write = checkpoint._Summed.write

        def written(summed: Any, content: bytes) -> int:
            self.writes += 1
            if not self.writes % MANY_WRITES:
                self.step()
            return write(summed, content)

        checkpoint._Summed.write = written
        sys.addaudithook(self._on_event)

    def step(self) -> None:
        """Count one."""
        self.count += 1
        if self.count == self.at:
            self.do()

    def _on_event(self, name: str, args: tuple[Any, ...]) -> None:
        if name in STEPS and isinstance(args[0], str | os.PathLike) and str(args[0]).startswith(self.run):
            self.step()


class Torture:
    """One unbroken training of a dataset, and others that are harmed and compared with it."""

    def __init__(self, place: Path, seed: int) -> None:
        self.place, self.seed = place, seed
        self.data = generate(
            place / "data", train_per_class=1, val_per_class=1, test_per_class=1, size=40, num_frames=12
        )
        self.seconds, self.num_steps = 0.0, 0
        self.starts, self.took_effect = 0, Counter[str]()

    def unbroken(self) -> Path:
        """Train without harm; note how long that takes, and how many steps it has."""
        started, out = time.monotonic(), self.place / "unbroken"
        ours, theirs = os.pipe()
        child = self.fork(out, 0, theirs, "", random.Random(0))
        os.close(theirs)
        with os.fdopen(ours) as answer:
            said = answer.read()
        status = self.wait(child)
        if status:
            raise SystemExit(f"the unbroken training ended with {status}: {self.log(out).read_text()}")
        self.seconds, self.num_steps = time.monotonic() - started, int(said)
        return out

    def harmed(self, number: int) -> Path:
        """Train with harm after harm, until it ends; assert that each start ends as it may."""
        out, rng = self.place / f"run{number}", random.Random(f"{self.seed} {number}")
        harms = [HARMS[number % len(HARMS)], *rng.choices(HARMS, k=rng.randrange(MOST_HARMS))]
        for harm in [*harms, ""]:
            status = self.start(out, harm, rng)
            said = self.log(out).read_text()
            allowed = {0, 2} if harm in ("kill a worker", "fill the disk", "plant a NaN") else {0}
            allowed |= {130} if harm in ("interrupt", "terminate") else set()
            allowed |= {-signal.SIGKILL} if "kill" in harm or harm == "tear the state" else set()
            allowed |= {-signal.SIGINT, -signal.SIGTERM} if harm in SIGNALS else set()  # before it listens
            assert status in allowed, f"{harm or 'no harm'}: status {status}\n{said[-3000:]}"
            assert "Traceback" not in said or status < 0, f"{harm}: a traceback\n{said[-3000:]}"
            if status == 2:
                assert SAID[harm] in said, f"{harm}: another message\n{said[-3000:]}"
            if harm and status:
                self.took_effect[harm] += 1
        return out

    def start(self, out: Path, harm: str, rng: random.Random) -> int:
        """Start the training once, do it the harm, and return how it ended."""
        self.starts += 1
        workers = 1 if harm in ("kill a worker", "kill the main process") else rng.randrange(2)
        workers = 0 if harm == "fill the disk" else workers  # they have limits, and files in memory, too
        child = self.fork(out, workers, None, harm, rng)
        moment = rng.uniform(0.05, 1.0) * self.seconds
        if harm in SIGNALS or harm in ("kill the main process", "tear the state"):
            self.wait(child, moment)
            if harm in SIGNALS and rng.randrange(2):
                send(SIGNALS[harm], -child)
            else:
                send(SIGNALS.get(harm, signal.SIGKILL), child)
        elif harm == "kill a worker":
            self.wait(child, moment)
            while self.ended is None and not (workers_of := children(child)):
                self.wait(child, 0.01)
            if self.ended is None:
                send(signal.SIGKILL, rng.choice(workers_of))
        status = self.wait(child)
        send(signal.SIGKILL, -child)  # what a dead main process left of its group
        if harm == "tear the state" and (out / "last" / "previous.pt").exists():
            tear(out / "last" / "state.pt", rng)
        return status

    def fork(self, out: Path, workers: int, answer: int | None, harm: str, rng: random.Random) -> int:
        """Start `gateshift train` in a child, which leads a group of its own; return its number."""
        at = rng.randint(1, max(self.num_steps, 1))
        limit, loss = rng.choice((20_000, 5_000_000, 20_000_000)), rng.randint(1, 12)
        save_seconds = rng.choice((0.0, 0.0, 60.0))
        self.ended: int | None = None
        sys.stderr.flush()
        if child := os.fork():
            os.setpgid(child, child)
            return child
        os.setpgid(0, 0)
        log = os.open(self.log(out), os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        os.dup2(log, 2)
        status = 1
        try:
            loop.SAVE_SECONDS = save_seconds
            steps = Steps(out)
            if harm == "kill between two writes":
                steps = Steps(out, at, lambda: os.kill(os.getpid(), signal.SIGKILL))
            elif harm == "fill the disk":
                steps = Steps(out, at, lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)))
            elif harm == "plant a NaN":
                plant(loss)
            steps.watch()
            words = [word for name, value in SETTINGS.items() for word in (f"--{name}", str(value))]
            words += ["--no-pretrained", "--out", str(out), "--workers", str(workers)]
            gateshift.cli.main(["train", str(self.data), *words])
        except SystemExit as ended:
            status = ended.code if isinstance(ended.code, int) else 1
            if answer is not None:
                os.write(answer, str(steps.count).encode())
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)

    def wait(self, child: int, seconds: float = PATIENCE) -> int:
        """Wait for a child's end, or so long; return how it ended, 0 where it has not."""
        until = time.monotonic() + seconds
        while self.ended is None and time.monotonic() < until:
            found, status = os.waitpid(child, os.WNOHANG)
            if found:
                self.ended = os.waitstatus_to_exitcode(status)
            else:
                time.sleep(0.005)
        if self.ended is None and seconds == PATIENCE:
            send(signal.SIGKILL, -child)
            raise AssertionError(f"a training hangs: {child}")
        return self.ended or 0

    def log(self, out: Path) -> Path:
        """Return where the last start of a run writes what it says."""
        return out.with_name(f"{out.name}.txt")


def plant(call: int) -> None:
    """Let the gradients of one batch hold a NaN."""
    learn, calls = loop.learn, iter(range(1, 10**6))

    def spoilt(learner: Any, *args: Any) -> Any:
        answer = learn(learner, *args)
        if next(calls) == call:
            learner.model.head.weight.grad[0, 0] = torch.nan
        return answer

    loop.learn = spoilt


def send(number: int, process: int) -> None:
    """Send a signal to a process, or to a group by its negative number, if it is still there."""
    with suppress(ProcessLookupError):
        os.kill(process, number)


def children(process: int) -> list[int]:
    """Return the processes that one has started and that still run."""
    try:
        return [int(child) for child in Path(f"/proc/{process}/task/{process}/children").read_text().split()]
    except OSError:
        return []


def tear(file: Path, rng: random.Random) -> None:
    """Cut a file short, or change one of its bytes."""
    if not file.exists():
        return
    content = bytearray(file.read_bytes())
    place = rng.randrange(len(content))
    if rng.randrange(2):
        del content[place:]
    else:
        content[place] ^= 0xFF
    file.write_bytes(content)


def differences(one: Path, other: Path) -> list[str]:
    """Return in what two runs differ that must not."""
    found = []
    names = [
        {str(file.relative_to(run)) for file in run.rglob("*") if file.is_file()} for run in (one, other)
    ]
    if names[0] != names[1]:
        found.append(f"files: {sorted(names[0] ^ names[1])}")
    for table in sorted(name for name in names[0] & names[1] if name.endswith(".csv")):
        rows = [list(csv.DictReader((run / table).read_text().splitlines())) for run in (one, other)]
        if without_times(rows[0]) != without_times(rows[1]):
            found.append(table)
    weights = [load_file(run / "weights.safetensors") for run in (one, other)]
    if not same(*weights) or read_metadata(one / "weights.safetensors") != read_metadata(
        other / "weights.safetensors"
    ):
        found.append("weights.safetensors")
    if not same(*(vars(Scores.load(run / "val_scores.npz")) for run in (one, other))):
        found.append("val_scores.npz")
    states = [checkpoint.load_state(run / "last") for run in (one, other)]
    found += [f"state: {key}" for key in states[0] if not same(states[0][key], states[1].get(key))]
    if not (other / "report.html").read_text().rstrip().endswith("</html>"):
        found.append("report.html")
    return found


def without_times(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return rows without how long things took."""
    return [{key: value for key, value in row.items() if key not in TIMES} for row in rows]


def same(one: Any, other: Any) -> bool:
    """Tell whether nested values are the same to the last bit, times aside."""
    if isinstance(one, torch.Tensor):
        return one.dtype == other.dtype and torch.equal(one, other)
    if isinstance(one, np.ndarray):
        return one.dtype == other.dtype and np.array_equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(
            same(one[key], other[key]) for key in one if key not in TIMES
        )
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)


def main(words: list[str] | None = None) -> int:
    """Torture as many runs as the command line says; print the summary."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args(words)
    torch.set_num_threads(1)
    for name in IMPORTED:
        importlib.import_module(name)
    started, place = time.monotonic(), Path(tempfile.mkdtemp(prefix="torture."))
    torture, failures = Torture(place, asked.seed), {}
    unbroken = torture.unbroken()
    print(f"unbroken: {torture.seconds:.1f} s, {torture.num_steps} steps", file=sys.stderr)
    for number in range(asked.runs):
        before, begun = torture.starts, time.monotonic()
        try:
            out = torture.harmed(number)
            if found := differences(unbroken, out):
                failures[number] = f"differs in {', '.join(found)}"
            else:
                shutil.rmtree(out)
        except AssertionError as error:
            failures[number] = str(error)
        said = failures.get(number, "same to the last bit").splitlines()[0]
        took = f"{torture.starts - before} starts, {time.monotonic() - begun:.1f} s"
        print(f"run {number + 1}/{asked.runs}: {took}: {said}", file=sys.stderr)
    answer = {
        "seed": asked.seed,
        "runs": asked.runs,
        "same": asked.runs - len(failures),
        "starts": torture.starts,
        "harms_that_ended_a_start": dict(sorted(torture.took_effect.items())),
        "seconds": round(time.monotonic() - started, 1),
        "failures": failures,
    }
    print(json.dumps(answer, indent=2))
    if failures:
        print(f"what they left is in {place}", file=sys.stderr)
    else:
        shutil.rmtree(place)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
