"""Training: the `train` command, and the loop written out."""

import time
from contextlib import AbstractContextManager, closing, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator

from gateshift.data.locate import locate
from gateshift.engine.bad_videos import leave_out, require_some, settle_window
from gateshift.engine.batch_fit import fit_to_memory
from gateshift.engine.config import TrainConfig
from gateshift.engine.device import pick_device
from gateshift.engine.epoch_end import close_epoch
from gateshift.engine.inference import Unreadable
from gateshift.engine.learner import (
    Learner,
    build_learner,
    learn,
    seed_step,
    set_train_mode,
    step_optimizer,
    validate,
)
from gateshift.engine.loading import epoch_batches, load_batches
from gateshift.engine.optim import set_learning_rate
from gateshift.engine.plan import show_plan
from gateshift.engine.progress import Bar, console, progress_bar
from gateshift.engine.recipes import RECIPES, choose_recipe
from gateshift.engine.rehearsal import rehearse
from gateshift.engine.report import write_report
from gateshift.engine.run import Position, Run, default_run_dir, open_run
from gateshift.engine.stopping import StopRequest, stop_requests
from gateshift.engine.waiting import Waiting
from gateshift.errors import GateshiftError
from gateshift.models.input_size import require_size
from gateshift.models.registry import create_model
from gateshift.models.temporal_options import parse_options

SAVE_SECONDS = 60.0


def train(
    data: str | Path,
    *,
    recipe: str | None = None,
    out: Path | None = None,
    model: str | None = None,
    temporal_options: str | None = None,
    modality: str | None = None,
    pretrained: bool | None = None,
    num_segments: int | None = None,
    size: int | None = None,
    epochs: int | None = None,
    batch_size: int | None = None,
    accumulate: int | None = None,
    optimizer: str | None = None,
    lr: float | None = None,
    backbone_lr: float | None = None,
    weight_decay: float | None = None,
    warmup_epochs: int | None = None,
    schedule: str | None = None,
    dropout: float | None = None,
    label_smoothing: float | None = None,
    clip_grad: float | None = None,
    partial_bn: bool | None = None,
    flip: bool | None = None,
    augment: str | None = None,
    val_fraction: float | None = None,
    precision: str | None = None,
    on_bad_video: str | None = None,
    max_bad_videos: int | None = None,
    seed: int | None = None,
    workers: int = 2,
    device: str = "auto",
    checkpoint_activations: bool = False,
    fit_batch: bool = False,
    compiled: bool = False,
) -> dict[str, Any]:
    """Train a network on a folder of videos; the same command again resumes.

    Example: `gateshift train my_videos --model gsm_efficientnet_lite0 --epochs 12`

    Settings that are left out come from the recipe; `gateshift recipes` shows its values. The temporal
    options choose among variants of the temporal modules: gate=tanh, sigmoid or none; num_modules=N (the
    last N, 0 for none; all); interleave=on or off; branch=NAME of an Inception block (bninception: 1x1,
    3x3_reduce, 3x3, double_3x3_reduce, double_3x3_1, double_3x3_2, pool_proj, all; inceptionv3: 1x1, tower,
    tower_1, tower_2, all), where blocks that halve the map and lack the branch keep their released place.

    Augmentation: rand-m9-mstd0.5 is RandAugment in timm's spelling (also n, p, mmax, inc1), on whole frames
    before crop and flip; jitter changes brightness, contrast and colour by up to that share; erase is the
    probability that a rectangle is blanked; mixup and cutmix mix clips and labels of a batch, with shares
    from Beta distributions of that parameter. All frames of a clip change alike, and none of it is on in
    validation. `gateshift show` draws it.

    A video that cannot be read ends training, which the same command resumes once it is mended. With
    --on-bad-video skip it is left out of each epoch in which its frames cannot be read, never replaced;
    bad_videos.csv in the run names it. These two settings may change when a run is resumed.

    Args:
        data: folder of class sub-folders (optionally under train/ val/ test/), or a folder with lists; also
            the URL of a folder of shards.
        recipe: named settings to start from; by default what dataset.json names, or else finetune.
        out: run directory; by default runs/<data>-<model>, with the modality at its end if it is not rgb.
        model: name of the model; see `gateshift models`.
        temporal_options: of its temporal modules, such as gate=sigmoid,num_modules=5.
        modality: what the network sees: rgb; flow, from the frames that dataset.json names; or rgbdiff,
            differences of consecutive frames.
        pretrained: start from the backbone's ImageNet weights.
        num_segments: frames per clip (T).
        size: side of the square crop in pixels; 0 keeps the backbone's own.
        epochs: passes over the training videos.
        batch_size: clips per forward pass, over all processes together.
        accumulate: batches per optimiser step.
        optimizer: sgd (momentum 0.9) or adamw.
        lr: learning rate at the end of the warm-up.
        backbone_lr: factor on the learning rate of pretrained layers.
        weight_decay: on every parameter.
        warmup_epochs: epochs of linear warm-up before the cosine.
        schedule: when the learning rate moves: epoch or step.
        dropout: before the head.
        label_smoothing: share of the target spread over all classes.
        clip_grad: largest gradient norm at an optimiser step; 0 for no clipping.
        partial_bn: freeze every 2D batch-norm of the backbone but the first.
        flip: mirror half of the training clips, exchanging the labels that a mirror exchanges.
        augment: what else changes them, such as rand-m9-mstd0.5,jitter=0.4,erase=0.25,mixup=0.2,cutmix=1;
            "none" for none.
        val_fraction: share of the videos held out where the data has no split of its own.
        precision: auto, float32, bfloat16 or float16.
        on_bad_video: of a video that cannot be read: error stops, skip leaves it out and lists it.
        max_bad_videos: different videos that may be left out of the whole run before it stops.
        seed: decides the split, the initial weights, the order and every augmentation.
        workers: processes that read videos; the result does not depend on it.
        device: auto, cpu, cuda or mps.
        checkpoint_activations: keep the input of each block only and run it again for the gradients: about a
            third more time, for batches that would not fit. The result does not depend on it.
        fit_batch: take the largest batch per forward pass whose training fits into memory, and accumulate
            as many as keep batch_size x accumulate; found before the first epoch and kept when a run is
            resumed. Batch-norms see that batch, so the result differs from that of another one.
        compiled: let torch.compile make the backbone's steps faster, after minutes at the start: for long
            runs on a GPU. The result differs by rounding.

    Returns:
        ``run``, ``weights``, ``epochs``, ``top1`` (last epoch), ``best_top1`` (the weights that are kept),
        ``seconds`` and ``clips_per_second`` of training, ``data_wait`` (the share of these seconds spent
        waiting for data) and ``bad_videos`` (how many were left out).

    Raises:
        GateshiftError: data, settings or weights that cannot be used, each with what to do.
        KeyboardInterrupt: stopped by Ctrl-C or SIGTERM, after saving.
    """
    data = locate(data)
    recipe = choose_recipe(recipe, data)
    config = RECIPES[recipe].config.changed(
        {
            "model": model,
            "temporal_options": temporal_options,
            "modality": modality,
            "pretrained": pretrained,
            "num_segments": num_segments,
            "size": size,
            "epochs": epochs,
            "batch_size": batch_size,
            "accumulate": accumulate,
            "optimizer": optimizer,
            "lr": lr,
            "backbone_lr": backbone_lr,
            "weight_decay": weight_decay,
            "warmup_epochs": warmup_epochs,
            "schedule": schedule,
            "dropout": dropout,
            "label_smoothing": label_smoothing,
            "clip_grad": clip_grad,
            "partial_bn": partial_bn,
            "flip": flip,
            "augment": augment,
            "val_fraction": val_fraction,
            "precision": precision,
            "on_bad_video": on_bad_video,
            "max_bad_videos": max_bad_videos,
            "seed": seed,
        }
    )
    return train_config(
        config,
        data,
        recipe=recipe,
        out=out,
        workers=workers,
        device=device,
        checkpoint_activations=checkpoint_activations,
        fit_batch=fit_batch,
        compiled=compiled,
    )


