"""What a model costs and where its gates are, against the released code's own figures."""

from functools import cache
from typing import Any

import pytest
import torch

from gateshift.apps import info as app
from gateshift.errors import UnknownName
from gateshift.models.cost import count_macs, count_parameters
from gateshift.models.registry import create_model, list_models

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
POINTS = {
    "gsm_bninception": BNINCEPTION,
    "gsf_bninception": BNINCEPTION,
    "gsm_inceptionv3": INCEPTIONV3 | {"mixed_3_tower_conv_Conv2D": 64},
    "gsf_inceptionv3": INCEPTIONV3 | {"mixed_3_conv_Conv2D": 384, "mixed_6_conv_Conv2D": 192},
    "gsf_resnet50": {
        f"layer{stage}.{block}.conv3": 128 * 2**stage
        for stage, blocks in ((1, 3), (2, 4), (3, 6), (4, 3))
        for block in range(blocks)
    },
}


@cache
def info(model: str) -> dict[str, Any]:
    """Ask once for each model; several tests look at the answer."""
    return app.info(model)


@pytest.mark.parametrize("model", POINTS)
def test_insertion_points_are_the_released_ones(model: str) -> None:
    points = info(model)["insertion_points"]
    assert {point["name"]: point["channels"] for point in points} == POINTS[model]


@pytest.mark.parametrize(
    ("model", "plain", "extra"),
    [
        ("gsm_bninception", "tsn_bninception", 51_060),
        ("gsm_inceptionv3", "tsn_inceptionv3", 48_276),
        ("gsf_bninception", "tsn_bninception", 51_440),
        ("gsf_inceptionv3", "tsn_inceptionv3", 63_544),
        ("gsf_resnet50", "tsn_resnet50", 110_144),
    ],
)
def test_gates_add_the_released_parameters(model: str, plain: str, extra: int) -> None:
    assert info(model)["params"] - info(plain)["params"] == extra


def test_all_channels_of_a_resnet_cost_four_times_the_parameters() -> None:
    with torch.device("meta"):
        plain = create_model("tsn_resnet50", 174)
        full = create_model("gsf_resnet50", 174, channel_ratio=1.0)
    assert count_parameters(full) - count_parameters(plain) == 438_656


@pytest.mark.parametrize(
    ("model", "params", "gmacs"),
    [
        ("tsn_bninception", 10.449e6, (16.25, 16.26)),
        ("gsm_bninception", 10.500e6, (16.33, 16.35)),
        ("tsn_inceptionv3", 22.159e6, (26.61, 26.63)),
        ("gsm_inceptionv3", 22.207e6, (26.68, 26.70)),
    ],
)
def test_costs_are_those_of_the_paper(model: str, params: float, gmacs: tuple[float, float]) -> None:
    found = info(model)
    assert found["params"] == pytest.approx(params, abs=1000)
    assert gmacs[0] <= found["macs"] / 1e9 <= gmacs[1]


def test_macs_grow_with_the_frames() -> None:
    assert app.info("gsm_bninception", num_segments=16)["macs"] == 2 * info("gsm_bninception")["macs"]


@pytest.mark.parametrize("model", list_models())
def test_every_model_has_an_answer_without_its_tensors(model: str) -> None:
    found = info(model)
    assert found["model"] == model
    assert found["num_segments"] == 8
    assert found["params"] > 1e6
    assert found["macs"] > 1e8
    assert (found["insertion_points"] == []) == model.startswith("tsn")


def test_counting_leaves_the_model_as_it_was() -> None:
    model = create_model("gsm_resnet18", 5, 4).train()
    count_macs(model)
    assert model.training
    assert not any(module._forward_hooks for module in model.modules())
    assert all(parameter.device.type == "cpu" for parameter in model.parameters())


def test_an_unknown_model_is_refused() -> None:
    with pytest.raises(UnknownName, match="gsm_bninception"):
        app.info("gsm_bninceptoin")
