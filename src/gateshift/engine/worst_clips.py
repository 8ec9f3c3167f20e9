"""The videos that a network is most wrong about, with a strip of their frames."""

import io
from dataclasses import dataclass

import numpy as np
from PIL import Image
from torch.nn import functional as F

from gateshift.data.dataset import views_of
from gateshift.data.opening import open_record
from gateshift.data.records import Annotations, VideoRecord
from gateshift.engine.pages import data_uri
from gateshift.engine.trial import record_name
from gateshift.errors import VideoError
from gateshift.evidence.scores import Scores
from gateshift.spec import InputSpec

WORST_CLIPS = 12
THUMBNAIL_FRAMES = 4
THUMBNAIL = InputSpec(size=112, resize=112, mean=(0, 0, 0), std=(1, 1, 1))


@dataclass(frozen=True)
class WorstClip:
    """A video, what it is, what it was taken for, and a strip of its frames (or why there is none)."""

    video: str
    label: str
    predicted: str
    probability: float
    label_probability: float
    loss: float
    strip: str | None
    error: str | None


def worst_clips(scores: Scores, annotations: Annotations | None, most: int = WORST_CLIPS) -> list[WorstClip]:
    """Return the videos of the highest cross-entropy, the worst first."""
    logits = scores.logits.astype(np.float64)
    logits = logits - logits.max(axis=1, keepdims=True)
    log_probabilities = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))  # (M, K)
    losses = -log_probabilities[np.arange(len(scores.labels)), scores.labels]
    splits = annotations.splits.values() if annotations else ()
    records = {record_name(record): record for split in splits for record in split}
    clips = []
    for index in np.argsort(-losses, kind="stable")[:most]:
        name, label = scores.videos[index], int(scores.labels[index])
        predicted = int(log_probabilities[index].argmax())
        strip, error = _try_strip(annotations, records.get(name))
        clips.append(
            WorstClip(
                video=name,
                label=scores.classes[label],
                predicted=scores.classes[predicted],
                probability=float(np.exp(log_probabilities[index, predicted])),
                label_probability=float(np.exp(log_probabilities[index, label])),
                loss=float(losses[index]),
                strip=strip,
                error=error,
            )
        )
    return clips


def _try_strip(annotations: Annotations | None, record: VideoRecord | None) -> tuple[str | None, str | None]:
    """Return a strip of frames as a data URI, or the reason why there is none."""
    if annotations is None or record is None:
        return None, "This video is no longer where the run's lists say."
    try:
        return film_strip(annotations, record), None
    except VideoError as error:
        return None, str(error)


def film_strip(annotations: Annotations, record: VideoRecord) -> str:
    """Return a few frames of a video side by side, cropped as for the network, as the data URI of a JPEG."""
    video = open_record(annotations, record, "rgb")
    views = views_of(video, THUMBNAIL_FRAMES, THUMBNAIL, record=record)
    frames = F.pad(views[0], (0, 2)).permute(2, 0, 3, 1).flatten(1, 2)  # (T, 3, S, S) -> (S, T * (S + 2), 3)
    buffer = io.BytesIO()
    Image.fromarray(frames.numpy()).save(buffer, "JPEG", quality=80)
    return data_uri(buffer.getvalue(), "image/jpeg")
