"""The optimiser and its schedule: warm-up, then one cosine."""

import math
from typing import Any

import torch
from torch import nn

from gateshift.engine.config import TrainConfig
from gateshift.engine.freezing import is_inherited
from gateshift.engine.gate_statistics import gate_modules
from gateshift.models.backbones import BACKBONES
from gateshift.models.classifier import VideoClassifier
from gateshift.models.registry import MODELS


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


def build_optimizer(model: VideoClassifier, config: TrainConfig) -> torch.optim.Optimizer:
    """Return the optimiser over groups of one rate, slowest first; layers that never learn are in none."""
    of_gates = {id(each) for module in gate_modules(model).values() for each in module.parameters()}
    of_factor: dict[float, list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            factor = config.gate_lr if id(parameter) in of_gates else rate_factor(model, name, config)
            of_factor.setdefault(factor, []).append(parameter)
    groups = [{"params": each, "factor": factor} for factor, each in sorted(of_factor.items())]
    settings: dict[str, Any] = {
        "lr": config.lr,
        "weight_decay": config.weight_decay,
        "fused": all(parameter.device.type in FUSED for parameter in model.parameters()),
    }
    if config.optimizer == "sgd":
        return torch.optim.SGD(groups, momentum=0.9, **settings)
    return torch.optim.AdamW(groups, **settings)


def rate_factor(model: VideoClassifier, name: str, config: TrainConfig) -> float:
    """Return the factor on the learning rate of a parameter that is no gate's."""
    if not is_inherited(name):
        return 1.0
    backbone = BACKBONES[MODELS[model.spec.name].backbone]
    from_top = len(backbone.stages) - 1 - backbone.stage_of(name.removeprefix("backbone."))
    return (config.backbone_lr if config.pretrained else 1.0) * config.layer_decay**from_top


def set_learning_rate(optimizer: torch.optim.Optimizer, config: TrainConfig, epoch: float) -> float:
    """Set every group's rate for ``epoch`` (fractions count where the schedule moves by step); return it."""
    at = epoch if config.schedule == "step" else math.floor(epoch)
    lr = learning_rate(at, lr=config.lr, warmup_epochs=config.warmup_epochs, epochs=config.epochs)
    set_rate(optimizer, lr)
    return lr


def current_rate(optimizer: torch.optim.Optimizer) -> float:
    """Return the learning rate on which no factor is: that of the head."""
    rate: float = next(group["lr"] for group in optimizer.param_groups if group["factor"] == 1.0)
    return rate


def set_rate(optimizer: torch.optim.Optimizer, lr: float) -> None:
    """Give every group ``lr`` times its factor."""
    for group in optimizer.param_groups:
        group["lr"] = lr * group["factor"]
