"""Learning beside the labels from what another network, the teacher, says of the training videos.

Distilling the Knowledge in a Neural Network, Hinton et al., 2015, https://arxiv.org/abs/1503.02531, with
scores that were saved once: the teacher saw each video as a test does, and is not run again.

Letters: M training videos, B clips, K classes.
"""

import hashlib
from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from gateshift.data.records import Annotations
from gateshift.engine.config import TrainConfig
from gateshift.engine.trial import record_name
from gateshift.errors import ScoresMismatch
from gateshift.evidence.scores import Scores

ADVICE = "`gateshift test TEACHER DATA --split train --save-scores F.npz` writes the scores of all of them."


@dataclass(frozen=True, eq=False)
class Teacher:
    """What another network says of the training videos.

    Attributes:
        logits: (M, K), in the order of the training videos and of their classes.
        mirror: the class that each becomes in a mirror, (K,).
        temperature: what its logits and the student's are divided by.
        weight: its share of the loss.
    """

    logits: Tensor
    mirror: Tensor
    temperature: float
    weight: float

    def __call__(self, videos: Tensor, mirrored: Tensor) -> Tensor:
        """Return the probabilities for clips of ``videos`` (B,), some of them mirrored (B,): (B, K)."""
        logits = self.logits[videos]
        seen = torch.where(mirrored[:, None], logits[:, self.mirror], logits)
        return (seen / self.temperature).softmax(dim=1)

    def divergence(self, logits: Tensor, taught: Tensor) -> Tensor:
        """Return the KL divergence of logits (B, K) from probabilities (B, K), summed over clips.

        It is multiplied by the square of the temperature, as its gradients shrink by that.
        """
        student = (logits / self.temperature).log_softmax(dim=1)
        return self.temperature**2 * F.kl_div(student, taught, reduction="sum")

    @cached_property
    def fingerprint(self) -> str:
        """A short text that changes with any of the logits."""
        return hashlib.sha256(self.logits.numpy().tobytes()).hexdigest()[:12]


def build_teacher(config: TrainConfig, annotations: Annotations) -> Teacher | None:
    """Return the teacher that ``config`` names, if it does.

    Raises:
        DataError: its scores are missing or cannot be read.
        ScoresMismatch: they are of other classes, lack training videos, or are not finite.
    """
    if not config.distill:
        return None
    swaps = annotations.swap_indices
    mirror = torch.tensor([swaps.get(label, label) for label in range(len(annotations.classes))])
    logits = read_logits(Path(config.distill), annotations)
    return Teacher(logits, mirror, config.distill_temperature, config.distill_weight)


def read_logits(path: Path, annotations: Annotations) -> Tensor:
    """Return the logits in a score file of the training videos, matched by name: (M, K).

    Of probabilities it takes logarithms, which are logits to all that follows.
    """
    scores = Scores.load(path)
    if sorted(scores.classes) != sorted(annotations.classes):
        differ = sorted(set(scores.classes) ^ set(annotations.classes)) or ["some are there twice"]
        raise ScoresMismatch(
            f"the scores in '{path}' are of other classes than these videos: {_examples(differ)}. "
            "Take a teacher that was trained on the same classes."
        )
    wanted = [record_name(record) for record in annotations.split("train")]
    _require_videos(path, wanted, scores.videos)
    place = {video: i for i, video in enumerate(scores.videos)}
    columns = [scores.classes.index(name) for name in annotations.classes]
    logits = scores.logits[[place[video] for video in wanted]][:, columns].astype(np.float32)
    if scores.kind == "probabilities":
        logits = np.log(np.maximum(logits, np.finfo(np.float32).tiny))
    if not np.isfinite(logits).all():
        raise ScoresMismatch(f"the scores in '{path}' are not finite. {ADVICE}")
    return torch.from_numpy(logits)


def _require_videos(path: Path, wanted: list[str], given: tuple[str, ...]) -> None:
    missing = sorted(set(wanted) - set(given))
    if missing:
        raise ScoresMismatch(
            f"the scores in '{path}' lack {len(missing)} of {len(wanted)} training videos: "
            f"{_examples(missing)}. {ADVICE} Where the data has no split of its own, the teacher must have "
            "been trained with the same --seed and --val-fraction."
        )
    count = Counter(given)
    repeated = [name for name in wanted if count[name] > 1]
    if repeated:
        raise ScoresMismatch(
            f"the scores in '{path}' have videos more than once: {_examples(repeated)}. {ADVICE}"
        )


def _examples(names: list[str], most: int = 3) -> str:
    return ", ".join(repr(name) for name in names[:most]) + (", ..." if len(names) > most else "")
