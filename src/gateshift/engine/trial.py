"""A trial: one network on the videos it is tested on, which can be stopped and taken up again."""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from accelerate import PartialState

from gateshift import __version__
from gateshift.data.dataset import EvalViews
from gateshift.data.flow_folder import flow_name
from gateshift.data.records import VideoRecord
from gateshift.data.remote import join
from gateshift.data.shards import find_place
from gateshift.data.splitting import groups_of
from gateshift.engine.inference import AVERAGES, Answer, Inference, Unreadable, infer
from gateshift.engine.kept_answers import KeptAnswers
from gateshift.errors import VideoError, WeightsError
from gateshift.evidence.scores import Scores
from gateshift.models.classifier import VideoClassifier
from gateshift.models.download import file_sha256


@dataclass(frozen=True, eq=False)
class Trial:
    """A network, the views of the videos that it is tested on, and how it is run.

    Attributes:
        weights: the file that the network comes from.
        model: the network.
        views: all views of every video.
        label_swaps: class index -> class index of the mirrored video.
        how: device, precision, averaging, batch size and workers.
    """

    weights: Path
    model: VideoClassifier
    views: EvalViews
    label_swaps: Mapping[int, int]
    how: Inference

    @cached_property
    def keys(self) -> tuple[str, ...]:
        """A text for each video that changes with all that decides its scores, as it was when first asked.

        That is the weights, the views, the precision, and of the video its name, label, span, size and time
        of change; not the batch size, the workers or the device.
        """
        settings = hashlib.sha256(json.dumps(self._settings(), sort_keys=True).encode()).hexdigest()
        return tuple(
            hashlib.sha256(json.dumps([settings, *self._identity(record)]).encode()).hexdigest()
            for record in self.views.records
        )

    def fingerprint(self) -> str:
        """Return a short text that changes with any of ``keys``."""
        return hashlib.sha256("".join(self.keys).encode()).hexdigest()[:12]

    def run(self, save: Path | None = None) -> Scores:
        """Return the scores of all videos, and write them to ``save``.

        With ``save``, a trial that was stopped goes on where it was: answers are kept beside that file.

        Raises:
            VideoError: a video cannot be read.
            WeightsError: the network's output is not finite.
            KeyboardInterrupt: stopped.
        """
        kept = KeptAnswers(save, self.keys) if save else None
        scores = score(self.model, self.views, self.how, label_swaps=self.label_swaps, kept=kept)
        _require_finite(scores, self.how)
        state = PartialState()
        if save and kept and state.is_main_process:
            scores.save(save)
            kept.clear()
        state.wait_for_everyone()
        return scores

    def _settings(self) -> dict[str, object]:
        views = self.views
        return {
            "gateshift": __version__,
            "weights": file_sha256(self.weights),
            "input": views.spec.to_json(),
            "views": [views.num_clips, views.num_crops],
            "average": self.how.average,
            "precision": str(self.how.precision),
            "classes": views.annotations.classes,
            "label_swaps": sorted(self.label_swaps.items()),
            "frames": [views.annotations.frame_template, views.annotations.flow],
        }

    def _identity(self, record: VideoRecord) -> list[object]:
        annotations = self.views.annotations
        path, within = annotations.path(record), list[object]()
        if annotations.shards:
            place = find_place(annotations.shards, record)[1]
            path = Path(annotations.shards.location, place.shard)
            within = [join(annotations.shards.location, place.shard), *place]
        elif self.views.spec.modality == "flow" and annotations.flow:
            path = annotations.root / annotations.flow[0] / flow_name(record.video)
        found = path.stat() if path.exists() else None  # of a URL there is none: place and size must do
        return [
            record.video if within else str(path.absolute()),
            record.label,
            record.num_frames,
            record.start_frame,
            record.end_frame,
            *((record.start_seconds, record.end_seconds) if record.in_seconds else ()),
            found and [found.st_size, found.st_mtime_ns],
            *within,
        ]


