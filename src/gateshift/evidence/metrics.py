"""Accuracy, per class and over all, from scores; and how sure it is.

Fractions in [0, 1]; classes without videos have no accuracy and take no part in the class mean, so nothing is
NaN. Letters: M videos, K classes, R resamples.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torchmetrics.functional.classification import multiclass_confusion_matrix

from gateshift.errors import DataError
from gateshift.evidence.intervals import Interval, bootstrap, wilson_interval
from gateshift.evidence.scores import Scores

WITH_INTERVALS = ("top1", "top5", "mean_class_accuracy")


def summary(scores: Scores, groups: Sequence[str] | None = None) -> dict[str, Any]:
    """Return ``accuracies``, and the 95 % interval of each.

    ``top1_interval``, ``top5_interval``, ``mean_class_accuracy_interval``, and ``interval`` in ``per_class``.

    Args:
        scores: of M videos.
        groups: the name of each video's group, such as its recording; without, each video stands for itself.

    Raises:
        DataError: there is nothing to measure.
    """
    measured = accuracies(scores)
    intervals = accuracy_intervals(scores, groups)
    per_class = [
        row | {"interval": list(wilson_interval(counts[label], row["videos"])) if row["videos"] else None}
        for label, (row, counts) in enumerate(zip(measured["per_class"], measured["confusion"], strict=True))
    ]
    named = {f"{name}_interval": list(intervals[name]) for name in WITH_INTERVALS}
    return measured | named | {"per_class": per_class}


def accuracies(scores: Scores) -> dict[str, Any]:
    """Return the accuracies of scores as plain values.

    ``top1``, ``top5``, ``mean_class_accuracy``, ``per_class`` and ``confusion``, whose
    ``confusion[true][predicted]`` counts videos. With K < 5 classes ``top5`` is the accuracy of the best K.

    Raises:
        DataError: there is nothing to measure.
    """
    num_classes = len(scores.classes)
    if not scores.videos or num_classes < 2:
        raise DataError(
            f"accuracy needs at least one video and two classes, got {len(scores.videos)} and {num_classes}."
        )
    logits, labels = torch.as_tensor(scores.logits), torch.as_tensor(scores.labels).long()
    confusion = multiclass_confusion_matrix(logits, labels, num_classes=num_classes)  # (K, K)
    videos = confusion.sum(dim=1)
    correct = confusion.diagonal()
    present = videos > 0
    per_class = [
        {"class": name, "videos": count, "accuracy": right / count if count else None}
        for name, count, right in zip(scores.classes, videos.tolist(), correct.tolist(), strict=True)
    ]
    total = len(scores.videos)
    return {
        "top1": int(among_best(scores, 1).sum()) / total,
        "top5": int(among_best(scores, 5).sum()) / total,
        "mean_class_accuracy": (correct[present].double() / videos[present]).mean().item(),
        "per_class": per_class,
        "confusion": confusion.tolist(),
    }


def among_best(scores: Scores, top_k: int) -> np.ndarray:
    """Return of which videos the label is among the best ``top_k`` classes, (M,) booleans.

    Of equal logits the first class is the better one, as `argmax` has it.
    """
    own = scores.logits[np.arange(len(scores.labels)), scores.labels][:, None]
    before = np.arange(len(scores.classes)) < scores.labels[:, None]
    better = (scores.logits > own) | ((scores.logits == own) & before)  # (M, K)
    return better.sum(axis=1) < top_k


def accuracy_intervals(scores: Scores, groups: Sequence[str] | None = None) -> dict[str, Interval]:
    """Return the 95 % interval of each accuracy by name, from resampled groups of videos.

    Where all resamples agree, as with all videos right, it is Wilson's for as many videos as groups.
    """
    sums = accuracy_sums(scores)
    found = bootstrap(sums, accuracies_of_sums, groups)
    count = len(set(groups)) if groups is not None else len(sums)
    whole = accuracies_of_sums(sums.sum(axis=0)[None])[0]
    return {
        name: interval if interval[0] < interval[1] else wilson_interval(round(value * count), count)
        for name, interval, value in zip(WITH_INTERVALS, found, whole, strict=True)
    }


def accuracy_sums(scores: Scores) -> np.ndarray:
    """Return what each video adds to the sums that accuracies follow from: (M, 2 + 2 K)."""
    right = among_best(scores, 1)
    of_class = np.eye(len(scores.classes))[scores.labels]  # (M, K)
    return np.column_stack([right, among_best(scores, 5), of_class, of_class * right[:, None]])


def accuracies_of_sums(sums: np.ndarray) -> np.ndarray:
    """Return top-1, top-5 and mean class accuracy of sums: (R, 2 + 2 K) -> (R, 3)."""
    videos, right = np.split(sums[:, 2:], 2, axis=1)  # (R, K)
    present = videos > 0
    per_class = np.divide(right, videos, out=np.zeros_like(right), where=present)
    mean_class = per_class.sum(axis=1) / present.sum(axis=1)
    return np.column_stack([sums[:, :2] / videos.sum(axis=1, keepdims=True), mean_class])
