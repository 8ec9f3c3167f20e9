"""What figures of speed depend on: the processor and what it can do, the accelerator, the versions."""

import os
import platform
from typing import Any

import torch

from gateshift import __version__
from gateshift.engine.machine import instructions, processor
from gateshift.engine.waiting import available_cores

TELLING = ("avx2", "avx512f", "avx512_bf16", "avx512_fp16", "amx_bf16", "asimd", "bf16", "sve")  # for speed


def hardware(device: torch.device) -> dict[str, Any]:
    """Return the machine as plain values."""
    there = instructions()
    return {
        "cpu": processor().get("model name") or platform.processor() or platform.machine(),
        "cores": available_cores(),
        "threads": torch.get_num_threads(),
        "flags": [flag for flag in TELLING if flag in there],
        "load": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else str(device),
        "system": platform.platform(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "gateshift": __version__,
    }
