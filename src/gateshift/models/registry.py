"""MODELS: every temporal module in every backbone, by name; ``create_model`` builds one."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase

from torch import Tensor, nn

from gateshift.errors import ConfigError, WeightsError, lookup
from gateshift.models.backbones import BACKBONES, Backbone
from gateshift.models.classifier import ModelSpec, VideoClassifier
from gateshift.models.imagenet import imagenet_state
from gateshift.models.insertion import Where, find_convs, insert_temporal
from gateshift.models.modality import convert_first_conv, redraw_first_conv
from gateshift.nn import GATES, GateShift, GateShiftFuse, InflatedConv, TemporalConv, TemporalShift


@dataclass(frozen=True, kw_only=True)
class Temporal:
    """A kind of temporal module.

    Attributes:
        points: returns the patterns of a backbone's convolutions that it goes to.
        where: its place there.
        make: builds one for a convolution.
        gated: whether it has gates, an interleave and, in an Inception network, a branch to choose.
        fuses: whether it has a channel ratio to choose.
    """

    points: Callable[[Backbone], tuple[str, ...]]
    where: Where
    make: Callable[[nn.Conv2d, ModelSpec], nn.Module]
    gated: bool = False
    fuses: bool = False


def _temporal_conv(conv: nn.Conv2d, spec: ModelSpec) -> TemporalConv:
    return TemporalConv(conv.out_channels, spec.num_segments, groups=conv.groups)


def _gate_shift(conv: nn.Conv2d, spec: ModelSpec) -> GateShift:
    return GateShift(conv.out_channels, spec.num_segments, interleave=spec.interleave, gate=spec.gate)


def _gate_shift_fuse(conv: nn.Conv2d, spec: ModelSpec) -> GateShiftFuse:
    return GateShiftFuse(
        conv.out_channels,
        spec.num_segments,
        channel_ratio=spec.channel_ratio,
        interleave=spec.interleave,
        gate=spec.gate,
    )


TEMPORAL: dict[str, Temporal] = {
    "c3d": Temporal(
        points=lambda backbone: backbone.spatial_points,
        where="replace",
        make=lambda conv, spec: InflatedConv(conv, spec.num_segments),
    ),
    "s3d": Temporal(
        points=lambda backbone: backbone.spatial_points,
        where="after",
        make=_temporal_conv,
    ),
    "tsm": Temporal(
        points=lambda backbone: backbone.shift_points,
        where="before",
        make=lambda conv, spec: TemporalShift(conv.in_channels, spec.num_segments),
    ),
    "gsm": Temporal(
        points=lambda backbone: backbone.temporal_points,
        where="after",
        make=_gate_shift,
        gated=True,
    ),
    "gsf": Temporal(
        points=lambda backbone: backbone.temporal_points,
        where="after",
        make=_gate_shift_fuse,
        gated=True,
        fuses=True,
    ),
}

TEMPORAL_KINDS = ("tsn", *TEMPORAL)  # tsn has no temporal module: its frames meet in the vote only


@dataclass(frozen=True)
class ModelRecord:
    """A name taken apart: "gsm_resnet50" is kind "gsm" in backbone "resnet50"."""

    kind: str
    backbone: str


MODELS: dict[str, ModelRecord] = {
    f"{kind}_{backbone}": ModelRecord(kind, backbone) for backbone in BACKBONES for kind in TEMPORAL_KINDS
}


def list_models(pattern: str = "*") -> list[str]:
    """Return the names of the models that match a shell pattern.

    >>> list_models("gs?_resnet50")
    ['gsm_resnet50', 'gsf_resnet50']
    """
    return [name for name in MODELS if fnmatchcase(name, pattern)]


def create_model(
    name: str,
    num_classes: int,
    num_segments: int = 8,
    *,
    pretrained: bool = False,
    dropout: float = 0.5,
    interleave: bool | None = None,
    channel_ratio: float | None = None,
    gate: str = "tanh",
    branch: str = "",
    num_modules: int = -1,
    modality: str = "rgb",
    size: int | None = None,
    backbone_state: Mapping[str, Tensor] | None = None,
) -> VideoClassifier:
    """Build a video classifier: clips (B, T, 3, S, S) -> logits (B, K); 10 planes of flow, 15 of rgbdiff.

    Args:
        name: a name of ``list_models``.
        num_classes: classes, K.
        num_segments: frames per clip, T.
        pretrained: start from the backbone's ImageNet weights, fetched when first needed; random without.
        dropout: probability, before the head.
        interleave: whether gate-shift modules riffle their channels; by default, where released weights do.
        channel_ratio: fraction of the channels that gate-shift-fuse modules act on.
        gate: function of the gates: tanh, as published, sigmoid or none (the convolution's own values).
        branch: Inception branch that gate-shift modules go to, by its name in `BACKBONES`; by default the
            points of the released weights.
        num_modules: how many temporal modules there are, counted from the last; -1 for all.
        modality: what a segment shows: rgb; flow, 5 frames of x and y; rgbdiff, 5 differences of frames.
        size: side of the crop, for another ``input_spec`` than the backbone's own.
        backbone_state: other weights of the plain backbone to start from.

    Raises:
        UnknownName: no model has this name.
        ConfigError: an option is out of its range, or the model has no such option.
        WeightsError: ``backbone_state`` is of another network, or the ImageNet weights cannot be had.
    """
    record = lookup("model", name, MODELS)
    backbone = BACKBONES[record.backbone]
    temporal = TEMPORAL.get(record.kind)
    if interleave is not None and not (temporal and temporal.gated):
        raise _has_none(name, "interleave")
    default_ratio = backbone.channel_ratio if temporal and temporal.fuses else 1.0
    spec = ModelSpec(
        name=name,
        num_classes=num_classes,
        num_segments=num_segments,
        interleave=record.kind in backbone.interleave if interleave is None else interleave,
        channel_ratio=default_ratio if channel_ratio is None else channel_ratio,
        dropout=dropout,
        gate=gate,
        branch=branch,
        num_modules=num_modules,
        modality=modality,
    )
    if pretrained:
        backbone_state = imagenet_state(record.backbone)
    return build_model(spec, size=size, backbone_state=backbone_state)


def build_model(
    spec: ModelSpec, *, size: int | None = None, backbone_state: Mapping[str, Tensor] | None = None
) -> VideoClassifier:
    """Build the model of a spec.

    Args:
        spec: what to build.
        size: side of the crop, for another ``input_spec`` than the backbone's own.
        backbone_state: weights of the plain backbone, loaded before temporal modules go in; random without.

    Raises:
        UnknownName: no model has this name.
        ConfigError: an option is out of its range, or the model has no such option.
        WeightsError: ``backbone_state`` is of another network.
    """
    record = lookup("model", spec.name, MODELS)
    backbone = BACKBONES[record.backbone]
    temporal = TEMPORAL.get(record.kind)
    _check(spec, temporal, backbone)
    net = backbone.build()
    if backbone_state is not None:
        _load_backbone(net, backbone_state, record.backbone)
    input_spec = backbone.input_spec.for_modality(spec.modality)
    if spec.modality != "rgb":
        see = redraw_first_conv if backbone_state is None else convert_first_conv
        see(net, input_spec.in_channels)
    if size is not None:
        input_spec = input_spec.with_size(size)
    points = [] if temporal is None else _insert(net, record.kind, temporal, backbone, spec)
    return VideoClassifier(net, backbone.num_features, spec, input_spec, points)


def _check(spec: ModelSpec, temporal: Temporal | None, backbone: Backbone) -> None:
    """Refuse what the model cannot be."""
    if spec.num_classes < 1 or spec.num_segments < 1:
        raise ConfigError(
            f"num_classes={spec.num_classes}, num_segments={spec.num_segments}: no model. Both are 1 or more."
        )
    if not 0 <= spec.dropout < 1:
        raise ConfigError(f"dropout={spec.dropout} is no probability below 1. Choose 0 to switch it off.")
    if not 0 < spec.channel_ratio <= 1:
        raise ConfigError(
            f"channel_ratio={spec.channel_ratio} is no fraction of the channels. It lies in (0, 1]."
        )
    if spec.channel_ratio != 1 and not (temporal and temporal.fuses):
        raise ConfigError(f"{spec.name} has no channel_ratio. Only gsf models have one; leave it out.")
    lookup("gate function", spec.gate, GATES)
    chosen = {"interleave": spec.interleave, "gate": spec.gate != "tanh", "branch": spec.branch}
    for option, differs in chosen.items():
        if differs and not (temporal and temporal.gated):
            raise _has_none(spec.name, option)
    if spec.branch and not backbone.branches:
        inception = " and ".join(name for name, record in BACKBONES.items() if record.branches)
        raise ConfigError(f"{spec.name} has no branch to choose. Only {inception} have; leave it out.")
    if spec.branch:
        lookup("branch", spec.branch, backbone.branches)
    if spec.num_modules != -1 and not temporal:
        raise ConfigError(f"{spec.name} has no temporal modules to count. Leave num_modules out.")


def _has_none(model: str, option: str) -> ConfigError:
    return ConfigError(f"{model} has no {option} to choose. Only gsm and gsf models have one; leave it out.")


def _load_backbone(net: nn.Module, state: Mapping[str, Tensor], name: str) -> None:
    """Load the weights of a plain backbone, every one of them."""
    try:
        net.load_state_dict(state)
    except RuntimeError as error:
        raise WeightsError(
            f"the weights are not those of {name}. They need its layers only, less the classifier. {error}"
        ) from error


def _insert(
    net: nn.Module, kind: str, temporal: Temporal, backbone: Backbone, spec: ModelSpec
) -> list[dict[str, str | int]]:
    """Put the temporal modules in; return their names and channels."""
    patterns = backbone.branches.get(spec.branch) or (
        backbone.points_by_module.get(kind) or temporal.points(backbone)
    )
    places = _last(find_convs(net, patterns), spec)
    channels: list[int] = []

    def make(conv: nn.Conv2d) -> nn.Module:
        channels.append(conv.in_channels if temporal.where == "before" else conv.out_channels)
        return temporal.make(conv, spec)

    names = insert_temporal(net, places, make, temporal.where)
    return [{"name": name, "channels": count} for name, count in zip(names, channels, strict=True)]


def _last(places: list[str], spec: ModelSpec) -> list[str]:
    """Return the last ``num_modules`` places in the order of the network."""
    if not -1 <= spec.num_modules <= len(places):
        raise ConfigError(
            f"{spec.name} has {len(places)} places for temporal modules, and num_modules is "
            f"{spec.num_modules}. Give 0 to {len(places)}, or leave it out for all."
        )
    return places if spec.num_modules == -1 else places[len(places) - spec.num_modules :]
