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
from gateshift.models.pickles import read_pickle, with_batch_counts
from gateshift.models.registry import create_model
from gateshift.nn.gate_shift import count_gated
from gateshift.spec import MODALITIES

WRAPPERS = ("state_dict", "model_state_dict")  # where the dictionaries of GSM and GSF keep the tensors
PREFIX = re.compile(r"^(module\.)?(base_model\.)?")  # of several GPUs; of the backbone
HEAD = re.compile(r"^(new_fc|fc|top_cls_fc)\.")  # new_fc with dropout, the backbone's own without
TEMPORAL = re.compile(
    r"^(?:gs[mf]_(?P<conv>\w+)|(?P<block>layer\d\.\d+)\.gsf)\.(?P<part>\w+)\.(?P<leaf>\w+)$"
)
PARTS = {"bn": "norm", "conv3D": "gate", "channel_conv1": "fuse_earlier", "channel_conv2": "fuse_later"}
BACKBONES = {  # names that only this backbone has; of several, the first that is there
    re.compile(r"inception_\d[a-e]_"): "bninception",
    re.compile(r"mixed_"): "inceptionv3",
    re.compile(r"layer3\.22\."): "resnet101",
    re.compile(r"layer\d\.\d+\.(conv|bn)3\."): "resnet50",
}
STEM = re.compile(r"^(conv1_7x7_s2|conv_Conv2D|conv1)\.weight$")  # the convolution that sees the pixels
TSM = re.compile(r"\.conv1\.net\.")  # the TSM code wraps a block's first convolution


@dataclass(frozen=True, kw_only=True)
class Original:
    """What a released checkpoint turned out to be.

    Attributes:
        model: its name here.
        num_classes: rows of its classifier.
        channel_ratio: fraction of the channels that GSF acts on; None for other models.
        modality: what its first convolution sees.
        state: its tensors under their names here.
    """

    model: str
    num_classes: int
    channel_ratio: float | None
    modality: str
    state: Mapping[str, Tensor]


def read_original(path: Path) -> Original:
    """Read a released checkpoint; tensors and plain values only, nothing else is unpickled.

    Raises:
        WeightsError: it is no checkpoint, or of no model that is known here.
    """
    content = read_pickle(path)
    content = next((content[key] for key in WRAPPERS if key in content), content)
    if not isinstance(content, Mapping):
        raise WeightsError(f"{path} has a {type(content).__name__} for its tensors. Expected a dictionary.")
    named = {str(key): value for key, value in content.items() if isinstance(value, Tensor)}
    tensors = {PREFIX.sub("", key): value for key, value in named.items()}
    backbone = next((name for mark, name in BACKBONES.items() if any(map(mark.match, tensors))), None)
    heads = {key: value for key, value in tensors.items() if HEAD.match(key) and value.ndim}
    gated = gated_channels(tensors)
    if reason := why_alien(named, tensors, backbone, len({key.partition(".")[0] for key in heads}), gated):
        raise WeightsError(f"{path} is no GSM or GSF checkpoint: {reason}")
    kind = "tsn" if not gated else "gsf" if any("channel_conv" in key for key in tensors) else "gsm"
    return Original(
        model=f"{kind}_{backbone}",
        num_classes=next(iter(heads.values())).shape[0],
        channel_ratio=find_ratio(tensors, gated) if kind == "gsf" else None,
        modality=find_modality(tensors),
        state=with_batch_counts({rename(key, gated): value for key, value in tensors.items()}),
    )


def why_alien(
    named: Iterable[str],
    tensors: Mapping[str, Tensor],
    backbone: str | None,
    num_heads: int,
    gated: Mapping[str, int],
) -> str | None:
    """Return why tensors are not those of the released code, or None if they may be."""
    if not tensors:
        return "it holds no tensors. Give the file as it was released, or one whose state_dict has them."
    if wrapped := next((key for key in tensors if TSM.search(key)), None):
        return (
            f"it comes from the TSM code, which has tensors such as {wrapped}. Convert reads those of the "
            "GSM and GSF code; a tsm model can be trained here."
        )
    if backbone is None:
        return (
            f"its {len(tensors)} tensors ({shorten(tensors)}) are of another network. "
            f"Expected one of {', '.join(BACKBONES.values())}."
        )
    if num_heads != 1:
        return (
            f"beside a {backbone} it has {num_heads} classifiers. Expected one, new_fc or the backbone's own."
        )
    if not gated and not any("base_model." in key or "new_fc." in key for key in named):
        return (
            f"it is a plain {backbone} for single images, as ImageNet weights are. Train from ImageNet "
            "weights with `gateshift train`, which fetches them."
        )
    return None


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
        modality=original.modality,
    )
    if problems := misfits(original, model.state_dict()):
        raise WeightsError(
            f"{path} looks like {original.model} with {original.num_classes} classes, and does not fit: "
            f"{'; '.join(problems)}. Give a checkpoint of the released code as it is."
        )
    model.load_state_dict(dict(original.state))
    return model


