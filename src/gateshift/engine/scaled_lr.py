"""The learning rate for another effective batch than a recipe's.

SGD: in proportion, Goyal et al., "Accurate, Large Minibatch SGD", 2017, https://arxiv.org/abs/1706.02677.
AdamW: by the square root, Malladi et al., "On the SDEs and Scaling Rules for Adaptive Gradient Algorithms",
2022, https://arxiv.org/abs/2205.10287.
"""

import math
from dataclasses import replace

from gateshift.engine.config import TrainConfig


def scaled_lr(lr: float, clips: int, reference: int, optimizer: str) -> float:
    """Return the learning rate for ``clips`` a step, of one that was for ``reference`` clips a step.

    >>> scaled_lr(0.01, 64, 32, "sgd"), round(scaled_lr(0.001, 64, 32, "adamw"), 6)
    (0.02, 0.001414)
    """
    ratio = clips / reference
    return lr * (ratio if optimizer == "sgd" else math.sqrt(ratio))


def with_scaled_lr(config: TrainConfig, recipe: TrainConfig) -> TrainConfig:
    """Return ``config`` with its learning rate, which is for the recipe's effective batch, for its own."""
    clips, reference = config.effective_batch, recipe.effective_batch
    return replace(config, lr=scaled_lr(config.lr, clips, reference, config.optimizer))


def rate_words(config: TrainConfig, recipe: TrainConfig, unscaled: float | None) -> str:
    """Say what the learning rate is, and how it came from ``unscaled``, which was for the recipe's batch.

    >>> big = TrainConfig(lr=0.02, batch_size=64, optimizer="sgd")
    >>> rate_words(big, TrainConfig(batch_size=32), unscaled=0.01)
    '0.02 = 0.01 x 64/32 clips'
    >>> rate_words(big, TrainConfig(batch_size=32), unscaled=None)
    '0.02'
    """
    if unscaled is None or config.effective_batch == recipe.effective_batch:
        return f"{config.lr:g}"
    ratio = f"{config.effective_batch}/{recipe.effective_batch}"
    factor = f"{ratio} clips" if config.optimizer == "sgd" else f"sqrt({ratio} clips)"
    return f"{config.lr:g} = {unscaled:g} x {factor}"


def batch_note(config: TrainConfig, recipe: TrainConfig) -> tuple[str, ...]:
    """Return a remark where a recipe's own learning rate meets another effective batch than its own."""
    same = config.effective_batch == recipe.effective_batch
    if same or (config.lr, config.optimizer) != (recipe.lr, recipe.optimizer):
        return ()
    scaled = scaled_lr(config.lr, config.effective_batch, recipe.effective_batch, config.optimizer)
    return (
        f"The recipe's learning rate of {recipe.lr:g} is for {recipe.effective_batch} clips a step, and here "
        f"are {config.effective_batch}: --scale-lr would make it {scaled:g}.",
    )
