"""What the processor is and what it can do, as Linux says. Nothing here needs torch."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

CPUINFO = Path("/proc/cpuinfo")
BFLOAT16 = {"avx512_bf16", "amx_bf16", "bf16"}  # x86 twice, and ARM


def processor() -> dict[str, str]:
    """Return what is said of the first core, by name; nothing on other systems."""
    if not CPUINFO.exists():
        return {}
    first = CPUINFO.read_text(encoding="utf-8").split("\n\n")[0]
    pairs = (line.partition(":") for line in first.splitlines())
    return {name.strip(): value.strip() for name, _, value in pairs}


def instructions() -> set[str]:
    """Return the names of the instruction sets that the processor has."""
    facts = processor()
    return set((facts.get("flags") or facts.get("Features") or "").split())


def has_bfloat16() -> bool:
    """Tell whether this CPU has instructions for bfloat16; without them it is slower than float32.

    False where the system does not say: on others than Linux.
    """
    return not instructions().isdisjoint(BFLOAT16)


def describe(machine: Mapping[str, Any]) -> str:
    """Return the ``hardware`` of an answer of `gateshift bench` as one line.

    >>> describe({"cpu": "Some CPU", "cores": 2, "threads": 2, "flags": ["avx2"], "device": "cpu",
    ...           "torch": "2.13.0"})
    'Some CPU, 2 cores, 2 threads, avx2, torch 2.13.0'
    """
    parts = [machine["cpu"], f"{machine['cores']} cores", f"{machine['threads']} threads", *machine["flags"]]
    device = [] if machine["device"] == "cpu" else [machine["device"]]
    return ", ".join([*parts, *device, f"torch {machine['torch']}"])
