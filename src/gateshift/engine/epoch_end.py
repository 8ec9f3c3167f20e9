"""What the end of an epoch means: a row in the log, a line for people, the best weights kept, all saved."""

import json
from collections.abc import Mapping

import torch
from torch.nn import functional as F

from gateshift.engine.config import TrainConfig
from gateshift.engine.learner import Learner
from gateshift.engine.optim import current_rate
from gateshift.engine.progress import console
from gateshift.engine.run import Position
from gateshift.engine.waiting import SECONDS, waiting_advice
from gateshift.evidence.calibration import fit_temperature
from gateshift.evidence.metrics import accuracies
from gateshift.evidence.scores import Scores
from gateshift.models.weights import save_weights


def close_epoch(learner: Learner, position: Position, scores: Scores) -> None:
    """Log the epoch, keep its weights if they are the best so far, save the state."""
    config = learner.config
    loss_sum, right, clips = position.totals
    val = accuracies(scores)
    val_loss = mean_loss(scores)
    row = {
        "epoch": position.epoch + 1,
        "lr": current_rate(learner.optimizer),
        "train_loss": loss_sum / clips,
        "train_top1": right / clips,
        "val_loss": val_loss,
        "val_top1": val["top1"],
        "val_top5": val["top5"],
        "mean_class_accuracy": val["mean_class_accuracy"],
        "seconds": round(position.seconds, 3),
        "clips_per_second": round(clips / max(position.seconds, 1e-9), 3),
        "data_wait": round(position.waited / max(position.seconds, 1e-9), 3),
        "left_out": position.left_out,
    }
    advice = waiting_advice(row["data_wait"], learner.workers) if position.waited > SECONDS else ""
    if [val["top1"], -val_loss] > position.best:
        position.best = [val["top1"], -val_loss]
        if learner.accelerator.is_main_process:
            scores.save(learner.run.scores)
            learner.kept.temperature = fit_temperature(scores)
            save_weights(
                learner.kept,
                learner.run.weights,
                recipe=json.dumps(config.to_json()),
                accuracy={"top1": val["top1"], "mean_class_accuracy": val["mean_class_accuracy"]},
                trained_on=learner.run.annotations.dataset or str(learner.run.data),
            )
    position.history.append(row)
    position.epoch, position.step = position.epoch + 1, 0
    position.totals, position.seconds, position.waited, position.left_out = [0.0, 0.0, 0.0], 0.0, 0.0, 0
    position.gates += learner.watch.gates(position.epoch)
    learner.save(position)
    if learner.accelerator.is_main_process:
        console().print(epoch_line(position, row, config) + learner.watch.time_left(position))
        if advice and position.epoch == 1:
            console().print(advice)


def epoch_line(position: Position, row: Mapping[str, float], config: TrainConfig) -> str:
    """Say what an epoch came to."""
    left_out = f"  {row['left_out']} clips left out" if row["left_out"] else ""
    return (
        f"epoch {position.epoch}/{config.epochs}  loss {row['train_loss']:.3f}  "
        f"train {row['train_top1']:.1%}  val {row['val_top1']:.1%} (best {position.best[0]:.1%})  "
        f"{row['clips_per_second']:.1f} clips/s  data wait {row['data_wait']:.0%}{left_out}"
    )


def mean_loss(scores: Scores) -> float:
    """Return the mean cross-entropy of ``scores``."""
    return F.cross_entropy(torch.from_numpy(scores.logits), torch.from_numpy(scores.labels)).item()
