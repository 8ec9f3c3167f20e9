"""Batches of training clips for one process: which videos, in which order, and what to do with bad ones.

The videos of a batch are a function of (seed, epoch) alone. One that cannot be read is never replaced: it
ends training, or its clip is missing from its batch.
"""

from collections.abc import Callable, Generator
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, default_collate

from gateshift.data.dataset import TrainClips
from gateshift.engine.balance import balanced_draws
from gateshift.engine.config import TrainConfig
from gateshift.engine.inference import Unreadable
from gateshift.engine.learner import Learner
from gateshift.engine.lost_workers import deaths_found_by_waiting, read_on
from gateshift.engine.stopping import outlive_stop_requests
from gateshift.errors import FaultError, VideoError


class Batch(NamedTuple):
    """One process's share of a batch.

    Attributes:
        clips: (b, T, 3, S, S) uint8; None where there are none.
        labels: (b,).
        bad: the videos whose clips are missing.
        taught: what the teacher says of the clips, (b, K) probabilities; None without a teacher.
    """

    clips: Tensor | None
    labels: Tensor
    bad: list[Unreadable]
    taught: Tensor | None = None


def epoch_batches(labels: np.ndarray, config: TrainConfig, epoch: int) -> list[np.ndarray]:
    """Return the draws of each batch of ``epoch``, a function of labels (M,), seed and epoch alone.

    A draw is the index of one of the M videos; M more for each time that the epoch has it again.
    """
    order = np.random.default_rng((config.seed, epoch)).permutation(len(labels))
    if config.balance == "sampling":
        order = balanced_draws(labels, config.seed, epoch)[order]
    return np.split(order, range(config.batch_size, len(order), config.batch_size))


def load_batches(
    learner: Learner,
    batches: list[np.ndarray],
    epoch: int,
    at_fault: Callable[[int], None] | None = None,
) -> Generator[Batch, None, None]:
    """Yield this process's share of each batch, on the device.

    Close it when done: its workers outlive signals. Where the next batch cannot be read, ``at_fault`` is
    called with the number of those that could.

    Raises:
        VideoError: a video cannot be read, and bad videos are not to be skipped.
        FaultError: a worker died.
    """
    rank, world = learner.accelerator.process_index, learner.accelerator.num_processes
    teacher = learner.objective.teacher
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
    num_read, shares = 0, read_on(loader)
    try:
        with deaths_found_by_waiting():
            for clips, labels, bad, mirrored, videos in shares:
                if bad and learner.config.on_bad_video == "error":
                    raise VideoError(
                        f"{bad[0].reason} Mend or remove the video, or leave it out with "
                        "--on-bad-video skip; the run is kept up to its last save."
                    )
                num_read += 1
                taught = teacher(videos, mirrored) if teacher else None
                yield Batch(
                    None if clips is None else clips[:, 0].to(learner.device, non_blocking=True),
                    labels.to(learner.device, non_blocking=True),
                    bad,
                    None if taught is None else taught.to(learner.device, non_blocking=True),
                )
    except (VideoError, FaultError):
        if at_fault:
            at_fault(num_read)
        raise


class _OrReason(Dataset[Any]):
    """Training clips, with the reason in place of one that cannot be read: tracebacks help nobody."""

    def __init__(self, clips: TrainClips) -> None:
        self.clips = clips

    def __len__(self) -> int:
        return len(self.clips)

    def __getitem__(self, index: int) -> Any:
        try:
            return *self.clips[index], index % len(self)
        except VideoError as error:
            return Unreadable(index % len(self), str(error))


def _collate(items: list[Any]) -> tuple[Tensor | None, Tensor, list[Unreadable], Tensor, Tensor]:
    """Stack the clips that there are, (b, 1, T, 3, S, S) or None, and all that is known of each."""
    bad = [item for item in items if isinstance(item, Unreadable)]
    there = [item for item in items if not isinstance(item, Unreadable)]
    if not there:
        none = torch.zeros(0, dtype=torch.int64)
        return None, none, bad, none.bool(), none
    clips, labels, mirrored, videos = default_collate(there)
    return clips, labels, bad, mirrored, videos
