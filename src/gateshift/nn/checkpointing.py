"""Blocks of a network that keep their input alone, and run again in the backward pass.

Chen et al., "Training Deep Nets with Sublinear Memory Cost", 2016, https://arxiv.org/abs/1604.06174. About a
third more arithmetic, for clips that would not fit otherwise. The second run changes no statistics of
batch-norms, so that a step is what it would be without.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from gateshift.nn.recompute import keeping_all, switched
from gateshift.nn.sync_norm import is_absent, without_clips

_inside: ContextVar[bool] = ContextVar("checkpointing", default=False)


def checkpointing() -> AbstractContextManager[None]:
    """Let the blocks of forward passes inside run again in the backward pass, which may lie outside."""
    return switched(_inside, True)


def run_block(network: nn.Module, run: Callable[..., Tensor], *arguments: Any) -> Tensor:
    """Return ``run(*arguments)``, a block of ``network`` without randomness."""
    if torch.compiler.is_compiling() or not (_inside.get() and torch.is_grad_enabled()):
        return run(*arguments)
    absent = is_absent()  # the second run may come in another thread, which cannot tell
    return checkpoint(
        run,
        *arguments,
        use_reentrant=False,
        preserve_rng_state=False,
        context_fn=lambda: (keeping_all(), _without_statistics(network, absent)),
    )


class Blocks(nn.Sequential):
    """Blocks that follow each other, each of which may run again."""

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C', H', W')."""
        for block in self:
            x = run_block(block, block, x)
        return x


@contextmanager
def _without_statistics(network: nn.Module, absent: bool) -> Iterator[None]:
    """Let batch-norms write their statistics where nobody reads them; stand for no clips if ``absent``."""
    norms = [module for module in network.modules() if isinstance(module, (nn.BatchNorm2d, nn.BatchNorm3d))]
    kept = [(norm, name, buffer) for norm in norms for name, buffer in list(norm.named_buffers())]
    for norm, name, buffer in kept:
        setattr(norm, name, buffer.clone())
    try:
        with without_clips() if absent else nullcontext():
            yield
    finally:
        for norm, name, buffer in kept:
            setattr(norm, name, buffer)
