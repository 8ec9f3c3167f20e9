"""A learner: what one process trains with, and the steps it can take.

Randomness is a function of (seed, epoch, step) alone, so a run that was stopped anywhere ends as the unbroken
one does, with any number of workers.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.nn import functional as F

from gateshift.data.augment import parse_augment
from gateshift.data.dataset import EvalViews, TrainClips
from gateshift.data.transforms import normalize, train_transform
from gateshift.engine.config import TrainConfig
from gateshift.engine.device import compile_backbone, pick_precision, prepare_for_speed, training_pass
from gateshift.engine.inference import Inference, Unreadable
from gateshift.engine.mixing import Mixing, share_right
from gateshift.engine.optim import build_optimizer, freeze_batch_norms
from gateshift.engine.run import Position, Run
from gateshift.engine.scores import Scores
from gateshift.engine.trial import score, score_readable
from gateshift.errors import ConfigError, WeightsError
from gateshift.models.classifier import VideoClassifier
from gateshift.models.registry import create_model
from gateshift.models.temporal_options import parse_options


@dataclass
class Learner:
    """What one process trains with."""

    run: Run
    accelerator: Accelerator
    device: torch.device
    precision: torch.dtype
    model: VideoClassifier
    parallel: nn.Module
    optimizer: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    train_clips: TrainClips
    val_views: EvalViews
    mixing: Mixing
    workers: int
    checkpoint_activations: bool = False

    @property
    def config(self) -> TrainConfig:
        """The run's config."""
        return self.run.config

    def state(self) -> dict[str, Any]:
        """Return the tensors that a resume needs."""
        return {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Take back what ``state`` returned."""
        try:
            self.model.load_state_dict(state["model"])
        except RuntimeError as error:
            raise WeightsError(
                f"{self.run.dir / 'last'} does not fit the {self.config.model} of this version: "
                f"{str(error).splitlines()[-1].strip()} Train anew with another --out."
            ) from error
        self.optimizer.load_state_dict(state["optimizer"])
        if self.scaler.is_enabled():
            self.scaler.load_state_dict(state["scaler"])

    def save(self, position: Position) -> None:
        """Write the state of the run, from the main process."""
        if self.accelerator.is_main_process:
            self.run.save(position, self.state())


def build_learner(
    run: Run,
    accelerator: Accelerator,
    workers: int,
    checkpoint_activations: bool = False,
    compiled: bool = False,
) -> Learner:
    """Build model, optimiser and data of ``run`` for this process."""
    config, annotations = run.config, run.annotations
    if config.batch_size % accelerator.num_processes:
        raise ConfigError(
            f"batch_size {config.batch_size} does not divide over {accelerator.num_processes} processes. "
            f"Give a multiple of {accelerator.num_processes}."
        )
    torch.manual_seed(config.seed)
    with accelerator.local_main_process_first():  # one process of a machine fetches the weights
        model = create_model(
            config.model,
            len(annotations.classes),
            config.num_segments,
            pretrained=config.pretrained,
            dropout=config.dropout,
            modality=config.modality,
            size=config.size or None,
            **parse_options(config.temporal_options),
        )
    model.classes, model.label_swaps = annotations.classes, annotations.label_swaps
    if config.partial_bn:
        freeze_batch_norms(model)
    prepare_for_speed(model)
    parallel = accelerator.prepare(model)
    if compiled:
        compile_backbone(model)
    precision = pick_precision(config.precision, accelerator.device)
    swaps = annotations.swap_indices
    augment = parse_augment(config.augment)
    return Learner(
        run=run,
        accelerator=accelerator,
        device=accelerator.device,
        precision=precision,
        model=model,
        parallel=parallel,
        optimizer=build_optimizer(model, config),
        scaler=torch.amp.GradScaler(accelerator.device.type, enabled=precision == torch.float16),
        train_clips=TrainClips(
            annotations,
            "train",
            config.num_segments,
            train_transform(model.input_spec, swaps, flip=config.flip, augment=augment),
            config.seed,
            config.modality,
        ),
        val_views=EvalViews(annotations, "val", config.num_segments, model.input_spec, 1, 1),
        mixing=Mixing(augment, len(annotations.classes)),
        workers=workers,
        checkpoint_activations=checkpoint_activations,
    )


def set_train_mode(learner: Learner) -> None:
    """Put the model in training mode, frozen batch-norms excepted."""
    learner.model.train()
    if learner.config.partial_bn:
        freeze_batch_norms(learner.model)


def seed_step(seed: int, epoch: int, step: int, rank: int) -> None:
    """Seed dropout and mixing as a function of the place in training, so that a resume draws the same."""
    torch.manual_seed(int(np.random.SeedSequence((seed, epoch, step, rank)).generate_state(1)[0]))


def mixing_rng() -> np.random.Generator:
    """Return a generator for the clips of one step, which follows from torch's: see ``seed_step``."""
    return np.random.default_rng(int(torch.randint(2**62, ())))


def forward_backward(
    learner: Learner, clips: Tensor, labels: Tensor, num_clips: int
) -> tuple[Tensor, Tensor]:
    """Add the gradients of one batch; return its summed loss and its right predictions.

    ``num_clips`` is the number of clips of the whole window, over all processes.
    """
    inputs, targets = normalize(clips, learner.model.input_spec), labels
    if learner.mixing:
        inputs, targets = learner.mixing(inputs, labels, mixing_rng())
    with training_pass(learner.device, learner.precision, learner.checkpoint_activations):
        logits = learner.parallel(inputs).float()
    loss = F.cross_entropy(logits, targets, label_smoothing=learner.config.label_smoothing, reduction="sum")
    # DistributedDataParallel averages over processes: the factor turns that into a mean over clips.
    learner.scaler.scale(loss * learner.accelerator.num_processes / num_clips).backward()
    return loss.detach(), share_right(logits.detach(), targets)


def learn(learner: Learner, clips: Tensor | None, labels: Tensor, num_clips: int) -> tuple[Tensor, Tensor]:
    """Do ``forward_backward`` where there are clips; without any, only what other processes wait for."""
    if clips is None:
        return keep_pace(learner)
    return forward_backward(learner, clips, labels, num_clips)


def keep_pace(learner: Learner) -> tuple[Tensor, Tensor]:
    """Take the place of ``forward_backward`` in a process without clips: others wait for its gradients."""
    nothing = torch.zeros((), device=learner.device)
    if learner.accelerator.num_processes > 1:
        spec = learner.model.input_spec
        shape = (1, learner.config.num_segments, spec.in_channels, spec.size, spec.size)
        learner.model.eval()  # no batch-norm learns from it
        logits = learner.parallel(torch.zeros(shape, device=learner.device))
        logits.backward(torch.zeros_like(logits))
        set_train_mode(learner)
    return nothing, nothing


def weigh_gradients(learner: Learner, factor: float) -> None:
    """Multiply all gradients by ``factor``."""
    for parameter in learner.model.parameters():
        if parameter.grad is not None:
            parameter.grad.mul_(factor)


def step_optimizer(learner: Learner) -> None:
    """Clip the gradients of a full window and step."""
    learner.scaler.unscale_(learner.optimizer)
    if learner.config.clip_grad:
        nn.utils.clip_grad_norm_(learner.model.parameters(), learner.config.clip_grad)
    learner.scaler.step(learner.optimizer)
    learner.scaler.update()
    learner.optimizer.zero_grad()


def validate(learner: Learner, views: EvalViews | None = None) -> tuple[Scores, list[Unreadable]]:
    """Score the validation videos (or ``views``), one centre view each, in the run's precision.

    Returns the scores, and the videos that are not among them where bad ones are to be skipped.

    Raises:
        VideoError: a video cannot be read, and bad videos are not to be skipped.
    """
    how = Inference(learner.device, learner.precision, learner.config.batch_size, learner.workers)
    views, swaps = views or learner.val_views, learner.run.annotations.swap_indices
    if learner.config.on_bad_video == "error":
        return score(learner.model, views, how, label_swaps=swaps), []
    return score_readable(learner.model, views, how, label_swaps=swaps)
