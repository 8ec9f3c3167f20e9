"""Videos whose label is likely wrong, by what a network that did not learn them says.

Letters: M videos, K classes.
"""

from dataclasses import dataclass

import numpy as np

from gateshift.evidence.calibration import cooled, probabilities
from gateshift.evidence.scores import Scores


@dataclass(frozen=True)
class Suspect:
    """A video that looks like another class than its label.

    Attributes:
        index: which of the scores.
        video: its name.
        label: what the list says.
        suggested: what it is more likely to be.
        probability: of the suggested class.
        label_probability: of its label.
    """

    index: int
    video: str
    label: str
    suggested: str
    probability: float
    label_probability: float


def find_label_errors(scores: Scores, temperature: float | None = None, most: int = 12) -> list[Suspect]:
    """Return the likeliest label errors, the likeliest first.

    Confident learning (Northcutt, Jiang and Chuang 2021): a video is a suspect where another class has at
    least the probability that videos of that class have on average, and more than its label. What the network
    has learnt by heart it does not suspect: give scores of videos that it did not see.

    Args:
        scores: of M videos.
        temperature: what the network's logits are divided by, where that is known.
        most: how many are returned.
    """
    chances = probabilities(cooled(scores, temperature or 1.0))  # (M, K)
    own = chances[np.arange(len(scores.labels)), scores.labels]
    of_class = np.eye(len(scores.classes), dtype=bool)[scores.labels]  # (M, K)
    counts = of_class.sum(axis=0)
    usual = np.where(counts > 0, (chances * of_class).sum(axis=0) / np.maximum(counts, 1), np.inf)  # (K,)
    confident = (chances >= usual) & ~of_class & (chances > own[:, None])
    suggested = np.where(confident, chances, -1.0).argmax(axis=1)
    found = np.flatnonzero(confident.any(axis=1))
    margin = chances[found, suggested[found]] - own[found]
    return [
        Suspect(
            index=int(index),
            video=scores.videos[index],
            label=scores.classes[scores.labels[index]],
            suggested=scores.classes[suggested[index]],
            probability=float(chances[index, suggested[index]]),
            label_probability=float(own[index]),
        )
        for index in found[np.argsort(-margin, kind="stable")][:most]
    ]
