"""Videos as they are and as they never were: out of order, mirrored, without colours, at other crops.

Letters: T segments, F frames of a segment, S pixels a side of the crop, A alterations.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from gateshift.data.dataset import EvalViews, Item, as_clip, read_frames
from gateshift.data.opening import open_record
from gateshift.data.records import Annotations, VideoRecord
from gateshift.data.sampling import test_clips
from gateshift.data.transforms import EvalTransform, mirror, stack_frames
from gateshift.spec import InputSpec

PLAIN, MIRRORED, GREY = "as it is", "mirrored", "without colours"
ORDERS = ("reversed", "shuffled", "one frame repeated")
CORNERS = ("top left crop", "top right crop", "bottom left crop", "bottom right crop")
LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601


class AlteredViews(EvalViews):
    """Of each video its centre crop as it is, and what was done to it: (uint8 (A, T, 3, S, S), label, index).

    An alteration takes the place of a view. The same video is altered in the same way every time.

    Attributes:
        names: what each of the A views is; flow has no colours to lose.
    """

    def __init__(
        self,
        annotations: Annotations,
        records: Sequence[VideoRecord],
        num_segments: int,
        spec: InputSpec,
    ) -> None:
        super().__init__(annotations, records, num_segments, spec)
        coloured = () if spec.modality == "flow" else (GREY,)
        self.names = (PLAIN, *ORDERS, MIRRORED, *coloured, *CORNERS)
        self.flipped = tuple(name == MIRRORED for name in self.names)

    def __getitem__(self, index: int) -> Item:
        """Return the views of one video.

        Raises:
            VideoError: the video cannot be read.
        """
        record = self.records[index]
        span = self.spec.frames_read
        frames, positions = read_frames(
            open_record(self.annotations, record, self.spec.modality),
            lambda num_frames: test_clips(num_frames, self.num_segments, 1, span),
            record,
        )
        order = positions.reshape(self.num_segments, -1)  # (T, F)
        centre, corners = EvalTransform(self.spec), EvalTransform(self.spec, 5)
        resized = centre.resize(as_clip(frames))
        crop = centre.crops(resized)[0]  # each frame once
        clip = crop[order.flatten()]
        views = [clip, *(crop[changed.flatten()] for changed in in_other_orders(order, index))]
        views.append(mirror(clip, self.spec.modality))
        if GREY in self.names:
            views.append(without_colours(clip))
        views += [corner[order.flatten()] for corner in corners.crops(resized)[: len(CORNERS)]]
        return stack_frames(torch.stack(views), self.num_segments), record.label, index


def in_other_orders(order: Tensor, seed: int) -> list[Tensor]:
    """Return the frames of a clip in each of ``ORDERS``, from their places (T, F).

    Reversed is the last frame first. Shuffled are the segments, so that none stays at its place and the whole
    is not the reversed clip, as far as there are enough; the frames of a segment, of which differences are
    taken, stay together. Repeated is the first frame of the middle segment.

    >>> for changed in in_other_orders(torch.arange(4)[:, None], seed=0):
    ...     print(changed.flatten().tolist())
    [3, 2, 1, 0]
    [1, 3, 0, 2]
    [2, 2, 2, 2]
    """
    length = len(order)
    rng = np.random.default_rng(seed)
    own = np.arange(length)
    shuffled = own[::-1].copy() if length == 2 else own
    while length > 2 and ((shuffled == own).any() or (shuffled == own[::-1]).all()):
        shuffled = rng.permutation(length)
    repeated = order[length // 2, 0].expand_as(order)
    return [order.flatten().flip(0).view_as(order), order[torch.from_numpy(shuffled)], repeated]


def without_colours(clip: Tensor) -> Tensor:
    """Return the brightness of a clip in all three channels: uint8 (..., 3, H, W)."""
    weights = torch.tensor(LUMA)[:, None, None]
    grey = (clip * weights).sum(dim=-3, keepdim=True).round().clamp(0, 255)
    return grey.to(torch.uint8).expand_as(clip)
