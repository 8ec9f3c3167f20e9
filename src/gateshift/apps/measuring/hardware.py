"""What figures of speed depend on: the processor and what it can do, the accelerator, the versions."""

import os
import platform
from pathlib import Path
from typing import Any

import torch

from gateshift import __version__
from gateshift.engine.waiting import available_cores

CPUINFO = Path("/proc/cpuinfo")
TELLING = ("avx2", "avx512f", "avx512_bf16", "avx512_fp16", "amx_bf16", "asimd", "bf16", "sve")  # for speed


def hardware(device: torch.device) -> dict[str, Any]:
    """Return the machine as plain values."""
    facts = _processor()
    return {
        "cpu": facts.get("model name") or platform.processor() or platform.machine(),
        "cores": available_cores(),
        "threads": torch.get_num_threads(),
        "flags": [flag for flag in TELLING if flag in _flags(facts)],
        "load": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else str(device),
        "system": platform.platform(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "gateshift": __version__,
    }


def describe(machine: dict[str, Any]) -> str:
    """Return the machine as one line.

    >>> describe({"cpu": "Some CPU", "cores": 2, "threads": 2, "flags": ["avx2"], "device": "cpu",
    ...           "torch": "2.13.0"})
    'Some CPU, 2 cores, 2 threads, avx2, torch 2.13.0'
    """
    parts = [machine["cpu"], f"{machine['cores']} cores", f"{machine['threads']} threads", *machine["flags"]]
    device = [] if machine["device"] == "cpu" else [machine["device"]]
    return ", ".join([*parts, *device, f"torch {machine['torch']}"])


def _processor() -> dict[str, str]:
    """Return what Linux says of the first core."""
    if not CPUINFO.exists():
        return {}
    first = CPUINFO.read_text(encoding="utf-8").split("\n\n")[0]
    pairs = (line.partition(":") for line in first.splitlines())
    return {name.strip(): value.strip() for name, _, value in pairs}


def _flags(facts: dict[str, str]) -> set[str]:
    return set((facts.get("flags") or facts.get("Features") or "").split())
