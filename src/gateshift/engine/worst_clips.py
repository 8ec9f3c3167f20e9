"""The videos that a network is most wrong about, with a strip of their frames."""

import io
from dataclasses import dataclass

import numpy as np
from PIL import Image

from gateshift.data.dataset import views_of
from gateshift.data.opening import open_record
from gateshift.data.records import Annotations, VideoRecord
from gateshift.engine.pages import data_uri
from gateshift.engine.trial import record_name
from gateshift.errors import VideoError
from gateshift.evidence.calibration import log_probabilities
from gateshift.evidence.scores import Scores
from gateshift.spec import InputSpec

WORST_CLIPS = 12
THUMBNAIL_FRAMES = 8
THUMBNAIL = InputSpec(size=112, resize=112, mean=(0, 0, 0), std=(1, 1, 1))


@dataclass(frozen=True)
class Film:
    """Some frames of a video side by side, as a data URI, or the reason why there are none."""

    strip: str | None
    error: str | None


class Films:
    """The films of a dataset's videos, by their names in score files; without a dataset there are none."""

    def __init__(self, annotations: Annotations | None) -> None:
        self._annotations = annotations
        splits = annotations.splits.values() if annotations else ()
        self._records = {record_name(record): record for split in splits for record in split}

    def of(self, video: str) -> Film:
        """Return the film of a video, or why there is none."""
        record = self._records.get(video)
        if self._annotations is None or record is None:
            return Film(None, "This video is no longer where the run's lists say.")
        try:
            return Film(film_strip(self._annotations, record), None)
        except VideoError as error:
            return Film(None, str(error))


@dataclass(frozen=True)
class WorstClip:
    """A video, what it is, what it was taken for, and some of its frames."""

    video: str
    label: str
    predicted: str
    probability: float
    label_probability: float
    loss: float
    film: Film


def worst_clips(scores: Scores, films: Films, most: int = WORST_CLIPS) -> list[WorstClip]:
    """Return the videos of the highest cross-entropy, the worst first."""
    logarithms = log_probabilities(scores)  # (M, K)
    losses = -logarithms[np.arange(len(scores.labels)), scores.labels]
    clips = []
    for index in np.argsort(-losses, kind="stable")[:most]:
        name, label = scores.videos[index], int(scores.labels[index])
        predicted = int(logarithms[index].argmax())
        clips.append(
            WorstClip(
                video=name,
                label=scores.classes[label],
                predicted=scores.classes[predicted],
                probability=float(np.exp(logarithms[index, predicted])),
                label_probability=float(np.exp(logarithms[index, label])),
                loss=float(losses[index]),
                film=films.of(name),
            )
        )
    return clips


def film_strip(annotations: Annotations, record: VideoRecord) -> str:
    """Return a few frames of a video side by side, cropped as for the network, as the data URI of a JPEG."""
    video = open_record(annotations, record, "rgb")
    views = views_of(video, THUMBNAIL_FRAMES, THUMBNAIL, record=record)
    frames = views[0].permute(2, 0, 3, 1).flatten(1, 2)  # (T, 3, S, S) -> (S, T * S, 3)
    buffer = io.BytesIO()
    Image.fromarray(frames.numpy()).save(buffer, "JPEG", quality=80)
    return data_uri(buffer.getvalue(), "image/jpeg")
