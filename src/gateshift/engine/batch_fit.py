"""The largest batch whose training step fits into memory, while the effective batch stays what it is.

A GPU is asked: steps of random clips are tried there, from the largest batch down. A CPU would swap, or have
the process killed: small steps are measured in a process of their own, and larger ones follow from a line.
"""

import gc
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator

from gateshift.data.annotations import read_annotations
from gateshift.engine.config import TrainConfig
from gateshift.engine.learner import build_learner, forward_backward, set_train_mode, step_optimizer
from gateshift.engine.memory import available_memory, resident, watch_resident
from gateshift.engine.progress import console
from gateshift.engine.run import Run, recorded_config
from gateshift.engine.same_run import has_begun
from gateshift.errors import ConfigError, GateshiftError

STEPS = 2  # of the optimiser: the first makes its states, and the second has them beside it
SMALL = (1, 2, 4)  # clips of the steps that are measured on a CPU
SHARE = 0.8  # of a CPU's free memory, for training steps: the rest is for workers, validation and others
SPARE = 0.1  # of a GPU's memory, which stays free: for its other allocations, and the gaps between them
LAUNCHED = ("RANK", "WORLD_SIZE", "PMI_SIZE")  # ends of variables that tell a process its place among others
OUT_OF_MEMORY = ("out of memory", "ALLOC_FAILED")  # what Triton, cuBLAS and cuDNN say

Steps = Callable[[int], None]  # takes the number of clips


def fit_to_memory(
    config: TrainConfig, data: Path, out: Path, accelerator: Accelerator, checkpoint_activations: bool = False
) -> TrainConfig:
    """Return ``config`` with the largest batch that fits, and as many batches a step as keep the product.

    A run in ``out`` keeps the batch that it has. All processes get the same answer. Where the memory is not
    known (MPS, or a CPU of another system than Linux), the config stays, and stderr says so.

    Raises:
        ConfigError: not even one clip a process fits, or the processes cannot share the effective batch.
        GateshiftError: the process that measures failed.
    """
    recorded = recorded_config(out)
    if recorded is not None and has_begun(out):
        # If it is of another effective batch, opening the run refuses that.
        same = recorded.effective_batch == config.effective_batch
        return rebatched(config, recorded.batch_size) if same else config
    batches = batches_of(config.effective_batch, accelerator.num_processes)
    if accelerator.device.type == "cuda":
        batch = fit_on_cuda(config, data, batches, accelerator, checkpoint_activations)
    else:
        free = available_memory() if accelerator.device.type == "cpu" else None
        if free is None:
            _say(accelerator, f"the memory of {accelerator.device} is not known: --fit-batch keeps the batch")
            return config
        batch = fit_on_cpu(config, data, batches, accelerator, checkpoint_activations, free)
    if not batch:
        checkpointing = "" if checkpoint_activations else "--checkpoint-activations, "
        raise ConfigError(
            f"not even one clip of {config.num_segments} segments fits into the memory of "
            f"{accelerator.device} in training. Give {checkpointing}a lower --num-segments, a smaller --size "
            f"or a smaller --model."
        )
    return rebatched(config, batch)


def batch_below(
    config: TrainConfig, data: Path, accelerator: Accelerator | None, checkpoint_activations: bool
) -> int:
    """Return the largest batch smaller than that of ``config``, of the same effective one, that fits.

    0 if none does. Several processes, which may be in the middle of a step, and ``accelerator=None`` try
    nothing: it is the next smaller one then.
    """
    num_processes = accelerator.num_processes if accelerator else 1
    batches = [
        batch for batch in batches_of(config.effective_batch, num_processes) if batch < config.batch_size
    ]
    if not batches or accelerator is None or num_processes > 1:
        return batches[0] if batches else 0
    if accelerator.device.type == "cuda":
        return fit_on_cuda(config, data, batches, accelerator, checkpoint_activations)
    free = available_memory() if accelerator.device.type == "cpu" else None
    if free is None:
        return batches[0]
    return fit_on_cpu(config, data, batches, accelerator, checkpoint_activations, free)


