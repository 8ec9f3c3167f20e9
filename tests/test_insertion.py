"""Where temporal modules go: names and channels of each backbone, before and after the convolution."""

from fnmatch import fnmatchcase

import pytest
import torch
from torch import nn

from gateshift.models.backbones import BACKBONES
from gateshift.models.insertion import find_convs, insert_temporal
from gateshift.models.registry import TEMPORAL, TEMPORAL_KINDS, create_model
from gateshift.nn import GateShift, InflatedConv, TemporalShift


def points(name: str) -> dict[str, int]:
    """Insertion points of a model, by name."""
    with torch.device("meta"):
        return {point["name"]: point["channels"] for point in create_model(name, 5).insertion_points}


BNINCEPTION = {
    "inception_3a_1x1": 64,
    "inception_3b_1x1": 64,
    "inception_3c_3x3_reduce": 128,
    "inception_4a_1x1": 224,
    "inception_4b_1x1": 192,
    "inception_4c_1x1": 160,
    "inception_4d_1x1": 96,
    "inception_4e_3x3_reduce": 128,
    "inception_5a_1x1": 352,
    "inception_5b_1x1": 352,
}
INCEPTIONV3 = {
    "mixed_conv_Conv2D": 64,
    "mixed_1_conv_Conv2D": 64,
    "mixed_2_conv_Conv2D": 64,
    "mixed_4_conv_Conv2D": 192,
    "mixed_5_conv_Conv2D": 192,
    "mixed_7_conv_Conv2D": 192,
    "mixed_8_tower_conv_Conv2D": 192,
    "mixed_9_conv_Conv2D": 320,
    "mixed_10_conv_Conv2D": 320,
}


@pytest.mark.parametrize("kind", ["gsm", "gsf"])
def test_points_of_bninception(kind):
    assert points(f"{kind}_bninception") == BNINCEPTION


def test_points_of_inceptionv3_differ_between_gsm_and_gsf():
    assert points("gsm_inceptionv3") == INCEPTIONV3 | {"mixed_3_tower_conv_Conv2D": 64}
    assert points("gsf_inceptionv3") == INCEPTIONV3 | {"mixed_3_conv_Conv2D": 384, "mixed_6_conv_Conv2D": 192}


def test_points_of_resnets():
    expected = {
        f"layer{stage}.{block}.conv3": 128 * 2**stage
        for stage, depth in zip((1, 2, 3, 4), (3, 4, 6, 3), strict=True)
        for block in range(depth)
    }
    assert points("gsf_resnet50") == expected
    assert list(points("gsm_resnet18")) == [
        f"layer{stage}.{block}.conv2" for stage in range(1, 5) for block in (0, 1)
    ]
    assert len(points("tsm_resnet50")) == 16
    assert [name for name in points("tsm_resnet101") if name.startswith("layer3")] == [
        f"layer3.{block}.conv1" for block in range(0, 23, 2)
    ]


@pytest.mark.parametrize("backbone", ["mobilenet_v2", "efficientnet_lite0"])
def test_mobile_points_are_the_blocks_that_skip(backbone):
    net = BACKBONES[backbone].build()
    skipping = {name for name, module in net.named_modules() if getattr(module, "skips", False)}
    costly = {"efficientnet_lite0": {"_blocks.2"}}.get(backbone, set())  # half a percent of MACs
    for kind, expected in (("tsm", skipping), ("gsm", skipping - costly), ("gsf", skipping - costly)):
        found = points(f"{kind}_{backbone}")
        assert len(found) == len(expected)
        assert {
            block for block in skipping if any(name.startswith(f"{block}.") for name in found)
        } == expected


@pytest.mark.parametrize("name", BACKBONES)
def test_points_name_convolutions(name):
    """Every pattern matches; spatial points are all that are wider than 1 x 1 behind the stem."""
    backbone = BACKBONES[name]
    with torch.device("meta"):
        net = backbone.build()
    for patterns in (backbone.temporal_points, backbone.shift_points, *backbone.points_by_module.values()):
        find_convs(net, patterns)
    wide = [
        conv
        for conv, module in net.named_modules()
        if isinstance(module, nn.Conv2d) and max(module.kernel_size) > 1
    ]
    stems = ("conv1*", "conv2_3x3", "conv_*Conv2D", "features.0.0", "_conv_stem")
    behind = [conv for conv in wide if not any(fnmatchcase(conv, stem) for stem in stems)]
    assert find_convs(net, backbone.spatial_points) == behind


def test_kinds_and_overrides_agree():
    assert TEMPORAL_KINDS == ("tsn", "c3d", "s3d", "tsm", "gsm", "gsf")
    for backbone in BACKBONES.values():
        assert set(backbone.points_by_module) <= set(TEMPORAL)
        assert backbone.interleave <= {kind for kind, temporal in TEMPORAL.items() if temporal.gated}


def small_net() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.Conv2d(8, 16, 1))


def test_insert_after_keeps_the_convolution():
    net = small_net()
    conv = net[2]
    assert insert_temporal(net, ["2"], lambda conv: GateShift(conv.out_channels, 2)) == ["2"]
    assert list(dict(net[2].named_children())) == ["conv", "temporal"]
    assert net[2].conv is conv
    assert net[2].temporal.channels == 16


def test_insert_before_and_replace():
    net = small_net()
    insert_temporal(net, ["2"], lambda conv: TemporalShift(conv.in_channels, 2), "before")
    assert list(dict(net[2].named_children())) == ["temporal", "conv"]
    insert_temporal(net, ["0"], lambda conv: InflatedConv(conv, 2), "replace")
    assert isinstance(net[0], InflatedConv)


def test_a_pattern_that_matches_nothing_is_refused():
    with pytest.raises(ValueError, match="no convolution of Sequential matches '1'"):
        insert_temporal(small_net(), ["0", "1"], lambda conv: nn.Identity())
