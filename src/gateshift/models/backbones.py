"""BACKBONES: the 2D networks, what goes into them, and where temporal modules have their places."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from torch import nn

from gateshift.models.bn_inception import bn_inception
from gateshift.models.efficientnet_lite import efficientnet_lite0
from gateshift.models.inception_v3 import inception_v3
from gateshift.models.mobilenet_v2 import mobilenet_v2
from gateshift.models.resnet import resnet18, resnet34, resnet50, resnet101
from gateshift.spec import InputSpec

CAFFE_224 = InputSpec(size=224, resize=256, mean=(104, 117, 128), std=(1, 1, 1), scale=255, channels="bgr")
CAFFE_229 = CAFFE_224.with_size(229)  # the authors' size for InceptionV3; 229 * 256 // 224 is their 261
IMAGENET_224 = InputSpec(size=224, resize=256, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
HALF_224 = InputSpec(size=224, resize=256, mean=(0.498, 0.498, 0.498), std=(0.502, 0.502, 0.502))

BNINCEPTION_HALVING = ("inception_3c_3x3_reduce", "inception_4e_3x3_reduce")
BNINCEPTION_POINTS = ("inception_??_1x1", *BNINCEPTION_HALVING)
BNINCEPTION_BRANCHES = {
    "1x1": BNINCEPTION_POINTS,
    "3x3_reduce": ("inception_??_3x3_reduce",),
    "3x3": ("inception_??_3x3",),
    "double_3x3_reduce": ("inception_??_double_3x3_reduce",),
    "double_3x3_1": ("inception_??_double_3x3_1",),
    "double_3x3_2": ("inception_??_double_3x3_2",),
    "pool_proj": ("inception_??_pool_proj", *BNINCEPTION_HALVING),
    "all": (
        "inception_??_1x1",
        "inception_??_3x3_reduce",
        "inception_??_double_3x3_reduce",
        "inception_??_pool_proj",
    ),
}
INCEPTIONV3_HALVING = ("mixed_[38]_tower_conv_Conv2D",)
INCEPTIONV3_POINTS = (
    "mixed_conv_Conv2D",
    "mixed_[124579]_conv_Conv2D",  # not mixed_6: the released weights have no module there
    "mixed_10_conv_Conv2D",
    *INCEPTIONV3_HALVING,
)

RESNET_STAGES = (("conv1.*", "bn1.*"), ("layer1.*",), ("layer2.*",), ("layer3.*",), ("layer4.*",))


def _first_convs(branch: str) -> tuple[str, ...]:
    """Return the patterns of a branch's first convolutions in InceptionV3, but of mixed_6 as released."""
    return tuple(f"mixed_{block}{branch}_conv_Conv2D" for block in ("", "[!6]_", "10_"))


INCEPTIONV3_BRANCHES = {
    "1x1": INCEPTIONV3_POINTS,
    "tower": _first_convs("tower"),
    "tower_1": (*_first_convs("tower_1"), "mixed_3_tower_conv_Conv2D"),
    "tower_2": (*_first_convs("tower_2"), *INCEPTIONV3_HALVING),
    "all": (
        *INCEPTIONV3_POINTS,
        *_first_convs("tower"),
        *_first_convs("tower_1"),
        *_first_convs("tower_2"),
    ),
}


@dataclass(frozen=True, kw_only=True)
class Backbone:
    """A 2D network and the places of temporal modules in it.

    All points are shell patterns of convolution names.

    Attributes:
        build: returns the network with random weights and without its classifier.
        num_features: channels of its last feature maps.
        input_spec: what its ImageNet weights want to see.
        temporal_points: convolutions that a GateShift or GateShiftFuse follows, before their norm.
        shift_points: convolutions that a TemporalShift precedes.
        spatial_points: convolutions wider than 1 x 1 after the stem, which C3D inflates and S3D follows.
        stages: patterns of the parameters whose layers give maps of a 2nd of the frame's side, of a 4th, 8th,
            16th and 32nd; blocks that halve the map belong where their names put them.
        points_by_module: temporal kind -> its own points, where they differ from the above.
        branches: of an Inception network, branch -> points there, to be had in place of ``temporal_points``.
            A block that halves the map and lacks the branch keeps its released point. "all" is the first
            convolution of every branch.
        interleave: temporal kinds for which the interleave is on, as their released weights need it.
        channel_ratio: fraction of the channels that a GateShiftFuse acts on.
    """

    build: Callable[[], nn.Module]
    num_features: int
    input_spec: InputSpec
    temporal_points: tuple[str, ...]
    shift_points: tuple[str, ...]
    spatial_points: tuple[str, ...]
    stages: tuple[tuple[str, ...], ...]
    points_by_module: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    branches: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    interleave: frozenset[str] = frozenset()
    channel_ratio: float = 0.25

    def stage_of(self, name: str) -> int:
        """Return which of the stages a parameter of the network is in, counted from 0 at the frames.

        >>> BACKBONES["resnet18"].stage_of("layer2.0.conv1.weight")
        2

        Raises:
            ValueError: it is in none of them.
        """
        for stage, patterns in enumerate(self.stages):
            if any(fnmatchcase(name, pattern) for pattern in patterns):
                return stage
        raise ValueError(f"{name!r} is in no stage of this backbone. Add it to its `stages`.")


