"""The Triton kernels answer as the kernels of torch calls do: on a GPU, or in Triton's interpreter."""

import os
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from torch import Tensor

from gateshift.nn import aten_maps, aten_shift

if find_spec("triton") is None:
    pytest.skip("triton is not installed", allow_module_level=True)

ON_GPU = torch.cuda.is_available()
with pytest.MonkeyPatch.context() as patch:
    if not ON_GPU:
        patch.setenv("TRITON_INTERPRET", "1")  # read as triton and its kernels are imported
    from gateshift.nn import triton_maps, triton_shift

DEVICE = "cuda" if ON_GPU else "cpu"
TOLERANCES = {torch.float32: 2e-6, torch.bfloat16: 2e-2, torch.float16: 2e-3}
LAYOUTS = {"nchw": torch.contiguous_format, "channels_last": torch.channels_last}
SHAPES = {  # B, T, C, H, W: ragged edges of every block, a single frame, more than one block of everything
    "ragged": (2, 2, 20, 5, 7),
    "one-frame": (3, 1, 68, 3, 2),
    "blocks": (1, 2, 72, 5, 7),
    "one-pixel": (2, 4, 4, 1, 1),
}


@pytest.fixture(autouse=True)
def interpreted(monkeypatch):
    """The interpreter imports more of triton as it runs."""
    if not ON_GPU:
        monkeypatch.setenv("TRITON_INTERPRET", "1")


every_case = pytest.mark.parametrize(
    ("shape", "layout", "dtype"),
    [
        pytest.param(shape, layout, dtype, id=f"{name}-{layout_name}-{str(dtype)[6:]}")
        for name, shape in SHAPES.items()
        for layout_name, layout in LAYOUTS.items()
        for dtype in (TOLERANCES if name == "ragged" else [torch.float32])
    ],
)


def numbers(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).to(DEVICE)


def assert_same(kernel: Callable, reference: Callable, x: Tensor, *others) -> None:
    """Compare with what ``reference`` answers to the same numbers in float64."""
    got = kernel(x, *others)
    wide = [value.double() if isinstance(value, Tensor) else value for value in (x, *others)]
    expected = reference(*wide)
    if isinstance(got, Tensor):
        got, expected = (got,), (expected,)
    for one, other in zip(got, expected, strict=True):
        assert one.dtype in (x.dtype, torch.float32)
        bound = TOLERANCES[x.dtype] * other.abs().max().item()
        torch.testing.assert_close(one.double(), other, rtol=0, atol=bound)


@every_case
def test_gate_maps(shape, layout, dtype):
    clips, num_segments, channels, height, width = shape
    x = (numbers(clips * num_segments, channels, height, width) + 0.3).to(dtype).to(memory_format=layout)
    mean, norm_weight, norm_bias = numbers(3, channels, seed=1)
    rstd = numbers(channels, seed=2).abs() + 0.5
    weight, bias = numbers(2, channels // 2, 3, 3, 3, seed=3), numbers(2, seed=4)
    values = (mean, rstd, norm_weight, norm_bias, weight)
    assert_same(triton_maps.gate_maps, aten_maps.gate_maps, x, *values, bias, num_segments, False)
    grad = numbers(clips, 2, num_segments, height, width, seed=5).to(dtype)
    assert_same(
        triton_maps.gate_maps_backward, aten_maps.gate_maps_backward, grad, x, *values, num_segments, False
    )


@pytest.mark.parametrize("layout", LAYOUTS)
def test_gradients_go_through_the_statistics_of_a_batch(layout):
    x = numbers(4, 20, 5, 7).to(memory_format=LAYOUTS[layout])
    mean, rstd = x.mean((0, 2, 3)), x.var((0, 2, 3), correction=0).rsqrt()
    values = (mean, rstd, numbers(20, seed=1), numbers(20, seed=2), numbers(2, 10, 3, 3, 3, seed=3))
    grad = numbers(2, 2, 2, 5, 7, seed=4)
    assert_same(triton_maps.gate_maps_backward, aten_maps.gate_maps_backward, grad, x, *values, 2, True)


def test_many_blocks_are_summed_up(monkeypatch):
    """A share of the rows is more than one block long."""
    monkeypatch.setattr(triton_maps, "SPLITS", 2)
    test_gate_maps(SHAPES["blocks"], torch.channels_last, torch.float32)


@pytest.mark.parametrize("interleave", [True, False], ids=["riffled", "straight"])
@every_case
def test_gated_shifts(shape, layout, dtype, interleave):
    clips, num_segments, channels, height, width = shape
    x = numbers(clips * num_segments, channels, height, width).to(dtype).to(memory_format=layout)
    grad = torch.empty_like(x).copy_(numbers(*x.shape, seed=1))
    gate = numbers(clips, 2, num_segments, height, width, seed=2).tanh().to(dtype)
    fuse = numbers(clips, num_segments, channels, seed=3).sigmoid().to(dtype)
    options = num_segments, interleave
    assert_same(triton_shift.gate_shift, aten_shift.gate_shift, x, gate, *options)
    assert_same(triton_shift.gate_shift_backward, aten_shift.gate_shift_backward, grad, x, gate, *options)
    assert_same(triton_shift.gate_shift_fuse, aten_shift.gate_shift_fuse, x, gate, fuse, *options)
    gradients = triton_shift.gate_shift_fuse_backward, aten_shift.gate_shift_fuse_backward
    assert_same(*gradients, grad, x, gate, fuse, *options)
    assert triton_shift.gate_shift(x, gate, *options).stride() == x.stride()


@pytest.mark.parametrize("back", [False, True])
@every_case
def test_temporal_shift(shape, layout, dtype, back):
    clips, num_segments, channels, height, width = shape
    x = numbers(clips * num_segments, channels, height, width).to(dtype).to(memory_format=layout)
    fold = channels // 8
    assert torch.equal(
        triton_shift.shift(x, fold, num_segments, back), aten_shift.shift(x, fold, num_segments, back)
    )


def test_a_gradient_may_be_laid_out_otherwise():
    x, gate = numbers(4, 8, 3, 5).to(memory_format=torch.channels_last), numbers(2, 2, 2, 3, 5, seed=1)
    grad = numbers(4, 8, 5, 3, seed=2).transpose(2, 3)
    assert_same(triton_shift.gate_shift_backward, aten_shift.gate_shift_backward, grad, x, gate, 2, True)


@pytest.mark.slow
def test_kernels_compile_for_gpus_that_are_not_here(tmp_path):
    script = Path(__file__).with_name("triton_compiles.py")
    env = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    subprocess.run([sys.executable, script], env=env | {"TRITON_CACHE_DIR": str(tmp_path)}, check=True)
