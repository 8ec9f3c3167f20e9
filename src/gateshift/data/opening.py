"""The reader of each video of a dataset, by what the network sees of it."""

from gateshift.data.flow_folder import FlowFolder, flow_name
from gateshift.data.frame_folder import FrameFolder
from gateshift.data.reader import VideoFile, open_video
from gateshift.data.records import Annotations, VideoRecord
from gateshift.data.shards import open_sample
from gateshift.errors import DataError
from gateshift.spec import ModalityName

Video = VideoFile | FrameFolder | FlowFolder  # of frames in a shard, the kind of folder that ShardFrames is


def require_modality(annotations: Annotations, modality: str) -> None:
    """Refuse a dataset that has no frames of a modality.

    Raises:
        DataError: flow is asked for, and dataset.json does not say where it is, or it is not there.
    """
    if modality != "flow":
        return
    if annotations.flow is None:
        raise DataError(
            f"the dataset at '{annotations.root}' has no optical flow. Prepare grey frames of it, and name "
            'their two folders in dataset.json, such as "flow": ["flow_x", "flow_y"].'
        )
    for folder in annotations.flow:
        if not (annotations.root / folder).is_dir():
            raise DataError(
                f"there is no folder '{annotations.root / folder}', which 'flow' in dataset.json names. "
                "Correct it: folders are absolute, or relative to the root."
            )


def open_record(annotations: Annotations, record: VideoRecord, modality: ModalityName) -> Video:
    """Return the reader of what a modality shows of a record's video."""
    if modality != "flow":
        if annotations.shards:
            return open_sample(annotations.shards, record)
        return open_video(annotations.path(record), annotations.frame_template)
    assert annotations.flow is not None, "require_modality comes first"
    name = flow_name(record.video)
    return FlowFolder(*(annotations.root / folder / name for folder in annotations.flow))
