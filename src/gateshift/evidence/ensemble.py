"""Several networks as one: their scores added, with equal, given or fitted weights.

Letters: E members, M videos, K classes.
"""

from collections.abc import Sequence
from functools import reduce
from operator import add

import numpy as np
import torch
import torch.nn.functional as F

from gateshift.errors import ConfigError, DataError, ScoresMismatch
from gateshift.evidence.scores import Scores

PULL = 1e-4  # towards 1: where the fit has no other reason, weights stay equal, and they never run off
SMALLEST = 1e-12  # probability that a loss is taken of


def align(members: Sequence[tuple[str, Scores]]) -> list[Scores]:
    """Return the scores of named members with videos and classes in the order of the first.

    Raises:
        ScoresMismatch: two members are of different videos, classes, labels or kinds; it names them.
    """
    (first_name, first), *others = members
    aligned = [first]
    for name, member in others:
        try:
            first + member  # for its refusals
        except ScoresMismatch as error:
            raise ScoresMismatch(f"{first_name!r} and {name!r}: {error}") from error
        aligned.append(member.in_order_of(first))
    return aligned


def add_up(aligned: Sequence[Scores], weights: Sequence[float]) -> Scores:
    """Return the weighted sum of scores."""
    return reduce(add, (one.scaled(weight) for one, weight in zip(aligned, weights, strict=True)))


def fitting_share(scores: Scores, share: float, seed: int) -> np.ndarray:
    """Return which videos to fit weights on: (M,) booleans, about ``share`` of every class.

    The choice depends on the seed and on the names of the videos, and not on their order.

    Raises:
        ConfigError: the share is not between 0 and 1, or leaves no video on one of the sides.
    """
    if not 0 < share < 1:
        raise ConfigError(f"fit is {share}; it must lie between 0 and 1, such as 0.5. Change --fit.")
    names = [scores.classes[label] for label in scores.labels]
    by_name = np.array(sorted(range(len(names)), key=lambda i: (names[i], scores.videos[i])), dtype=np.int64)
    shuffled = np.random.default_rng(seed).permutation(by_name)
    by_class = sorted(shuffled.tolist(), key=lambda i: names[i])  # stable: random within a class
    steps = np.floor(np.arange(len(names) + 1) * share + 1e-9)
    chosen = np.zeros(len(names), dtype=bool)
    chosen[by_class] = np.diff(steps) > 0  # evenly along the classes
    if chosen.all() or not chosen.any():
        raise ConfigError(
            f"fit is {share}: of {len(names)} videos that leaves {int((~chosen).sum())} to measure on and "
            f"{int(chosen.sum())} to fit on. Both need one or more; change --fit."
        )
    return chosen


def fit_weights(members: Sequence[Scores]) -> list[float]:
    """Return the weights, none negative, whose sum of the members has the least cross-entropy.

    Probabilities are mixed in proportion to the weights. Of logits the scale is fitted, too, and then left
    out, for it changes no prediction: weights add up to the number of members, as equal ones do. The loss is
    convex, so that no seed and no order of the videos matters.

    Args:
        members: scores of the same videos in the same order, as ``align`` gives them.
    """
    kind = members[0].kind
    scores = torch.as_tensor(np.stack([member.logits for member in members])).double()  # (E, M, K)
    labels = torch.as_tensor(members[0].labels)
    if not bool(torch.isfinite(scores).all()):
        raise DataError("scores that are not finite cannot be fitted. Test the models again in float32.")
    roots = torch.ones(len(members), dtype=torch.float64, requires_grad=True)  # weights are their squares
    optimizer = torch.optim.LBFGS(
        [roots], max_iter=1000, tolerance_grad=1e-10, tolerance_change=1e-14, line_search_fn="strong_wolfe"
    )

    def loss() -> torch.Tensor:
        optimizer.zero_grad()
        weights = roots.square()
        total = torch.tensordot(weights, scores, dims=1)  # (M, K)
        if kind == "probabilities":
            total = (total / weights.sum()).clamp_min(SMALLEST).log()
            value = F.nll_loss(total, labels)
        else:
            value = F.cross_entropy(total, labels)
        value = value + PULL * (weights - 1).square().sum()
        value.backward()
        return value

    optimizer.step(loss)
    weights = roots.detach().square()
    weights = weights / weights.mean() if weights.sum() > 0 else torch.ones_like(weights)
    return [round(weight, 6) for weight in weights.tolist()]
