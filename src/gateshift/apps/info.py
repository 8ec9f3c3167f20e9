"""``gateshift info``: what a model costs and where its temporal modules are, without making its tensors."""

from typing import Any

import torch

from gateshift.models.cost import count_macs, count_parameters
from gateshift.models.registry import MODELS, create_model
from gateshift.models.released import RELEASED
from gateshift.models.temporal_options import parse_options
from gateshift.spec import ModalityName


def info(
    model: str,
    *,
    num_segments: int | None = None,
    num_classes: int | None = None,
    temporal_options: str = "",
    modality: ModalityName = "rgb",
) -> dict[str, Any]:
    """Return parameters, multiply-accumulates of one clip, and insertion points of a model.

    Example: `gateshift info gsm_bninception --num-segments 8`

    Args:
        model: a name of `gateshift models`, of a network or of released weights.
        num_segments: frames per clip, T; 8 if not given, or those of the released weights.
        num_classes: classes, K; 174 if not given, or those of the released weights.
        temporal_options: such as num_modules=5,branch=3x3; see `gateshift train --help`.
        modality: what it sees: rgb, flow or rgbdiff.

    Raises:
        UnknownName: no model, temporal option, branch or gate function has this name.
        ConfigError: there are no classes, or no frames, or the model has no such option.
    """
    released = RELEASED.get(model)
    frames, classes = (released.num_segments, released.num_classes) if released else (8, 174)
    num_segments = frames if num_segments is None else num_segments
    num_classes = classes if num_classes is None else num_classes
    model = released.model if released else model
    with torch.device("meta"):
        classifier = create_model(
            model, num_classes, num_segments, modality=modality, **parse_options(temporal_options)
        )
    record = MODELS[model]
    return {
        "model": model,
        "temporal": record.kind,
        "backbone": record.backbone,
        "temporal_options": temporal_options,
        "params": count_parameters(classifier),
        "macs": count_macs(classifier),
        "num_segments": num_segments,
        "num_classes": num_classes,
        "input": classifier.input_spec.to_json(),
        "insertion_points": classifier.insertion_points,
    }
