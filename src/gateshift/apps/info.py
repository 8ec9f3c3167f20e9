"""``gateshift info``: what a model costs and where its temporal modules are, without making its tensors."""

from typing import Any

import torch

from gateshift.models.cost import count_macs, count_parameters
from gateshift.models.registry import MODELS, create_model


def info(model: str, *, num_segments: int = 8, num_classes: int = 174) -> dict[str, Any]:
    """Return parameters, multiply-accumulates of one clip, and insertion points of a model.

    Example: `gateshift info gsm_bninception --num-segments 8`

    Args:
        model: a name of `gateshift models`.
        num_segments: frames per clip, T.
        num_classes: classes, K.

    Raises:
        UnknownName: no model has this name.
        ConfigError: there are no classes, or no frames.
    """
    with torch.device("meta"):
        classifier = create_model(model, num_classes, num_segments)
    record = MODELS[model]
    return {
        "model": model,
        "temporal": record.kind,
        "backbone": record.backbone,
        "params": count_parameters(classifier),
        "macs": count_macs(classifier),
        "num_segments": num_segments,
        "num_classes": num_classes,
        "input": classifier.input_spec.to_json(),
        "insertion_points": classifier.insertion_points,
    }