BACKBONES: dict[str, Backbone] = {
    "bninception": Backbone(
        build=bn_inception,
        num_features=1024,
        input_spec=CAFFE_224,
        temporal_points=BNINCEPTION_POINTS,
        shift_points=BNINCEPTION_POINTS,  # no residual branches here; so the same convolutions are compared
        spatial_points=("inception_??_3x3", "inception_??_double_3x3_[12]"),
        stages=(("conv1_*",), ("conv2_*",), ("inception_3*",), ("inception_4*",), ("inception_5*",)),
        branches=BNINCEPTION_BRANCHES,
        interleave=frozenset({"gsm", "gsf"}),
        channel_ratio=1.0,
    ),
    "inceptionv3": Backbone(
        build=inception_v3,
        num_features=2048,
        input_spec=CAFFE_229,
        temporal_points=INCEPTIONV3_POINTS,
        shift_points=INCEPTIONV3_POINTS,  # as for bninception
        spatial_points=(
            "mixed_3_conv_Conv2D",
            "mixed*tower*conv_[1234]_Conv2D",
            "mixed*tower*mixed_conv_Conv2D",
        ),
        stages=(
            ("conv_[CB]*", "conv_batchnorm*", "conv_[12]_*"),
            ("conv_[34]_*",),
            ("mixed_conv*", "mixed_tower*", "mixed_[12]_*"),
            ("mixed_[34567]_*",),
            ("mixed_[89]_*", "mixed_10_*"),
        ),
        points_by_module={
            "gsf": (
                "mixed_conv_Conv2D",
                "mixed_[12345679]_conv_Conv2D",
                "mixed_10_conv_Conv2D",
                "mixed_8_tower_conv_Conv2D",
            )
        },
        branches=INCEPTIONV3_BRANCHES,
        interleave=frozenset({"gsm", "gsf"}),
        channel_ratio=1.0,
    ),
    "resnet18": Backbone(
        build=resnet18,
        num_features=512,
        input_spec=IMAGENET_224,
        temporal_points=("layer?.*.conv2",),
        shift_points=("layer?.*.conv1",),
        spatial_points=("layer?.*.conv[12]",),
        stages=RESNET_STAGES,
    ),
    "resnet34": Backbone(
        build=resnet34,
        num_features=512,
        input_spec=IMAGENET_224,
        temporal_points=("layer?.*.conv2",),
        shift_points=("layer?.*.conv1",),
        spatial_points=("layer?.*.conv[12]",),
        stages=RESNET_STAGES,
    ),
    "resnet50": Backbone(
        build=resnet50,
        num_features=2048,
        input_spec=IMAGENET_224,
        temporal_points=("layer?.*.conv3",),
        shift_points=("layer?.*.conv1",),
        spatial_points=("layer?.*.conv2",),
        stages=RESNET_STAGES,
        interleave=frozenset({"gsf"}),
    ),
    "resnet101": Backbone(
        build=resnet101,
        num_features=2048,
        input_spec=IMAGENET_224,
        temporal_points=("layer?.*.conv3",),
        shift_points=("layer?.*[02468].conv1",),  # every second block, as released for nets this deep
        spatial_points=("layer?.*.conv2",),
        stages=RESNET_STAGES,
        interleave=frozenset({"gsf"}),
    ),
    "mobilenet_v2": Backbone(
        build=mobilenet_v2,
        num_features=1280,
        input_spec=IMAGENET_224,
        temporal_points=("features.[35689].conv.2", "features.1[02356].conv.2"),  # blocks that skip
        shift_points=("features.[35689].conv.0.0", "features.1[02356].conv.0.0"),
        spatial_points=("features.1.conv.0.0", "features.*.conv.1.0"),
        stages=(
            ("features.[01].*",),
            ("features.[23].*",),
            ("features.[456].*",),
            ("features.[789].*", "features.1[0123].*"),
            ("features.1[45678].*",),
        ),
    ),
    "efficientnet_lite0": Backbone(
        build=efficientnet_lite0,
        num_features=1280,
        input_spec=HALF_224,
        # Blocks that skip, less the first: on its large map the gates would cost half as much as all others.
        temporal_points=("_blocks.[4679]._project_conv", "_blocks.1[0234]._project_conv"),
        shift_points=("_blocks.[24679]._expand_conv", "_blocks.1[0234]._expand_conv"),
        spatial_points=("_blocks.*._depthwise_conv",),
        stages=(
            ("_conv_stem.*", "_bn0.*", "_blocks.0.*"),
            ("_blocks.[12].*",),
            ("_blocks.[34].*",),
            ("_blocks.[56789].*", "_blocks.10.*"),
            ("_blocks.1[12345].*", "_conv_head.*", "_bn1.*"),
        ),
    ),
}
