"""Videos as clips for training, and as views for everything that measures or shows.

Letters: T frames of a clip, V views of a video, S side of a crop. A view of RGB is (T, 3, S, S); of other
modalities each segment has more planes in place of the 3: see ``transforms.stack_frames``.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from gateshift.data.flow_folder import FlowFolder
from gateshift.data.frame_folder import FrameFolder, take
from gateshift.data.opening import Video, open_record, require_modality
from gateshift.data.reader import FewerFrames, VideoFile, open_video
from gateshift.data.records import Annotations, VideoRecord
from gateshift.data.sampling import random_segments, test_clips
from gateshift.data.transforms import MIRRORED, ClipTransform, EvalTransform, stack_frames
from gateshift.errors import VideoError
from gateshift.spec import MODALITIES, InputSpec, ModalityName

Item = tuple[Tensor, int, int]


class TrainClips(Dataset[Item]):
    """One augmented clip of each video of a split: (uint8 (1, T, 3, S, S), label, whether it is mirrored).

    What is drawn depends on the seed, the epoch and the index alone, so it is the same for any number of
    workers and after a resume. Of M videos, index + M is another clip of the same one, index + 2M a third.

    Attributes:
        records: the videos, in the order of the indices.
        labels: their classes, (M,).
    """

    def __init__(
        self,
        annotations: Annotations,
        split: str,
        num_segments: int,
        transform: ClipTransform,
        seed: int,
        modality: ModalityName = "rgb",
    ) -> None:
        require_modality(annotations, modality)
        self.annotations = annotations
        self.modality: ModalityName = modality
        self.records = annotations.split(split)
        self.labels = np.array([record.label for record in self.records])
        self.num_segments = num_segments
        self.transform = transform
        self.seed = seed
        self._epoch = torch.zeros((), dtype=torch.int64).share_memory_()  # workers that live on see it change

    def set_epoch(self, epoch: int) -> None:
        """Draw other frames, crops and flips than in other epochs."""
        self._epoch.fill_(epoch)

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, index: int) -> Item:
        """Return the clip of one video.

        Raises:
            VideoError: the video cannot be read.
        """
        clip, rng = self.read(index)
        notes: list[str] = []
        clip, label = self.transform(clip, self.records[index % len(self)].label, rng, notes)
        return stack_frames(clip, self.num_segments).contiguous()[None], label, MIRRORED in notes

    def read(self, index: int) -> tuple[Tensor, np.random.Generator]:
        """Return the frames drawn of one video, uint8 (T, 3, H, W), and what goes on drawing.

        Raises:
            VideoError: the video cannot be read.
        """
        record = self.records[index % len(self)]
        rng = np.random.default_rng((self.seed, int(self._epoch), index))
        span = MODALITIES[self.modality].frames_read
        frames, positions = read_frames(
            open_record(self.annotations, record, self.modality),
            lambda num_frames: random_segments(num_frames, self.num_segments, rng, span),
            record,
        )
        return as_clip(take(frames, positions.numpy())), rng


class EvalViews(Dataset[Item]):
    """All views of each video, the same every time: (uint8 (V, T, 3, S, S), label, index).

    Attributes:
        records: the videos, in the order of the indices.
        flipped: for each of the V views, whether it is a mirror image.
    """

    def __init__(
        self,
        annotations: Annotations,
        split: str | Sequence[VideoRecord],
        num_segments: int,
        spec: InputSpec,
        num_clips: int = 1,
        num_crops: int = 1,
    ) -> None:
        require_modality(annotations, spec.modality)
        self.annotations = annotations
        self.records = annotations.split(split) if isinstance(split, str) else tuple(split)
        self.num_segments = num_segments
        self.spec = spec
        self.num_clips = num_clips
        self.num_crops = num_crops
        self.flipped = EvalTransform(spec, num_crops).flipped * num_clips

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, index: int) -> Item:
        """Return the views of one video.

        Raises:
            VideoError: the video cannot be read.
        """
        record = self.records[index]
        video = open_record(self.annotations, record, self.spec.modality)
        views = views_of(video, self.num_segments, self.spec, self.num_clips, self.num_crops, record)
        return views, record.label, index


def read_views(
    path: str | Path,
    num_segments: int,
    spec: InputSpec,
    num_clips: int = 1,
    num_crops: int = 1,
    *,
    frame_template: str | None = None,
    record: VideoRecord | None = None,
) -> Tensor:
    """Read a video as validation, testing, prediction and explanation see it: uint8 (V, T, 3, S, S).

    Views go clip by clip, the crops of a clip together: V = num_clips * num_crops.

    Args:
        path: a video file or a frame folder: RGB, so that flow cannot come from it.
        num_segments: frames of a clip, T.
        spec: what the network wants.
        num_clips: temporal samplings of the video.
        num_crops: spatial windows of each, see ``EvalTransform``.
        frame_template: names of a frame folder's files; without it they are found.
        record: what a list says of the video: where the action begins and ends.

    Raises:
        VideoError: the video cannot be read.
    """
    if spec.modality == "flow":
        raise VideoError(
            f"'{path}' is a video in RGB, and this network sees optical flow. "
            "Prepare its flow_x and flow_y frames, or use a network made for RGB."
        )
    return views_of(open_video(path, frame_template), num_segments, spec, num_clips, num_crops, record)


def views_of(
    video: Video,
    num_segments: int,
    spec: InputSpec,
    num_clips: int = 1,
    num_crops: int = 1,
    record: VideoRecord | None = None,
) -> Tensor:
    """Read the views of an open video, as ``read_views`` describes them."""
    transform = EvalTransform(spec, num_crops)
    frames, positions = read_frames(
        video,
        lambda num_frames: test_clips(num_frames, num_segments, num_clips, spec.frames_read),
        record,
    )
    crops = transform(as_clip(frames))  # each frame once, however many views show it
    views = torch.cat([crops.index_select(1, clip) for clip in positions])
    return stack_frames(views, num_segments)


def read_frames(
    video: Video,
    choose: Callable[[int], np.ndarray],
    record: VideoRecord | None = None,
) -> tuple[np.ndarray, Tensor]:
    """Read the frames that ``choose`` names, each once: uint8 (M, H, W, C), and each name's place among them.

    Args:
        video: the open video.
        choose: from the number of frames of the action to indices among them, of any shape.
        record: what a list says of the video: where the action begins and ends.
    """
    with video:  # opened once, to count its frames and to read some
        try:
            return _read_chosen(video, choose, record)
        except FewerFrames:  # some packets hold no frame; by now the reader has counted the frames themselves
            return _read_chosen(video, choose, record)


def _read_chosen(
    video: Video, choose: Callable[[int], np.ndarray], record: VideoRecord | None
) -> tuple[np.ndarray, Tensor]:
    start, end = action_span(video, record)
    chosen = choose(end - start)
    indices, positions = np.unique(chosen, return_inverse=True)
    return video.read(start + indices), torch.from_numpy(positions.reshape(chosen.shape))


def action_span(video: Video, record: VideoRecord | None) -> tuple[int, int]:
    """Return the first frame of the action and the frame after its last, among all frames of the video.

    Of flow, an action of n frames has n - 1.
    """
    if record is None:
        return 0, video.num_frames
    if record.in_seconds:
        return _seconds_span(video, record)
    start, end = record.start_frame, record.end_frame
    if isinstance(video, FlowFolder):
        num_frames = end or record.num_frames
        end = total = video.num_frames if num_frames is None else num_frames - 1
    elif isinstance(video, FrameFolder):
        # What a list says spares looking through the folder; reading finds what is missing.
        end = total = end or record.num_frames or video.num_frames
    else:
        total = video.num_frames
        end = total if end is None else end
    if not start < end <= total:
        raise VideoError(
            f"frames {start} to {end} of '{video.path}' were asked for, and it has {total}. "
            "Correct start_frame and end_frame in its list."
        )
    return start, end


def _seconds_span(video: Video, record: VideoRecord) -> tuple[int, int]:
    if not isinstance(video, VideoFile):
        raise VideoError(
            f"the action in '{video.path}' is given in seconds, and frames do not say when they are shown. "
            "Give start_frame and end_frame in its list.",
            "bad-span",
        )
    return video.frames_between(record.start_seconds or 0.0, record.end_seconds)


def as_clip(frames: np.ndarray) -> Tensor:
    """View decoded frames (T, H, W, C) as a clip (T, C, H, W)."""
    return torch.from_numpy(frames).permute(0, 3, 1, 2)
