"""The loop of training, written out."""

from contextlib import AbstractContextManager, closing, nullcontext
from pathlib import Path
from typing import Any

import torch

from gateshift.engine.bad_videos import leave_out, require_some, settle_window
from gateshift.engine.batch_fit import fit_to_memory
from gateshift.engine.config import TrainConfig
from gateshift.engine.early_stopping import is_over, stop_message, stops_early
from gateshift.engine.epoch_end import close_epoch
from gateshift.engine.faults import naming_faults
from gateshift.engine.finite import FiniteCheck, require_finite_scores
from gateshift.engine.inference import Unreadable
from gateshift.engine.learner import (
    Learner,
    begin_batch,
    build_learner,
    enter_epoch,
    learn,
    step_optimizer,
    validate,
)
from gateshift.engine.loading import epoch_batches, load_batches
from gateshift.engine.optim import set_learning_rate
from gateshift.engine.plan import show_plan
from gateshift.engine.processes import Agreement, collect_totals, join_processes, load_for_all
from gateshift.engine.progress import Bar, console, progress_bar
from gateshift.engine.rehearsal import rehearse
from gateshift.engine.run import Position, Run, default_run_dir, open_run
from gateshift.engine.stopping import StopRequest, stop_requests
from gateshift.engine.tally import Tally
from gateshift.engine.tracking import parse_trackers
from gateshift.engine.watching import finish_page, watched
from gateshift.models.input_size import require_size
from gateshift.models.registry import create_model
from gateshift.models.temporal_options import parse_options

SAVE_SECONDS = 60.0


@naming_faults
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
    track: str = "",
    unscaled_lr: float | None = None,
) -> dict[str, Any]:
    """Train what ``config`` says on ``data``; the same call again resumes. Returns what `train` returns.

    ``recipe`` is the name of what the config started from, and ``unscaled_lr`` its learning rate before it
    was scaled to the batch: for the plan that is shown.
    """
    refuse_model(config)
    trackers = parse_trackers(track)
    accelerator = join_processes(device)
    out = Path(out) if out else default_run_dir(data, config.model, config.modality)
    if fit_batch:
        config = fit_to_memory(config, data, out, accelerator, checkpoint_activations)
    with accelerator.main_process_first():
        run = open_run(out, config, data, main=accelerator.is_main_process)
    learner = build_learner(run, accelerator, workers, checkpoint_activations, compiled)
    position, state = load_for_all(run, accelerator)
    if state is not None:
        learner.restore(state)
    if accelerator.is_main_process:
        show_plan(run, learner.model, learner.device, learner.precision, recipe, unscaled_lr)
    if state is None:
        rehearse(learner)
    elif accelerator.is_main_process:
        console().print(f"resuming after epoch {position.epoch}, batch {position.step}")

    with stop_requests() as stop, watched(learner, position, trackers):
        while not is_over(position.history, config):
            train_one_epoch(learner, position, stop)
            scores, bad = validate(learner)
            require_finite_scores(learner, position, scores)
            leave_out(learner, position, "val", bad)
            require_some(learner, position, "val", len(scores.videos))
            close_epoch(learner, position, scores)
    if accelerator.is_main_process:
        if stops_early(position.history, config):
            console().print(stop_message(position.history, config))
        finish_page(run.dir)
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
    enter_epoch(learner, position.epoch)
    batches = epoch_batches(learner.train_clips.labels, config, position.epoch)
    num_windows = -(-len(batches) // config.accumulate)
    bad: list[Unreadable] = []
    tally, agree = Tally(position, learner.device), Agreement(accelerator)
    check = FiniteCheck(learner, position.epoch, batches)
    begun = position.step

    def save(steps: int) -> None:
        """Save after so many batches of the epoch, where a window ends."""
        tally.totals = collect_totals(tally.totals, accelerator)
        check.require_weights()
        position.step = steps
        tally.settle(position)
        learner.save(position)

    def save_at_fault(num_read: int) -> None:
        """Save where the next batch cannot be read, if that is the end of a window for all processes."""
        if num_read and num_read % config.accumulate == 0 and accelerator.num_processes == 1:
            save(begun + num_read)

    loaded = load_batches(learner, batches[begun:], position.epoch, save_at_fault)
    with closing(loaded), epoch_bar(learner, position, len(batches)) as bar:
        for step, batch in enumerate(tally.waiting.over(loaded), start=begun):
            window = step // config.accumulate
            in_window = batches[window * config.accumulate : (window + 1) * config.accumulate]
            num_clips = sum(map(len, in_window))
            ends_window = (step + 1) % config.accumulate == 0 or step + 1 == len(batches)
            set_learning_rate(learner.optimizer, config, position.epoch + window / num_windows)

            begin_batch(learner, position.epoch, step, len(batches[step]))
            with nullcontext() if ends_window else accelerator.no_sync(learner.parallel):
                loss, right = learn(learner, batch.clips, batch.labels, num_clips, batch.taught)
            check.note_loss(step, loss)
            tally.add(loss, right, len(batch.labels))
            bad += batch.bad
            bar.advance()
            if not ends_window:
                continue

            if settle_window(learner, position, bad, num_clips):
                step_optimizer(learner, check.note_gradients)
            bad = []
            learner.watch.window(position, step + 1, tally, bar)
            stopping, saving = agree(bool(stop), tally.seconds > SAVE_SECONDS, step + 1 == len(batches))
            if stopping or saving:
                save(step + 1)
            if stopping:
                accelerator.wait_for_everyone()  # a launcher may end all of them once one has gone
                raise KeyboardInterrupt(stopped_message(learner.run, position))
    tally.totals = accelerator.reduce(tally.totals)
    tally.settle(position)
    check.require_weights()
    require_some(learner, position, "train", position.totals[2])


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
        "stopped_early": stops_early(position.history, run.config),
        "top1": position.history[-1]["val_top1"],
        "best_top1": position.best[0],
        "seconds": seconds,
        "clips_per_second": num_clips * position.epoch / max(seconds, 1e-9),
        "data_wait": waited / max(seconds, 1e-9),
        "bad_videos": len(position.bad_videos),
    }
