"""A run: one directory with its config, its split, its log, and the state that a resume needs."""

import csv
import io
import json
import shlex
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gateshift.data.annotations import read_annotations, write_annotations
from gateshift.data.opening import require_modality
from gateshift.data.records import Annotations
from gateshift.engine.checkpoint import load_state, save_state
from gateshift.engine.config import TrainConfig
from gateshift.engine.recipes import RECIPES, choose_recipe
from gateshift.engine.same_run import has_begun, require_same_config, require_same_data
from gateshift.errors import ConfigError, DataError, GateshiftError
from gateshift.writing import remove_partials, write_faults, write_text

LOG_COLUMNS = (
    "epoch",
    "lr",
    "train_loss",
    "train_top1",
    "val_loss",
    "val_top1",
    "val_top5",
    "mean_class_accuracy",
    "seconds",
    "clips_per_second",
    "data_wait",
    "left_out",
)
RUN_SCORES = "val_scores.npz"
TEST_SCORES = "test_scores.npz"  # of a comparison, or the demo, which test their runs
BAD_VIDEOS = "bad_videos.csv"
BAD_VIDEO_COLUMNS = ("video", "split", "epoch", "reason")
GATES = "gates.csv"
GATE_COLUMNS = ("epoch", "module", "direction", "open", "above_half", "sign")


@dataclass
class Position:
    """Where in training a run stands: all that is neither weights nor optimiser.

    Attributes:
        epoch: epochs finished.
        step: batches of the running epoch that are learnt.
        totals: loss sum, right predictions and clips of the running epoch so far.
        seconds: time spent in the running epoch so far.
        waited: of these seconds, those spent waiting for data.
        left_out: clips that the running epoch lacks, as their videos cannot be read.
        best: top1 and negated loss on validation of the weights that are kept.
        history: one row per finished epoch, as in ``log.csv``.
        bad_videos: one row per video that was ever left out, with the epoch when it first was.
        gates: rows of ``gates.csv``: how each gate stood at the end of each epoch.
    """

    epoch: int = 0
    step: int = 0
    totals: list[float] = field(default_factory=lambda: [0.0, 0.0, 0.0])
    seconds: float = 0.0
    waited: float = 0.0
    left_out: int = 0
    best: list[float] = field(default_factory=lambda: [-1.0, float("-inf")])
    history: list[dict[str, float]] = field(default_factory=list)
    bad_videos: list[dict[str, Any]] = field(default_factory=list)
    gates: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True)
class Run:
    """A run directory and what was decided when it was opened."""

    dir: Path
    config: TrainConfig
    data: Path
    annotations: Annotations

    @property
    def weights(self) -> Path:
        """The best weights so far."""
        return self.dir / "weights.safetensors"

    @property
    def scores(self) -> Path:
        """Validation scores of the best weights."""
        return self.dir / RUN_SCORES

    def save(self, position: Position, state: Mapping[str, Any]) -> None:
        """Write the tables and all that a resume needs; a kill leaves the state before or this one.

        Raises:
            WriteError: the disk is full, or fails; the state before is kept.
        """
        save_state(self.dir / "last", {"position": vars(position), **state})
        self.write_tables(position)

    def write_tables(self, position: Position) -> None:
        """Write those tables that do not say what ``position`` does: a kill may come between two files."""
        tables = {
            "log.csv": (LOG_COLUMNS, position.history),
            BAD_VIDEOS: (BAD_VIDEO_COLUMNS, position.bad_videos),
            GATES: (GATE_COLUMNS, position.gates),
        }
        for name, (columns, rows) in tables.items():
            path, text = self.dir / name, as_csv(columns, rows)
            if (rows or name == "log.csv") and not (path.exists() and path.read_bytes() == text.encode()):
                write_text(path, text)

    def write_bad_videos(self, position: Position) -> None:
        """Write the list of the videos that were left out, if there are any."""
        if position.bad_videos:
            write_text(self.dir / BAD_VIDEOS, as_csv(BAD_VIDEO_COLUMNS, position.bad_videos))

    def load(self, *, main: bool = False) -> tuple[Position, dict[str, Any] | None]:
        """Return where the run stands, and the state of weights and optimiser (None at its start).

        The ``main`` process makes up for what a kill left unwritten.

        Raises:
            GateshiftError: the state is damaged, and so is the one before it.
        """
        state = load_state(self.dir / "last", main=main)
        if state is None:
            return Position(), None
        position = Position(**state.pop("position"))
        if main:
            self.write_tables(position)
        return position, state


