"""A weights file: one ``.safetensors`` file whose metadata says what the model is.

The metadata holds, as JSON under the key ``gateshift``, what it takes to build and to use the model:
architecture, classes, input, and where the weights come from.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from gateshift.errors import WeightsError
from gateshift.models.classifier import VideoClassifier
from gateshift.writing import write_atomically

FORMAT = 1


def save_weights(
    model: VideoClassifier,
    path: Path,
    *,
    recipe: str = "",
    accuracy: Mapping[str, float] | None = None,
    trained_on: str = "",
    origin: Mapping[str, str] | None = None,
) -> Path:
    """Write a model as a weights file, atomically; ``load`` gives it back.

    Args:
        model: what to write, with its classes and its input spec.
        path: a ``.safetensors`` file; missing folders are made.
        recipe: how it was trained: the name of a recipe, or the settings as JSON.
        accuracy: what was measured with it, as fractions.
        trained_on: name of its dataset.
        origin: who made the weights, for those that were not trained here.

    Raises:
        WriteError: the file cannot be written; what was there before is.
    """
    metadata = {
        "format": FORMAT,
        "gateshift": version("gateshift"),
        "model": asdict(model.spec),
        "classes": model.classes,
        "label_swaps": model.label_swaps,
        "temperature": model.temperature,
        "input_spec": model.input_spec.to_json(),
        "recipe": recipe,
        "accuracy": dict(accuracy or {}),
        "trained_on": trained_on,
        "origin": dict(origin or {}),
    }
    tensors = {key: value.detach().cpu().contiguous() for key, value in model.state_dict().items()}
    write_atomically(
        path,
        lambda partial: save_file(tensors, partial, {"gateshift": json.dumps(metadata)}),
        size=sum(tensor.numel() * tensor.element_size() for tensor in tensors.values()),
    )
    return path


def read_metadata(path: Path) -> dict[str, Any]:
    """Return what a weights file says of itself, as ``save_weights`` wrote it.

    Raises:
        WeightsError: it is no weights file of this project, or of a later version.
    """
    try:
        with safe_open(path, "pt") as file:
            text = (file.metadata() or {}).get("gateshift")
    except (SafetensorError, OSError) as error:
        raise WeightsError(
            f"{path} is no safetensors file: {error}. "
            "Give weights that this project wrote; the authors' checkpoints go through `gateshift convert`."
        ) from error
    if text is None:
        raise WeightsError(
            f"{path} has tensors and no gateshift metadata. Give weights that this project wrote."
        )
    try:
        metadata: dict[str, Any] = dict(json.loads(text))
    except (ValueError, TypeError) as error:
        raise WeightsError(
            f"{path} has damaged metadata: {error}. Fetch or train the weights again."
        ) from error
    if metadata.get("format") != FORMAT:
        raise WeightsError(
            f"{path} has format {metadata.get('format')}, and this version reads {FORMAT}. "
            f"Install gateshift {metadata.get('gateshift')} or later."
        )
    return metadata
