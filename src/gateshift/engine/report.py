"""A run as one page: headline numbers, curves, confusion matrix, classes, and the clips it gets most wrong.

The page holds everything it shows and asks no network for anything.
"""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from torch.nn import functional as F

from gateshift.data.annotations import read_annotations
from gateshift.data.dataset import views_of
from gateshift.data.opening import open_record
from gateshift.data.records import Annotations, VideoRecord
from gateshift.engine.chart import Chart, line_chart
from gateshift.engine.checkpoint import write_text
from gateshift.engine.metrics import summary
from gateshift.engine.pages import data_uri, render_page
from gateshift.engine.run import BAD_VIDEOS
from gateshift.engine.scores import Scores
from gateshift.engine.trial import record_name
from gateshift.engine.waiting import waiting_advice
from gateshift.errors import DataError, VideoError
from gateshift.spec import InputSpec

MOST_CLASSES_IN_TABLE = 40  # a confusion matrix of more is drawn as a picture, without numbers
WORST_CLIPS = 12
THUMBNAIL_FRAMES = 4
THUMBNAIL = InputSpec(size=112, resize=112, mean=(0, 0, 0), std=(1, 1, 1))


@dataclass(frozen=True)
class Cell:
    """One entry of the confusion matrix that is not empty."""

    row: int
    column: int
    count: int
    share: float  # of the videos of its true class


@dataclass(frozen=True)
class WorstClip:
    """A video, what it is, what it was taken for, and a strip of its frames (or why there is none)."""

    video: str
    label: str
    predicted: str
    probability: float
    label_probability: float
    loss: float
    strip: str | None
    error: str | None


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
    config, log = _read_config(run_dir), _read_log(run_dir)
    scores = Scores.load(run_dir / "val_scores.npz")
    measured = summary(scores)
    annotations = _read_lists(run_dir)
    gates = run_dir / "explain" / "gates.png"
    return {
        "title": f"{config.get('model', 'A model')} on {Path(config.get('data', '')).name}",
        "measured": measured,
        "num_videos": len(scores.videos),
        "num_train": len(annotations.splits.get("train", ())) if annotations else None,
        "classes": scores.classes,
        "likeliest_class": max(row["videos"] for row in measured["per_class"]) / len(scores.videos),
        "command": config.pop("command", ""),
        "data": config.pop("data", ""),
        "settings": {name: value for name, value in config.items() if name != "classes"},
        "epochs": len(log),
        "best_epoch": best_epoch(log),
        "seconds": sum(row["seconds"] for row in log),
        "clips_per_second": float(np.median([row["clips_per_second"] for row in log])) if log else 0.0,
        "data_wait": data_wait(log),
        "waiting_advice": waiting_advice(data_wait(log)),
        "bad_videos": read_rows(run_dir / BAD_VIDEOS),
        "duration": duration,
        "charts": _charts(log),
        "cells": confusion_cells(measured["confusion"]),
        "as_table": len(scores.classes) <= MOST_CLASSES_IN_TABLE,
        "mistaken_for": mistaken_for(measured["confusion"], scores.classes),
        "worst": worst_clips(scores, annotations),
        "gates": data_uri(gates.read_bytes(), "image/png") if gates.is_file() else None,
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


def _read_log(run_dir: Path) -> list[dict[str, float]]:
    """Return one row of numbers per epoch; what is not a number becomes NaN."""
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


def data_wait(log: Sequence[Mapping[str, float]]) -> float:
    """Return the share of training that went by in waiting for data; NaN where an earlier version trained."""
    seconds = sum(row["seconds"] for row in log)
    return sum(row["seconds"] * row.get("data_wait", float("nan")) for row in log) / max(seconds, 1e-9)


def best_epoch(log: Sequence[Mapping[str, float]]) -> int:
    """Return the epoch, from 1, whose weights were kept: the best top1 and, among equals, the least loss."""
    order = [(row["val_top1"], -row["val_loss"], -epoch) for epoch, row in enumerate(log, start=1)]
    return -max(order)[2] if order else 0


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


def _charts(log: Sequence[Mapping[str, float]]) -> list[Chart]:
    """Return the two charts of the page: loss and top1, training and validation."""
    columns = {
        name: [row[name] for row in log] for name in ("train_loss", "val_loss", "train_top1", "val_top1")
    }
    return [
        line_chart("Loss", {"training": columns["train_loss"], "validation": columns["val_loss"]}),
        line_chart(
            "Top-1 accuracy",
            {"training": columns["train_top1"], "validation": columns["val_top1"]},
            percent=True,
        ),
    ]


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


def worst_clips(scores: Scores, annotations: Annotations | None, most: int = WORST_CLIPS) -> list[WorstClip]:
    """Return the videos of the highest cross-entropy, the worst first."""
    logits = scores.logits.astype(np.float64)
    logits = logits - logits.max(axis=1, keepdims=True)
    log_probabilities = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))  # (M, K)
    losses = -log_probabilities[np.arange(len(scores.labels)), scores.labels]
    splits = annotations.splits.values() if annotations else ()
    records = {record_name(record): record for split in splits for record in split}
    clips = []
    for index in np.argsort(-losses, kind="stable")[:most]:
        name, label = scores.videos[index], int(scores.labels[index])
        predicted = int(log_probabilities[index].argmax())
        strip, error = _try_strip(annotations, records.get(name))
        clips.append(
            WorstClip(
                video=name,
                label=scores.classes[label],
                predicted=scores.classes[predicted],
                probability=float(np.exp(log_probabilities[index, predicted])),
                label_probability=float(np.exp(log_probabilities[index, label])),
                loss=float(losses[index]),
                strip=strip,
                error=error,
            )
        )
    return clips


def _try_strip(annotations: Annotations | None, record: VideoRecord | None) -> tuple[str | None, str | None]:
    """Return a strip of frames as a data URI, or the reason why there is none."""
    if annotations is None or record is None:
        return None, "This video is no longer where the run's lists say."
    try:
        return film_strip(annotations, record), None
    except VideoError as error:
        return None, str(error)


def film_strip(annotations: Annotations, record: VideoRecord) -> str:
    """Return a few frames of a video side by side, cropped as for the network, as the data URI of a JPEG."""
    video = open_record(annotations, record, "rgb")
    views = views_of(video, THUMBNAIL_FRAMES, THUMBNAIL, record=record)
    frames = F.pad(views[0], (0, 2)).permute(2, 0, 3, 1).flatten(1, 2)  # (T, 3, S, S) -> (S, T * (S + 2), 3)
    buffer = io.BytesIO()
    Image.fromarray(frames.numpy()).save(buffer, "JPEG", quality=80)
    return data_uri(buffer.getvalue(), "image/jpeg")
