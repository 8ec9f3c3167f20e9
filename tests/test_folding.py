"""The network that inference runs says what the plain one says."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from gateshift import create_model, list_models
from gateshift.engine.device import prepare_for_speed
from gateshift.models.folding import fold_backbone
from gateshift.nn import GateShift, GateShiftFuse
from gateshift.nn.folded import FoldedConv, FoldedGateShift
from gateshift.nn.recompute import norm_relu

SEGMENTS = 3


def randomised(model: nn.Module) -> nn.Module:
    """Give norms statistics, some of their scales a minus sign, and gates something to say."""
    generator = torch.Generator().manual_seed(0)
    for module in model.modules():
        if isinstance(module, (nn.BatchNorm2d, nn.BatchNorm3d)):
            module.running_mean.normal_(0, 0.1, generator=generator)
            module.running_var.uniform_(0.5, 2, generator=generator)
            module.weight.data.uniform_(-0.5, 1.5, generator=generator)
            module.bias.data.normal_(0, 0.1, generator=generator)
        if isinstance(module, (GateShift, GateShiftFuse)):
            module.gate.weight.data.normal_(0, 0.1, generator=generator)
            module.gate.bias.data.normal_(0, 0.1, generator=generator)
    return model.eval()


def clips_for(model, clips=1):
    size = 107 if "inceptionv3" in model.spec.name else 64
    generator = torch.Generator().manual_seed(1)
    return torch.randn(
        clips, model.num_segments, model.input_spec.in_channels, size, size, generator=generator
    )


def distance(one, other):
    return float((one.double() - other.double()).abs().max() / other.double().abs().max())


@pytest.mark.parametrize("name", [name for name in list_models() if not name.endswith("resnet101")])
@torch.no_grad()
def test_optimised_models_say_the_same(name):
    torch.manual_seed(0)
    model = randomised(create_model(name, 7, SEGMENTS))
    nn.init.normal_(model.head.weight)
    clips = clips_for(model)
    plain, fast = model(clips), model.optimize_for_inference()
    exact = copy.deepcopy(model).double()(clips.double())
    assert distance(fast(clips), plain) < 1e-5
    assert distance(fast(clips), exact) < 1e-5
    assert not [
        part for part in fast.modules() if isinstance(part, (nn.BatchNorm2d, GateShift, GateShiftFuse))
    ]


@pytest.mark.parametrize("temporal", ["gsm", "gsf"])
@pytest.mark.parametrize(
    "options",
    [
        {"interleave": False},
        {"gate": "sigmoid"},
        {"gate": "none"},
        {"branch": "pool_proj"},
        {"branch": "all"},
        {"num_modules": 3},
        {"modality": "flow"},
    ],
    ids=str,
)
@torch.no_grad()
def test_variants_say_the_same(temporal, options):
    torch.manual_seed(0)
    model = randomised(create_model(f"{temporal}_bninception", 7, SEGMENTS, **options))
    nn.init.normal_(model.head.weight)
    clips = clips_for(model)
    assert distance(model.optimize_for_inference()(clips), model(clips)) < 1e-5


@pytest.mark.parametrize("ratio", [0.25, 0.5])
@torch.no_grad()
def test_gsf_of_some_channels_says_the_same(ratio):
    torch.manual_seed(0)
    model = randomised(create_model("gsf_bninception", 7, SEGMENTS, channel_ratio=ratio))
    clips = clips_for(model)
    features = model.forward_features(clips)
    assert distance(model.optimize_for_inference().forward_features(clips), features) < 1e-5


@torch.no_grad()
def test_a_batch_says_what_its_clips_say_alone():
    model = randomised(create_model("gsm_bninception", 7, SEGMENTS)).optimize_for_inference()
    clips = clips_for(model, clips=3)
    alone = torch.cat([model(clip[None]) for clip in clips])
    assert distance(model(clips), alone) < 1e-5


@pytest.mark.parametrize("name", ["gsm_bninception", "gsf_resnet18", "tsm_mobilenet_v2"])
@torch.no_grad()
def test_bfloat16_rounds_and_no_more(name):
    torch.manual_seed(0)
    model = randomised(create_model(name, 7, SEGMENTS))
    nn.init.normal_(model.head.weight)
    clips = clips_for(model)
    said = model.optimize_for_inference(torch.bfloat16)(clips)
    assert said.dtype == torch.float32
    assert distance(said, model(clips)) < 0.05


@torch.no_grad()
def test_the_model_stays_as_it_is():
    torch.manual_seed(0)
    model = create_model("gsm_bninception", 7, SEGMENTS).train()
    before = copy.deepcopy(model.state_dict())
    state = torch.get_rng_state()
    fast = model.optimize_for_inference()
    assert torch.equal(torch.get_rng_state(), state)
    assert model.training and not fast.training
    assert all(parameter.requires_grad for parameter in model.parameters())
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert fast.spec == model.spec and fast.num_segments == SEGMENTS


@torch.no_grad()
def test_a_network_prepared_for_training_is_folded_as_well():
    torch.manual_seed(0)
    model = randomised(create_model("gsm_bninception", 7, SEGMENTS))
    clips = clips_for(model)
    features = model.forward_features(clips)
    prepare_for_speed(model)
    fast = model.optimize_for_inference()
    assert distance(fast.forward_features(clips), features) < 1e-5
    assert not [part for part in fast.modules() if isinstance(part, nn.BatchNorm2d)]


class Own(nn.Module):
    """A network with what the backbones of this project do not have."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.norm = nn.BatchNorm2d(8)
        self.again = nn.Conv2d(8, 8, 3, padding=1, bias=False)
        self.again_norm = nn.BatchNorm2d(8)
        self.alone = nn.BatchNorm2d(8)

    def forward_features(self, frames):
        x = self.stem(frames)
        y = norm_relu(self.norm, x) + x  # what the norm reads is read again
        for _ in range(2):
            y = F.relu6(self.again_norm(self.again(y)))  # one layer called twice
        return self.alone(y + 1)


