"""The curves of a run: what its log and its gates say of each epoch, as charts."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

from gateshift.engine.chart import Chart, line_chart
from gateshift.engine.early_stopping import best_epoch
from gateshift.engine.run import GATES
from gateshift.errors import DataError

Row = Mapping[str, float]


def read_log(run_dir: Path) -> list[dict[str, float]]:
    """Return one row of numbers per epoch; what is not a number becomes NaN.

    Raises:
        DataError: there is no log.
    """
    path = run_dir / "log.csv"
    if not path.is_file():
        raise DataError(f"{str(run_dir)!r} has no log.csv. Train until the first epoch is over.")
    return [{name: _number(text) for name, text in row.items()} for row in read_rows(path)]


def read_rows(path: Path) -> list[dict[str, str]]:
    """Return the rows of a CSV file by column; none where there is no such file."""
    if not path.is_file():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def _number(text: str | None) -> float:
    try:
        return float(text or "nan")
    except ValueError:
        return float("nan")


def data_wait(log: Sequence[Row]) -> float:
    """Return the share of training that went by in waiting for data; NaN where an earlier version trained."""
    seconds = sum(row["seconds"] for row in log)
    return sum(row["seconds"] * row.get("data_wait", float("nan")) for row in log) / max(seconds, 1e-9)


def learning_charts(log: Sequence[Row]) -> list[Chart]:
    """Return loss and accuracy, of training and validation; learning rate, throughput and waiting."""
    of = {name: [row.get(name, float("nan")) for row in log] for name in COLUMNS}
    return [
        line_chart("Loss", {"training": of["train_loss"], "validation": of["val_loss"]}),
        line_chart(
            "Top-1 accuracy", {"training": of["train_top1"], "validation": of["val_top1"]}, percent=True
        ),
        line_chart("Mean class accuracy", {"validation": of["mean_class_accuracy"]}, percent=True),
        line_chart("Learning rate", {"at the epoch's end": of["lr"]}),
        line_chart("Clips per second", {"training": of["clips_per_second"]}),
        line_chart("Waiting for data", {"share of the time": of["data_wait"]}, percent=True),
    ]


COLUMNS = (
    *("train_loss", "val_loss", "train_top1", "val_top1"),
    *("mean_class_accuracy", "lr", "clips_per_second", "data_wait"),
)


def gate_charts(rows: Sequence[Mapping[str, str]]) -> list[Chart]:
    """Return how open the gates are, one line per temporal module in their order, for each direction."""
    lines: dict[str, dict[str, list[float]]] = {}
    for row in rows:
        lines.setdefault(row["direction"], {}).setdefault(row["module"], []).append(_number(row["open"]))
    return [
        line_chart(f"Gates that move {direction}: how open", modules) for direction, modules in lines.items()
    ]


def last_gates(rows: Sequence[Mapping[str, str]]) -> dict[str, list[Mapping[str, str]]]:
    """Return the rows of the last epoch of ``gates.csv``, by module."""
    gates: dict[str, list[Mapping[str, str]]] = {}
    for row in rows:
        if row["epoch"] == rows[-1]["epoch"]:
            gates.setdefault(row["module"], []).append(row)
    return gates


def curves_of(run_dir: Path, log: Sequence[Row]) -> dict[str, object]:
    """Return what `curves.html.j2` draws."""
    gates = read_rows(run_dir / GATES)
    return {
        "best_epoch": best_epoch(log),
        "charts": learning_charts(log),
        "gate_charts": gate_charts(gates),
        "last_gates": last_gates(gates),
    }
