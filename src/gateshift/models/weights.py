"""Weights by where they are: a run directory, a file, a published name; ``load`` builds the model."""

import difflib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch.overrides import TorchFunctionMode

from gateshift.errors import GateshiftError, WeightsError
from gateshift.models.classifier import ModelSpec, VideoClassifier
from gateshift.models.registry import build_model
from gateshift.models.released import RELEASED, released_weights
from gateshift.models.weights_file import read_metadata, save_weights
from gateshift.spec import InputSpec

__all__ = ["build", "find_weights", "load", "read_metadata", "save_weights"]

RUN_WEIGHTS = "weights.safetensors"  # the weights of a run directory


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
    classifier.temperature = metadata.get("temperature")  # older files have none
    return classifier.eval()


def find_weights(model: str | Path) -> Path:
    """Return the weights file of a run directory, a file, or a published name (made once)."""
    path = Path(model)
    if path.is_dir():
        if not (path / RUN_WEIGHTS).is_file():
            raise WeightsError(
                f"{path} has no {RUN_WEIGHTS}. Expected a run directory whose training has finished an epoch."
            )
        return path / RUN_WEIGHTS
    if path.is_file():
        return path
    if str(model) in RELEASED:
        return released_weights(str(model))
    near = difflib.get_close_matches(str(model), RELEASED, n=2)
    hint = f"Did you mean {' or '.join(near)}?" if near else "`gateshift models` lists the names."
    raise WeightsError(
        f"there are no weights at '{model}'. "
        f"Give a run directory, a .safetensors file, or a name of published weights. {hint}"
    )


def build(spec: ModelSpec, path: Path) -> VideoClassifier:
    """Return the model of a spec with the tensors of a weights file, every one of them."""
    try:
        with torch.device("meta"), _NoNormals():
            model = build_model(spec)
        with safe_open(path, "pt") as file:
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        model.load_state_dict(tensors, assign=True)
    except (GateshiftError, RuntimeError, SafetensorError) as error:
        reason = str(error).replace("\n\t", " ")
        raise WeightsError(f"{path} does not fit the {spec.name} that it says it is: {reason}") from error
    return model


class _NoNormals(TorchFunctionMode):
    """Draws no normal distributions, where a file replaces the numbers.

    On the meta device they cost nothing by themselves, but the first of them imports torch's compiler, which
    takes a second.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        if getattr(func, "__name__", "") == "normal_":  # of torch.nn.init, and of a tensor
            return kwargs["tensor"] if "tensor" in kwargs else args[0]
        return func(*args, **kwargs)
