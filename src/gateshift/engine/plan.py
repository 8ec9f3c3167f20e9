"""The plan that a person reads before the first epoch: everything that was decided for them."""

import torch
from rich.table import Table

from gateshift.data.records import Annotations
from gateshift.engine.progress import console
from gateshift.engine.run import Run
from gateshift.models.classifier import VideoClassifier
from gateshift.models.cost import count_macs, count_parameters


def show_plan(run: Run, model: VideoClassifier, device: torch.device, precision: torch.dtype) -> None:
    """Print the plan of ``run`` on stderr."""
    table = Table(show_header=False, title=f"plan of {run.dir}", title_justify="left", box=None)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for name, value in plan_lines(run, model, device, precision):
        table.add_row(name, value)
    console().print(table)


def plan_lines(
    run: Run, model: VideoClassifier, device: torch.device, precision: torch.dtype
) -> list[tuple[str, str]]:
    """Return the plan as pairs of name and text."""
    config, annotations = run.config, run.annotations
    spec = model.input_spec
    train, val = annotations.splits["train"], annotations.splits["val"]
    slower = f"; backbone x {config.backbone_lr:g}" if config.pretrained else ""
    start = "ImageNet weights" if config.pretrained else "random weights"
    lines = [
        (
            "data",
            f"{run.data}: {len(train)} videos to train on, {len(val)} to validate ({annotations.source})",
        ),
        ("classes", f"{len(annotations.classes)}: {', '.join(annotations.classes[:12])}{_more(annotations)}"),
        ("mirror", _swaps(annotations) if config.flip else "off"),
        ("model", f"{config.model} from {start}, {config.num_segments} frames of {spec.size} px"),
        (
            "size",
            f"{count_parameters(model) / 1e6:.2f} M parameters, {count_macs(model) / 1e9:.2f} GMACs a clip, "
            f"{len(model.insertion_points)} temporal modules",
        ),
        ("batch", f"{config.batch_size} x {config.accumulate} = {config.effective_batch} clips a step"),
        (
            "learning rate",
            f"{config.lr:g} ({config.optimizer}{slower}), "
            f"{config.warmup_epochs} of {config.epochs} epochs warm-up, then a cosine by {config.schedule}",
        ),
        (
            "regularisers",
            f"dropout {config.dropout:g}, weight decay {config.weight_decay:g}, label smoothing "
            f"{config.label_smoothing:g}, gradient norm {config.clip_grad:g}"
            + (", batch-norms frozen but the first" if config.partial_bn else ""),
        ),
        ("runs on", f"{device}, {str(precision).removeprefix('torch.')}, seed {config.seed}"),
    ]
    return lines + [("note", note) for note in annotations.notes]


def _more(annotations: Annotations) -> str:
    hidden = len(annotations.classes) - 12
    return f" and {hidden} more" if hidden > 0 else ""


def _swaps(annotations: Annotations) -> str:
    where = 'correct them under "label_swaps" in dataset.json'
    if not annotations.label_swaps:
        return f"no class changes into another in a mirror; if one does, {where}"
    pairs = "; ".join(f"{one} <-> {other}" for one, other in annotations.label_swaps)
    return f"exchanges {pairs}; if that is wrong, {where}"
