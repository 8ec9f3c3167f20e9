"""The numbers of a run on their way to TensorBoard, Weights & Biases or MLflow.

The programs are driven by accelerate's trackers. What is sent is only what a saved state vouches for: a run
that is killed sends again what it learns again, and nothing twice. ``tracking.json`` in the run says how far
each program has it, so that one that joins late gets the epochs from the first.
"""

import importlib.util
import json
import os
import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from accelerate.tracking import GeneralTracker, MLflowTracker, TensorBoardTracker, WandBTracker

from gateshift.engine.progress import console
from gateshift.engine.run import Position, Run
from gateshift.errors import ConfigError, GateshiftError, lookup
from gateshift.writing import write_text

MEMORY = "tracking.json"
PROJECT = "gateshift"
Memory = dict[str, Any]  # of one tracker: "id" of its run, and the last "epoch" and "step" that it has


def open_tensorboard(run: Run, memory: Memory) -> GeneralTracker:
    """Write into ``tensorboard`` of the run; what a killed run wrote beyond its last save is struck out."""
    purge = memory["step"] + 1 if memory["step"] >= 0 else None
    tracker = TensorBoardTracker("tensorboard", run.dir, purge_step=purge)
    tracker.start()
    return tracker


def open_wandb(run: Run, memory: Memory) -> GeneralTracker:
    """Begin or resume a run of W&B; its own environment variables decide about project and network."""
    memory["id"] = memory["id"] or uuid.uuid4().hex[:12]
    project = os.environ.get("WANDB_PROJECT", PROJECT)
    tracker = WandBTracker(project, id=memory["id"], name=run.dir.name, resume="allow", dir=str(run.dir))
    tracker.start()
    return tracker


def open_mlflow(run: Run, memory: Memory) -> GeneralTracker:
    """Begin or resume a run of MLflow, where MLFLOW_TRACKING_URI says or MLflow takes by itself."""
    tracker = MLflowTracker(PROJECT, run_id=memory["id"] or None, run_name=run.dir.name)
    tracker.start()
    memory["id"] = tracker.tracker.info.run_id
    return tracker


TRACKERS: dict[str, Callable[[Run, Memory], GeneralTracker]] = {  # extra and package have the same name
    "tensorboard": open_tensorboard,
    "wandb": open_wandb,
    "mlflow": open_mlflow,
}


def parse_trackers(text: str) -> tuple[str, ...]:
    """Return the names in a list such as ``"tensorboard,wandb"``; none in an empty one.

    Raises:
        UnknownName: there is no such tracker.
        ConfigError: its package is not installed.
    """
    names = tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    for name in names:
        lookup("tracker", name, TRACKERS)
        if importlib.util.find_spec(name) is None:
            raise ConfigError(
                f"--track {name} needs the package {name}, which is not installed. "
                f"Install the extra: pip install 'gateshift[{name}]'."
            )
    return names


