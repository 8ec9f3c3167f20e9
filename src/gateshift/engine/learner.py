"""A learner: what one process trains with, and the steps it can take.

Randomness is a function of (seed, epoch, step) alone, so a run that was stopped anywhere ends as the unbroken
one does, with any number of workers.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor, nn

from gateshift.data.augment import parse_augment
from gateshift.data.dataset import EvalViews, TrainClips
from gateshift.data.transforms import normalize, train_transform
from gateshift.engine.averaging import WeightAverage
from gateshift.engine.config import TrainConfig
from gateshift.engine.device import compile_backbone, pick_precision, prepare_for_speed, training_pass
from gateshift.engine.freezing import choose_learning, hold_norms
from gateshift.engine.inference import Inference, Unreadable
from gateshift.engine.mixing import Mixing, share_right
from gateshift.engine.objective import Objective, build_objective
from gateshift.engine.optim import build_optimizer
from gateshift.engine.processes import require_shares, share_buffers, share_dropout, share_network
from gateshift.engine.run import Position, Run
from gateshift.engine.trial import score, score_readable
from gateshift.engine.unwatched import Unwatched
from gateshift.errors import DataError, WeightsError
from gateshift.evidence.scores import Scores
from gateshift.models.classifier import VideoClassifier
from gateshift.models.registry import create_model
from gateshift.models.temporal_options import parse_options
from gateshift.nn.sync_norm import without_clips


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
    objective: Objective
    average: WeightAverage | None
    workers: int
    checkpoint_activations: bool = False
    watch: Unwatched = field(default_factory=Unwatched)

    @property
    def config(self) -> TrainConfig:
        """The run's config."""
        return self.run.config

    @property
    def kept(self) -> VideoClassifier:
        """The network that is validated and kept: the average of the weights, if there is one."""
        return self.average.network if self.average else self.model

    def state(self) -> dict[str, Any]:
        """Return the tensors that a resume needs."""
        return {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            **({"average": self.average.state()} if self.average else {}),
            **({"teacher": self.objective.teacher.fingerprint} if self.objective.teacher else {}),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Take back what ``state`` returned.

        Raises:
            WeightsError: it is of another network.
            DataError: the teacher's scores are not those that the run began with.
        """
        if self.objective.teacher and self.objective.teacher.fingerprint != state["teacher"]:
            raise DataError(
                f"the scores in {self.config.distill!r} changed since {self.run.dir} began. "
                "Restore them, or give another --out."
            )
        try:
            self.model.load_state_dict(state["model"])
            if self.average:
                self.average.restore(state["average"])
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
            self.watch.saved(position)


def build_learner(
    run: Run,
    accelerator: Accelerator,
    workers: int,
    checkpoint_activations: bool = False,
    compiled: bool = False,
) -> Learner:
    """Build model, optimiser and data of ``run`` for this process."""
    config, annotations = run.config, run.annotations
    require_shares(config.batch_size, accelerator.num_processes)
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
    share_network(model, accelerator, config.sync_bn)
    choose_learning(model, config, config.epochs - 1)  # all that the optimiser is to have
    prepare_for_speed(model)
    parallel = accelerator.prepare(model)
    average = WeightAverage(model, config.ema) if config.ema else None
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
        objective=build_objective(config, annotations, accelerator.device),
        average=average,
        workers=workers,
        checkpoint_activations=checkpoint_activations,
    )


def enter_epoch(learner: Learner, epoch: int) -> None:
    """Let the layers learn that learn in ``epoch``, counted from 0, and put the model in training mode."""
    changed = choose_learning(learner.model, learner.config, epoch)
    if changed and learner.accelerator.num_processes > 1:  # the wrapper waits for the gradients it began with
        learner.accelerator.free_memory()  # or it would hold on to the old one
        learner.parallel = learner.accelerator.prepare(learner.model)
    set_train_mode(learner)


def set_train_mode(learner: Learner) -> None:
    """Put the model in training mode, but for the batch-norms whose parameters do not learn."""
    learner.model.train()
    hold_norms(learner.model)


def begin_batch(learner: Learner, epoch: int, step: int, num_clips: int) -> None:
    """Seed dropout and mixing as a function of the place in training, so that a resume draws the same.

    ``num_clips`` is the number of clips of the batch, over all processes, which draw alike for all of them.
    """
    torch.manual_seed(int(np.random.SeedSequence((learner.config.seed, epoch, step, 0)).generate_state(1)[0]))
    share_dropout(learner.model, num_clips)


def mixing_rng(rank: int) -> np.random.Generator:
    """Return a generator for a process's clips of one batch, which follows from torch's: ``begin_batch``."""
    drawn = int(torch.randint(2**62, ()))
    return np.random.default_rng((drawn, rank) if rank else drawn)


def forward_backward(
    learner: Learner, clips: Tensor, labels: Tensor, num_clips: int, taught: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Add the gradients of one batch; return its summed loss and its right predictions.

    ``num_clips`` is the number of clips of the whole window, over all processes; ``taught`` what a teacher
    says of these.
    """
    inputs, targets = normalize(clips, learner.model.input_spec), labels
    if learner.mixing:
        rng = mixing_rng(learner.accelerator.process_index)
        inputs, targets, taught = learner.mixing(inputs, labels, rng, taught)
    with training_pass(learner.device, learner.precision, learner.checkpoint_activations):
        logits = learner.parallel(inputs).float()
    loss = learner.objective(logits, targets, taught)
    # DistributedDataParallel averages over processes: the factor turns that into a mean over clips.
    learner.scaler.scale(loss * learner.accelerator.num_processes / num_clips).backward()
    return loss.detach(), share_right(logits.detach(), targets)


def learn(
    learner: Learner, clips: Tensor | None, labels: Tensor, num_clips: int, taught: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Do ``forward_backward`` where there are clips; without any, only what other processes wait for."""
    if clips is None:
        return keep_pace(learner)
    return forward_backward(learner, clips, labels, num_clips, taught)


def keep_pace(learner: Learner) -> tuple[Tensor, Tensor]:
    """Take the place of ``forward_backward`` in a process without clips: others wait for its gradients."""
    nothing = torch.zeros((), device=learner.device)
    if learner.accelerator.num_processes > 1:
        spec = learner.model.input_spec
        shape = (1, learner.config.num_segments, spec.in_channels, spec.size, spec.size)
        if not learner.config.sync_bn:
            learner.model.eval()  # no batch-norm learns from it
        how = training_pass(learner.device, learner.precision, learner.checkpoint_activations)
        with without_clips(), how:
            logits = learner.parallel(torch.zeros(shape, device=learner.device)).float()
        logits.backward(torch.zeros_like(logits))
        set_train_mode(learner)
    return nothing, nothing


def weigh_gradients(learner: Learner, factor: float) -> None:
    """Multiply all gradients by ``factor``."""
    for parameter in learner.model.parameters():
        if parameter.grad is not None:
            parameter.grad.mul_(factor)


def step_optimizer(learner: Learner, require: Callable[[Tensor], None] | None = None) -> None:
    """Clip the gradients of a full window and step, unless ``require`` refuses the norm of the gradients."""
    learner.scaler.unscale_(learner.optimizer)
    parameters = list(learner.model.parameters())
    norm = nn.utils.get_total_norm([parameter.grad for parameter in parameters if parameter.grad is not None])
    if require:
        require(norm)
    if learner.config.clip_grad:
        nn.utils.clip_grads_with_norm_(parameters, learner.config.clip_grad, norm)
    learner.scaler.step(learner.optimizer)
    learner.scaler.update()
    learner.optimizer.zero_grad()
    if learner.average:
        learner.average.update(learner.model)


def validate(learner: Learner, views: EvalViews | None = None) -> tuple[Scores, list[Unreadable]]:
    """Score the validation videos (or ``views``), one centre view each, in the run's precision.

    Returns the scores, and the videos that are not among them where bad ones are to be skipped.

    Raises:
        VideoError: a video cannot be read, and bad videos are not to be skipped.
    """
    how = Inference(learner.device, learner.precision, learner.config.batch_size, learner.workers)
    share_buffers(learner.kept, learner.accelerator.num_processes)
    views, swaps = views or learner.val_views, learner.run.annotations.swap_indices
    if learner.config.on_bad_video == "error":
        return score(learner.kept, views, how, label_swaps=swaps), []
    return score_readable(learner.kept, views, how, label_swaps=swaps)
