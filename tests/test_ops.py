"""The operators equal the plain modules: answers, gradients, statistics; torch's tools see through them."""

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from gateshift.nn import GATES, GateShift, GateShiftFuse, TemporalShift, ops, use_fast_gates

LAYOUTS = {"nchw": torch.contiguous_format, "channels_last": torch.channels_last}
MODULES: dict[str, Callable[[int], nn.Module]] = {
    **{f"gsm-{gate}": lambda t, gate=gate: GateShift(16, t, gate=gate) for gate in GATES},
    "gsm-straight": lambda t: GateShift(16, t, interleave=False),
    "gsf": lambda t: GateShiftFuse(16, t),
    "gsf-straight": lambda t: GateShiftFuse(16, t, interleave=False, gate="sigmoid"),
    "gsf-quarter": lambda t: GateShiftFuse(16, t, channel_ratio=0.25),
    "tsm": lambda t: TemporalShift(16, t),
}


def awake(module: nn.Module) -> nn.Module:
    """Give every parameter and statistic a random value, of the size that training gives them."""
    generator = torch.Generator().manual_seed(0)
    for parameter in module.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator) * 0.3
    for name, buffer in module.named_buffers():
        if name.endswith("running_var"):
            buffer.data = torch.rand(buffer.shape, generator=generator) + 0.5
    return module


def frames(num_frames: int, channels: int = 16, height: int = 5, width: int = 7, seed: int = 1) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(num_frames, channels, height, width, generator=generator) * 2 + 0.5


def twins(name: str, num_segments: int = 4) -> tuple[nn.Module, nn.Module]:
    """Return a plain module, and the same by operators."""
    plain = awake(MODULES[name](num_segments))
    fast = copy.deepcopy(plain)
    use_fast_gates(fast)
    return plain, fast


def answers(module: nn.Module, x: Tensor) -> dict[str, Tensor]:
    """Return the result for ``x``, the gradients of a sum of it, and the statistics afterwards."""
    x = x.clone().requires_grad_()
    y = module(x)
    weights = torch.randn(y.shape, generator=torch.Generator().manual_seed(2)).to(y)
    names, parameters = zip(*[("x", x), *module.named_parameters()], strict=True)
    gradients = torch.autograd.grad((y * weights).sum(), parameters)
    return {"y": y.detach(), **dict(zip(names, gradients, strict=True)), **dict(module.named_buffers())}


def assert_near(fast: dict[str, Tensor], plain: dict[str, Tensor], tolerance: float) -> None:
    """Compare by the largest value of each tensor: rounding does not shrink with what cancels."""
    assert fast.keys() == plain.keys()
    for name, expected in plain.items():
        scale = expected.abs().max().item()
        torch.testing.assert_close(
            fast[name].to(expected),
            expected,
            rtol=0,
            atol=tolerance * scale,
            msg=lambda text, name=name: name + text,
        )


@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", MODULES)
def test_operators_equal_plain_modules(name, layout, training):
    plain, fast = twins(name)
    x = frames(8).to(memory_format=LAYOUTS[layout])
    expected, got = answers(plain.train(training), x), answers(fast.train(training), x)
    assert_near(got, expected, 1e-5)
    assert got["y"].is_contiguous(memory_format=LAYOUTS[layout])


@pytest.mark.parametrize("shape", [(3, 1, 16, 4, 6), (1, 3, 16, 1, 1), (2, 2, 16, 1, 3), (1, 8, 32, 9, 2)])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("kind", [GateShift, GateShiftFuse, TemporalShift])
def test_any_size_of_clip_will_do(kind, layout, shape):
    clips, num_segments, channels, height, width = shape
    plain = awake(kind(channels, num_segments)).double()
    fast = copy.deepcopy(plain)
    use_fast_gates(fast)
    x = frames(clips * num_segments, channels, height, width).double().to(memory_format=LAYOUTS[layout])
    assert_near(answers(fast, x), answers(plain, x), 1e-12)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", MODULES)
def test_gradients_are_right_to_the_last_digits(name, layout):
    _, module = twins(name, num_segments=2)
    module = module.double()
    x = frames(4, height=2, width=3).double().to(memory_format=LAYOUTS[layout]).requires_grad_()
    assert torch.autograd.gradcheck(lambda x, *_: module(x), (x, *module.parameters()), fast_mode=True)


