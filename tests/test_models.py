"""Every model by name: shapes, gradients, what it knows about itself, what it refuses."""

import pytest
import torch
from torch import Tensor, nn

from gateshift.errors import ConfigError, UnknownName, WeightsError
from gateshift.models.backbones import BACKBONES
from gateshift.models.cost import count_macs, count_parameters
from gateshift.models.efficientnet_lite import SamePad
from gateshift.models.registry import MODELS, TEMPORAL_KINDS, create_model, list_models

SMALL = {"inceptionv3": 96}  # the others work at 64
EXTRA_PARAMS = {  # what the modules add to the backbone, computed from the released layer lists
    "gsm_bninception": 51_060,
    "gsm_inceptionv3": 48_276,
    "gsf_bninception": 51_440,
    "gsf_inceptionv3": 63_544,
    "gsf_resnet50": 110_144,
    "tsm_resnet50": 0,
}


def clips(name: str, batch: int = 1, num_segments: int = 2) -> Tensor:
    size = SMALL.get(MODELS[name].backbone, 64)
    return torch.randn(batch, num_segments, 3, size, size, generator=torch.Generator().manual_seed(2))


def awake(model: nn.Module) -> nn.Module:
    """Give temporal modules and head random weights: fresh ones mix no frames."""
    generator = torch.Generator().manual_seed(0)
    for name, parameter in model.named_parameters():
        if (
            any(part in name for part in (".temporal.", "head.", "gate.", ".conv.weight"))
            and parameter.ndim > 1
        ):
            fan_in = parameter[0].numel()
            parameter.data = torch.randn(parameter.shape, generator=generator) * fan_in**-0.5
    return model