def train_config(
    config: TrainConfig,
    data: Path,
    *,
    recipe: str = "",
    out: Path | None = None,
    workers: int = 2,
    device: str = "auto",
    checkpoint_activations: bool = False,
    fit_batch: bool = False,
    compiled: bool = False,
) -> dict[str, Any]:
    """Train what ``config`` says on ``data``; the same call again resumes. Returns what `train` returns.

    ``recipe`` is the name of what the config started from, for the plan that is shown.
    """
    refuse_model(config)
    where = pick_device(device)
    if where.type == "cuda":
        torch.cuda.set_device(where)  # accelerate takes the current one
    accelerator = Accelerator(cpu=where.type == "cpu")
    out = Path(out) if out else default_run_dir(data, config.model, config.modality)
    if fit_batch:
        config = fit_to_memory(config, data, out, accelerator, checkpoint_activations)
    with accelerator.main_process_first():
        run = open_run(out, config, data, main=accelerator.is_main_process)
    learner = build_learner(run, accelerator, workers, checkpoint_activations, compiled)
    position, state = run.load()
    if state is not None:
        learner.restore(state)
    if not accelerator.is_main_process:
        position.totals = [0.0, 0.0, 0.0]  # the ones that were saved are the main process's
    if accelerator.is_main_process:
        show_plan(run, learner.model, learner.device, learner.precision, recipe)
    if state is None:
        rehearse(learner)
    elif accelerator.is_main_process:
        console().print(f"resuming after epoch {position.epoch}, batch {position.step}")

    with stop_requests() as stop:
        while position.epoch < config.epochs:
            train_one_epoch(learner, position, stop)
            scores, bad = validate(learner)
            leave_out(learner, position, "val", bad)
            require_some(learner, position, "val", len(scores.videos))
            close_epoch(learner, position, scores)
    if accelerator.is_main_process:
        write_report(run.dir)
    accelerator.wait_for_everyone()
    return result(run, position, len(learner.train_clips))


