"""A run as one page: headline numbers, curves, confusion matrix, classes, and the clips it gets most wrong.

The page holds everything it shows and asks no network for anything.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gateshift.data.annotations import read_annotations
from gateshift.data.records import Annotations
from gateshift.engine.curves import curves_of, data_wait, read_log, read_rows
from gateshift.engine.pages import data_uri, render_page
from gateshift.engine.run import BAD_VIDEOS
from gateshift.engine.trial import recordings
from gateshift.engine.waiting import waiting_advice
from gateshift.engine.worst_clips import worst_clips
from gateshift.errors import DataError
from gateshift.evidence.metrics import summary
from gateshift.evidence.scores import Scores
from gateshift.writing import write_text

MOST_CLASSES_IN_TABLE = 40  # a confusion matrix of more is drawn as a picture, without numbers


@dataclass(frozen=True)
class Cell:
    """One entry of the confusion matrix that is not empty."""

    row: int
    column: int
    count: int
    share: float  # of the videos of its true class


def write_report(run_dir: Path) -> Path:
    """Write ``report.html`` into a run directory from what the run left there; return its path.

    Raises:
        DataError: the directory holds no run, or one that has not finished an epoch.
    """
    path = run_dir / "report.html"
    write_text(path, render_page("report.html.j2", page_values(run_dir)))
    return path


def page_values(run_dir: Path) -> dict[str, Any]:
    """Return all that the template shows."""
    log = read_log(run_dir)
    scores = Scores.load(run_dir / "val_scores.npz")
    measured = summary(scores, recordings(scores))
    annotations = _read_lists(run_dir)
    gates = run_dir / "explain" / "gates.png"
    return {
        **described_run(run_dir),
        **curves_of(run_dir, log),
        "measured": measured,
        "num_videos": len(scores.videos),
        "num_train": len(annotations.splits.get("train", ())) if annotations else None,
        "classes": scores.classes,
        "likeliest_class": max(row["videos"] for row in measured["per_class"]) / len(scores.videos),
        "epochs": len(log),
        "seconds": sum(row["seconds"] for row in log),
        "clips_per_second": float(np.median([row["clips_per_second"] for row in log])) if log else 0.0,
        "data_wait": data_wait(log),
        "waiting_advice": waiting_advice(data_wait(log)),
        "bad_videos": read_rows(run_dir / BAD_VIDEOS),
        "duration": duration,
        "cells": confusion_cells(measured["confusion"]),
        "as_table": len(scores.classes) <= MOST_CLASSES_IN_TABLE,
        "mistaken_for": mistaken_for(measured["confusion"], scores.classes),
        "worst": worst_clips(scores, annotations),
        "gates": data_uri(gates.read_bytes(), "image/png") if gates.is_file() else None,
    }


def described_run(run_dir: Path) -> dict[str, Any]:
    """Return title, command, data and settings of a run, as it wrote them down.

    Raises:
        DataError: the directory holds no run.
    """
    config = _read_config(run_dir)
    return {
        "title": f"{config.get('model', 'A model')} on {Path(config.get('data', '')).name}",
        "command": config.pop("command", ""),
        "data": config.pop("data", ""),
        "settings": {name: value for name, value in config.items() if name != "classes"},
    }


def _read_config(run_dir: Path) -> dict[str, Any]:
    try:
        return json.loads((run_dir / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(
            f"{str(run_dir)!r} is not a run directory: its config.json cannot be read ({error}). "
            "Give a directory that `gateshift train` wrote."
        ) from error


def _read_lists(run_dir: Path) -> Annotations | None:
    """Return the run's lists; None where its videos are no longer at their place."""
    try:
        return read_annotations(run_dir / "data")
    except DataError:
        return None


def duration(seconds: float) -> str:
    """Return a time in words.

    >>> [duration(seconds) for seconds in (8.2, 90, 7200)]
    ['8 s', '1 min 30 s', '2 h 0 min']
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    return (
        f"{whole // 60} min {whole % 60} s" if whole < 3600 else f"{whole // 3600} h {whole % 3600 // 60} min"
    )


def confusion_cells(confusion: Sequence[Sequence[int]]) -> list[list[Cell | None]]:
    """Return the matrix, true class by predicted class, with None where nothing was counted.

    >>> confusion_cells([[1, 1], [0, 4]])[0][1]
    Cell(row=0, column=1, count=1, share=0.5)
    """
    return [
        [
            Cell(row, column, count, count / sum(counts)) if count else None
            for column, count in enumerate(counts)
        ]
        for row, counts in enumerate(confusion)
    ]


def mistaken_for(confusion: Sequence[Sequence[int]], classes: Sequence[str]) -> list[tuple[str, int]]:
    """Return for each class the other class it is most often taken for, and how often ("" and 0 for none)."""
    counts = np.array(confusion)
    np.fill_diagonal(counts, 0)
    most = counts.argmax(axis=1)
    return [
        (classes[column], int(counts[row, column])) if counts[row, column] else ("", 0)
        for row, column in enumerate(most)
    ]
