"""``gateshift find-lr``: the learning-rate range test, on the real network and the real batches.

Smith, "Cyclical Learning Rates for Training Neural Networks", 2017, https://arxiv.org/abs/1506.01186: the
rate grows by the same factor at every step until the loss rises again. Rates far below that teach nothing; a
third of where it turned is a rate to try: training reaches it after a warm-up, and leaves it by the cosine.
"""

import math
from collections.abc import Generator, Sequence
from contextlib import closing, nullcontext
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from gateshift.apps.find_lr_page import write_page
from gateshift.data.annotations import read_annotations
from gateshift.data.locate import locate
from gateshift.engine.config import TrainConfig
from gateshift.engine.learner import (
    Learner,
    begin_batch,
    build_learner,
    learn,
    set_train_mode,
    step_optimizer,
)
from gateshift.engine.loading import Batch, epoch_batches, load_batches
from gateshift.engine.loop import refuse_model
from gateshift.engine.optim import set_rate
from gateshift.engine.processes import join_processes
from gateshift.engine.progress import progress_bar
from gateshift.engine.recipes import RECIPES, choose_recipe
from gateshift.engine.run import Run
from gateshift.errors import ConfigError, GateshiftError

FEWEST_STEPS = 20
SMOOTHING = 0.9  # share of what was before in the running mean of the loss
EXPLODED = 2.0  # times the lowest loss so far: no larger rate is tried
TURNED = 1.1  # times the lowest loss: that is more than noise
BELOW = 3.0  # how far below the rate of the lowest loss the one lies that is proposed


class Part(NamedTuple):
    """One batch of a step: its epoch, its place there, its clips in all processes, and this process's."""

    epoch: int
    step: int
    num_clips: int
    batch: Batch


def find_lr(
    data: str | Path,
    *,
    recipe: str | None = None,
    model: str | None = None,
    pretrained: bool | None = None,
    num_segments: int | None = None,
    size: int | None = None,
    batch_size: int | None = None,
    accumulate: int | None = None,
    optimizer: str | None = None,
    backbone_lr: float | None = None,
    gate_lr: float | None = None,
    layer_decay: float | None = None,
    augment: str | None = None,
    precision: str | None = None,
    seed: int | None = None,
    steps: int = 100,
    lowest: float = 1e-6,
    highest: float = 1.0,
    out: Path | None = None,
    workers: int = 2,
    device: str = "auto",
) -> dict[str, Any]:
    """Propose a learning rate: train a network for some steps with ever larger ones, and see when it fails.

    Example: `gateshift find-lr my_videos --model gsm_efficientnet_lite0`

    Everything is as in the first steps of `train` with the same settings, frozen epochs excepted: what ever
    learns does. The network is given up afterwards; no run is read or written. The proposal is a third of the
    rate at which the running mean of the loss was lowest; it is noisy: half or twice may be as good.

    Args:
        data: folder of class sub-folders, or a folder with lists, or the URL of shards.
        recipe: named settings to start from; by default what dataset.json names, or else finetune.
        model: name of the model; see `gateshift models`.
        pretrained: start from the backbone's ImageNet weights.
        num_segments: frames per clip (T).
        size: side of the square crop in pixels; 0 takes the backbone's own.
        batch_size: clips per forward pass.
        accumulate: batches per optimiser step.
        optimizer: sgd (momentum 0.9) or adamw.
        backbone_lr: factor on the learning rate of pretrained layers.
        gate_lr: factor on the learning rate of gates.
        layer_decay: factor on the learning rate from each stage of the backbone to the one before it.
        augment: what changes clips beyond crops and flips, as of `train`.
        precision: auto, float32, bfloat16 or float16.
        seed: decides the initial weights, the order and every augmentation.
        steps: from the lowest rate to the highest.
        lowest: rate of the first step.
        highest: rate of the last step, if the loss does not explode before.
        out: the page to write; by default rates/<data>-<model>.html.
        workers: processes that read videos; the result does not depend on it.
        device: auto, cpu, cuda or mps.

    Returns:
        ``lr``, the proposal; ``turning``, the rate of the lowest loss, and ``steepest``, that of its steepest
        fall; ``turned``: whether the loss rose again, else ``highest`` may be too low; ``recipe_lr`` for
        comparison; ``steps``: ``lr``, ``loss`` and ``smoothed`` loss of each; and ``page``.

    Raises:
        GateshiftError: data or settings that cannot be used, or a loss that is no number at the first step or
            falls at no rate, each with what to do.
    """
    if not 0 < lowest < highest or steps < FEWEST_STEPS:
        raise ConfigError(
            f"lowest is {lowest:g}, highest {highest:g} and steps {steps}: rates grow from lowest, above 0, "
            f"to highest in at least {FEWEST_STEPS} steps. Change --lowest, --highest or --steps."
        )
    data = locate(data)
    recipe = choose_recipe(recipe, data)
    config = RECIPES[recipe].config.changed(
        {
            "model": model,
            "pretrained": pretrained,
            "num_segments": num_segments,
            "size": size,
            "batch_size": batch_size,
            "accumulate": accumulate,
            "optimizer": optimizer,
            "backbone_lr": backbone_lr,
            "gate_lr": gate_lr,
            "layer_decay": layer_decay,
            "augment": augment,
            "precision": precision,
            "seed": seed,
            "on_bad_video": "error",
            "ema": 0.0,
        }
    )
    learner = new_learner(config, data, workers, device)
    rates = np.geomspace(lowest, highest, steps).tolist()
    losses = sweep(learner, rates)
    values = {"model": config.model, "recipe": recipe, "recipe_lr": config.lr, **propose(rates, losses)}
    page = Path(out) if out else Path("rates") / f"{data.resolve().name}-{config.model}.html"
    if learner.accelerator.is_main_process:
        write_page(page, data, config, values)
    return {**values, "page": str(page)}