def refuse_model(config: TrainConfig) -> None:
    """Refuse a model, temporal options or a crop size that cannot be, before anything is read or written."""
    with torch.device("meta"):
        model = create_model(
            config.model,
            2,
            config.num_segments,
            modality=config.modality,
            **parse_options(config.temporal_options),
        )
    if config.size:
        require_size(model.eval(), config.size)


def train_one_epoch(learner: Learner, position: Position, stop: StopRequest) -> None:
    """Learn from the rest of the running epoch; on a stop request save and raise KeyboardInterrupt.

    A window is ``accumulate`` batches; its loss is the mean over its clips, also where the last window is
    short, and gradients are clipped once, at the optimiser's step.
    """
    config, accelerator = learner.config, learner.accelerator
    set_train_mode(learner)
    batches = epoch_batches(len(learner.train_clips), config, position.epoch)
    num_windows = -(-len(batches) // config.accumulate)
    totals = torch.tensor(position.totals, device=learner.device)
    bad: list[Unreadable] = []
    waiting = Waiting(learner.device)
    started = last_save = time.monotonic()
    loaded = load_batches(learner, batches[position.step :], position.epoch)
    with closing(loaded), epoch_bar(learner, position, len(batches)) as bar:
        for step, batch in enumerate(waiting.over(loaded), start=position.step):
            window = step // config.accumulate
            in_window = batches[window * config.accumulate : (window + 1) * config.accumulate]
            num_clips = sum(map(len, in_window))
            ends_window = (step + 1) % config.accumulate == 0 or step + 1 == len(batches)
            set_learning_rate(learner.optimizer, config, position.epoch + window / num_windows)

            seed_step(config.seed, position.epoch, step, accelerator.process_index)
            with nullcontext() if ends_window else accelerator.no_sync(learner.parallel):
                loss, right = learn(learner, batch.clips, batch.labels, num_clips)
            totals += torch.stack([loss, right, torch.full_like(right, len(batch.labels))])
            bad += batch.bad
            bar.advance()
            if not ends_window:
                continue

            if settle_window(learner, position, bad, num_clips):
                step_optimizer(learner)
            bad = []
            now = time.monotonic()
            if stop or now - last_save > SAVE_SECONDS:
                position.step, position.totals = step + 1, totals.tolist()
                require_finite(position, config)
                position.seconds += now - started
                position.waited += waiting.take()
                learner.save(position)
                started = last_save = now
            if stop:
                raise KeyboardInterrupt(stopped_message(learner.run, position))
    position.totals = accelerator.reduce(totals).tolist()
    position.seconds += time.monotonic() - started
    position.waited += waiting.take()
    require_finite(position, config)
    require_some(learner, position, "train", position.totals[2])


def require_finite(position: Position, config: TrainConfig) -> None:
    """Refuse to go on, or to save, once the loss is no number: the state on disk is still a good one."""
    if not np.isfinite(position.totals[0]):
        raise GateshiftError(
            f"the training loss of epoch {position.epoch + 1} is {position.totals[0]}. The state before it "
            f"is kept; train anew with a lower --lr (it was {config.lr}) and another --out."
        )


def epoch_bar(learner: Learner, position: Position, num_batches: int) -> AbstractContextManager[Bar]:
    """Return the bar of one epoch, with what is already done of it left out."""
    description = f"epoch {position.epoch + 1}/{learner.config.epochs}"
    shown = learner.accelerator.is_main_process
    return progress_bar(description, num_batches - position.step, shown=shown)


def stopped_message(run: Run, position: Position) -> str:
    """Say what was saved and how to go on."""
    return (
        f"stopped in epoch {position.epoch + 1} after batch {position.step}; everything is saved in "
        f"{run.dir}. The same command resumes."
    )


def result(run: Run, position: Position, num_clips: int) -> dict[str, Any]:
    """Return what the `train` command answers."""
    seconds = sum(row["seconds"] for row in position.history)
    waited = sum(row["seconds"] * row.get("data_wait", 0.0) for row in position.history)
    return {
        "run": str(run.dir),
        "weights": str(run.weights),
        "epochs": position.epoch,
        "top1": position.history[-1]["val_top1"],
        "best_top1": position.best[0],
        "seconds": seconds,
        "clips_per_second": num_clips * position.epoch / max(seconds, 1e-9),
        "data_wait": waited / max(seconds, 1e-9),
        "bad_videos": len(position.bad_videos),
    }
