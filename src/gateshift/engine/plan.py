"""The plan that a person reads before the first epoch: everything that was decided for them."""

import torch
from rich.table import Table
from torch import nn

from gateshift.data.records import Annotations
from gateshift.engine.config import TrainConfig
from gateshift.engine.freezing import learning_words
from gateshift.engine.machine import has_bfloat16
from gateshift.engine.plan_options import balance_note, option_lines
from gateshift.engine.progress import console
from gateshift.engine.recipes import RECIPES
from gateshift.engine.run import Run
from gateshift.engine.scaled_lr import batch_note, rate_words
from gateshift.models.classifier import VideoClassifier
from gateshift.models.cost import count_macs, count_parameters
from gateshift.spec import MODALITIES


def show_plan(
    run: Run,
    model: VideoClassifier,
    device: torch.device,
    precision: torch.dtype,
    recipe: str = "",
    unscaled_lr: float | None = None,
) -> None:
    """Print the plan of ``run`` on stderr.

    Its settings started from ``recipe``, and its learning rate, if it was scaled, from ``unscaled_lr``.
    """
    table = Table(show_header=False, title=f"plan of {run.dir}", title_justify="left", box=None)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for name, value in plan_lines(run, model, device, precision, recipe, unscaled_lr):
        table.add_row(name, value)
    console().print(table)


def plan_lines(
    run: Run,
    model: VideoClassifier,
    device: torch.device,
    precision: torch.dtype,
    recipe: str = "",
    unscaled_lr: float | None = None,
) -> list[tuple[str, str]]:
    """Return the plan as pairs of name and text."""
    config, annotations = run.config, run.annotations
    spec = model.input_spec
    train, val = annotations.splits["train"], annotations.splits["val"]
    slower = f"; backbone x {config.backbone_lr:g}" if config.pretrained else ""
    slower += f", each stage before its last x {config.layer_decay:g}" if config.layer_decay < 1 else ""
    slower += f"; gates x {config.gate_lr:g}" if config.gate_lr != 1 else ""
    start = "ImageNet weights" if config.pretrained else "random weights"
    start_of = [("recipe", _recipe_words(recipe, annotations))] if recipe else []
    lines = [
        *start_of,
        (
            "data",
            f"{run.data}: {len(train)} videos to train on, {len(val)} to validate ({annotations.source})",
        ),
        ("classes", f"{len(annotations.classes)}: {', '.join(annotations.classes[:12])}{_more(annotations)}"),
        ("mirror", _mirror(config, annotations)),
        *([("augmentation", config.augment)] if config.augment else []),
        ("model", f"{config.model} from {start}, {_shown(config)} of {spec.size} px"),
        *([("options", config.temporal_options)] if config.temporal_options else []),
        (
            "size",
            f"{count_parameters(model) / 1e6:.2f} M parameters, {count_macs(model) / 1e9:.2f} GMACs a clip, "
            f"{len(model.insertion_points)} temporal modules",
        ),
        ("batch", f"{config.batch_size} x {config.accumulate} = {config.effective_batch} clips a step"),
        (
            "learning rate",
            f"{_rate(config, recipe, unscaled_lr)} ({config.optimizer}{slower}), "
            f"{config.warmup_epochs} of {config.epochs} epochs warm-up, then a cosine by {config.schedule}",
        ),
        (
            "regularisers",
            f"dropout {config.dropout:g}, weight decay {config.weight_decay:g}, label smoothing "
            f"{config.label_smoothing:g}, gradient norm {config.clip_grad:g}"
            + (", batch-norms frozen but the first" if config.partial_bn else ""),
        ),
        *option_lines(config),
        *([("learns", learns)] if (learns := learning_words(config)) else []),
        *([("bad videos", _bad_videos(config))] if config.on_bad_video == "skip" else []),
        ("runs on", f"{device}, seed {config.seed}, {_precision(model, device, precision)}"),
    ]
    notes = (
        *_recipe_note(recipe, annotations),
        *_batch_note(config, recipe),
        *balance_note(config, annotations),
        *annotations.notes,
    )
    return lines + [("note", note) for note in notes]


def _recipe_words(recipe: str, annotations: Annotations) -> str:
    return f"{recipe}, as dataset.json says" if recipe == annotations.recipe else recipe


def _recipe_note(recipe: str, annotations: Annotations) -> tuple[str, ...]:
    """Return a remark where a recipe was made for another dataset than this one."""
    meant = RECIPES[recipe].dataset if recipe else "any"
    if meant == "any" or annotations.dataset in (None, meant):
        return ()
    return (
        f"The recipe {recipe} was made for {meant}, and these videos are of {annotations.dataset}: "
        "no accuracy that it names is to be expected here.",
    )


def _rate(config: TrainConfig, recipe: str, unscaled_lr: float | None) -> str:
    return rate_words(config, RECIPES[recipe].config, unscaled_lr) if recipe else f"{config.lr:g}"


def _batch_note(config: TrainConfig, recipe: str) -> tuple[str, ...]:
    return batch_note(config, RECIPES[recipe].config) if recipe else ()


def _precision(model: nn.Module, device: torch.device, precision: torch.dtype) -> str:
    """Name the type, and a faster one where exact numbers were chosen on a CPU that has it.

    Depthwise convolutions take longer in it: EfficientNet-Lite0's training a quarter (LOG.md).
    """
    depthwise = any(isinstance(layer, nn.Conv2d) and layer.groups > 1 for layer in model.modules())
    faster = device.type == "cpu" and precision == torch.float32 and not depthwise and has_bfloat16()
    hint = "; --precision bfloat16 trains faster on this CPU, in less memory" if faster else ""
    return str(precision).removeprefix("torch.") + hint


def _shown(config: TrainConfig) -> str:
    if config.modality == "rgb":
        return f"{config.num_segments} frames"
    return f"{config.num_segments} {MODALITIES[config.modality].shows},"


def _more(annotations: Annotations) -> str:
    hidden = len(annotations.classes) - 12
    return f" and {hidden} more" if hidden > 0 else ""


def _mirror(config: TrainConfig, annotations: Annotations) -> str:
    if not config.flip:
        return "off"
    return _swaps(annotations) + ("; x flow turns over too" if config.modality == "flow" else "")


def _bad_videos(config: TrainConfig) -> str:
    return f"left out and listed in bad_videos.csv, at most {config.max_bad_videos}"


def _swaps(annotations: Annotations) -> str:
    where = 'correct them under "label_swaps" in dataset.json'
    if not annotations.label_swaps:
        return f"no class changes into another in a mirror; if one does, {where}"
    pairs = "; ".join(f"{one} <-> {other}" for one, other in annotations.label_swaps)
    return f"exchanges {pairs}; if that is wrong, {where}"
