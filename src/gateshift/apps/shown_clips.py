"""Some training clips before and after their augmentation, and in words what was drawn for them."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gateshift.data.augment import parse_augment
from gateshift.data.dataset import TrainClips
from gateshift.data.records import Annotations, VideoRecord
from gateshift.data.transforms import train_transform
from gateshift.engine.config import TrainConfig
from gateshift.engine.mixing import Mixing, mix_clips, mix_labels
from gateshift.spec import InputSpec


@dataclass(frozen=True)
class ShownClip:
    """One clip of training.

    Attributes:
        video: its path below the dataset's root.
        class_name: its class as annotated.
        labels: what it is learnt as: names of classes and their shares.
        drawn: each change in words, in order.
        before: the frames that were read, uint8 (T, H, W, 3).
        after: what the network is given, before normalising, uint8 (T, S, S, 3).
    """

    video: str
    class_name: str
    labels: tuple[tuple[str, float], ...]
    drawn: tuple[str, ...]
    before: np.ndarray
    after: np.ndarray

    @property
    def learnt_as(self) -> str:
        """Its labels in words, but those of less than half a percent.

        >>> ShownClip("a.mp4", "left", (("right", 0.7), ("up", 0.3)), (), None, None).learnt_as
        '70% right, 30% up'
        """
        large = [(name, share) for name, share in self.labels if share >= 0.005]
        if len(large) == 1:
            return large[0][0]
        return ", ".join(f"{share:.0%} {name}" for name, share in large)

    def to_json(self) -> dict[str, Any]:
        """Return all but the frames as plain values."""
        return {
            "video": self.video,
            "class": self.class_name,
            "labels": [{"label": name, "share": share} for name, share in self.labels],
            "learnt_as": self.learnt_as,
            "drawn": list(self.drawn),
        }


def shown_clips(
    annotations: Annotations, config: TrainConfig, spec: InputSpec, num_clips: int, epoch: int
) -> list[ShownClip]:
    """Return clips as training with ``config`` draws them in ``epoch``, counted from 1.

    Raises:
        VideoError: a video cannot be read.
    """
    augment = parse_augment(config.augment)
    transform = train_transform(spec, annotations.swap_indices, flip=config.flip, augment=augment)
    clips = TrainClips(annotations, "train", config.num_segments, transform, config.seed)
    clips.set_epoch(epoch - 1)
    rng = np.random.default_rng((config.seed, epoch))
    seen = [augmented(clips, index) for index in choose(clips.records, num_clips, rng)]
    mixing = Mixing(augment, len(annotations.classes))
    return mixed(seen, mixing, annotations.classes, rng) if mixing else seen


def choose(records: Sequence[VideoRecord], count: int, rng: np.random.Generator) -> list[int]:
    """Return the indices of some videos, of as many classes as there are.

    >>> records = [VideoRecord(str(i), label) for i, label in enumerate([0, 0, 0, 1])]
    >>> sorted(records[i].label for i in choose(records, 2, np.random.default_rng(0)))
    [0, 1]
    """
    seen: Counter[int] = Counter()
    rounds = []
    for index in rng.permutation(len(records)).tolist():
        label = records[index].label
        rounds.append((seen[label], index))  # of each class, its first comes before anybody's second
        seen[label] += 1
    return [index for _, index in sorted(rounds, key=lambda pair: pair[0])[:count]]


def augmented(clips: TrainClips, index: int) -> ShownClip:
    """Return one clip with all that is drawn for it alone."""
    record, classes = clips.records[index], clips.annotations.classes
    before, rng = clips.read(index)
    notes: list[str] = []
    after, label = clips.transform(before, record.label, rng, notes)
    return ShownClip(
        video=record.video,
        class_name=classes[record.label],
        labels=((classes[label], 1.0),),
        drawn=tuple(notes),
        before=as_frames(before),
        after=as_frames(after),
    )


def mixed(
    seen: Sequence[ShownClip], mixing: Mixing, classes: Sequence[str], rng: np.random.Generator
) -> list[ShownClip]:
    """Return the clips mixed with each other."""
    clips = torch.from_numpy(np.stack([clip.after for clip in seen])).permute(0, 1, 4, 2, 3)
    labels = torch.tensor([classes.index(clip.labels[0][0]) for clip in seen])
    mixes = mixing.draw(len(seen), clips.shape[-2], clips.shape[-1], rng)
    targets = mix_labels(labels, mixes, len(classes)).tolist()
    afters = mix_clips(clips.float(), mixes).round().byte()
    return [
        replace(
            clip,
            labels=shares_of(target, classes),
            drawn=(*clip.drawn, f"{mix} {Path(seen[i - 1].video).name}"),
            after=as_frames(after),
        )
        for i, (clip, mix, target, after) in enumerate(zip(seen, mixes, targets, afters, strict=True))
    ]


def shares_of(target: Sequence[float], classes: Sequence[str]) -> tuple[tuple[str, float], ...]:
    """Return the classes that have a share, the largest first.

    >>> shares_of([0.25, 0.0, 0.75], ["a", "b", "c"])
    (('c', 0.75), ('a', 0.25))
    """
    shares = [(name, share) for name, share in zip(classes, target, strict=True) if share]
    return tuple(sorted(shares, key=lambda pair: -pair[1]))


def as_frames(clip: Tensor) -> np.ndarray:
    """Return a clip (T, 3, H, W) as frames (T, H, W, 3)."""
    return clip.permute(0, 2, 3, 1).numpy()
