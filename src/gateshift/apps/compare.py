"""The same backbone under each temporal module: what it learns from one dataset, and what it costs."""

from pathlib import Path
from typing import Any

from gateshift.engine.train import train
from gateshift.errors import ConfigError, lookup
from gateshift.models.backbones import BACKBONES
from gateshift.models.cost import count_macs, count_parameters
from gateshift.models.registry import TEMPORAL_KINDS
from gateshift.models.weights import load


def compare(
    data: Path,
    *,
    temporal: str = "tsn,tsm,gsm",
    backbone: str = "efficientnet_lite0",
    out: Path | None = None,
    recipe: str = "finetune",
    pretrained: bool | None = None,
    num_segments: int | None = None,
    size: int | None = None,
    epochs: int | None = None,
    batch_size: int | None = None,
    accumulate: int | None = None,
    lr: float | None = None,
    warmup_epochs: int | None = None,
    dropout: float | None = None,
    precision: str | None = None,
    seed: int | None = None,
    workers: int = 2,
    device: str = "auto",
) -> dict[str, Any]:
    """Train one backbone under several temporal modules, with the same settings for all.

    Example: `gateshift compare my_videos --temporal tsn,gsm`

    The same command again goes on where it was stopped. Settings that are left out come from the recipe.

    Args:
        data: folder of class sub-folders, or a folder with prepared lists.
        temporal: names from tsn, tsm, gsm, gsf, c3d, s3d, with commas between.
        backbone: name of the 2D network, such as resnet18.
        out: folder for one run per temporal module; by default runs/compare-<data>-<backbone>.
        recipe: named settings to start from.
        pretrained: start from the backbone's ImageNet weights.
        num_segments: frames per clip (T).
        size: side of the square crop in pixels; 0 keeps the backbone's own.
        epochs: passes over the training videos.
        batch_size: clips per forward pass.
        accumulate: batches per optimiser step.
        lr: learning rate at the end of the warm-up.
        warmup_epochs: epochs of linear warm-up before the cosine.
        dropout: before the head.
        precision: auto, float32, bfloat16 or float16.
        seed: decides the split, the initial weights, the order and every augmentation.
        workers: processes that read videos.
        device: auto, cpu, cuda or mps.

    Returns:
        ``results``: for each temporal module ``temporal``, ``top1`` (of the best epoch), ``params``, ``macs``
        (of one clip) and ``clips_per_second`` (of training).
    """
    kinds = temporal_kinds(temporal)
    lookup("backbone", backbone, BACKBONES)
    folder = out or Path("runs") / f"compare-{Path(data).resolve().name}-{backbone}"
    results = []
    for kind in kinds:
        trained = train(
            data,
            out=folder / kind,
            model=f"{kind}_{backbone}",
            recipe=recipe,
            pretrained=pretrained,
            num_segments=num_segments,
            size=size,
            epochs=epochs,
            batch_size=batch_size,
            accumulate=accumulate,
            lr=lr,
            warmup_epochs=warmup_epochs,
            dropout=dropout,
            precision=precision,
            seed=seed,
            workers=workers,
            device=device,
        )
        network = load(trained["weights"])
        results.append(
            {
                "temporal": kind,
                "top1": trained["best_top1"],
                "params": count_parameters(network),
                "macs": count_macs(network),
                "clips_per_second": trained["clips_per_second"],
            }
        )
    return {"results": results}


def temporal_kinds(names: str) -> list[str]:
    """Return the temporal modules in a comma list, each once.

    >>> temporal_kinds("tsn, gsm,tsn")
    ['tsn', 'gsm']

    Raises:
        UnknownName: a name is no temporal module.
        ConfigError: there is no name.
    """
    table = {kind: kind for kind in TEMPORAL_KINDS}
    kinds = [lookup("temporal module", name.strip(), table) for name in names.split(",") if name.strip()]
    if not kinds:
        raise ConfigError(f"temporal is {names!r}; give one or more of {', '.join(TEMPORAL_KINDS)}.")
    return list(dict.fromkeys(kinds))
