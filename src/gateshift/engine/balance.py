"""What becomes of skewed classes: the clips of an epoch, and what each class weighs in the loss.

Letters: M videos, K classes.
"""

from collections.abc import Mapping, Sequence

import numpy as np

EVERY_EPOCH = 2**32 - 1  # in place of the number of an epoch, for what is drawn once


def balanced_draws(labels: np.ndarray, seed: int, epoch: int) -> np.ndarray:
    """Return an epoch's draws, as many as there are videos, each class as often: labels (M,) -> (M,).

    A draw is the index of a video, and M more for each time that the epoch had it before: see ``TrainClips``.
    Classes take turns, and so do the videos of a class. What an epoch leaves out comes in the next, so that
    classes, and the videos of a class, are never more than one draw apart, in an epoch and over all of them.

    >>> [balanced_draws(np.array([0, 0, 0, 1]), seed=0, epoch=epoch).tolist() for epoch in (0, 1)]
    [[3, 1, 7, 0], [3, 2, 7, 1]]
    """
    rng = np.random.default_rng((seed, EVERY_EPOCH))
    classes = rng.permutation(np.unique(labels))
    turns = np.arange(epoch * len(labels), (epoch + 1) * len(labels))
    draws = np.empty_like(turns)
    for place, label in enumerate(classes):
        videos = rng.permutation(np.flatnonzero(labels == label))
        (its,) = np.nonzero(turns % len(classes) == place)
        again = np.arange(len(its)) // len(videos)
        draws[its] = videos[turns[its] // len(classes) % len(videos)] + again * len(labels)
    return draws


def class_weights(labels: Sequence[int], num_classes: int, swaps: Mapping[int, int]) -> np.ndarray:
    """Return what the loss of a clip of each class is multiplied by: (K,), with a mean of 1 over clips.

    It is as much as there are fewer clips of a class. With ``swaps``, class -> class of the mirrored video,
    these are counted after half of the clips are mirrored. A class without clips has 0.

    >>> class_weights([0, 0, 0, 1], 2, {}).round(3).tolist()
    [0.667, 2.0]
    >>> class_weights([0, 0, 0, 1], 2, {0: 1, 1: 0}).tolist()
    [1.0, 1.0]
    """
    videos = np.bincount(labels, minlength=num_classes)
    mirrored = videos[[swaps.get(label, label) for label in range(num_classes)]]
    clips = (videos + mirrored) / 2
    present = clips > 0
    return np.divide(len(labels), present.sum() * clips, out=np.zeros(num_classes), where=present)