def num_params(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def test_all_kinds_of_all_backbones():
    assert len(list_models()) == len(BACKBONES) * len(TEMPORAL_KINDS) == 48
    assert list_models("gsm_*incep*") == ["gsm_bninception", "gsm_inceptionv3"]


@pytest.mark.parametrize("name", list_models())
def test_every_model_forward_backward(name):
    model = create_model(name, num_classes=5, num_segments=2, dropout=0.0)
    nn.init.normal_(model.head.weight)
    logits = model(clips(name))
    assert logits.shape == (1, 5)
    logits.square().sum().backward()
    for parameter_name, parameter in model.named_parameters():
        assert parameter.grad is not None, parameter_name
        assert parameter.grad.isfinite().all(), parameter_name


@pytest.mark.parametrize(
    "name", list_models("*_resnet18") + list_models("gsm_*") + list_models("tsm_*incep*")
)
def test_only_tsn_is_blind_to_the_order_of_frames(name):
    model = awake(create_model(name, 5, num_segments=2, dropout=0.0)).double()  # norms by batch: no map fades
    x = clips(name).double()
    with torch.inference_mode():
        moved = (model(x) - model(x.flip(1))).abs().max()
    if MODELS[name].kind == "tsn":
        assert moved < 1e-12
    else:
        assert moved > 1e-6


@pytest.mark.parametrize(
    "name", ["gsm_mobilenet_v2", "gsf_resnet18", "tsm_efficientnet_lite0", "c3d_resnet18"]
)
def test_batch_of_clips_equals_clips_alone(name):
    model = awake(create_model(name, 5, num_segments=2)).double().eval()
    x = clips(name, batch=3).double()
    with torch.inference_mode():
        alone = torch.cat([model(clip[None]) for clip in x])
        torch.testing.assert_close(model(x), alone, rtol=0, atol=1e-10)


@pytest.mark.parametrize("kind", ["c3d", "s3d", "gsm"])
@pytest.mark.parametrize("backbone", ["resnet18", "mobilenet_v2", "efficientnet_lite0"])
def test_fresh_model_is_its_2d_network(kind, backbone):
    plain = create_model(f"tsn_{backbone}", 5, num_segments=2).eval()
    state = plain.backbone.state_dict()
    model = create_model(f"{kind}_{backbone}", 5, num_segments=2, backbone_state=state).eval()
    model.head.load_state_dict(plain.head.state_dict())
    x = clips(f"{kind}_{backbone}")
    with torch.inference_mode():
        torch.testing.assert_close(model(x), plain(x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", EXTRA_PARAMS)
def test_temporal_modules_add_few_parameters(name):
    with torch.device("meta"):
        plain = create_model(f"tsn_{MODELS[name].backbone}", 174)
        assert num_params(create_model(name, 174)) - num_params(plain) == EXTRA_PARAMS[name]


@pytest.mark.parametrize(
    ("name", "params"), [("bninception", 10.449), ("inceptionv3", 22.159), ("resnet50", 23.865)]
)
def test_size_of_the_2d_networks(name, params):
    with torch.device("meta"):
        assert num_params(create_model(f"tsn_{name}", 174)) / 1e6 == pytest.approx(params, abs=1e-3)


@pytest.mark.parametrize("name", BACKBONES)
def test_odd_sizes_work(name):
    model = create_model(f"tsn_{name}", 5, num_segments=1).eval()
    with torch.inference_mode():
        assert model(torch.randn(1, 1, 3, 107, 91)).shape == (1, 5)
        assert model.forward_features(torch.randn(2, 1, 3, 107, 91)).shape == (
            2,
            1,
            BACKBONES[name].num_features,
        )


def test_model_knows_what_it_is():
    model = create_model("gsf_resnet50", 12, num_segments=4, dropout=0.3, size=112)
    spec = model.spec
    assert (spec.name, spec.num_classes, spec.num_segments, model.num_segments) == ("gsf_resnet50", 12, 4, 4)
    assert (spec.interleave, spec.channel_ratio, spec.dropout) == (True, 0.25, 0.3)
    assert (model.input_spec.size, model.input_spec.resize, model.input_spec.channels) == (112, 128, "rgb")
    assert model.classes is None
    assert model.insertion_points[0] == {"name": "layer1.0.conv3", "channels": 256}
    assert create_model("tsn_inceptionv3", 5).input_spec.resize == 261


def test_interleave_and_ratio_are_options():
    plain = create_model("gsm_resnet18", 5)
    riffled = create_model("gsm_resnet18", 5, interleave=True)
    assert not plain.backbone.layer1[0].conv2.temporal.interleave
    assert riffled.backbone.layer1[0].conv2.temporal.interleave
    whole = create_model("gsf_resnet18", 5, channel_ratio=1.0)
    assert whole.backbone.layer1[0].conv2.temporal.num_gated == 64
    assert create_model("gsm_bninception", 5).spec.interleave


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_classes": 0}, "num_classes=0"),
        ({"num_segments": 0}, "num_segments=0"),
        ({"dropout": 1.0}, "dropout=1.0"),
        ({"interleave": True}, "tsm_resnet18 has no interleave"),
        ({"channel_ratio": 0.5}, "tsm_resnet18 has no channel_ratio"),
        ({"name": "tsn_resnet18", "interleave": False}, "tsn_resnet18 has no interleave"),
        ({"gate": "sigmoid"}, "tsm_resnet18 has no gate"),
        ({"name": "tsm_bninception", "branch": "3x3"}, "tsm_bninception has no branch"),
        ({"name": "gsm_resnet18", "branch": "3x3"}, "no branch.*bninception and inceptionv3"),
        ({"name": "tsn_resnet18", "num_modules": 0}, "tsn_resnet18 has no temporal modules"),
        ({"name": "gsm_bninception", "num_modules": 11}, "has 10 places.*num_modules is 11.*0 to 10"),
        ({"name": "gsm_resnet18", "num_modules": -2}, "num_modules is -2"),
        ({"name": "gsf_resnet18", "channel_ratio": 1.5}, "channel_ratio=1.5 is no fraction"),
    ],
)
def test_options_out_of_range_are_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        create_model(**({"name": "tsm_resnet18", "num_classes": 5} | options))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"gate": "sigmiod"}, "gate function 'sigmiod'. Did you mean sigmoid"),
        ({"branch": "3x3_redcue"}, "branch '3x3_redcue'. Did you mean 3x3_reduce"),
    ],
)
def test_unknown_options_get_a_hint(options, message):
    with pytest.raises(UnknownName, match=message):
        create_model("gsm_bninception", 5, **options)


def variant(name: str, **options: object) -> list[str]:
    """Return the insertion points of a variant."""
    with torch.device("meta"):
        return [str(point["name"]) for point in create_model(name, 5, **options).insertion_points]


BLOCKS = ["3a", "3b", "3c", "4a", "4b", "4c", "4d", "4e", "5a", "5b"]
REDUCE = {"3c": "3x3_reduce", "4e": "3x3_reduce"}  # these blocks have neither 1x1 nor pool_proj


@pytest.mark.parametrize(
    ("branch", "instead"),
    [
        ("1x1", REDUCE),
        ("3x3_reduce", {}),
        ("3x3", {}),
        ("double_3x3_reduce", {}),
        ("double_3x3_1", {}),
        ("double_3x3_2", {}),
        ("pool_proj", REDUCE),
    ],
)
def test_branches_of_bninception(branch, instead):
    expected = [f"inception_{block}_{instead.get(block, branch)}" for block in BLOCKS]
    assert variant("gsm_bninception", branch=branch) == expected


def test_branches_of_inceptionv3():
    blocks = ["mixed", *(f"mixed_{index}" for index in (1, 2, 3, 4, 5, 7, 8, 9, 10))]  # none in mixed_6
    released = {"mixed_3": "tower", "mixed_8": "tower"}
    lacking = {"tower": {}, "tower_1": {"mixed_3": "tower"}, "tower_2": released}
    for branch, instead in lacking.items():
        expected = [f"{block}_{instead.get(block, branch)}_conv_Conv2D" for block in blocks]
        assert variant("gsm_inceptionv3", branch=branch) == expected
    assert variant("gsm_inceptionv3", branch="1x1") == variant("gsm_inceptionv3")
    assert variant("gsf_inceptionv3", branch="1x1") == variant("gsm_inceptionv3")  # of GSF's own, not


