"""Optical flow that was prepared as grey frames, in one folder of x and one of y.

Flow frame i is the motion from frame i of the video to the next, so a video of n frames has n - 1. Flow is
not computed here.
"""

from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import numpy as np

from gateshift.data.frame_folder import FrameFolder
from gateshift.data.frame_image import decode_image
from gateshift.data.reader import VIDEO_EXTENSIONS
from gateshift.errors import VideoError

FLOW_FOLDERS = ("flow_x", "flow_y")  # what they are called, beside the frames; no videos of their own


def flow_name(video: str) -> str:
    """Return the folder that a video's flow lies in, below those of x and of y.

    >>> flow_name("push/7.mp4"), flow_name("push/v1.2")
    ('push/7', 'push/v1.2')
    """
    path = PurePosixPath(video)
    return str(path.with_suffix("")) if path.suffix.lower() in VIDEO_EXTENSIONS else video


class GreyFrames(FrameFolder):
    """A folder of grey frames: read(indices) -> uint8 (len(indices), H, W, 1)."""

    def _decode(self, content: bytes, file: Path, into: np.ndarray | None) -> np.ndarray:
        """Return the grey levels, or refuse a picture: its brightness is no motion."""
        planes = decode_image(content)
        if (planes != planes[..., :1]).any():
            raise VideoError(
                f"'{file}' is a picture in colours, where a grey frame of optical flow was expected. "
                "Correct 'flow' in dataset.json, or extract the flow again."
            )
        return planes[..., :1]


class FlowFolder:
    """The flow of one video: read(indices) -> uint8 (len(indices), H, W, 2), x before y.

    Args:
        x: folder of the x flow frames.
        y: folder of the y flow frames, as many.

    Raises:
        VideoError: a folder, or (from ``num_frames`` and ``read``) one of its frames cannot be read.
    """

    def __init__(self, x: str | Path, y: str | Path) -> None:
        self.planes = (GreyFrames(x), GreyFrames(y))
        self.path = Path(x)

    def __enter__(self) -> "FlowFolder":
        return self

    def __exit__(self, *exception: object) -> None:
        pass

    @property
    def num_frames(self) -> int:
        """Flow frames that lie in each folder."""
        x, y = self.planes
        if x.num_frames != y.num_frames:
            raise VideoError(
                f"'{x.path}' has {x.num_frames} frames of flow and '{y.path}' {y.num_frames}. "
                "Extract the flow again, or leave the video out."
            )
        return x.num_frames

    def read(self, indices: Sequence[int] | np.ndarray) -> np.ndarray:
        """Return the flow at ``indices``, in that order and with repeats: uint8 (len(indices), H, W, 2)."""
        x, y = (plane.read(indices) for plane in self.planes)
        if x.shape != y.shape:
            raise VideoError(
                f"the frames of '{self.planes[0].path}' and '{self.planes[1].path}' differ in size. "
                "Extract the flow again."
            )
        return np.concatenate([x, y], axis=-1)