def as_csv(columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> str:
    """Return a table as text.

    >>> as_csv(("epoch", "lr"), [{"epoch": 1}])
    'epoch,lr\\n1,\\n'
    """
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def default_run_dir(data: Path, model: str, modality: str = "rgb") -> Path:
    """Return where a run goes without ``--out``: the same command finds it again.

    >>> default_run_dir(Path("my/videos"), "gsm_resnet18").as_posix()
    'runs/videos-gsm_resnet18'
    """
    seen = "" if modality == "rgb" else f"-{modality}"
    return Path("runs") / f"{data.resolve().name}-{model}{seen}"


def open_run(out: Path, config: TrainConfig, data: Path, *, main: bool = True) -> Run:
    """Start a run in ``out``, or open the one that is there if it has the same config and data.

    What to do with bad videos may be another than before, and anything in a run that has learnt nothing yet.
    Only the ``main`` process of several writes; it removes what killed processes left half-written.

    Raises:
        ConfigError: ``out`` holds a run of another config.
        DataError: the data has changed since the run began, or has no frames of the config's modality.
        WriteError: nothing can be written to ``out``.
        GateshiftError: ``out`` holds something that is no run.
    """
    annotations = read_annotations(data, seed=config.seed, val_fraction=config.val_fraction)
    _require_train_and_val(annotations, data)
    require_modality(annotations, config.modality)
    recorded = recorded_config(out)
    if recorded is None and out.exists() and not _is_new(out):
        raise GateshiftError(f"{out} exists and is not a run. Choose an empty or new folder with --out.")
    if main:
        remove_partials(out)
    if recorded is not None:
        split = read_annotations(out / "data")
        try:
            require_same_config(config, recorded, out)
            require_same_data(annotations, split, out)
        except (ConfigError, DataError):
            if has_begun(out):
                raise
        else:
            if main and config != recorded:
                _write_settings(out, config, data, split)
            return Run(out, config, data, split)
    if main:
        shutil.rmtree(out / "last", ignore_errors=True)  # of a run that has learnt nothing, if there is one
        with write_faults(out / "data"):
            write_annotations(annotations, out / "data")
        _write_settings(out, config, data, annotations)
    return Run(out, config, data, annotations)


def recorded_config(out: Path) -> TrainConfig | None:
    """Return the config of the run in ``out``; None if there is no run yet.

    Raises:
        GateshiftError: its file cannot be read.
    """
    settings = out / "config.json"
    return TrainConfig.from_json(_read_settings(settings)) if settings.exists() else None


def _write_settings(out: Path, config: TrainConfig, data: Path, annotations: Annotations) -> None:
    values = config.to_json() | {
        "data": str(data.resolve()),
        "classes": list(annotations.classes),
        "command": command_line(config, data, out, RECIPES[choose_recipe(None, data)].config),
    }
    write_text(out / "config.json", json.dumps(values, indent=2, ensure_ascii=False) + "\n")


def _is_new(out: Path) -> bool:
    """Tell whether ``out`` is empty, or was left so early that only its lists are there."""
    return out.is_dir() and all(
        path.name == "data" or path.name.endswith(".partial") for path in out.iterdir()
    )


def command_line(config: TrainConfig, data: Path, out: Path, start: TrainConfig) -> str:
    """Return a command that trains the same run again, where one without settings would use ``start``."""
    words = ["gateshift", "train", str(data), "--out", str(out)]
    defaults = start.to_json()
    for name, value in config.to_json().items():
        flag = name.replace("_", "-")
        if isinstance(value, bool) and value != defaults[name]:
            words.append(f"--{flag}" if value else f"--no-{flag}")
        elif value != defaults[name]:
            words += [f"--{flag}", str(value)]
    return shlex.join(words)


def _read_settings(path: Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise GateshiftError(
            f"{path} is not valid JSON ({error}). Choose another folder with --out."
        ) from error


def _require_train_and_val(annotations: Annotations, data: Path) -> None:
    for split in ("train", "val"):
        if not annotations.splits.get(split):
            raise DataError(
                f"{data} has no videos in its {split} split. Put some under {data / split}/<class>/, "
                f"or give a folder of class folders without splits."
            )