@pytest.mark.parametrize("name", MODULES)
def test_clips_do_not_meet(name):
    _, module = twins(name)
    module = module.eval()
    x = frames(12).to(memory_format=torch.channels_last)
    torch.testing.assert_close(module(x), torch.cat([module(clip) for clip in x.split(4)]), rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", MODULES)
def test_bfloat16_stays_bfloat16_under_autocast(name):
    plain, fast = twins(name)
    x = frames(8).to(memory_format=torch.channels_last)
    expected = answers(plain, x.bfloat16().float())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        got = answers(fast, x.bfloat16())
        assert copy.deepcopy(fast)(x.float()).dtype == torch.float32
    assert got["y"].dtype == torch.bfloat16
    assert_near(got, expected, 0.05)


@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
@pytest.mark.parametrize("name", MODULES)
def test_a_whole_module_may_be_bfloat16(name, training):
    plain, fast = (module.bfloat16().train(training) for module in twins(name))
    x = frames(8).bfloat16()
    got, expected = answers(fast, x), answers(plain, x)
    assert_near({"y": got["y"]}, {"y": expected["y"]}, 0.05)  # near 0, relu may let a gradient through or not
    assert {name: value.dtype for name, value in got.items()} == {n: v.dtype for n, v in expected.items()}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16], ids=str)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_torch_accepts_every_operator(layout, dtype):
    x = frames(4, 8, 3, 4).to(dtype).to(memory_format=LAYOUTS[layout]).requires_grad_()
    gate = torch.rand(2, 2, 2, 3, 4).to(dtype).requires_grad_()
    fuse = torch.rand(2, 2, 8).to(dtype).requires_grad_()
    wide = torch.promote_types(dtype, torch.float32)  # of parameters and statistics
    values = [torch.rand(8, dtype=wide).requires_grad_() for _ in range(4)]
    weight = torch.randn(2, 4, 3, 3, 3, dtype=wide).requires_grad_()
    bias = torch.randn(2, dtype=wide).requires_grad_()
    samples = [
        (ops.batch_moments, (x.detach(),)),
        (ops.gate_shift, (x, gate, 2, True)),
        (ops.gate_shift_fuse, (x, gate, fuse, 2, True)),
        (ops.gate_means, (x, gate, 2)),
        (ops.gate_maps, (x, values[0].detach(), values[1].detach(), *values[2:], weight, bias, 2, False)),
        (ops.shift, (x, 1, 2, False)),
        (ops.shift_, (x.detach().clone(), 1, 2, False)),
    ]
    for operator, arguments in samples:
        torch.library.opcheck(operator, arguments, rtol=1e-2 if dtype == torch.bfloat16 else 1e-5, atol=1e-2)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", MODULES)
def test_a_gpu_answers_as_the_plain_module_does(name, layout):
    """Through the Triton kernels; the plain module answers in float64, which knows no TF32."""
    plain, fast = twins(name)
    x = frames(8).to(memory_format=LAYOUTS[layout])
    assert_near(answers(fast.cuda(), x.cuda()), answers(plain.cuda().double(), x.cuda().double()), 1e-5)
    _, fast = twins(name)
    with torch.autocast("cuda", dtype=torch.bfloat16):
        got = answers(fast.cuda(), x.cuda().bfloat16())
    assert got["y"].dtype == torch.bfloat16
    assert_near({"y": got["y"]}, {"y": plain(x.cuda().double())}, 0.05)


class SmallNetwork(nn.Module):
    """A convolution, all kinds of temporal modules, and a mean."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 16, 3)
        self.temporal = nn.Sequential(GateShift(16, 2), GateShiftFuse(16, 2), TemporalShift(16, 2))

    def forward(self, x: Tensor) -> Tensor:
        return self.temporal(self.conv(x)).mean((2, 3))


def small_network() -> SmallNetwork:
    network = awake(SmallNetwork())
    assert isinstance(network, SmallNetwork)
    use_fast_gates(network)
    return network


def test_compile_sees_one_graph():
    network = small_network()
    twin = copy.deepcopy(network)
    x = frames(4, 3, 6, 6)
    compiled = torch.compile(twin, backend="aot_eager", fullgraph=True)
    network(x).square().sum().backward()
    compiled(x).square().sum().backward()
    for (name, value), other in zip(network.named_parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(other.grad, value.grad, msg=name)
    torch.testing.assert_close(dict(twin.named_buffers()), dict(network.named_buffers()))


def test_export_keeps_the_operators():
    network = small_network().eval()
    x = frames(4, 3, 6, 6)
    program = torch.export.export(network, (x,))
    torch.testing.assert_close(program.module()(x), network(x))
    called = {str(node.target) for node in program.graph.nodes}
    assert {
        "gateshift.gate_maps.default",
        "gateshift.gate_shift.default",
        "gateshift.shift.default",
    } <= called


def test_moving_in_place_needs_no_second_copy():
    module = TemporalShift(16, 4, in_place=True)
    expected = module(frames(8))
    use_fast_gates(module)
    x = frames(8)
    with torch.inference_mode():
        y = module(x)
    assert y.data_ptr() == x.data_ptr()
    assert torch.equal(y, expected)
    x = frames(8).requires_grad_()
    assert module(x).data_ptr() != x.data_ptr()


@pytest.mark.parametrize("kind", [GateShift, GateShiftFuse])
def test_backward_keeps_little(kind):
    module = awake(kind(16, 4))
    use_fast_gates(module)
    x = frames(8).requires_grad_()
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor.numel()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        module(x)
    kept.pop(x.untyped_storage().data_ptr())
    assert sum(kept.values()) < x.numel()
