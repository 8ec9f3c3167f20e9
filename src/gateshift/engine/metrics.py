"""Accuracy, per class and over all, from scores.

Fractions in [0, 1]; classes without videos have no accuracy and take no part in the class mean, so nothing is
NaN.
"""

from math import sqrt
from statistics import NormalDist
from typing import Any

import torch
from torchmetrics.functional.classification import multiclass_confusion_matrix, multiclass_stat_scores

from gateshift.engine.scores import Scores
from gateshift.errors import ConfigError, DataError


def summary(scores: Scores) -> dict[str, Any]:
    """Return the accuracies of scores as plain values.

    ``top1`` with its 95 % interval in ``top1_interval``, ``top5``, ``mean_class_accuracy``, ``per_class`` and
    ``confusion``: ``confusion[true][predicted]`` counts videos. With K < 5 classes ``top5`` is the accuracy
    of the best K.

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
    right = _num_right(logits, labels, 1)
    return {
        "top1": right / total,
        "top1_interval": list(wilson_interval(right, total)),
        "top5": _num_right(logits, labels, min(5, num_classes)) / total,
        "mean_class_accuracy": (correct[present].double() / videos[present]).mean().item(),
        "per_class": per_class,
        "confusion": confusion.tolist(),
    }


def wilson_interval(right: int, total: int, confidence: float = 0.95) -> tuple[float, float]:
    """Return between which fractions the true accuracy lies, when ``right`` of ``total`` videos were right.

    Wilson's score interval: sound for few videos too, and for none or all of them right. It counts the videos
    as drawn one by one; it knows nothing of other seeds of a training.

    >>> [round(end, 4) for end in wilson_interval(8, 10)]
    [0.4902, 0.9433]
    """
    if not 0 <= right <= total or total < 1:
        raise DataError(f"{right} of {total} videos have no accuracy. Give 0 <= right <= total, total >= 1.")
    if not 0 < confidence < 1:
        raise ConfigError(f"confidence is {confidence}; it must lie between 0 and 1, such as 0.95.")
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    fraction, doubt = right / total, z * z / total
    centre = (fraction + doubt / 2) / (1 + doubt)
    half = z * sqrt(fraction * (1 - fraction) / total + doubt / (4 * total)) / (1 + doubt)
    return (max(0.0, centre - half) if right else 0.0, min(1.0, centre + half) if right < total else 1.0)


def _num_right(logits: torch.Tensor, labels: torch.Tensor, top_k: int) -> int:
    """Return how many videos have their label among the best ``top_k`` classes.

    Counts, not torchmetrics' float32 accuracy: 9 of 10 has to be 0.9 and not 0.8999999762.
    """
    counts = multiclass_stat_scores(logits, labels, logits.shape[1], average="micro", top_k=top_k)
    return int(counts[0])
