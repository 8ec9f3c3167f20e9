"""Batches of training clips for one process: which videos, in which order, and what to do with bad ones.

The videos of a batch are a function of (seed, epoch) alone. One that cannot be read is never replaced: it
ends training, or its clip is missing from its batch.
"""

from collections.abc import Generator
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, default_collate

from gateshift.data.dataset import TrainClips
from gateshift.engine.config import TrainConfig
from gateshift.engine.inference import Unreadable
from gateshift.engine.learner import Learner
from gateshift.engine.stopping import outlive_stop_requests
from gateshift.errors import VideoError


class Batch(NamedTuple):
    """One process's share of a batch.

    Attributes:
        clips: (b, T, 3, S, S) uint8; None where there are none.
        labels: (b,).
        bad: the videos whose clips are missing.
    """

    clips: Tensor | None
    labels: Tensor
    bad: list[Unreadable]


def epoch_batches(num_videos: int, config: TrainConfig, epoch: int) -> list[np.ndarray]:
    """Return the videos of each batch of ``epoch``, a function of seed and epoch alone."""
    order = np.random.default_rng((config.seed, epoch)).permutation(num_videos)
    return np.split(order, range(config.batch_size, num_videos, config.batch_size))


def load_batches(learner: Learner, batches: list[np.ndarray], epoch: int) -> Generator[Batch, None, None]:
    """Yield this process's share of each batch, on the device.

    Close it when done: its workers outlive signals.

    Raises:
        VideoError: a video cannot be read, and bad videos are not to be skipped.
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
    for clips, labels, bad in loader:
        if bad and learner.config.on_bad_video == "error":
            raise VideoError(
                f"{bad[0].reason} Mend or remove the video, or leave it out with --on-bad-video skip; "
                "the run is kept up to its last save."
            )
        yield Batch(
            None if clips is None else clips[:, 0].to(learner.device, non_blocking=True),
            labels.to(learner.device, non_blocking=True),
            bad,
        )


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
            return Unreadable(index, str(error))


def _collate(items: list[Any]) -> tuple[Tensor | None, Tensor, list[Unreadable]]:
    """Stack the clips that there are: (b, 1, T, 3, S, S), or None."""
    bad = [item for item in items if isinstance(item, Unreadable)]
    there = [item for item in items if not isinstance(item, Unreadable)]
    if not there:
        return None, torch.zeros(0, dtype=torch.int64), bad
    clips, labels, _ = default_collate(there)
    return clips, labels, bad
