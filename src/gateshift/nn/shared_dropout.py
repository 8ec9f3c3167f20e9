"""Dropout that does not depend on how many processes share a batch.

Letters: B clips of the whole batch, b of this process, T frames, D features.
"""

import torch.nn.functional as F
from torch import Tensor, nn

from gateshift.nn.sync_norm import is_absent


class SharedDropout(nn.Dropout):
    """Dropout of a process's share of a batch: its rows of the mask that one process would draw for all.

    All processes must have seeded their generators alike.

    Args:
        p: probability.
        rank: which of the processes this is: it has every ``world``-th clip, from this one.
        world: how many there are.
    """

    def __init__(self, p: float, rank: int, world: int) -> None:
        super().__init__(p)
        self.rank = rank
        self.world = world
        self.num_clips = 0  # B; 0 where nobody said

    def forward(self, features: Tensor) -> Tensor:
        """Return features (b, T, D) with some of them zero."""
        num_own = len(range(self.rank, self.num_clips, self.world))
        if not self.training or not self.p or is_absent() or num_own < len(features):
            return features if is_absent() else super().forward(features)
        mask = F.dropout(features.new_ones(self.num_clips, *features.shape[1:]), self.p)
        return features * mask[self.rank :: self.world][: len(features)]
