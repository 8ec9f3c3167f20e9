"""The authors' GSM and GSF checkpoints: which model they are, and what their tensors are called here.

A released file is a pickled dictionary around the state dict of a model on several GPUs. Model, classes and
channel ratio are read from the tensors; the frames per clip are not in them, and neither are class names.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from gateshift.errors import WeightsError
from gateshift.models.classifier import VideoClassifier
from gateshift.models.imagenet import read_pickle, with_batch_counts
from gateshift.models.registry import create_model
from gateshift.nn.gate_shift import count_gated

WRAPPERS = ("state_dict", "model_state_dict")  # where the dictionaries of GSM and GSF keep the tensors
PREFIX = re.compile(r"^(module\.)?(base_model\.)?")  # of several GPUs; of the backbone
HEAD = re.compile(r"^(new_fc|fc|top_cls_fc)\.")  # new_fc with dropout, the backbone's own without
TEMPORAL = re.compile(
    r"^(?:gs[mf]_(?P<conv>\w+)|(?P<block>layer\d\.\d+)\.gsf)\.(?P<part>\w+)\.(?P<leaf>\w+)$"
)
PARTS = {"bn": "norm", "conv3D": "gate", "channel_conv1": "fuse_earlier", "channel_conv2": "fuse_later"}
BACKBONES = {  # a tensor that only this backbone has; of several, the first that is there
    "conv1_7x7_s2.weight": "bninception",
    "conv_Conv2D.weight": "inceptionv3",
    "layer3.22.conv3.weight": "resnet101",
    "layer1.0.conv3.weight": "resnet50",
}


@dataclass(frozen=True, kw_only=True)
class Original:
    """What a released checkpoint turned out to be.

    Attributes:
        model: its name here.
        num_classes: rows of its classifier.
        channel_ratio: fraction of the channels that GSF acts on; None for other models.
        state: its tensors under their names here.
    """

    model: str
    num_classes: int
    channel_ratio: float | None
    state: Mapping[str, Tensor]


def read_original(path: Path) -> Original:
    """Read a released checkpoint; tensors and plain values only, nothing else is unpickled.

    Raises:
        WeightsError: it is no checkpoint, or of no model that is known here.
    """
    content = read_pickle(path)
    content = next((content[key] for key in WRAPPERS if key in content), content)
    tensors = {PREFIX.sub("", key): value for key, value in content.items() if isinstance(value, Tensor)}
    backbone = next((name for key, name in BACKBONES.items() if key in tensors), None)
    heads = [key for key in tensors if HEAD.match(key) and key.endswith(".weight")]
    if backbone is None or len(heads) != 1:
        raise WeightsError(
            f"{path} is no GSM or GSF checkpoint: {'no' if backbone is None else 'a'} known backbone and "
            f"{len(heads)} classifiers among {len(tensors)} tensors ({shorten(tensors)}). "
            f"Expected one of {', '.join(BACKBONES.values())}, and new_fc."
        )
    gated = gated_channels(tensors)
    kind = "tsn" if not gated else "gsf" if any("channel_conv1" in key for key in tensors) else "gsm"
    return Original(
        model=f"{kind}_{backbone}",
        num_classes=tensors[heads[0]].shape[0],
        channel_ratio=find_ratio(tensors, gated) if kind == "gsf" else None,
        state=with_batch_counts({rename(key, gated): value for key, value in tensors.items()}),
    )


def build_original(original: Original, num_segments: int, path: Path) -> VideoClassifier:
    """Return the model of a released checkpoint, with all of its tensors and no others.

    Raises:
        WeightsError: the tensors do not fit; the message names the first.
    """
    gates = original.model.startswith("gs")
    model = create_model(
        original.model,
        original.num_classes,
        num_segments,
        interleave=True if gates else None,
        channel_ratio=original.channel_ratio,
    )
    expected = model.state_dict()
    missing = [key for key in expected if key not in original.state]
    unknown = [key for key in original.state if key not in expected]
    wrong = [
        key for key in expected if key not in missing and original.state[key].shape != expected[key].shape
    ]
    problems = [
        f"{len(keys)} {what} ({shorten(keys)})"
        for keys, what in ((missing, "missing"), (unknown, "unknown"), (wrong, "of another shape"))
        if keys
    ]
    if problems:
        raise WeightsError(
            f"{path} looks like {original.model} with {original.num_classes} classes, but of its "
            f"tensors are {', '.join(problems)}. Give a checkpoint of the released code as it is."
        )
    model.load_state_dict(dict(original.state))
    return model


def gated_channels(tensors: Mapping[str, Tensor]) -> dict[str, int]:
    """Return how many channels the gate after each conv acts on.

    >>> import torch
    >>> gated_channels({"gsm_conv_a.conv3D.weight": torch.zeros(2, 32, 3, 3, 3)})
    {'conv_a': 64}
    """
    return {
        place(match): 2 * value.shape[1]
        for key, value in tensors.items()
        if (match := TEMPORAL.match(key)) and match["part"] == "conv3D" and match["leaf"] == "weight"
    }


def place(match: re.Match[str]) -> str:
    """Return the conv that a temporal module follows: in ResNets the block's last, else the one it names."""
    return f"{match['block']}.conv3" if match["block"] else match["conv"]


def rename(key: str, gated: Iterable[str]) -> str:
    """Return the name that a tensor of a released checkpoint has here.

    >>> rename("gsm_conv_a.bn.weight", ["conv_a"]), rename("conv_a.bias", ["conv_a"])
    ('backbone.conv_a.temporal.norm.weight', 'backbone.conv_a.conv.bias')
    >>> rename("new_fc.bias", ["conv_a"])
    'head.bias'
    """
    if HEAD.match(key):
        return HEAD.sub("head.", key)
    if match := TEMPORAL.match(key):
        return f"backbone.{place(match)}.temporal.{PARTS.get(match['part'], match['part'])}.{match['leaf']}"
    layer, _, leaf = key.rpartition(".")
    return f"backbone.{layer}.conv.{leaf}" if layer in gated else f"backbone.{key}"


def find_ratio(tensors: Mapping[str, Tensor], gated: Mapping[str, int]) -> float:
    """Return the channel ratio, whole percent in the released code, that gives these gated channels.

    Raises:
        WeightsError: none does.
    """
    channels = {conv: tensors[f"{conv}.weight"].shape[0] for conv in gated if f"{conv}.weight" in tensors}
    fitting = [
        percent / 100
        for percent in range(100, 0, -1)
        if all(count_gated(channels[conv], percent / 100) == gated[conv] for conv in channels)
    ]
    if not fitting:
        gates = shorten(f"{gated[conv]} of {channels[conv]} channels at {conv}" for conv in channels)
        raise WeightsError(f"no channel ratio explains the gates: {gates}. Give a checkpoint as released.")
    mean = sum(gated[conv] for conv in channels) / max(1, sum(channels.values()))
    return min(fitting, key=lambda ratio: abs(ratio - mean))


def shorten(names: Iterable[str], shown: int = 3) -> str:
    """Join the first few names.

    >>> shorten(["a", "b", "c", "d"])
    'a, b, c, ...'
    """
    names = list(names)
    return ", ".join(names[:shown]) + (", ..." if len(names) > shown else "")
