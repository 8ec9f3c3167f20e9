"""Weights on disk: models that know what they are.

A weights file is one ``.safetensors`` file. Its metadata holds, as JSON under the key ``gateshift``, what it
takes to build and to use the model: architecture, classes, input, and where the weights come from.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from gateshift.errors import GateshiftError, WeightsError
from gateshift.models.classifier import ModelSpec, VideoClassifier
from gateshift.models.download import cache_dir, fetch
from gateshift.models.registry import build_model
from gateshift.spec import InputSpec

FORMAT = 1
RUN_WEIGHTS = "weights.safetensors"  # the weights of a run directory


@dataclass(frozen=True, kw_only=True)
class Weights:
    """A published weights file.

    Attributes:
        url: where the file is.
        sha256: its digest.
        accuracy: what was measured with it, as fractions.
        trained_on: name of the dataset.
        licence: of the weights.
        source: who trained them, and how.
    """

    url: str
    sha256: str
    accuracy: Mapping[str, float]
    trained_on: str
    licence: str
    source: str


WEIGHTS: dict[str, Weights] = {}


def save_weights(
    model: VideoClassifier,
    path: Path,
    *,
    recipe: str = "",
    accuracy: Mapping[str, float] | None = None,
    trained_on: str = "",
) -> Path:
    """Write a model as a weights file, atomically; ``load`` gives it back.

    Args:
        model: what to write, with its classes and its input spec.
        path: a ``.safetensors`` file; missing folders are made.
        recipe: how it was trained: the name of a recipe, or the settings as JSON.
        accuracy: what was measured with it, as fractions.
        trained_on: name of its dataset.
    """
    metadata = {
        "format": FORMAT,
        "gateshift": version("gateshift"),
        "model": asdict(model.spec),
        "classes": model.classes,
        "label_swaps": model.label_swaps,
        "input_spec": model.input_spec.to_json(),
        "recipe": recipe,
        "accuracy": dict(accuracy or {}),
        "trained_on": trained_on,
    }
    tensors = {key: value.detach().cpu().contiguous() for key, value in model.state_dict().items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    save_file(tensors, part, {"gateshift": json.dumps(metadata)})
    part.replace(path)
    return path


def load(model: str | Path, num_segments: int | None = None) -> VideoClassifier:
    """Return a trained model, ready to use: in eval mode, on the CPU, with its classes and its input spec.

    Args:
        model: a run directory, a ``.safetensors`` file, or the name of published weights.
        num_segments: frames per clip that the caller expects; any without.

    Raises:
        WeightsError: there is no such file, it is no weights file, or it is for another ``num_segments``.
    """
    path = find_weights(model)
    metadata = read_metadata(path)
    try:
        spec = ModelSpec(**metadata["model"])
        input_spec = InputSpec.from_json(metadata["input_spec"])
        classes = metadata["classes"]
        label_swaps = tuple((one, other) for one, other in metadata["label_swaps"])
    except (KeyError, TypeError, ValueError) as error:
        raise WeightsError(
            f"{path} says it is a weights file, and its metadata does not fit: {error}. "
            f"It was written by gateshift {metadata.get('gateshift')}; use that version, or train it again."
        ) from error
    if num_segments not in (None, spec.num_segments):
        raise WeightsError(
            f"weights '{model}' were trained with num_segments={spec.num_segments}, not {num_segments}. "
            f"Use {spec.num_segments}, or train a model of {num_segments} frames."
        )
    classifier = build(spec, path)
    classifier.input_spec = input_spec
    classifier.classes = None if classes is None else tuple(classes)
    classifier.label_swaps = label_swaps
    return classifier.eval()


def find_weights(model: str | Path) -> Path:
    """Return the weights file of a run directory, a file, or a published name (downloaded once)."""
    path = Path(model)
    if path.is_dir():
        if not (path / RUN_WEIGHTS).is_file():
            raise WeightsError(
                f"{path} has no {RUN_WEIGHTS}. Expected a run directory whose training has finished an epoch."
            )
        return path / RUN_WEIGHTS
    if path.is_file():
        return path
    if str(model) in WEIGHTS:
        record = WEIGHTS[str(model)]
        return fetch(record.url, cache_dir() / f"{model}.safetensors", record.sha256)
    names = f": {', '.join(WEIGHTS)}" if WEIGHTS else " (there are none yet)"
    raise WeightsError(
        f"there are no weights at '{model}'. "
        f"Give a run directory, a .safetensors file, or a name of published weights{names}."
    )


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


def build(spec: ModelSpec, path: Path) -> VideoClassifier:
    """Return the model of a spec with the tensors of a weights file, every one of them."""
    try:
        with torch.device("meta"):  # no time spent on random numbers that the file replaces
            model = build_model(spec)
        with safe_open(path, "pt") as file:
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        model.load_state_dict(tensors, assign=True)
    except (GateshiftError, RuntimeError, SafetensorError) as error:
        reason = str(error).replace("\n\t", " ")
        raise WeightsError(f"{path} does not fit the {spec.name} that it says it is: {reason}") from error
    return model
