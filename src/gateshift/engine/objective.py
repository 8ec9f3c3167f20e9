"""What training makes small: the cross-entropy with the labels, and whatever else the config asks for.

Letters: B clips, K classes.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from gateshift.data.records import Annotations
from gateshift.engine.balance import class_weights
from gateshift.engine.config import TrainConfig
from gateshift.engine.distillation import Teacher, build_teacher


@dataclass(frozen=True)
class Objective:
    """The loss of a batch, summed over its clips.

    Attributes:
        label_smoothing: share of the target that is spread over all classes.
        class_weights: what each class counts in the loss with the labels, (K,); all alike without.
        teacher: what else is learnt from.
    """

    label_smoothing: float = 0.0
    class_weights: Tensor | None = None
    teacher: Teacher | None = None

    def __call__(self, logits: Tensor, targets: Tensor, taught: Tensor | None = None) -> Tensor:
        """Return the loss of a batch.

        Args:
            logits: (B, K).
            targets: labels (B,), or shares of the classes (B, K).
            taught: the teacher's probabilities (B, K), where there is one.
        """
        loss = self.of_labels(logits, targets)
        if self.teacher is None or taught is None:
            return loss
        return torch.lerp(loss, self.teacher.divergence(logits, taught), self.teacher.weight)

    def of_labels(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Return the loss with the labels alone."""
        if self.class_weights is None:
            return F.cross_entropy(logits, targets, label_smoothing=self.label_smoothing, reduction="sum")
        return weighted_cross_entropy(logits, targets, self.class_weights, self.label_smoothing)


def weighted_cross_entropy(
    logits: Tensor, targets: Tensor, weights: Tensor, label_smoothing: float
) -> Tensor:
    """Return the summed cross-entropy in which each label counts as its class does.

    A mixed clip has the loss of its labels by their shares, each times the weight of its class. What
    smoothing gives to other classes counts as the label does that it is taken from: torch's own ``weight``
    counts it by those others, and rare classes would be learnt from every clip.

    Args:
        logits: (B, K).
        targets: labels (B,), or shares of the classes (B, K).
        weights: of the classes, (K,).
        label_smoothing: share of the target that is spread over all classes.
    """
    num_classes = logits.shape[1]
    shares = F.one_hot(targets, num_classes).to(logits) if targets.dim() == 1 else targets
    counted = shares * weights  # (B, K)
    spread = counted.sum(dim=1, keepdim=True) / num_classes
    smoothed = torch.lerp(counted, spread.expand_as(counted), label_smoothing)
    return -(smoothed * logits.log_softmax(dim=1)).sum()


def build_objective(config: TrainConfig, annotations: Annotations, device: torch.device) -> Objective:
    """Return the loss that ``config`` asks for on the training videos of ``annotations``.

    Raises:
        DataError: the teacher's scores cannot be read.
        ScoresMismatch: they are of other classes, or lack videos.
    """
    weights = None
    if config.balance == "loss":
        labels = [record.label for record in annotations.split("train")]
        swaps = annotations.swap_indices if config.flip else {}
        values = class_weights(labels, len(annotations.classes), swaps)
        weights = torch.tensor(values, dtype=torch.float32, device=device)
    return Objective(config.label_smoothing, weights, build_teacher(config, annotations))
