"""Compile all Triton kernels for GPUs that need not be here; test_triton.py runs it in its own process."""

from triton import JITFunction
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource, compile

from gateshift.nn import triton_maps, triton_shift

FRAMES = {"x", "y", "grad", "grad_x", "gate", "grad_gate", "fuse", "taps", "maps"}  # in the network's type
VALUES = {"mean", "scale", "shift", "rstd", "norm_weight", "norm_bias", "weight", "bias", "means"}
SUMS = {"sums", "weights", "grad_fuse"}
MAPS = {"ROWS": 32, "CHANNELS": 32}
SHIFTS = {"PIXELS": 32, "FEATURES": 32, "RIFFLED": True}
KERNELS: list[tuple[JITFunction, dict[str, object]]] = [
    (triton_maps._taps, MAPS),
    (triton_maps._add_taps, {"ROWS": 256}),
    (triton_maps._reduce, MAPS),
    (triton_maps._back_to_x, MAPS),
    *((triton_shift._forward, SHIFTS | {"FUSED": fused}) for fused in (False, True)),
    *((triton_shift._backward, SHIFTS | {"FUSED": fused}) for fused in (False, True)),
    (triton_shift._move, {"BLOCK": 1024}),
]
LAYOUTS = {  # arguments that are 1 become constants
    "channels_last": {"channel_step": 1},
    "nchw": {"pixel_step": 1},
    "one pixel": {"channel_step": 1, "height": 1, "width": 1, "frame": 1, "pixels": 1, "num_segments": 1},
}


def compile_kernel(kernel: JITFunction, constants: dict[str, object], dtype: str, target: GPUTarget) -> None:
    """Compile a kernel down to the GPU's own instructions."""
    constants = {name: value for name, value in constants.items() if name in kernel.arg_names}
    if "WIDE" in kernel.arg_names:
        constants["WIDE"] = dtype == "fp32"
    types = dict.fromkeys(FRAMES, f"*{dtype}") | dict.fromkeys(VALUES | SUMS, "*fp32")
    signature = {
        name: "constexpr" if name in constants else types.get(name, "i32") for name in kernel.arg_names
    }
    compiled = compile(ASTSource(kernel, signature, constants), target=target)
    assert compiled.asm["cubin"]
    print(kernel.__name__, dtype, target.arch, constants)


for capability in (80, 90):
    for element in ("bf16", "fp16", "fp32"):
        for layout in LAYOUTS.values():
            for kernel, constants in KERNELS:
                compile_kernel(kernel, constants | layout, element, GPUTarget("cuda", capability, 32))