class Tracking:
    """The trackers of one run.

    Args:
        run: whose numbers they get.
        names: of TRACKERS.
        num_batches: of an epoch: the place of a number is how many batches were learnt before it.

    Raises:
        GateshiftError: one of them cannot be opened.
    """

    def __init__(self, run: Run, names: Sequence[str], num_batches: int) -> None:
        self._run = run
        self._num_batches = num_batches
        self._pending: list[tuple[int, dict[str, float]]] = []
        self._memory = {name: read_memory(run.dir).get(name, new_memory()) for name in names}
        self._trackers = {name: self._open(name) for name in names}

    def add(self, step: int, values: Mapping[str, float]) -> None:
        """Keep some numbers of batch ``step`` of all epochs until that batch is in a saved state."""
        if self._trackers:
            self._pending.append((step, {f"step/{name}": value for name, value in values.items()}))

    def send(self, position: Position) -> None:
        """Send what the state that was just saved vouches for, and is not there yet."""
        if not self._trackers:
            return
        points = [(step, -1, values) for step, values in self._pending]
        epochs = [(epoch * self._num_batches, epoch, values) for epoch, values in epoch_values(position)]
        due = sorted(points + epochs, key=lambda item: item[:2])
        self._pending = []
        for name in tuple(self._trackers):
            self._send_to(name, due)
        write_memory(self._run.dir, self._memory)

    def finish(self) -> None:
        """Close all trackers."""
        for name, tracker in self._trackers.items():
            try:
                tracker.finish()
            except Exception as error:  # the training is done and saved, whatever a tracker says
                _warn(name, error)
        self._trackers = {}

    def _open(self, name: str) -> GeneralTracker:
        memory = self._memory[name]
        known = memory["step"] >= 0
        try:
            tracker = TRACKERS[name](self._run, memory)
            if not known:
                tracker.store_init_configuration(described(self._run))
                if name == "tensorboard":  # the others show the command among the settings
                    tracker.log({"command": described(self._run)["command"]}, step=0)
                memory["step"] = 0
                write_memory(self._run.dir, {name: memory})
        except Exception as error:  # each has its own: no account, no network, no room
            raise GateshiftError(
                f"--track {name} cannot be opened: {str(error).strip()} {ADVICE[name]}"
            ) from error
        return tracker

    def _send_to(self, name: str, due: Sequence[tuple[int, int, dict[str, float]]]) -> None:
        memory = self._memory[name]
        try:
            for step, epoch, values in due:
                if epoch > memory["epoch"] or (epoch < 0 and step > memory["step"]):
                    self._trackers[name].log(values, step=step)
                    memory["step"], memory["epoch"] = max(step, memory["step"]), max(epoch, memory["epoch"])
        except Exception as error:  # a network that is gone for a while must not end training
            _warn(name, error)
            del self._trackers[name]


ADVICE = {
    "tensorboard": "Free the place that the run's `tensorboard` folder is on, or leave it out.",
    "wandb": "Log in with `wandb login`, or set WANDB_MODE=offline and send it later with `wandb sync`.",
    "mlflow": "Set MLFLOW_TRACKING_URI to the address of its server, or to sqlite:///FILE.",
}


def _warn(name: str, error: Exception) -> None:
    console().print(
        f"tracker {name} failed and gets no more numbers: {error}. Training goes on; the same command sends "
        "the epochs that it lacks.",
        markup=False,
    )


def epoch_values(position: Position) -> list[tuple[int, dict[str, float]]]:
    """Return the numbers of each finished epoch, from 1: those of ``log.csv``, and the gates."""
    found = {}
    for row in position.history:
        found[int(row["epoch"])] = {f"epoch/{name}": float(value) for name, value in row.items()}
    for gate in position.gates:
        name = f"gates/{gate['module']}/{gate['direction']}"
        found[gate["epoch"]] |= {f"{name}_{what}": gate[what] for what in ("open", "above_half", "sign")}
    return list(found.items())


def described(run: Run) -> dict[str, Any]:
    """Return the settings of a run, its data and its command, as plain values."""
    recorded = json.loads((run.dir / "config.json").read_text(encoding="utf-8"))
    return {**run.config.to_json(), "data": str(run.data), "command": recorded.get("command", "")}


def lacking(run_dir: Path, names: Sequence[str], position: Position) -> list[str]:
    """Return those trackers that have not all epochs yet."""
    memory = read_memory(run_dir)
    return [name for name in names if memory.get(name, new_memory())["epoch"] < position.epoch]


def new_memory() -> Memory:
    """Return what is remembered of a tracker that has nothing yet."""
    return {"id": "", "epoch": 0, "step": -1}


def read_memory(run_dir: Path) -> dict[str, Memory]:
    """Return how far each tracker of a run has its numbers."""
    path = run_dir / MEMORY
    try:
        return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    except ValueError as error:
        raise GateshiftError(
            f"{path} is not valid JSON ({error}). Delete it to send the numbers of all epochs again."
        ) from error


def write_memory(run_dir: Path, memory: Mapping[str, Memory]) -> None:
    """Keep it, together with that of trackers that are not used this time."""
    write_text(run_dir / MEMORY, json.dumps(read_memory(run_dir) | dict(memory), indent=2) + "\n")
