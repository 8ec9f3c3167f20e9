"""Accuracy of a model on a dataset, over any number of clips and crops per video."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import PartialState

from gateshift.data.annotations import read_annotations
from gateshift.data.dataset import EvalViews
from gateshift.data.folders import find_splits
from gateshift.data.lists import find_lists
from gateshift.data.records import Annotations, VideoRecord
from gateshift.engine.device import pick_device, pick_precision
from gateshift.engine.inference import Inference, infer
from gateshift.engine.metrics import summary
from gateshift.engine.scores import Scores
from gateshift.errors import ConfigError, DataError, VideoError, WeightsError
from gateshift.models.classifier import VideoClassifier
from gateshift.models.weights import load


def test(
    model: str | Path,
    data: Path,
    *,
    clips: int = 1,
    crops: int = 1,
    split: str | None = None,
    size: int | None = None,
    batch_size: int = 8,
    workers: int = 2,
    device: str = "auto",
    precision: str = "auto",
    save_scores: Path | None = None,
) -> dict[str, Any]:
    """Measure a model on a dataset: accuracy, per class and over all, and the confusion matrix.

    Example: `gateshift test runs/mine my_videos --clips 2 --crops 3 --save-scores mine.npz`

    Classes of the data and of the model are matched by name; the data may hold only some of them. The
    logits of a video are the mean over its views (clips x crops), before any softmax.

    Args:
        model: a run directory, a weights file, or the name of published weights.
        data: a folder of class folders, or one with lists.
        clips: temporal samplings per video.
        crops: spatial windows per clip: 1, 3, 5 or 10.
        split: train, val or test. If not given: test, else val; and where the data has no splits, the
            videos that the run at `model` held out, or all videos for any other model.
        size: side of the crops in pixels; the model's own if not given.
        batch_size: clips per forward pass.
        workers: processes that decode videos.
        device: auto, cpu, cuda, cuda:N or mps.
        precision: auto, float32, bfloat16 or float16; auto is bfloat16 on CUDA and float32 elsewhere.
        save_scores: where to write the logits of every video (.npz), for `ensemble`.

    Raises:
        DataError: the data has no such split, or classes that the model does not know.
        VideoError: a video cannot be read.
    """
    if clips < 1:
        raise ConfigError(f"clips is {clips}; it must be at least 1. Change --clips.")
    where = pick_device(device)
    how = pick_precision(precision, where)
    network = load(model)
    annotations, records = choose_records(Path(model), Path(data), split)
    annotations, records = with_classes_of(network, annotations, records)
    spec = network.input_spec.with_size(size) if size else network.input_spec
    views = EvalViews(annotations, records, network.num_segments, spec, clips, crops)
    scores = score(
        network,
        views,
        device=where,
        precision=how,
        batch_size=batch_size,
        workers=workers,
        label_swaps=annotations.swap_indices,
    )
    _require_finite(scores, precision)
    if save_scores and PartialState().is_main_process:
        scores.save(Path(save_scores))
    return {**summary(scores), "videos": len(scores.videos), "views": len(views.flipped)}


def score(
    model: VideoClassifier,
    views: EvalViews,
    *,
    device: torch.device,
    batch_size: int,
    workers: int,
    label_swaps: Mapping[int, int],
    precision: torch.dtype = torch.float32,
    progress: bool = True,
) -> Scores:
    """Return the logits of every video of ``views``, averaged over its views.

    Deterministic; the same for any batch size, number of workers and number of processes, in each of which it
    returns all scores. Mirrored views vote for the class that ``label_swaps`` gives. The model stays in eval
    mode.

    Raises:
        VideoError: a video cannot be read.
    """
    how = Inference(
        device=device, precision=precision, batch_size=batch_size, workers=workers, progress=progress
    )
    answers = infer(
        model,
        views,
        len(views.records),
        how,
        flipped=views.flipped,
        label_swaps=label_swaps,
        stop_at_error=True,
    )
    for answer in answers:
        if answer.error:
            raise VideoError(answer.error)
    logits = [answer.logits for answer in answers if answer.logits is not None]
    num_classes = model.head.out_features
    return Scores(
        videos=tuple(record_name(record) for record in views.records),
        labels=np.array([answer.label for answer in answers], dtype=np.int64),
        logits=np.stack(logits) if logits else np.zeros((0, num_classes), np.float32),
        classes=model.classes or tuple(str(index) for index in range(num_classes)),
    )


def record_name(record: VideoRecord) -> str:
    """Return the name of a record in score files: the video, and its frames where it is a part of one.

    >>> record_name(VideoRecord("P01/P01_01.mp4", 3, start_frame=8, end_frame=202))
    'P01/P01_01.mp4[8:202]'
    """
    if record.start_frame == 0 and record.end_frame is None:
        return record.video
    end = "" if record.end_frame is None else record.end_frame
    return f"{record.video}[{record.start_frame}:{end}]"


def choose_records(model: Path, data: Path, split: str | None) -> tuple[Annotations, tuple[VideoRecord, ...]]:
    """Return the annotations of ``data`` and the records to test on, as ``test`` describes.

    What comes with the data goes first, then what the run at ``model`` wrote down, then all videos: a split
    that is made here by another seed than the run's would test on videos that the run has learnt from.
    """
    annotations = read_annotations(data)
    own = find_lists(data).keys() or find_splits(annotations.root).keys()
    name = split or next((name for name in ("test", "val") if name in own), None)
    if name in own and (name != "train" or "val" in own):  # else read_annotations has divided it
        return annotations, annotations.split(name or "")
    recorded = _recorded_split(model, annotations.root)
    if recorded is not None:
        return recorded, recorded.split(name or "val")
    if name not in (None, "train"):
        raise DataError(
            f"'{data}' comes without a split '{name}'. Leave --split out to test on all its videos, or give "
            "the run that was trained on it as the model: it knows which videos it held out."
        )
    return annotations, tuple(record for records in annotations.splits.values() for record in records)


def _recorded_split(model: Path, root: Path) -> Annotations | None:
    """Return the lists that the run at ``model`` was trained with, if they are of the dataset at ``root``."""
    lists = model / "data"
    if not (lists / "dataset.json").is_file():
        return None
    trained_on = json.loads((lists / "dataset.json").read_text(encoding="utf-8"))["root"]
    return read_annotations(lists) if Path(trained_on).resolve() == root.resolve() else None


def with_classes_of(
    model: VideoClassifier, annotations: Annotations, records: Sequence[VideoRecord]
) -> tuple[Annotations, tuple[VideoRecord, ...]]:
    """Return annotations and records that count classes as the model does, matched by name.

    Raises:
        DataError: the data has a class that the model does not know.
    """
    known = model.classes
    if known is None:
        if len(annotations.classes) != model.head.out_features:
            raise DataError(
                f"the model has {model.head.out_features} classes without names and the data "
                f"{len(annotations.classes)}. Test it on data with the classes it was trained on."
            )
        return annotations, tuple(records)
    _require_known(annotations.classes, known)
    label_of = [known.index(name) for name in annotations.classes]
    lacking = [pair for pair in model.label_swaps if not set(pair) <= set(annotations.classes)]
    return (
        replace(annotations, classes=known, label_swaps=(*annotations.label_swaps, *lacking), splits={}),
        tuple(replace(record, label=label_of[record.label]) for record in records),
    )


def _require_known(classes: tuple[str, ...], known: tuple[str, ...]) -> None:
    unknown = [name for name in classes if name not in set(known)]
    if not unknown:
        return
    unused = [name for name in known if name not in set(classes)]
    names = ", ".join(repr(name) for name in unknown[:3]) + (", ..." if len(unknown) > 3 else "")
    others = ", ".join(repr(name) for name in unused[:3]) + (", ..." if len(unused) > 3 else "")
    instead = f"It has {others} where the data has {names}" if unused else f"It knows {len(known)} classes"
    raise DataError(
        f"the model does not know {len(unknown)} of the data's {len(classes)} classes: {names}. {instead}. "
        "Rename the class folders (or the classes in dataset.json), or test on data of the model's classes."
    )


def _require_finite(scores: Scores, precision: str) -> None:
    wrong = np.flatnonzero(~np.isfinite(scores.logits).all(axis=1))
    if wrong.size:
        raise WeightsError(
            f"the model's output is not finite for {wrong.size} of {len(scores.videos)} videos, such as "
            f"{scores.videos[wrong[0]]!r}, in precision {precision}. Use --precision float32; if that does "
            "not help, the weights are of a training that diverged."
        )
