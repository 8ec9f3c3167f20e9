"""``gateshift convert``: the authors' GSM and GSF checkpoints become weights of this project."""

from pathlib import Path
from typing import Any

from gateshift.data.annotations import DESCRIPTION, read_description
from gateshift.data.catalog import DATASETS
from gateshift.data.label_swaps import find_label_swaps
from gateshift.errors import ConfigError, WeightsError, lookup
from gateshift.models.legacy import build_original, read_original
from gateshift.models.weights_file import save_weights


def convert(
    original: Path, out: Path, *, num_segments: int, dataset: str | None = None, classes: Path | None = None
) -> dict[str, Any]:
    """Turn a checkpoint of the authors' GSM or GSF code into a weights file.

    Example: `gateshift convert model_best.pth.tar gsm.safetensors --num-segments 8 --dataset something-v1`

    Model, number of classes and channel ratio are read from its tensors. The frames per clip and the names
    of the classes are not in the file: a wrong number of frames cannot be noticed, it only costs accuracy.

    Args:
        original: the released .pth file; it is read without running anything in it.
        out: the .safetensors file to write.
        num_segments: frames per clip it was trained with; released files have it in their names.
        dataset: what it was trained on, a name of `gateshift datasets`; its classes must be as many.
        classes: a folder that `gateshift prepare` wrote, or its dataset.json, for the names of the classes;
            without, predictions are numbers.

    Raises:
        WeightsError: the file is no such checkpoint, or has another number of classes than the dataset.
        DataError: dataset.json cannot be used.
    """
    if num_segments < 1:
        raise ConfigError(
            f"num_segments={num_segments} makes no clip. Give the frames per clip it was trained with."
        )
    original, out = Path(original), Path(out)
    if out.suffix != ".safetensors":
        raise ConfigError(f"{out} is no name for weights. Give a file that ends in .safetensors.")
    counts = {} if dataset is None else {dataset: lookup("dataset", dataset, DATASETS).num_classes}
    described = {} if classes is None else read_classes(Path(classes))
    if described:
        counts[str(classes)] = len(described["classes"])
    prepared = described.get("dataset")
    if dataset and prepared and not f"{prepared}-".startswith(f"{dataset}-"):
        raise ConfigError(f"{classes} is {prepared}, not {dataset}. Give the classes it was trained on.")
    found = read_original(original)
    for where, count in counts.items():
        if count != found.num_classes:
            raise WeightsError(
                f"{original} has {found.num_classes} classes, and {where} {count}. "
                "Name the dataset it was trained on, or none."
            )
    model = build_original(found, num_segments, original)
    if described:
        model.classes, model.label_swaps = described["classes"], described["label_swaps"]
    save_weights(model, out, trained_on=dataset or prepared or "")
    return {
        "model": found.model,
        "num_segments": num_segments,
        "num_classes": found.num_classes,
        "weights": str(out),
    }


def read_classes(path: Path) -> dict[str, Any]:
    """Return what dataset.json of a prepared folder says, with classes and the pairs that a mirror exchanges.

    Raises:
        DataError: dataset.json cannot be used.
        ConfigError: there is none, or it names no classes.
    """
    file = path / DESCRIPTION if path.is_dir() else path
    if not file.is_file():
        raise ConfigError(f"there is no file {file}. Give a folder that `gateshift prepare` wrote.")
    described = read_description(file)
    if "classes" not in described:
        raise ConfigError(f"{file} names no classes. Give a folder that `gateshift prepare` wrote.")
    return {"label_swaps": find_label_swaps(described["classes"])} | described