def test_all_branches_have_their_first_convolution():
    assert len(variant("gsm_bninception", branch="all")) == 8 * 4 + 2 * 2
    assert len(variant("gsm_inceptionv3", branch="all")) == 8 * 4 + 1 + 2
    for name in ("gsm_bninception", "gsm_inceptionv3"):
        branches = BACKBONES[MODELS[name].backbone].branches
        assert set(variant(name)) <= set(variant(name, branch="all"))
        assert len(branches) == len({tuple(variant(name, branch=branch)) for branch in branches})


def test_number_of_modules_counts_from_the_last():
    whole = variant("gsm_bninception")
    assert variant("gsm_bninception", num_modules=0) == []
    assert variant("gsm_bninception", num_modules=1) == ["inception_5b_1x1"]
    assert variant("gsm_bninception", num_modules=5) == whole[-5:]
    assert variant("gsm_bninception", num_modules=10) == variant("gsm_bninception", num_modules=-1) == whole
    assert variant("tsm_resnet18", num_modules=2) == ["layer4.0.conv1", "layer4.1.conv1"]


def test_without_modules_a_model_is_its_2d_network():
    plain = create_model("tsn_resnet18", 5, num_segments=2).eval()
    model = create_model("gsm_resnet18", 5, num_segments=2, num_modules=0).eval()
    model.load_state_dict(plain.state_dict())
    x = clips("gsm_resnet18")
    with torch.inference_mode():
        assert torch.equal(model(x), plain(x))


@pytest.mark.parametrize("name", ["gsm_resnet18", "gsf_resnet18"])
def test_gate_function_reaches_every_module(name):
    model = create_model(name, 5, gate="none")
    gates = [module.gate_function for module in model.modules() if hasattr(module, "gate_function")]
    assert gates == ["none"] * 8


def added_by_gsm(backbone: str, size: int | None, **options: object) -> tuple[float, float]:
    """Return the fraction that GSM adds to parameters and to multiply-accumulates."""
    with torch.device("meta"):
        plain = create_model(f"tsn_{backbone}", 174, size=size)
        gated = create_model(f"gsm_{backbone}", 174, size=size, **options)
    return (
        count_parameters(gated) / count_parameters(plain) - 1,
        count_macs(gated) / count_macs(plain) - 1,
    )


@pytest.mark.parametrize(
    ("backbone", "size"),
    [
        ("bninception", None),
        ("bninception", 48),
        ("inceptionv3", None),
        ("efficientnet_lite0", None),
        ("efficientnet_lite0", 112),
        ("efficientnet_lite0", 48),
    ],
)
def test_gsm_adds_under_one_percent(backbone, size):
    assert max(added_by_gsm(backbone, size)) < 0.01


def test_unknown_name_gets_a_hint():
    with pytest.raises(UnknownName, match="unknown model 'gsm_resent50'. Did you mean gsm_resnet50"):
        create_model("gsm_resent50", 5)


@pytest.mark.parametrize("shape", [(1, 2, 3, 32), (1, 3, 3, 32, 32), (2, 3, 2, 32, 32)])
def test_clips_of_another_shape_are_refused(shape):
    model = create_model("tsn_mobilenet_v2", 5, num_segments=2)
    with pytest.raises(ValueError, match=r"clips have the shape .* made for \(B, 2, 3, S, S\)"):
        model(torch.zeros(shape))


def test_weights_of_another_network_are_refused():
    state = BACKBONES["resnet18"].build().state_dict()
    with pytest.raises(WeightsError, match="the weights are not those of resnet34"):
        create_model("tsn_resnet34", 5, backbone_state=state)


def test_training_step_under_autocast():
    model = create_model("gsf_mobilenet_v2", 5, num_segments=2)
    with torch.autocast("cpu", torch.bfloat16):
        loss = nn.functional.cross_entropy(model(clips("gsf_mobilenet_v2", batch=2)), torch.tensor([0, 1]))
    loss.backward()
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters())


def test_export_of_a_whole_model():
    model = awake(create_model("gsm_mobilenet_v2", 5, num_segments=2)).eval()
    x = clips("gsm_mobilenet_v2", batch=2)
    batch = {"clips": {0: torch.export.Dim("batch", min=1)}}
    exported = torch.export.export(model, (x,), dynamic_shapes=batch).module()
    with torch.inference_mode():
        torch.testing.assert_close(exported(x[:1]), model(x[:1]), rtol=1e-4, atol=1e-4)


def test_same_padding_is_that_of_tensorflow():
    assert SamePad(3, 2)(torch.ones(1, 1, 8, 7)).shape[-2:] == (9, 9)
    row = SamePad(5, 2)(torch.ones(1, 1, 8, 8))[0, 0, 3].tolist()
    assert row == [0, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0]
