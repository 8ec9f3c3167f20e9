"""A learner: what one process trains with, and the steps it can take.

Randomness is a function of (seed, epoch, step) alone, so a run that was stopped anywhere ends as the unbroken
one does, with any number of workers.
"""

from collections.abc import Generator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset, default_collate

from gateshift.data.dataset import EvalViews, TrainClips
from gateshift.data.transforms import normalize, train_transform
from gateshift.engine.config import TrainConfig
from gateshift.engine.device import autocast, pick_precision, prepare_for_speed
from gateshift.engine.inference import Inference
from gateshift.engine.optim import build_optimizer, freeze_batch_norms
from gateshift.engine.run import Position, Run
from gateshift.engine.scores import Scores
from gateshift.engine.stopping import outlive_stop_requests
from gateshift.engine.trial import score
from gateshift.errors import ConfigError, VideoError, WeightsError
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
    workers: int

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


def build_learner(run: Run, accelerator: Accelerator, workers: int) -> Learner:
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
    precision = pick_precision(config.precision, accelerator.device)
    swaps = annotations.swap_indices
    return Learner(
        run=run,
        accelerator=accelerator,
        device=accelerator.device,
        precision=precision,
        model=model,
        parallel=accelerator.prepare(model),
        optimizer=build_optimizer(model, config),
        scaler=torch.amp.GradScaler(accelerator.device.type, enabled=precision == torch.float16),
        train_clips=TrainClips(
            annotations,
            "train",
            config.num_segments,
            train_transform(model.input_spec, swaps, flip=config.flip),
            config.seed,
            config.modality,
        ),
        val_views=EvalViews(annotations, "val", config.num_segments, model.input_spec, 1, 1),
        workers=workers,
    )


def epoch_batches(num_videos: int, config: TrainConfig, epoch: int) -> list[np.ndarray]:
    """Return the videos of each batch of ``epoch``, a function of seed and epoch alone."""
    order = np.random.default_rng((config.seed, epoch)).permutation(num_videos)
    return np.split(order, range(config.batch_size, num_videos, config.batch_size))


class _OrReason(Dataset[Any]):
    """Training clips, with the reason in place of one that cannot be read: tracebacks help nobody."""

    def __init__(self, clips: TrainClips) -> None:
        self.clips = clips

    def __len__(self) -> int:
        return len(self.clips)

    def __getitem__(self, index: int) -> Any:
        try:
            return self.clips[index]
        except VideoError as error:
            return str(error)


def _collate(items: list[Any]) -> Any:
    reasons = [item for item in items if isinstance(item, str)]
    return reasons[0] if reasons else default_collate(items)


def load_batches(
    learner: Learner, batches: list[np.ndarray], epoch: int
) -> Generator[tuple[Tensor, Tensor], None, None]:
    """Yield this process's share of each batch: clips (b, T, 3, S, S) uint8 and labels (b,), on the device.

    Close it when done: its workers outlive signals.

    Raises:
        VideoError: a video cannot be read.
    """
    rank, world = learner.accelerator.process_index, learner.accelerator.num_processes
    learner.train_clips.set_epoch(epoch)
    loader: DataLoader[Any] = DataLoader(
        _OrReason(learner.train_clips),
        collate_fn=_collate,
        batch_sampler=[batch[rank::world].tolist() for batch in batches],
        num_workers=learner.workers,
        worker_init_fn=outlive_stop_requests,
        generator=torch.Generator(),  # or the loader would draw from the generator of training
        pin_memory=learner.device.type == "cuda",
    )
    for batch in loader:
        if isinstance(batch, str):
            raise VideoError(f"{batch} Mend or remove the video; the run is kept up to its last save.")
        clips, labels, _ = batch
        yield (
            clips[:, 0].to(learner.device, non_blocking=True),
            labels.to(learner.device, non_blocking=True),
        )


def set_train_mode(learner: Learner) -> None:
    """Put the model in training mode, frozen batch-norms excepted."""
    learner.model.train()
    if learner.config.partial_bn:
        freeze_batch_norms(learner.model)


def seed_step(seed: int, epoch: int, step: int, rank: int) -> None:
    """Seed dropout as a function of the place in training, so that a resume draws the same."""
    torch.manual_seed(int(np.random.SeedSequence((seed, epoch, step, rank)).generate_state(1)[0]))


def forward_backward(
    learner: Learner, clips: Tensor, labels: Tensor, num_clips: int
) -> tuple[Tensor, Tensor]:
    """Add the gradients of one batch; return its summed loss and its right predictions.

    ``num_clips`` is the number of clips of the whole window, over all processes.
    """
    with autocast(learner.device, learner.precision):
        logits = learner.parallel(normalize(clips, learner.model.input_spec)).float()
    loss = F.cross_entropy(logits, labels, label_smoothing=learner.config.label_smoothing, reduction="sum")
    # DistributedDataParallel averages over processes: the factor turns that into a mean over clips.
    learner.scaler.scale(loss * learner.accelerator.num_processes / num_clips).backward()
    return loss.detach(), (logits.detach().argmax(1) == labels).sum().float()


def step_optimizer(learner: Learner) -> None:
    """Clip the gradients of a full window and step."""
    learner.scaler.unscale_(learner.optimizer)
    if learner.config.clip_grad:
        nn.utils.clip_grad_norm_(learner.model.parameters(), learner.config.clip_grad)
    learner.scaler.step(learner.optimizer)
    learner.scaler.update()
    learner.optimizer.zero_grad()


def validate(learner: Learner, views: EvalViews | None = None) -> Scores:
    """Score the validation videos (or ``views``), one centre view each, in the run's precision."""
    how = Inference(learner.device, learner.precision, learner.config.batch_size, learner.workers)
    swaps = learner.run.annotations.swap_indices
    return score(learner.model, views or learner.val_views, how, label_swaps=swaps)
