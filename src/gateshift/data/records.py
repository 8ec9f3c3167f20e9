"""The plain records of a dataset: one video, and all that is known of its classes and splits."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from gateshift.errors import DataError


@dataclass(frozen=True)
class VideoRecord:
    """One annotated video.

    Attributes:
        video: a video file or a folder of frames, relative to the dataset's root, with forward slashes.
        label: index of its class.
        num_frames: frames of the video, where the list says so.
        start_frame: first frame of the action, 0-based.
        end_frame: the frame after the last one; None where the action lasts to the end.
        start_seconds: when the action begins in a video file, in place of ``start_frame``.
        end_seconds: when it ends, in place of ``end_frame``.
    """

    video: str
    label: int
    num_frames: int | None = None
    start_frame: int = 0
    end_frame: int | None = None
    start_seconds: float | None = None
    end_seconds: float | None = None

    @property
    def in_seconds(self) -> bool:
        """Whether the list says by time where the action is."""
        return self.start_seconds is not None or self.end_seconds is not None


class Place(NamedTuple):
    """Where a sample lies: the bytes ``offset`` to ``offset + size`` of a shard."""

    shard: str
    offset: int
    size: int


class Part(NamedTuple):
    """What one sample holds: a video, or the frames of one action in it."""

    video: str
    start_frame: int = 0
    end_frame: int | None = None


@dataclass(frozen=True)
class Shards:
    """Tar files with videos in them.

    Attributes:
        location: the folder or URL that the shards' names start from.
        places: where each video lies, or the frames of each action.
    """

    location: str
    places: Mapping[Part, Place] = field(repr=False)


@dataclass(frozen=True)
class Annotations:
    """The videos of a dataset by split, and what their labels mean.

    Attributes:
        root: folder that the videos' paths start from.
        classes: names in index order.
        label_swaps: pairs of classes that a mirror image exchanges.
        frame_template: names of a frame folder's files, such as ``{:05d}.jpg``; None where there are video
            files, or where each folder's own names tell.
        source: where the annotations come from, for people.
        splits: the records of "train", "val", "test"; a split without videos is not there.
        notes: remarks for the user, one sentence each.
        flow: the folders of x and of y flow, absolute or relative to the root; each holds a folder of frames
            for every video, under the video's own path (less the extension of a video file).
        dataset: name of the published dataset, where ``gateshift prepare`` knew it.
        recipe: the training settings that suit these videos, by name, where somebody chose them.
        shards: the tar files that hold the videos; without them each is a file or folder below the root.
    """

    root: Path
    classes: tuple[str, ...]
    label_swaps: tuple[tuple[str, str], ...]
    frame_template: str | None
    source: str
    splits: Mapping[str, tuple[VideoRecord, ...]]
    notes: tuple[str, ...] = field(default=())
    flow: tuple[str, str] | None = None
    dataset: str | None = None
    recipe: str | None = None
    shards: Shards | None = None

    @property
    def swap_indices(self) -> dict[int, int]:
        """The label of each mirrored class, in both directions."""
        index = {name: i for i, name in enumerate(self.classes)}
        pairs = [(index[a], index[b]) for a, b in self.label_swaps]
        return dict(pairs) | {b: a for a, b in pairs}

    def path(self, record: VideoRecord) -> Path:
        """Return where a record's video or frame folder lies."""
        return self.root / record.video

    def split(self, name: str) -> tuple[VideoRecord, ...]:
        """Return the records of a split, or refuse with the splits there are."""
        if name not in self.splits:
            raise DataError(
                f"the dataset at '{self.root}' has no split '{name}'. It has: {', '.join(self.splits)}. "
                f"Name one of these, or add a '{name}' folder or list."
            )
        return self.splits[name]
