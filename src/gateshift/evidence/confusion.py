"""What classes are taken for each other.

Letters: K classes.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

LINK = 1e-6  # between any two classes, so that those which nobody confuses have an order as well


@dataclass(frozen=True)
class Confused:
    """Videos of one class that are taken for another.

    Attributes:
        label: what they are.
        predicted: what they are taken for.
        videos: how many.
        share: of all videos of their class.
    """

    label: str
    predicted: str
    videos: int
    share: float


def class_order(confusion: Sequence[Sequence[int]]) -> list[int]:
    """Return the classes in an order in which those that are taken for each other stand together.

    That is their order along the second eigenvector of the confusions' graph Laplacian (Fiedler 1975),
    where two classes are linked by the shares of their videos that go to the other.

    >>> class_order([[9, 0, 1], [0, 9, 0], [2, 0, 8]])
    [1, 0, 2]
    """
    counts = np.array(confusion, dtype=np.float64)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    links = shares + shares.T + LINK
    np.fill_diagonal(links, 0)
    laplacian = np.diag(links.sum(axis=1)) - links
    _, vectors = np.linalg.eigh(laplacian)
    along = vectors[:, min(1, len(counts) - 1)]
    if along[np.abs(along).argmax()] < 0:  # an eigenvector has no sign of its own
        along = -along
    return np.argsort(-along.round(9), kind="stable").tolist()


def most_confused(
    confusion: Sequence[Sequence[int]], classes: Sequence[str], most: int = 12
) -> list[Confused]:
    """Return the pairs of classes with the most wrong answers, the largest first.

    >>> most_confused([[5, 3], [0, 2]], ["push", "pull"])
    [Confused(label='push', predicted='pull', videos=3, share=0.375)]
    """
    counts = np.array(confusion)
    totals = counts.sum(axis=1)
    np.fill_diagonal(counts, 0)
    places = np.argsort(-counts, axis=None, kind="stable")[:most]
    pairs = [divmod(int(place), len(counts)) for place in places]
    return [
        Confused(classes[label], classes[predicted], int(videos), float(videos / totals[label]))
        for label, predicted in pairs
        if (videos := counts[label, predicted])
    ]
