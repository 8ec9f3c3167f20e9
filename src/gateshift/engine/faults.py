"""What ends training through no fault of the settings or the data, in words, with what to do."""

import functools
import gc
import re
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from accelerate import Accelerator

from gateshift.engine.batch_fit import OUT_OF_MEMORY, batch_below, rebatched
from gateshift.engine.config import TrainConfig
from gateshift.engine.progress import console
from gateshift.engine.run import default_run_dir, recorded_config
from gateshift.engine.same_run import has_begun
from gateshift.errors import FaultError, GateshiftError

Training = Callable[..., dict[str, Any]]
NO_MEMORY = (*OUT_OF_MEMORY, "can't allocate memory", "not enough memory")  # what torch says of a CPU
LOST = (  # what gloo, NCCL and their store say where another process is no longer there
    *("Connection closed by peer", "Connection reset by peer", "Broken pipe", "Connection refused"),
    *("Timed out waiting", "timed out", "Socket Timeout", "failed to recv", "Socket is not open"),
    *("NCCL", "Read timeout", "recvValue failed", "sendBytes failed", "Application timeout"),
)


def naming_faults(train: Training) -> Training:
    """Make ``train_config`` refuse with advice where memory runs out or another process of its group ends."""

    @functools.wraps(train)
    def named(config: TrainConfig, data: Path, **how: Any) -> dict[str, Any]:
        try:
            return train(config, data, **how)
        except (RuntimeError, MemoryError, OSError) as error:
            said = cause_of(error)
            lost = lost_process(error)
            if not lost and not out_of_memory(error):
                raise
            traceback.clear_frames(error.__traceback__)  # they hold the network and the batch
        if lost:
            raise FaultError(
                f"another process of this training has ended, or cannot be reached ({said}). The run is kept "
                "up to its last save: look at what that process says, then give the same command again; "
                "`torchrun --max-restarts 3` does so by itself."
            )
        raise FaultError(advise_batch(config, data, said, how))

    return named


def cause_of(error: BaseException) -> str:
    """Return what an error says, without the place in torch's sources before it and the advice after it.

    >>> cause_of(RuntimeError("[/gloo/pair.cc:5] Connection closed by peer. This is typical.\\nFrames:"))
    'Connection closed by peer'
    """
    said = (str(error).splitlines() or [type(error).__name__])[0]
    return re.sub(r"^\[[^]]*:\d+\] ", "", said).split(". ")[0].rstrip(".")


def out_of_memory(error: BaseException) -> bool:
    """Tell whether ``error`` says that there is no memory, on a GPU or a CPU."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or any(
        text in str(error) for text in NO_MEMORY
    )


def lost_process(error: BaseException) -> bool:
    """Tell whether ``error`` says that another process of the group is no longer there."""
    if not (dist.is_available() and dist.is_initialized()) or out_of_memory(error):
        return False
    return isinstance(error, dist.DistError) or any(text in str(error) for text in LOST)


def advise_batch(config: TrainConfig, data: Path, said: str, how: dict[str, Any]) -> str:
    """Return what to do where the memory does not do for the batch: the batch that would fit, if any does."""
    out = how.get("out")
    out = Path(out) if out else default_run_dir(data, config.model, config.modality)
    config = (recorded_config(out) if out.exists() else None) or config  # with the batch that was fitted
    checkpointing = bool(how.get("checkpoint_activations"))
    anew = " and another --out, as it is another run" if has_begun(out) else ""
    same = "" if checkpointing else "The same command with --checkpoint-activations needs less, and resumes. "
    failed = f"no memory was left in a step of {config.batch_size} clips ({said}). The state before is kept. "
    batch = fitting_batch(config, data, how.get("device", "auto"), checkpointing)
    if not batch:
        return f"{failed}{same}Give a lower --num-segments, a smaller --size or a smaller --model{anew}."
    fits = rebatched(config, batch)
    return (
        f"{failed}{same}A batch of {batch} would fit: give --batch-size {batch} --accumulate "
        f"{fits.accumulate}, which keep the effective batch of {fits.effective_batch} clips{anew}."
    )


def fitting_batch(config: TrainConfig, data: Path, device: str, checkpoint_activations: bool) -> int:
    """Return the largest batch below that of ``config`` that fits into memory; 0 if there is none.

    Where it cannot be tried, as other processes are in the middle of a step, it is the next one that divides.
    """
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    accelerator = Accelerator(cpu=device == "cpu")
    accelerator.free_memory()
    try:
        return batch_below(config, data, accelerator, checkpoint_activations)
    except (GateshiftError, RuntimeError, MemoryError) as error:  # it is a guess then, of which this is said
        console().print(f"which batch would fit could not be tried ({error}): the next smaller one is named")
        return batch_below(config, data, None, checkpoint_activations)
