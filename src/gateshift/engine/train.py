"""Training: the `train` command, and the loop written out."""

import json
import time
from contextlib import AbstractContextManager, closing, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from torch.nn import functional as F

from gateshift.data.dataset import EvalViews
from gateshift.engine.config import TrainConfig
from gateshift.engine.device import pick_device
from gateshift.engine.learner import (
    Learner,
    build_learner,
    epoch_batches,
    forward_backward,
    load_batches,
    seed_step,
    set_train_mode,
    step_optimizer,
    validate,
)
from gateshift.engine.metrics import summary
from gateshift.engine.optim import set_learning_rate
from gateshift.engine.plan import show_plan
from gateshift.engine.progress import Bar, console, progress_bar
from gateshift.engine.recipes import RECIPES, choose_recipe
from gateshift.engine.report import duration, write_report
from gateshift.engine.run import Position, Run, default_run_dir, open_run
from gateshift.engine.scores import Scores
from gateshift.engine.stopping import StopRequest, stop_requests
from gateshift.errors import GateshiftError
from gateshift.models.input_size import require_size
from gateshift.models.registry import create_model
from gateshift.models.temporal_options import parse_options
from gateshift.models.weights import save_weights

SAVE_SECONDS = 60.0


def train(
    data: Path,
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
    val_fraction: float | None = None,
    precision: str | None = None,
    seed: int | None = None,
    workers: int = 2,
    device: str = "auto",
) -> dict[str, Any]:
    """Train a network on a folder of videos; the same command again resumes.

    Example: `gateshift train my_videos --model gsm_efficientnet_lite0 --epochs 12`

    Settings that are left out come from the recipe; `gateshift recipes` shows its values. The temporal
    options choose among variants of the temporal modules: gate=tanh, sigmoid or none; num_modules=N (the
    last N, 0 for none; all); interleave=on or off; branch=NAME of an Inception block (bninception: 1x1,
    3x3_reduce, 3x3, double_3x3_reduce, double_3x3_1, double_3x3_2, pool_proj, all; inceptionv3: 1x1, tower,
    tower_1, tower_2, all), where blocks that halve the map and lack the branch keep their released place.

    Args:
        data: folder of class sub-folders (optionally under train/ val/ test/), or a folder with lists.
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
        val_fraction: share of the videos held out where the data has no split of its own.
        precision: auto, float32, bfloat16 or float16.
        seed: decides the split, the initial weights, the order and every augmentation.
        workers: processes that read videos; the result does not depend on it.
        device: auto, cpu, cuda or mps.

    Returns:
        ``run``, ``weights``, ``epochs``, ``top1`` (last epoch), ``best_top1`` (the weights that are kept),
        ``seconds`` and ``clips_per_second`` of training.

    Raises:
        GateshiftError: data, settings or weights that cannot be used, each with what to do.
        KeyboardInterrupt: stopped by Ctrl-C or SIGTERM, after saving.
    """
    recipe = choose_recipe(recipe, Path(data))
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
            "val_fraction": val_fraction,
            "precision": precision,
            "seed": seed,
        }
    )
    return train_config(config, Path(data), recipe=recipe, out=out, workers=workers, device=device)


