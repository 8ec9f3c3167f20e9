"""The average of a network over the steps of its training, which is often better than its last weights.

An exponential moving average, Polyak and Juditsky, 1992, https://doi.org/10.1137/0330046, as it is used since
Szegedy et al., 2015, https://arxiv.org/abs/1512.00567. After step t, of 1, 2, ...:

    average = d * average + (1 - d) * weights,    d = min(decay, (1 + t) / (10 + t))

so that the first steps, from untrained weights, are soon forgotten. The statistics of batch-norms are
averaged likewise: of what the average has seen, the last statistics are as little as the last weights.
"""

import copy
from typing import Any

import torch
from torch import Tensor, nn

from gateshift.models.classifier import VideoClassifier


def decay_at(step: int, decay: float) -> float:
    """Return what stays of the average at the optimiser's step ``step``, counted from 1.

    >>> [round(decay_at(step, 0.99), 3) for step in (1, 10, 100, 10_000)]
    [0.182, 0.55, 0.918, 0.99]
    """
    return min(decay, (1 + step) / (10 + step))


class WeightAverage:
    """A copy of a network that holds the average of its weights and buffers.

    Args:
        model: the network that learns.
        decay: the most that stays of the average at a step.

    Attributes:
        network: the copy, in eval mode; integer buffers are those of the last step.
        steps: steps that the average is over.
    """

    def __init__(self, model: VideoClassifier, decay: float) -> None:
        self.network = copy.deepcopy(model).eval().requires_grad_(False)
        self.decay = decay
        self.steps = 0

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """Take in the weights after one more step of the optimiser."""
        self.steps += 1
        averages, values = list[Tensor](), list[Tensor]()
        for average, value in zip(_tensors(self.network), _tensors(model), strict=True):
            if average.is_floating_point():
                averages.append(average)
                values.append(value)
            else:
                average.copy_(value)
        torch._foreach_lerp_(averages, values, 1 - decay_at(self.steps, self.decay))

    def state(self) -> dict[str, Any]:
        """Return what ``restore`` takes back."""
        return {"steps": self.steps, "network": self.network.state_dict()}

    def restore(self, state: dict[str, Any]) -> None:
        """Take back what ``state`` returned.

        Raises:
            RuntimeError: it is of another network.
        """
        self.network.load_state_dict(state["network"])
        self.steps = state["steps"]


def _tensors(network: nn.Module) -> list[Tensor]:
    return [*network.parameters(), *network.buffers()]