def score(
    model: VideoClassifier,
    views: EvalViews,
    how: Inference,
    *,
    label_swaps: Mapping[int, int],
    kept: KeptAnswers | None = None,
) -> Scores:
    """Return the scores of every video of ``views``, averaged over its views.

    Deterministic; the same for any batch size, number of workers and number of processes, in each of which it
    returns all scores. Mirrored views vote for the class that ``label_swaps`` gives. The model stays in eval
    mode.

    Raises:
        VideoError: a video cannot be read.
    """
    answers = answer_all(model, views, how, label_swaps=label_swaps, kept=kept)
    return as_scores(answers, model, views, how)


def answer_all(
    model: VideoClassifier,
    views: EvalViews,
    how: Inference,
    *,
    label_swaps: Mapping[int, int],
    kept: KeptAnswers | None = None,
    each_view: bool = False,
) -> list[Answer]:
    """Return what ``infer`` does of all videos.

    Raises:
        VideoError: a video cannot be read.
    """
    answers = infer(
        model,
        views,
        len(views.records),
        how,
        flipped=views.flipped,
        label_swaps=label_swaps,
        stop_at_error=True,
        kept=kept,
        each_view=each_view,
    )
    for answer in answers:
        if answer.error:
            raise VideoError(answer.error)
    return answers


def score_readable(
    model: VideoClassifier, views: EvalViews, how: Inference, *, label_swaps: Mapping[int, int]
) -> tuple[Scores, list[Unreadable]]:
    """Return what ``score`` does of the videos that can be read, perhaps none, and the others."""
    answers = infer(model, views, len(views.records), how, flipped=views.flipped, label_swaps=label_swaps)
    bad = [Unreadable(answer.index, answer.error) for answer in answers if answer.error]
    return as_scores([answer for answer in answers if not answer.error], model, views, how), bad


def as_scores(answers: Sequence[Answer], model: VideoClassifier, views: EvalViews, how: Inference) -> Scores:
    """Return the scores of videos, each of which has an answer."""
    logits = [answer.logits for answer in answers if answer.logits is not None]
    return Scores(
        videos=tuple(record_name(views.records[answer.index]) for answer in answers),
        labels=np.array([answer.label for answer in answers], dtype=np.int64),
        logits=np.stack(logits) if logits else np.zeros((0, model.head.out_features), np.float32),
        classes=model.classes or views.annotations.classes,
        kind=AVERAGES[how.average],
    )


def record_name(record: VideoRecord) -> str:
    """Return the name of a record in score files: the video, and its frames where it is a part of one.

    >>> record_name(VideoRecord("P01/P01_01.mp4", 3, start_frame=8, end_frame=202))
    'P01/P01_01.mp4[8:202]'
    >>> record_name(VideoRecord("P01/P01_01.mp4", 3, start_seconds=0.5, end_seconds=12.0))
    'P01/P01_01.mp4[0.5s:12.0s]'
    """
    if record.in_seconds:
        until = "" if record.end_seconds is None else f"{record.end_seconds}s"
        return f"{record.video}[{record.start_seconds or 0.0}s:{until}]"
    if record.start_frame == 0 and record.end_frame is None:
        return record.video
    end = "" if record.end_frame is None else record.end_frame
    return f"{record.video}[{record.start_frame}:{end}]"


def recordings(scores: Scores) -> list[str]:
    """Return the recording of each video of ``scores``, as far as names tell; parts of a video share one."""
    within = re.compile(r"\[[^\[\]]*:[^\[\]]*\]$")  # as record_name writes it
    names = [within.sub("", video) for video in scores.videos]
    return groups_of(
        [VideoRecord(name, int(label)) for name, label in zip(names, scores.labels, strict=True)]
    )


def _require_finite(scores: Scores, how: Inference) -> None:
    wrong = np.flatnonzero(~np.isfinite(scores.logits).all(axis=1))
    if wrong.size:
        raise WeightsError(
            f"the model's output is not finite for {wrong.size} of {len(scores.videos)} videos, such as "
            f"{scores.videos[wrong[0]]!r}, in precision {str(how.precision).removeprefix('torch.')}. Use "
            "--precision float32; if that does not help, the weights are of a training that diverged."
        )