@torch.no_grad()
def test_what_cannot_be_folded_stays():
    torch.manual_seed(0)
    net = randomised(Own())
    frames = torch.randn(2, 3, 8, 8)
    folded = fold_backbone(net)
    assert distance(folded.forward_features(frames), net.forward_features(frames)) < 1e-6
    assert len([part for part in folded.modules() if isinstance(part, nn.BatchNorm2d)]) == 3


class Unit(nn.Module):
    """A convolution, gate-shift and a norm."""

    def __init__(self, channels: int, segments: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, channels, 1)
        self.temporal = GateShift(channels, segments)
        self.norm = nn.BatchNorm2d(channels)

    def forward_features(self, frames):
        return norm_relu(self.norm, self.temporal(self.conv(frames)))


@torch.no_grad()
def test_a_norm_that_leaves_nothing_of_a_channel_stays():
    net = randomised(Unit(8, SEGMENTS))
    net.norm.weight[2] = 0
    frames = torch.randn(2 * SEGMENTS, 3, 5, 5)
    folded = fold_backbone(net)
    assert distance(folded.forward_features(frames), net.forward_features(frames)) < 1e-6
    assert not [part for part in folded.modules() if isinstance(part, FoldedGateShift)]


@pytest.mark.parametrize(
    ("channels", "segments", "height", "width"), [(8, 1, 5, 3), (16, 4, 1, 1), (4, 2, 1, 7)]
)
@torch.no_grad()
def test_one_pixel_and_one_frame(channels, segments, height, width):
    net = randomised(Unit(channels, segments))
    frames = torch.randn(2 * segments, 3, height, width)
    assert distance(fold_backbone(net).forward_features(frames), net.forward_features(frames)) < 1e-5


@torch.no_grad()
def test_without_onednn(monkeypatch):
    torch.manual_seed(0)
    model = randomised(create_model("gsm_mobilenet_v2", 7, SEGMENTS))
    clips = clips_for(model)
    features = model.optimize_for_inference().forward_features(clips)
    monkeypatch.setattr("gateshift.nn.folded._has_onednn", lambda x: False)
    assert distance(model.optimize_for_inference().forward_features(clips), features) < 1e-5


@torch.no_grad()
def test_exports_as_a_graph():
    torch.manual_seed(0)
    model = randomised(create_model("gsm_mobilenet_v2", 7, 2)).optimize_for_inference()
    clips = torch.randn(1, 2, 3, 32, 32)
    exported = torch.export.export(model, (clips,)).module()
    assert distance(exported(clips), model(clips)) < 1e-5


@torch.no_grad()
def test_moving_packs_anew():
    conv = nn.Conv2d(4, 4, 1)
    folded = FoldedConv(conv, conv.weight.detach(), conv.bias.detach(), "relu")
    x = torch.randn(1, 4, 2, 2)
    first = folded(x)
    assert distance(folded.to(torch.bfloat16)(x.bfloat16()), first) < 0.02
    assert distance(copy.deepcopy(folded).float()(x), first) < 0.02
