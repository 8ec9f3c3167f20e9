"""``gateshift convert``: the authors' GSM and GSF checkpoints become weights of this project."""

from pathlib import Path
from typing import Any

from gateshift.data.catalog import DATASETS
from gateshift.errors import ConfigError, WeightsError, lookup
from gateshift.models.legacy import build_original, read_original
from gateshift.models.weights import save_weights


def convert(original: Path, out: Path, *, num_segments: int, dataset: str | None = None) -> dict[str, Any]:
    """Turn a checkpoint of the authors' GSM or GSF code into a weights file.

    Example: `gateshift convert model_best.pth.tar gsm.safetensors --num-segments 8 --dataset something-v1`

    Model, number of classes and channel ratio are read from its tensors.

    Args:
        original: the released .pth file.
        out: the .safetensors file to write.
        num_segments: frames per clip it was trained with; the one thing that is not in the file.
        dataset: what it was trained on, a name of `gateshift datasets`; its classes must be as many.

    Raises:
        WeightsError: the file is no such checkpoint, or has another number of classes than the dataset.
    """
    if num_segments < 1:
        raise ConfigError(
            f"num_segments={num_segments} makes no clip. Give the frames per clip it was trained with."
        )
    if out.suffix != ".safetensors":
        raise ConfigError(f"{out} is no name for weights. Give a file that ends in .safetensors.")
    found = read_original(original)
    if dataset is not None:
        spec = lookup("dataset", dataset, DATASETS)
        if spec.num_classes != found.num_classes:
            raise WeightsError(
                f"{original} has {found.num_classes} classes, and {dataset} {spec.num_classes}. "
                "Name the dataset it was trained on, or none."
            )
    model = build_original(found, num_segments, original)
    save_weights(model, out, trained_on=dataset or "")
    return {
        "model": found.model,
        "num_segments": num_segments,
        "num_classes": found.num_classes,
        "weights": str(out),
    }
