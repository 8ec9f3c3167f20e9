"""The optimiser and its schedule: warm-up, then one cosine."""

import math
from typing import Any

import torch
from torch import nn

from gateshift.engine.config import TrainConfig


def learning_rate(epoch: float, *, lr: float, warmup_epochs: int, epochs: int) -> float:
    """Return the learning rate at ``epoch``: linear from a tenth, then a cosine to 1e-7 of ``lr``.

    Whole epochs give the released schedule (CosineAnnealingLR.py); fractions move it at every step.

    >>> [round(learning_rate(e, lr=0.01, warmup_epochs=10, epochs=60), 4) for e in (0, 5, 10, 35)]
    [0.001, 0.0055, 0.01, 0.005]
    """
    if epoch < warmup_epochs:
        return lr * (0.1 + 0.9 * epoch / warmup_epochs)
    floor = lr * 1e-7
    done = (epoch - warmup_epochs) / (epochs - warmup_epochs)
    return floor + (lr - floor) * (1 + math.cos(math.pi * done)) / 2


FUSED = ("cpu", "cuda")  # where torch updates all parameters in one pass over memory


def build_optimizer(model: nn.Module, config: TrainConfig) -> torch.optim.Optimizer:
    """Return the optimiser over two groups: the backbone's own layers, and all that starts untrained."""
    own: list[nn.Parameter] = []
    new: list[nn.Parameter] = []
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            inherited = name.startswith("backbone.") and ".temporal." not in name
            (own if inherited else new).append(parameter)
    groups: list[dict[str, Any]] = [
        {"params": own, "factor": config.backbone_lr if config.pretrained else 1.0},
        {"params": new, "factor": 1.0},
    ]
    settings: dict[str, Any] = {
        "lr": config.lr,
        "weight_decay": config.weight_decay,
        "fused": all(parameter.device.type in FUSED for parameter in own + new),
    }
    if config.optimizer == "sgd":
        return torch.optim.SGD(groups, momentum=0.9, **settings)
    return torch.optim.AdamW(groups, **settings)


def set_learning_rate(optimizer: torch.optim.Optimizer, config: TrainConfig, epoch: float) -> float:
    """Set every group's rate for ``epoch`` (fractions count where the schedule moves by step); return it."""
    at = epoch if config.schedule == "step" else math.floor(epoch)
    lr = learning_rate(at, lr=config.lr, warmup_epochs=config.warmup_epochs, epochs=config.epochs)
    for group in optimizer.param_groups:
        group["lr"] = lr * group["factor"]
    return lr


def freeze_batch_norms(model: nn.Module) -> None:
    """Keep the statistics and affine values of all 2D batch-norms but the first (TSN's partial BN).

    Call it after every ``model.train()``. The gates' own 3D batch-norms are left to learn.
    """
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    for norm in norms[1:]:
        norm.eval()
        norm.requires_grad_(False)