def batches_of(effective: int, num_processes: int = 1) -> list[int]:
    """Return the batches that make up an effective batch and divide over the processes, the largest first.

    >>> batches_of(12), batches_of(12, num_processes=2)
    ([12, 6, 4, 3, 2, 1], [12, 6, 4, 2])

    Raises:
        ConfigError: there are none.
    """
    if effective % num_processes:
        raise ConfigError(
            f"the effective batch of {effective} clips (batch_size x accumulate) does not divide over "
            f"{num_processes} processes. Give --batch-size a multiple of {num_processes}."
        )
    return [
        batch for batch in range(effective, 0, -1) if effective % batch == 0 and batch % num_processes == 0
    ]


def rebatched(config: TrainConfig, batch: int) -> TrainConfig:
    """Return ``config`` with another batch and the same effective one.

    >>> rebatched(TrainConfig(batch_size=8, accumulate=3), 12).accumulate
    2
    """
    return replace(config, batch_size=batch, accumulate=config.effective_batch // batch)


def fit_on_cuda(
    config: TrainConfig,
    data: Path,
    batches: list[int],
    accelerator: Accelerator,
    checkpoint_activations: bool,
) -> int:
    """Return the first of ``batches`` whose steps pass in every process; 0 if there is none."""
    _say(accelerator, f"trying which batch fits into the memory of {accelerator.device}")
    for batch in batches:
        steps = training_steps(rebatched(config, batch), data, accelerator, checkpoint_activations)
        passed = _passes(steps, batch // accelerator.num_processes, accelerator.device)
        del steps
        accelerator.free_memory()  # or it would hold on to the network
        if _smallest(int(passed), accelerator):
            return batch
    return 0


def _passes(steps: Steps, num_clips: int, device: torch.device) -> bool:
    """Tell whether steps of so many clips fit, beside memory that is to stay free."""
    spare, passed = None, True
    try:
        spare = reserve(device)
        steps(num_clips)
    except RuntimeError as error:
        if not isinstance(error, torch.OutOfMemoryError) and not any(
            text in str(error) for text in OUT_OF_MEMORY
        ):
            raise
        passed = False
    del spare
    gc.collect()
    torch.cuda.empty_cache()
    return passed


def reserve(device: torch.device) -> torch.Tensor:
    """Return a tensor that takes up what is to stay free."""
    size = int(SPARE * torch.cuda.get_device_properties(device).total_memory)
    return torch.empty(size, dtype=torch.uint8, device=device)


def fit_on_cpu(
    config: TrainConfig,
    data: Path,
    batches: list[int],
    accelerator: Accelerator,
    checkpoint_activations: bool,
    free: int,
) -> int:
    """Return the largest of ``batches`` that ``free`` bytes allow for on each machine; 0 if there is none."""
    _say(accelerator, "measuring small training steps, for the batch that fits into memory")
    clips = most = batches[0] // accelerator.num_processes
    if accelerator.is_local_main_process:
        here = int(os.environ.get("LOCAL_WORLD_SIZE", accelerator.num_processes))
        limit = int(SHARE * free / here)
        clips = clips_within(limit, measured_peaks(config, data, most, limit, checkpoint_activations))
    clips = _smallest(min(clips, most), accelerator)
    return next((batch for batch in batches if batch <= clips * accelerator.num_processes), 0)


def clips_within(limit: int, peaks: Mapping[int, int]) -> int:
    """Return how many clips ``limit`` bytes allow for, by a line through the fewest and the most measured.

    ``peaks`` are bytes by the number of clips; of one alone nothing follows for more.

    >>> clips_within(1000, {1: 300, 2: 400, 4: 600}), clips_within(1000, {1: 600}), clips_within(1000, {})
    (8, 1, 0)
    """
    if not peaks or peaks[min(peaks)] > limit:
        return 0
    fewest, most = min(peaks), max(peaks)
    if fewest == most:
        return fewest
    slope = (peaks[most] - peaks[fewest]) / (most - fewest)
    # Networks so small that the line is noise: as if all of the memory were the clips'.
    slope = slope if slope > 0 else peaks[most] / most
    return fewest + int((limit - peaks[fewest]) / slope)


def measured_peaks(
    config: TrainConfig, data: Path, most: int, limit: int, checkpoint_activations: bool
) -> dict[int, int]:
    """Return the peak in bytes of steps of few clips, by their number, of a process of its own.

    None of them has more than ``most`` clips or could be expected to need more than ``limit`` bytes; if the
    system kills the process nevertheless, that one is missing.

    Raises:
        GateshiftError: it failed.
    """
    asked = {
        "config": rebatched(config, 1).to_json(),
        "data": str(data),
        "most": most,
        "limit": limit,
        "checkpoint_activations": checkpoint_activations,
        "num_threads": torch.get_num_threads(),
    }
    done = subprocess.run(
        [sys.executable, "-m", "gateshift.engine.batch_fit", json.dumps(asked)],
        env={name: value for name, value in os.environ.items() if not name.endswith(LAUNCHED)},
        capture_output=True,
        text=True,
    )
    if done.returncode not in (0, -signal.SIGKILL):
        reason = (done.stderr.strip().splitlines() or [f"status {done.returncode}"])[-1]
        raise GateshiftError(
            f"the process that measures memory for --fit-batch failed ({reason}). "
            f"Mend that, or give --batch-size and --accumulate without --fit-batch."
        )
    return dict(map(json.loads, done.stdout.splitlines()))


def print_peaks(asked: Mapping[str, Any]) -> None:
    """Be the process of ``measured_peaks``: print each number of clips with its peak."""
    torch.set_num_threads(asked["num_threads"])
    config, data = TrainConfig.from_json(asked["config"]), Path(asked["data"])
    before = resident()
    steps = training_steps(config, data, Accelerator(cpu=True), asked["checkpoint_activations"])
    for clips in SMALL:
        if clips > asked["most"]:
            break
        with watch_resident() as peak:
            steps(clips)
        taken = max(peak) - before
        print(json.dumps([clips, taken]), flush=True)
        if 2 * taken > asked["limit"]:  # the next is of twice as many clips
            break


def training_steps(
    config: TrainConfig, data: Path, accelerator: Accelerator, checkpoint_activations: bool
) -> Steps:
    """Return what takes steps of training with random clips, as many as it is told to a batch.

    It never waits for other processes, where training would: one of them may have run out of memory.
    """
    annotations = read_annotations(data, seed=config.seed, val_fraction=config.val_fraction)
    run = Run(Path(), replace(config, pretrained=False, sync_bn=False), data, annotations)
    learner = build_learner(run, accelerator, 0, checkpoint_activations)
    learner.parallel = learner.model
    learner.scaler = torch.amp.GradScaler(learner.device.type, enabled=False)  # it would leave steps out
    set_train_mode(learner)
    spec = learner.model.input_spec
    frame = (spec.frames_read * spec.planes, spec.size, spec.size)
    in_window = min(config.accumulate, 2)  # with one more, gradients lie beside a step

    def steps(num_clips: int) -> None:
        shape = (num_clips, config.num_segments, *frame)
        clips = torch.randint(0, 256, shape, dtype=torch.uint8).to(learner.device)
        labels = torch.zeros(num_clips, dtype=torch.int64, device=learner.device)
        for _ in range(STEPS):
            for _ in range(in_window):
                forward_backward(learner, clips, labels, in_window * num_clips)
            step_optimizer(learner)

    return steps


def _smallest(number: int, accelerator: Accelerator) -> int:
    """Return the smallest of the numbers that the processes have."""
    return int(accelerator.gather(torch.tensor([number], device=accelerator.device)).min())


def _say(accelerator: Accelerator, text: str) -> None:
    if accelerator.is_main_process:
        console().print(text)


if __name__ == "__main__":
    print_peaks(json.loads(sys.argv[1]))
