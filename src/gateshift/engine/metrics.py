"""Accuracy, per class and over all, from scores.

Fractions in [0, 1]; classes without videos have no accuracy and take no part in the class mean, so nothing is
NaN.
"""

from typing import TYPE_CHECKING, Any

import torch
from torchmetrics.functional.classification import multiclass_confusion_matrix, multiclass_stat_scores

from gateshift.errors import DataError

if TYPE_CHECKING:  # scores.ensemble measures its sum here
    from gateshift.engine.scores import Scores


def summary(scores: "Scores") -> dict[str, Any]:
    """Return ``top1``, ``top5``, ``mean_class_accuracy``, ``per_class`` and ``confusion`` as plain values.

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
    return {
        "top1": _accuracy(logits, labels, 1),
        "top5": _accuracy(logits, labels, min(5, num_classes)),
        "mean_class_accuracy": (correct[present].double() / videos[present]).mean().item(),
        "per_class": per_class,
        "confusion": confusion.tolist(),
    }


def _accuracy(logits: torch.Tensor, labels: torch.Tensor, top_k: int) -> float:
    """Return the fraction of videos whose label is among the best ``top_k`` classes.

    Counts, not torchmetrics' float32 accuracy: 9 of 10 has to be 0.9 and not 0.8999999762.
    """
    counts = multiclass_stat_scores(logits, labels, logits.shape[1], average="micro", top_k=top_k)
    right, _, _, _, videos = counts.tolist()
    return right / videos
