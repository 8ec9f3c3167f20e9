"""A run as one page: headline numbers, curves, confusion matrix, classes, and the clips it gets most wrong.

The page holds everything it shows and asks no network for anything.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gateshift.data.annotations import read_annotations
from gateshift.data.records import Annotations
from gateshift.engine.audit import read_audit
from gateshift.engine.confidence_charts import coverage_chart, reliability_chart
from gateshift.engine.curves import curves_of, data_wait, read_log, read_rows
from gateshift.engine.feature_map import feature_values
from gateshift.engine.pages import data_uri, render_page
from gateshift.engine.run import BAD_VIDEOS, RUN_SCORES
from gateshift.engine.trial import recordings
from gateshift.engine.waiting import waiting_advice
from gateshift.engine.worst_clips import Films, worst_clips
from gateshift.errors import DataError, WeightsError
from gateshift.evidence.calibration import calibration, cooled, reliability
from gateshift.evidence.confusion import Confused, class_order, most_confused
from gateshift.evidence.coverage import selective_accuracy
from gateshift.evidence.label_errors import find_label_errors
from gateshift.evidence.metrics import accuracies, summary
from gateshift.evidence.paired import class_gains, compare_scores
from gateshift.evidence.scores import Scores
from gateshift.models.weights_file import read_metadata
from gateshift.writing import write_text

SHOWN_PAIRS = 6  # pairs of confused classes that a clip is shown of
TRUSTED = 0.5  # top-1 below which a network is in no place to doubt labels
MOST_CLASSES_IN_TABLE = 40  # a confusion matrix of more is drawn as a picture, without numbers


@dataclass(frozen=True)
class Baseline:
    """Another network's scores of the same videos, and what the page calls it."""

    name: str
    scores: Scores


@dataclass(frozen=True)
class Cell:
    """One entry of the confusion matrix that is not empty."""

    row: int
    column: int
    count: int
    share: float  # of the videos of its true class


def write_report(run_dir: Path) -> Path:
    """Write ``report.html`` of a run from what it left in its directory; return its path.

    Raises:
        DataError: the directory holds no run, or one that has not finished an epoch.
    """
    return write_page(run_dir / "report.html", run_values(run_dir))


def write_page(path: Path, values: Mapping[str, Any]) -> Path:
    """Write the page of ``run_values`` or ``file_values``; return its path."""
    write_text(path, render_page("report.html.j2", dict(values)))
    return path


def file_values(file: Path, baseline: Baseline | None = None) -> dict[str, Any]:
    """Return all that the template shows of a score file, of which no run is known.

    Raises:
        DataError: the file holds no scores.
        ScoresMismatch: the baseline is of other videos.
    """
    values = score_values(Scores.load(file), None, baseline) | feature_values((), ())
    return values | {"title": file.stem, "of_run": False, "audit": None}


def run_values(run_dir: Path, baseline: Baseline | None = None) -> dict[str, Any]:
    """Return all that the template shows of a run, its map and gates by class excepted.

    Raises:
        DataError: the directory holds no run, or one that has not finished an epoch.
        ScoresMismatch: the baseline is of other videos.
    """
    log = read_log(run_dir)
    annotations = _read_lists(run_dir)
    gates = run_dir / "explain" / "gates.png"
    scores = Scores.load(run_dir / RUN_SCORES)
    return {
        **score_values(scores, annotations, baseline, run_temperature(run_dir)),
        **feature_values((), ()),
        **described_run(run_dir),
        **curves_of(run_dir, log),
        "of_run": True,
        "audit": read_audit(run_dir),
        "num_train": len(annotations.splits.get("train", ())) if annotations else None,
        "epochs": len(log),
        "seconds": sum(row["seconds"] for row in log),
        "clips_per_second": float(np.median([row["clips_per_second"] for row in log])) if log else 0.0,
        "data_wait": data_wait(log),
        "waiting_advice": waiting_advice(data_wait(log)),
        "bad_videos": read_rows(run_dir / BAD_VIDEOS),
        "duration": duration,
        "gates": data_uri(gates.read_bytes(), "image/png") if gates.is_file() else None,
    }


def score_values(
    scores: Scores,
    annotations: Annotations | None,
    baseline: Baseline | None = None,
    temperature: float | None = None,
) -> dict[str, Any]:
    """Return what the template shows of scores."""
    measured = summary(scores, recordings(scores))
    suspects = find_label_errors(scores, temperature) if measured["top1"] >= TRUSTED else []
    order, films = class_order(measured["confusion"]), Films(annotations)
    return {
        **confidence_values(scores, temperature),
        "measured": measured,
        "num_videos": len(scores.videos),
        "classes": scores.classes,
        "likeliest_class": max(row["videos"] for row in measured["per_class"]) / len(scores.videos),
        "cells": confusion_cells(measured["confusion"]),
        "as_table": len(scores.classes) <= MOST_CLASSES_IN_TABLE,
        "place_of": {label: place for place, label in enumerate(order)},
        "mistaken_for": mistaken_for(measured["confusion"], scores.classes),
        "confused": [
            (pair, films.of(example_of(scores, pair)) if place < SHOWN_PAIRS else None)
            for place, pair in enumerate(most_confused(measured["confusion"], scores.classes))
        ],
        "worst": worst_clips(scores, films),
        "suspects": [(suspect, films.of(suspect.video)) for suspect in suspects],
        "beside": beside(scores, baseline) if baseline else None,
    }


def example_of(scores: Scores, pair: Confused) -> str:
    """Return the video of a pair of classes that was taken for the other with the highest logit."""
    label, predicted = (scores.classes.index(name) for name in (pair.label, pair.predicted))
    taken = np.flatnonzero((scores.labels == label) & (scores.logits.argmax(axis=1) == predicted))
    return scores.videos[taken[scores.logits[taken, predicted].argmax()]]


def run_temperature(run_dir: Path) -> float | None:
    """Return the temperature of a run's weights; None where they have none or are gone."""
    try:
        return read_metadata(run_dir / "weights.safetensors").get("temperature")
    except WeightsError:
        return None


def confidence_values(scores: Scores, temperature: float | None) -> dict[str, Any]:
    """Return what the template shows of a network's confidence, as it is and at its temperature."""
    kinds = {"as it is": scores}
    if temperature:
        kinds["calibrated"] = cooled(scores, temperature)
    return {
        "ece": {name: calibration(of)["ece"] for name, of in kinds.items()},
        "temperature": temperature,
        "reliability": reliability_chart({name: reliability(of) for name, of in kinds.items()}),
        "coverage": coverage_chart(
            selective_accuracy(kinds.get("calibrated", scores), tuple(np.linspace(0.05, 1, 39)))
        ),
    }


def beside(scores: Scores, baseline: Baseline) -> dict[str, Any]:
    """Return what the template shows of a run beside a baseline.

    Raises:
        ScoresMismatch: the baseline is of other videos.
    """
    found = compare_scores(scores, baseline.scores, recordings(scores))
    return {
        "name": baseline.name,
        "found": found,
        "verdict": found.verdict(),
        "top1": accuracies(baseline.scores)["top1"],
        "gains": class_gains(scores, baseline.scores),
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