def misfits(original: Original, expected: Mapping[str, Tensor]) -> list[str]:
    """Return what is wrong with the tensors of a checkpoint, each under its released name."""
    state, kind = original.state, original.model[:3]
    missing = [released_name(key, kind) for key in expected if key not in state]
    unknown = [released_name(key, kind) for key in state if key not in expected]
    wrong = [
        f"{released_name(key, kind)}: {shape(state[key])}, not {shape(expected[key])}"
        for key in expected
        if key in state and state[key].shape != expected[key].shape
    ]
    problems = []
    if missing:
        verb = "is" if len(missing) == 1 else "are"
        problems.append(f"{len(missing)} of {len(expected)} tensors {verb} missing ({shorten(missing)})")
    if unknown:
        problems.append(f"{len(unknown)} unknown ({shorten(unknown)})")
    if wrong:
        problems.append(f"{len(wrong)} of another shape ({shorten(wrong)})")
    return problems


def shape(tensor: Tensor) -> str:
    """Write a shape.

    >>> import torch
    >>> shape(torch.zeros(2, 3))
    '2 x 3'
    """
    return " x ".join(map(str, tensor.shape)) or "one number"


def gated_channels(tensors: Mapping[str, Tensor]) -> dict[str, int]:
    """Return how many channels the gate after each conv acts on.

    >>> import torch
    >>> gated_channels({"gsm_conv_a.conv3D.weight": torch.zeros(2, 32, 3, 3, 3)})
    {'conv_a': 64}
    """
    found = {}
    for key, value in tensors.items():
        match = TEMPORAL.match(key)
        if match and match["part"] == "conv3D" and match["leaf"] == "weight" and value.ndim == 5:
            found[place(match)] = 2 * value.shape[1]
        elif match and match["part"] == "bn" and value.ndim == 1:  # its norm, should the gate be missing
            found.setdefault(place(match), value.shape[0])
    return found


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


def released_name(key: str, kind: str) -> str:
    """Return the name that a tensor has in a released checkpoint; ``rename`` undone.

    >>> released_name("backbone.conv_a.temporal.norm.weight", "gsm")
    'gsm_conv_a.bn.weight'
    >>> released_name("backbone.layer1.0.conv3.conv.weight", "gsf"), released_name("head.bias", "gsf")
    ('layer1.0.conv3.weight', 'new_fc.bias')
    """
    if key.startswith("head."):
        return key.replace("head.", "new_fc.")
    layer, gate, inner = key.removeprefix("backbone.").partition(".temporal.")
    if not gate:
        return re.sub(r"\.conv\.(\w+)$", r".\1", layer)
    part, _, leaf = inner.partition(".")
    theirs = {ours: name for name, ours in PARTS.items()}.get(part, part)
    module = layer.replace(".conv3", ".gsf") if layer.startswith("layer") else f"{kind}_{layer}"
    return f"{module}.{theirs}.{leaf}"


def find_modality(tensors: Mapping[str, Tensor]) -> str:
    """Return the modality with as many planes as the first convolution sees; "rgb" where none has.

    >>> import torch
    >>> find_modality({"conv1_7x7_s2.weight": torch.zeros(64, 10, 7, 7)})
    'flow'
    """
    planes = {tensor.shape[1] for key, tensor in tensors.items() if STEM.match(key) and tensor.ndim == 4}
    return next((name for name, record in MODALITIES.items() if record.in_channels in planes), "rgb")


def find_ratio(tensors: Mapping[str, Tensor], gated: Mapping[str, int]) -> float:
    """Return the channel ratio, whole percent in the released code, that gives these gated channels.

    Raises:
        WeightsError: none does.
    """
    convs = {conv: tensors[f"{conv}.weight"] for conv in gated if f"{conv}.weight" in tensors}
    channels = {conv: weight.shape[0] for conv, weight in convs.items() if weight.ndim}
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