def new_learner(config: TrainConfig, data: Path, workers: int, device: str) -> Learner:
    """Return a learner of no run."""
    refuse_model(config)
    annotations = read_annotations(data, seed=config.seed, val_fraction=config.val_fraction)
    return build_learner(Run(Path(), config, data, annotations), join_processes(device), workers)


def sweep(learner: Learner, rates: Sequence[float]) -> list[float]:
    """Take a step with each of the rates until the loss explodes; return the loss before each step."""
    set_train_mode(learner)
    losses: list[float] = []
    shown = learner.accelerator.is_main_process
    with closing(train_windows(learner)) as windows, progress_bar("rates", len(rates), shown=shown) as bar:
        for rate, window in zip(rates, windows, strict=False):
            loss = window_loss(learner, window)
            if not losses and not math.isfinite(loss):
                raise GateshiftError(
                    f"the loss is {loss} at the first step, before anything was learnt. "
                    f"Give --precision float32, or look at the videos with `gateshift check`."
                )
            losses.append(loss)
            if not math.isfinite(loss) or smooth(losses)[-1] > EXPLODED * min(smooth(losses)):
                break
            set_rate(learner.optimizer, rate)
            step_optimizer(learner)
            bar.advance()
    return losses


def train_windows(learner: Learner) -> Generator[list[Part], None, None]:
    """Yield the batches of one optimiser step after the other, epoch after epoch, as training has them."""
    epoch = 0
    while True:
        batches = epoch_batches(learner.train_clips.labels, learner.config, epoch)
        window: list[Part] = []
        with closing(load_batches(learner, batches, epoch)) as loaded:
            for step, batch in enumerate(loaded):
                window.append(Part(epoch, step, len(batches[step]), batch))
                if len(window) == learner.config.accumulate or step + 1 == len(batches):
                    yield window
                    window = []
        epoch += 1


def window_loss(learner: Learner, window: Sequence[Part]) -> float:
    """Add up the gradients of one step; return the mean loss of its clips, over all processes."""
    num_clips = sum(part.num_clips for part in window)
    total = torch.zeros((), device=learner.device)
    for part in window:
        begin_batch(learner, part.epoch, part.step, part.num_clips)
        last = part is window[-1]
        with nullcontext() if last else learner.accelerator.no_sync(learner.parallel):
            total += learn(learner, part.batch.clips, part.batch.labels, num_clips)[0]
    return float(learner.accelerator.reduce(total)) / num_clips


def smooth(losses: Sequence[float]) -> list[float]:
    """Return the running mean at each step, of the values up to there.

    >>> smooth([2.0, 2.0, 1.0])[:2]
    [2.0, 2.0]
    """
    means, total, weight = [], 0.0, 0.0
    for loss in losses:
        total = SMOOTHING * total + (1 - SMOOTHING) * loss
        weight = SMOOTHING * weight + (1 - SMOOTHING)
        means.append(total / weight)
    return means


def propose(rates: Sequence[float], losses: Sequence[float]) -> dict[str, Any]:
    """Return what follows from the losses before the steps with these rates; the last may be no number.

    The loss after a step is that before the next one.

    Raises:
        GateshiftError: the loss fell at no rate.
    """
    finite = [loss for loss in losses if math.isfinite(loss)]
    smoothed = smooth(finite)
    turning = int(np.argmin(smoothed))
    if turning < FEWEST_STEPS // 2:
        raise GateshiftError(
            f"the loss fell at no learning rate: it is lowest at step {turning + 1} of {len(losses)}, with a "
            f"rate of {rates[turning]:.2g}. Give more --steps, a larger --batch-size or a smaller --lowest."
        )
    slopes = np.gradient(smoothed[: turning + 1], np.log(rates[: turning + 1]))
    return {
        "lr": float(f"{rates[turning] / BELOW:.2g}"),
        "turning": rates[turning],
        "steepest": rates[FEWEST_STEPS // 4 + int(np.argmin(slopes[FEWEST_STEPS // 4 :]))],
        "turned": len(finite) < len(losses) or smoothed[-1] > TURNED * smoothed[turning],
        "steps": [
            {"lr": rate, "loss": loss, "smoothed": mean}
            for rate, loss, mean in zip(rates, finite, smoothed, strict=False)
        ],
    }
