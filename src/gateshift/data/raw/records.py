"""What a dataset's own annotations say, before anyone looked for its videos."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from gateshift.errors import ConfigError


@dataclass(frozen=True)
class RawVideo:
    """One row of a dataset's own annotations.

    Attributes:
        video: name as the annotations give it, with forward slashes and without extension.
        label: name of its class; None in test lists without labels.
        where: file and line, for messages.
        start_frame: first frame of the action, 0-based, where the video comes as frames.
        end_frame: the frame after the last one; None where the action lasts to the end.
        start_seconds: where the action starts in a video file; None at its start.
        end_seconds: where it ends there; None at its end.
    """

    video: str
    label: str | None
    where: str
    start_frame: int = 0
    end_frame: int | None = None
    start_seconds: float | None = None
    end_seconds: float | None = None


@dataclass(frozen=True)
class RawDataset:
    """A dataset as its own files describe it.

    Attributes:
        name: what ``dataset.json`` and the weights are told: "something-v1", "ucf101-split1".
        classes: names in index order.
        label_swaps: pairs of classes that a mirror image exchanges.
        splits: the labelled rows of "train", "val", "test".
        unlabelled: rows of test lists without labels: counted, and in no list.
        published: rows that each split has in the published dataset, where known.
        files: the annotation files that were read.
        frame_template: names of its frames, where it comes as frames.
        first_frame: number in the name of a video's first frame, likewise.
        notes: remarks for the user, one sentence each.
    """

    name: str
    classes: tuple[str, ...]
    label_swaps: tuple[tuple[str, str], ...]
    splits: Mapping[str, tuple[RawVideo, ...]]
    unlabelled: Mapping[str, tuple[RawVideo, ...]]
    published: Mapping[str, int]
    files: tuple[Path, ...]
    frame_template: str | None
    first_frame: int | None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Choices:
    """What a user may choose of a dataset; None leaves it to the dataset.

    Attributes:
        split: which of the three official splits: 1, 2 or 3.
        labels: which edition of the labels: "v1" or "v2".
        task: what the classes are: "verb", "noun" or "action".
    """

    split: int | None = None
    labels: str | None = None
    task: str | None = None

    def refuse(self, dataset: str, *names: str) -> None:
        """Refuse the choices ``names`` where they were made: ``dataset`` does not have them."""
        for name in names:
            if (value := getattr(self, name)) is not None:
                raise ConfigError(
                    f"{dataset} has no choice of {name}, and {value!r} was given. Leave out --{name}."
                )
