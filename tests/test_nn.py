"""The temporal modules: what moves where, at the ends of clips, in every precision."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gateshift.nn import (
    GATES,
    GateShift,
    GateShiftFuse,
    InflatedConv,
    TemporalConv,
    TemporalShift,
    use_fast_gates,
)
from gateshift.nn.aten_maps import convolve
from gateshift.nn.functional import interleave, shift_time, to_clips, to_frames
from gateshift.nn.gate_shift import count_gated

T = 4

MODULES = {
    "gate_shift": lambda channels: GateShift(channels, T),
    "gate_shift_plain": lambda channels: GateShift(channels, T, interleave=False),
    "gate_shift_sigmoid": lambda channels: GateShift(channels, T, gate="sigmoid"),
    "gate_shift_none": lambda channels: GateShift(channels, T, gate="none"),
    "gate_shift_fuse": lambda channels: GateShiftFuse(channels, T, channel_ratio=0.5),
    "temporal_shift": lambda channels: TemporalShift(channels, T),
    "temporal_conv": lambda channels: TemporalConv(channels, T),
    "inflated_conv": lambda channels: InflatedConv(nn.Conv2d(channels, channels, 3, padding=1), T),
}


def awake(module: nn.Module) -> nn.Module:
    """Give every parameter a random value: fresh gates are shut and hide mistakes."""
    generator = torch.Generator().manual_seed(0)
    for parameter in module.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator) * 0.5
    return module


def frames(batch: int = 2, channels: int = 16, size: int = 5, seed: int = 1) -> Tensor:
    return torch.randn(batch * T, channels, size, size, generator=torch.Generator().manual_seed(seed))


def with_open_gates(module: GateShift, value: float) -> GateShift:
    """Make all gates tanh(value), whatever the input."""
    nn.init.constant_(module.gate.bias, value)
    return module


def test_clips_and_frames_undo_each_other():
    x = frames()
    clips = to_clips(x, T)
    assert clips.shape == (2, 16, T, 5, 5)
    assert torch.equal(clips[1, :, 2], x[T + 2])
    assert torch.equal(to_frames(clips), x)


@pytest.mark.parametrize("name", MODULES)
def test_frames_that_are_no_whole_clips_are_refused(name):
    with pytest.raises(ValueError, match="6 frames are no whole number of clips.*num_segments=4"):
        MODULES[name](16)(torch.zeros(6, 16, 5, 5))


@pytest.mark.parametrize("step", [-2, -1, 1, 2])
def test_shift_time_fills_with_zeros(step):
    x = torch.arange(1.0, 6.0).view(1, 1, 5, 1, 1)
    expected = [t - step + 1.0 if 0 <= t - step < 5 else 0.0 for t in range(5)]
    assert shift_time(x, step).flatten().tolist() == expected


def test_shut_gates_permute_channels_as_published():
    module = GateShift(16, T)
    order = [0, 4, 1, 5, 2, 6, 3, 7, 8, 12, 9, 13, 10, 14, 11, 15]
    x = frames()
    assert torch.equal(module(x), x[:, order])
    assert torch.equal(interleave(torch.arange(8)[None])[0], torch.tensor(order[:8]))


def test_shut_gates_without_interleave_are_the_identity():
    x = frames()
    assert torch.equal(GateShift(16, T, interleave=False)(x), x)


def test_open_gates_move_the_first_half_earlier_and_the_second_later():
    module = with_open_gates(GateShift(16, T, interleave=False), 20.0)  # tanh(20) is 1 in float32
    x = frames(batch=1)
    y = module(x)
    assert torch.equal(y[:-1, :8], x[1:, :8])
    assert torch.equal(y[1:, 8:], x[:-1, 8:])


@pytest.mark.parametrize("make", [GateShift, GateShiftFuse, TemporalShift])
def test_ends_of_a_clip_receive_nothing_from_outside(make):
    module = awake(make(16, T)).eval()
    x = frames(batch=3)
    others = x.clone()
    others[:T] = others[2 * T :] = 7.0
    assert torch.equal(module(x)[T : 2 * T], module(others)[T : 2 * T])


def test_last_frame_of_open_gates_is_zero_where_it_would_read_the_future():
    y = with_open_gates(GateShift(16, T, interleave=False), 20.0)(frames())
    assert not y[T - 1 :: T, :8].any()
    assert not y[::T, 8:].any()


def test_temporal_shift_moves_an_eighth_each_way():
    x = frames(batch=1)
    y = TemporalShift(16, T)(x)
    assert torch.equal(y[:-1, :2], x[1:, :2])
    assert torch.equal(y[1:, 2:4], x[:-1, 2:4])
    assert torch.equal(y[:, 4:], x[:, 4:])
    assert not y[-1, :2].any()
    assert not y[0, 2:4].any()


@pytest.mark.parametrize("name", MODULES)
def test_batch_of_clips_equals_clips_alone(name):
    module = awake(MODULES[name](16)).double().eval()
    x = frames(batch=3).double()
    alone = torch.cat([module(clip) for clip in x.split(T)])
    torch.testing.assert_close(module(x), alone, rtol=0, atol=1e-12)


@pytest.mark.parametrize("make", [GateShift, GateShiftFuse])
def test_fast_gates_equal_plain_ones(make):
    torch.manual_seed(0)
    module = make(16, T).double()
    nn.init.normal_(module.gate.weight)
    x = torch.randn(2 * T, 16, 5, 7, dtype=torch.float64, requires_grad=True)
    seen = []
    for fast in (False, True):
        use_fast_gates(module, fast)
        y = module(x)
        gradients = torch.autograd.grad(y.square().sum(), [x, *module.parameters()])
        seen.append((y, *gradients))
    for plain, fast in zip(*seen, strict=True):
        torch.testing.assert_close(fast, plain, rtol=1e-10, atol=1e-11)


def test_convolving_equals_conv3d():
    conv = nn.Conv3d(16, 2, 3, padding=1, groups=2).double()
    x = frames(size=6).double().to(memory_format=torch.channels_last)
    slow = F.conv3d(to_clips(x, T), conv.weight, conv.bias, padding=1, groups=2)
    with torch.no_grad():
        torch.testing.assert_close(convolve(x, conv.weight, conv.bias, T), slow, rtol=0, atol=1e-12)


def test_gates_follow_the_definition():
    module = awake(GateShift(16, T)).double()
    x = frames().double()
    twin = copy.deepcopy(module)
    expected = twin.gate(twin.norm(to_clips(x, T)).relu()).tanh()
    torch.testing.assert_close(module.gates(x), expected, rtol=0, atol=1e-12)
    torch.testing.assert_close(module.norm.running_var, twin.norm.running_var, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("gate", "formula"),
    [
        ("tanh", lambda z: (z.exp() - (-z).exp()) / (z.exp() + (-z).exp())),
        ("sigmoid", lambda z: 1 / (1 + (-z).exp())),
        ("none", lambda z: z),
    ],
)
@pytest.mark.parametrize("make", [GateShift, GateShiftFuse])
def test_every_gate_function_is_its_formula(make, gate, formula):
    module = awake(make(16, T, interleave=False, gate=gate)).double().eval()
    x = frames().double()
    clips = to_clips(x, T)
    normed = (clips - module.norm.running_mean.view(1, -1, 1, 1, 1)) / (
        module.norm.running_var.view(1, -1, 1, 1, 1) + module.norm.eps
    ).sqrt()
    normed = normed * module.norm.weight.view(1, -1, 1, 1, 1) + module.norm.bias.view(1, -1, 1, 1, 1)
    z = F.conv3d(normed.clamp(min=0), module.gate.weight, module.gate.bias, padding=1, groups=2)
    for fast in (False, True):
        use_fast_gates(module, fast)
        torch.testing.assert_close(module.gates(x), formula(z), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("gate", GATES)
def test_gates_move_what_they_say(gate):
    """Channel for channel: out = kept + moved, where what moves is gate times the raw features."""
    module = awake(GateShift(16, T, interleave=False, gate=gate)).double().eval()
    x = frames(batch=1).double()
    open_, y = module.gates(x)[0], module(x)  # (2, T, H, W), (T, 16, H, W)
    for t in range(T):
        kept = x[t, :8] * (1 - open_[0, t])
        come = x[t + 1, :8] * open_[0, t + 1] if t + 1 < T else 0
        torch.testing.assert_close(y[t, :8], kept + come, rtol=0, atol=1e-12)
        kept = x[t, 8:] * (1 - open_[1, t])
        come = x[t - 1, 8:] * open_[1, t - 1] if t else 0
        torch.testing.assert_close(y[t, 8:], kept + come, rtol=0, atol=1e-12)


def test_fresh_gates_are_shut_but_sigmoid_ones_half_open():
    x = frames()
    for gate, start in (("tanh", 0.0), ("none", 0.0), ("sigmoid", 0.5)):
        assert torch.equal(GateShift(16, T, gate=gate).gates(x), torch.full((2, 2, T, 5, 5), start))


def test_fuse_mixes_moved_and_kept():
    module = awake(GateShiftFuse(16, T, interleave=False)).double().eval()
    nn.init.zeros_(module.fuse_earlier.weight)
    nn.init.constant_(module.fuse_earlier.bias, 50.0)  # weight 1: moved only
    x = frames().double()
    moved = shift_time(module.gates(x)[:, :1] * to_clips(x, T)[:, :8], -1)
    torch.testing.assert_close(to_clips(module(x), T)[:, :8], moved, rtol=0, atol=1e-12)


def test_fuse_leaves_the_other_channels_alone():
    module = awake(GateShiftFuse(16, T, channel_ratio=0.5))
    x = frames()
    y = module(x)
    assert torch.equal(y[:, 8:], x[:, 8:])
    assert not torch.allclose(y[:, :8], x[:, :8])


@pytest.mark.parametrize(
    ("channels", "ratio", "gated"), [(256, 0.25, 64), (24, 0.25, 8), (352, 1.0, 352), (16, 0.01, 4)]
)
def test_gated_channels_are_a_multiple_of_four(channels, ratio, gated):
    assert count_gated(channels, ratio) == gated
    x = torch.randn(T, channels, 3, 3)
    assert GateShiftFuse(channels, T, channel_ratio=ratio)(x).shape == x.shape


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: GateShift(18, T), "cannot split 18 channels"),
        (lambda: GateShiftFuse(16, T, channel_ratio=0.0), r"channel_ratio=0.0 is no fraction"),
        (lambda: GateShiftFuse(18, T), "cannot gate 20 of 18 channels"),
        (lambda: GateShift(16, T, gate="relu"), "no gate function 'relu'. Choose from: tanh, sigmoid, none"),
        (lambda: GateShiftFuse(16, T, gate=""), "no gate function ''"),
        (lambda: TemporalShift(4, T), "cannot move 1/8 of 4 channels"),
    ],
)
def test_channels_that_do_not_divide_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("groups", [1, 16])
def test_temporal_filters_start_as_the_2d_convolution(groups):
    conv = nn.Conv2d(16, 32, 3, stride=2, padding=1, groups=groups, bias=False)
    x = frames()
    inflated = InflatedConv(conv, T)
    torch.testing.assert_close(inflated(x), conv(x))
    assert inflated.conv.kernel_size == (3, 3, 3)
    y = conv(x)
    torch.testing.assert_close(TemporalConv(32, T, groups=groups)(y), y)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16, torch.float64], ids=str)
@pytest.mark.parametrize("name", MODULES)
def test_every_precision(name, dtype):
    module = awake(MODULES[name](16)).to(dtype)
    x = frames().to(dtype).requires_grad_()
    y = module(x)
    assert y.dtype == dtype
    y.float().square().mean().backward()
    grads = [x.grad, *(parameter.grad for parameter in module.parameters())]
    assert all(grad is not None and grad.isfinite().all() for grad in grads)


@pytest.mark.parametrize("name", MODULES)
def test_autocast_keeps_the_precision_of_the_features(name):
    module = awake(MODULES[name](16)).eval()
    x = frames().bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        y = module(x)
    assert y.dtype == torch.bfloat16
    torch.testing.assert_close(y.float(), module(x.float()), rtol=0.1, atol=0.1)


@pytest.mark.parametrize("name", MODULES)
def test_channels_last_stays_and_gives_the_same(name):
    module = awake(MODULES[name](16)).eval()
    x = frames()
    y = module(x.to(memory_format=torch.channels_last))
    assert y.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(y, module(x))


@pytest.mark.parametrize("name", MODULES)
def test_export(name):
    module = awake(MODULES[name](16)).eval()
    x = frames()
    exported = torch.export.export(module, (x,)).module()
    torch.testing.assert_close(exported(x), module(x))


@pytest.mark.parametrize("name", MODULES)
def test_compile(name):
    module = awake(MODULES[name](16))
    x = frames().requires_grad_()
    torch.testing.assert_close(torch.compile(module, backend="aot_eager", fullgraph=True)(x), module(x))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("name", ["gate_shift", "gate_shift_fuse"])
def test_compile_with_inductor(name):
    module = awake(MODULES[name](16))
    x = frames().requires_grad_()
    torch.testing.assert_close(torch.compile(module, fullgraph=True)(x), module(x), rtol=1e-4, atol=1e-4)


@pytest.mark.gpu
@pytest.mark.parametrize("name", MODULES)
def test_gpu_gives_the_same(name):
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    module = awake(MODULES[name](16)).double()
    x = frames().double()
    expected = module(x)
    torch.testing.assert_close(module.cuda()(x.cuda()).cpu(), expected, rtol=0, atol=1e-10)