def train_config(
    config: TrainConfig,
    data: Path,
    *,
    recipe: str = "",
    out: Path | None = None,
    workers: int = 2,
    device: str = "auto",
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
    with accelerator.main_process_first():
        run = open_run(out, config, data, main=accelerator.is_main_process)
    learner = build_learner(run, accelerator, workers)
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
            scores = validate(learner)
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
    started = last_save = time.monotonic()
    loaded = load_batches(learner, batches[position.step :], position.epoch)
    with closing(loaded), epoch_bar(learner, position, len(batches)) as bar:
        for step, (clips, labels) in enumerate(loaded, start=position.step):
            window = step // config.accumulate
            in_window = batches[window * config.accumulate : (window + 1) * config.accumulate]
            num_clips = sum(map(len, in_window))
            ends_window = (step + 1) % config.accumulate == 0 or step + 1 == len(batches)
            set_learning_rate(learner.optimizer, config, position.epoch + window / num_windows)

            seed_step(config.seed, position.epoch, step, accelerator.process_index)
            with nullcontext() if ends_window else accelerator.no_sync(learner.parallel):
                loss, right = forward_backward(learner, clips, labels, num_clips)
            totals += torch.stack([loss, right, torch.full_like(right, len(labels))])
            bar.advance()
            if not ends_window:
                continue

            step_optimizer(learner)
            now = time.monotonic()
            if stop or now - last_save > SAVE_SECONDS:
                position.step, position.totals = step + 1, totals.tolist()
                require_finite(position, config)
                position.seconds += now - started
                learner.save(position)
                started = last_save = now
            if stop:
                raise KeyboardInterrupt(stopped_message(learner.run, position))
    position.totals = accelerator.reduce(totals).tolist()
    position.seconds += time.monotonic() - started
    require_finite(position, config)


def require_finite(position: Position, config: TrainConfig) -> None:
    """Refuse to go on, or to save, once the loss is no number: the state on disk is still a good one."""
    if not np.isfinite(position.totals[0]):
        raise GateshiftError(
            f"the training loss of epoch {position.epoch + 1} is {position.totals[0]}. The state before it "
            f"is kept; train anew with a lower --lr (it was {config.lr}) and another --out."
        )


def close_epoch(learner: Learner, position: Position, scores: Scores) -> None:
    """Log the epoch, keep its weights if they are the best so far, save the state."""
    config = learner.config
    loss_sum, right, clips = position.totals
    val = summary(scores)
    val_loss = mean_loss(scores)
    row = {
        "epoch": position.epoch + 1,
        "lr": learner.optimizer.param_groups[-1]["lr"],
        "train_loss": loss_sum / clips,
        "train_top1": right / clips,
        "val_loss": val_loss,
        "val_top1": val["top1"],
        "val_top5": val["top5"],
        "mean_class_accuracy": val["mean_class_accuracy"],
        "seconds": round(position.seconds, 3),
        "clips_per_second": round(clips / max(position.seconds, 1e-9), 3),
    }
    if [val["top1"], -val_loss] > position.best:
        position.best = [val["top1"], -val_loss]
        if learner.accelerator.is_main_process:
            scores.save(learner.run.scores)
            save_weights(
                learner.model,
                learner.run.weights,
                recipe=json.dumps(config.to_json()),
                accuracy={"top1": val["top1"], "mean_class_accuracy": val["mean_class_accuracy"]},
                trained_on=learner.run.annotations.dataset or str(learner.run.data),
            )
    position.history.append(row)
    position.epoch, position.step = position.epoch + 1, 0
    position.totals, position.seconds = [0.0, 0.0, 0.0], 0.0
    learner.save(position)
    if learner.accelerator.is_main_process:
        console().print(
            f"epoch {position.epoch}/{config.epochs}  loss {row['train_loss']:.3f}  "
            f"train {row['train_top1']:.1%}  val {row['val_top1']:.1%} (best {position.best[0]:.1%})  "
            f"{row['clips_per_second']:.1f} clips/s"
        )


def mean_loss(scores: Scores) -> float:
    """Return the mean cross-entropy of ``scores``."""
    return F.cross_entropy(torch.from_numpy(scores.logits), torch.from_numpy(scores.labels)).item()


def rehearse(learner: Learner) -> None:
    """Run one training and one validation batch and a save before the first epoch, and estimate the time.

    What would fail after an hour fails now. The model is put back as it was.
    """
    num_clips = learner.config.batch_size
    kept = {name: tensor.clone() for name, tensor in learner.model.state_dict().items()}
    batches = epoch_batches(len(learner.train_clips), learner.config, epoch=0)
    set_train_mode(learner)
    steps = []
    loaded = load_batches(learner, batches[:3], epoch=0)
    shown = learner.accelerator.is_main_process
    with closing(loaded), progress_bar("rehearsal", 4, shown=shown) as bar:
        for clips, labels in loaded:
            started = time.monotonic()
            forward_backward(learner, clips, labels, len(labels))
            steps.append(time.monotonic() - started)
            bar.advance()
        started = time.monotonic()
        views = learner.val_views
        some = EvalViews(views.annotations, views.records[:num_clips], views.num_segments, views.spec)
        validate(learner, some)
        validation = (time.monotonic() - started) / len(some) * len(views)
        bar.advance()
    learner.optimizer.zero_grad()
    learner.model.load_state_dict(kept)
    learner.save(Position())
    epochs = learner.config.epochs
    estimate = epochs * (len(batches) * min(steps) + validation)  # the first step also sets things up
    if learner.accelerator.is_main_process:
        console().print(f"rehearsal passed; about {duration(estimate)} for {epochs} epochs")


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
    return {
        "run": str(run.dir),
        "weights": str(run.weights),
        "epochs": position.epoch,
        "top1": position.history[-1]["val_top1"],
        "best_top1": position.best[0],
        "seconds": seconds,
        "clips_per_second": num_clips * position.epoch / max(seconds, 1e-9),
    }
