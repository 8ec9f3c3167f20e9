"""Which parameters learn in which epoch; batch-norms whose parameters do not learn stay as they are.

The optimiser has every parameter that ever learns, from the start: what has no gradient it leaves alone,
weight decay included. So its state is the same object before and after layers are let go.
"""

from torch import nn

from gateshift.engine.config import TrainConfig


def is_inherited(name: str) -> bool:
    """Tell whether a parameter of a VideoClassifier is of the backbone's own layers, which may be pretrained.

    >>> [is_inherited(f"backbone.layer1.0.conv2.{name}") for name in ("conv.weight", "temporal.gate.bias")]
    [True, False]
    """
    return name.startswith("backbone.") and ".temporal." not in name


def learning_parameters(model: nn.Module, config: TrainConfig, epoch: int) -> set[str]:
    """Return the names of the parameters that learn in ``epoch``, counted from 0."""
    names = {name for name, _ in model.named_parameters()}
    if config.linear_probe:
        return {name for name in names if name.startswith("head.")}
    if epoch < config.freeze_epochs:
        names = {name for name in names if not is_inherited(name)}
    return names - _partial_bn(model) if config.partial_bn else names


def learning_words(config: TrainConfig) -> str:
    """Say what learns, where it is not everything from the start; else nothing.

    >>> learning_words(TrainConfig(freeze_epochs=2))
    'temporal modules and head; the backbone from epoch 3'
    """
    if config.linear_probe:
        return "the head alone"
    if not config.freeze_epochs:
        return ""
    then = config.freeze_epochs + 1
    return "temporal modules and head" + (
        f"; the backbone from epoch {then}" if then <= config.epochs else ""
    )


def choose_learning(model: nn.Module, config: TrainConfig, epoch: int) -> bool:
    """Let gradients be taken of what learns in ``epoch``, and of nothing else; return whether that changed.

    Below the lowest layer that learns, torch then keeps no activations and has no backward pass.
    """
    learning = learning_parameters(model, config, epoch)
    changed = False
    for name, parameter in model.named_parameters():
        changed |= parameter.requires_grad != (name in learning)
        parameter.requires_grad_(name in learning)
    return changed


def hold_norms(model: nn.Module) -> None:
    """Keep the statistics of batch-norms whose parameters do not learn. Call it after ``model.train()``."""
    for module in model.modules():
        if isinstance(module, (nn.BatchNorm2d, nn.BatchNorm3d)) and not module.weight.requires_grad:
            module.eval()


def _partial_bn(model: nn.Module) -> set[str]:
    """Return the parameters of all 2D batch-norms but the first (TSN's partial BN); gates have 3D ones."""
    norms = [name for name, module in model.named_modules() if isinstance(module, nn.BatchNorm2d)]
    return {f"{norm}.{kind}" for norm in norms[1:] for kind in ("weight", "bias")}
