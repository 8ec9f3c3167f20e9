"""Where a network runs and in which precision, chosen by name."""

import ctypes
import os
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import nn

from gateshift.engine.launch import adopt_launcher
from gateshift.engine.machine import has_bfloat16
from gateshift.errors import ConfigError, lookup
from gateshift.models.classifier import VideoClassifier
from gateshift.nn import use_fast_gates
from gateshift.nn.checkpointing import checkpointing
from gateshift.nn.recompute import recomputing

PRECISIONS: Mapping[str, torch.dtype | None] = {
    "auto": None,
    "float32": torch.float32,
    "fp32": torch.float32,
    "bfloat16": torch.bfloat16,
    "bf16": torch.bfloat16,
    "float16": torch.float16,
    "fp16": torch.float16,
}


def pick_device(device: str = "auto") -> torch.device:
    """Return the device that a name means; "auto" takes CUDA, else MPS, else the CPU.

    Under a launcher every process of a machine takes the CUDA device of its local rank.

    Raises:
        ConfigError: the name is unknown, or this machine has no such device.
    """
    adopt_launcher()
    if device == "auto":
        device = (
            "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
        )
    try:
        chosen = torch.device(device)
    except RuntimeError as error:
        raise ConfigError(
            f"unknown device {device!r}. Choose auto, cpu, cuda, cuda:N (N counts from 0) or mps."
        ) from error
    if chosen.type not in ("cpu", "cuda", "mps"):
        raise ConfigError(f"device {device!r} is not supported. Choose auto, cpu, cuda, cuda:N or mps.")
    if chosen.type == "mps" and not torch.backends.mps.is_available():
        raise ConfigError("device 'mps' is not there: this torch finds no Apple GPU. Use --device cpu.")
    if chosen.type == "cuda":
        return _pick_cuda(device, chosen.index)
    return chosen


def _pick_cuda(device: str, index: int | None) -> torch.device:
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if not count:
        raise ConfigError(f"device {device!r} is not there: this torch finds no CUDA GPU. Use --device cpu.")
    if index is None:
        index = int(os.environ.get("LOCAL_RANK", "0")) % count
    if index >= count:
        raise ConfigError(
            f"device {device!r} is not there: this machine has {count} CUDA GPU(s), from cuda:0."
        )
    return torch.device("cuda", index)


def pick_precision(precision: str, device: torch.device, *, exact: bool = True) -> torch.dtype:
    """Return the type that a name means; "auto" is bfloat16 on CUDA and exact float32 elsewhere.

    >>> pick_precision("auto", torch.device("cpu"))
    torch.float32

    Args:
        precision: a name of PRECISIONS.
        device: where.
        exact: whether "auto" is float32 even on a CPU that has instructions for bfloat16.

    Raises:
        UnknownName: the name is in no table.
    """
    chosen = lookup("precision", precision, PRECISIONS)
    if chosen is not None:
        return chosen
    rounds = device.type == "cuda" or (device.type == "cpu" and not exact and has_bfloat16())
    return torch.bfloat16 if rounds else torch.float32


def autocast(device: torch.device, precision: torch.dtype) -> AbstractContextManager[None]:
    """Return the context in which a network computes in ``precision``; float32 changes nothing."""
    if precision == torch.float32:
        return torch.autocast(device.type, enabled=False)
    return torch.autocast(device.type, dtype=precision)


@contextmanager
def training_pass(
    device: torch.device, precision: torch.dtype, checkpoint_activations: bool = False
) -> Iterator[None]:
    """Be the context of the forward pass of a training step: ``autocast``, keeping no more than is needed."""
    blocks = checkpointing() if checkpoint_activations else nullcontext()
    with autocast(device, precision), recomputing(), blocks:
        yield
    if device.type == "cpu" and precision == torch.float32:
        _trim_heap()


def _trim_heap() -> None:
    """Give the holes in the heap of glibc back to the system, where it is the C library.

    They are what the forward pass made and did not keep. The backward pass makes tensors of other sizes, and
    without this a tenth of its peak memory is holes. It takes 7 % of a step's time: too much for what maps of
    half the size would gain.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if os.name == "posix" else None
    if trim is not None:
        trim(0)


def compile_backbone(model: VideoClassifier, backend: str = "inductor") -> None:
    """Let torch compile the backbone at its first step; dropout stays outside and draws as it did.

    It takes minutes, and once more where a batch has another number of clips.
    """
    backbone: Any = model.backbone
    backbone.forward_features = torch.compile(backbone.forward_features, backend=backend)


def prepare_for_speed(model: nn.Module) -> None:
    """Lay out 2D convolutions channels-last and take the fast layers: the same up to rounding, sooner."""
    use_fast_gates(model)
    for module in model.modules():
        if hasattr(module, "project_first"):
            module.project_first = True  # type: ignore[assignment]
    for parameter in model.parameters():
        if parameter.dim() == 4:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
