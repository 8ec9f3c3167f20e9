"""Accuracy of a model on a dataset, over any number of clips and crops per video."""

import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from gateshift.data.annotations import read_annotations
from gateshift.data.dataset import EvalViews
from gateshift.data.folders import find_splits
from gateshift.data.lists import find_lists
from gateshift.data.locate import locate
from gateshift.data.records import Annotations, VideoRecord
from gateshift.engine.audit import audit as audited
from gateshift.engine.audit import keep_audit, require_one_view
from gateshift.engine.device import pick_device, pick_precision
from gateshift.engine.edition import require_same_edition
from gateshift.engine.inference import Inference, load_once
from gateshift.engine.trial import Trial, record_name, recordings, score
from gateshift.errors import ConfigError, DataError
from gateshift.evidence.calibration import calibration, cooled
from gateshift.evidence.coverage import selective_accuracy
from gateshift.evidence.metrics import summary
from gateshift.evidence.scores import Scores
from gateshift.models.classifier import VideoClassifier
from gateshift.models.input_size import require_size
from gateshift.spec import InputSpec

__all__ = ["choose_records", "plan_trial", "record_name", "score", "test", "with_classes_of"]


def test(
    model: str | Path,
    data: str | Path,
    *,
    clips: int = 1,
    crops: int = 1,
    full_resolution: bool = False,
    average: str = "logits",
    split: str | None = None,
    size: int | None = None,
    batch_size: int = 8,
    workers: int = 2,
    device: str = "auto",
    precision: str = "auto",
    save_scores: Path | None = None,
    audit: bool = False,
) -> dict[str, Any]:
    """Measure a model on a dataset: accuracy, per class and over all, and the confusion matrix.

    Example: `gateshift test runs/mine my_videos --clips 2 --crops 3 --save-scores mine.npz`

    Classes of the data and of the model are matched by name; the data may hold only some of them. What the
    network says of a video is the mean over its views (clips x crops). Accuracies come with 95 % intervals,
    of resampled videos, or recordings where names tell which videos were cut from one. With --save-scores, a
    test that was stopped goes on where it was when the same command is given again.

    Args:
        model: a run directory, a weights file, or the name of published weights.
        data: a folder of class folders, or one with lists; also the URL of a folder of shards.
        clips: temporal samplings per video.
        crops: spatial windows per clip: 1, 3, 5 or 10.
        full_resolution: 1 or 3 crops as large as the short side of the resized frames, such as 256 for 224.
        average: logits over the views, as published, or softmax: their probabilities.
        split: train, val or test. If not given: test, else val; and where the data has no splits, the
            videos that the run at `model` held out, or all videos for any other model.
        size: side of the crops in pixels; the model's own if not given.
        batch_size: clips per forward pass.
        workers: processes that decode videos.
        device: auto, cpu, cuda, cuda:N or mps.
        precision: auto, float32, bfloat16 or float16; auto is bfloat16 on CUDA and float32 elsewhere.
        save_scores: where to write the scores of every video (.npz), for `ensemble`.
        audit: test also what was shuffled, reversed, frozen, mirrored, made grey and cropped elsewhere, and
            say what share of the accuracy needs the order of frames, and which classes. A run keeps it as
            `audit.json`, and `gateshift report` shows it.

    Returns:
        ``top1``, ``top5``, ``mean_class_accuracy`` and ``top1_interval`` and so on of each; ``per_class``,
        ``confusion``, ``videos``, ``views`` and ``recordings``, how many of them; ``calibration``, of
        confidences: ``ece``, ``bins`` and, of a run, ``ece_calibrated`` at its ``temperature``; ``coverage``:
        ``accuracy`` of the surest videos; ``audit``, see `gateshift.engine.audit`.

    Raises:
        DataError: the data has no such split, or classes that the model does not know.
        ConfigError: the network cannot take crops of that size.
        VideoError: a video cannot be read.
        KeyboardInterrupt: stopped; with `save_scores`, what was done is kept.
    """
    where = pick_device(device)
    how = Inference(where, pick_precision(precision, where), batch_size, workers, average=average)
    trial = plan_trial(
        model, data, how, clips=clips, crops=crops, full_resolution=full_resolution, split=split, size=size
    )
    if audit:
        require_one_view(trial)
    scores = trial.run(Path(save_scores) if save_scores else None)
    answer = {**evidence_of(scores, trial.model.temperature), "views": len(trial.views.flipped)}
    if audit:
        answer["audit"] = audited(trial)
        if Path(model).is_dir():
            keep_audit(Path(model), trial, answer["audit"])
    return answer


def evidence_of(scores: Scores, temperature: float | None = None) -> dict[str, Any]:
    """Return what scores say of a network: accuracies, their intervals, whether to believe its confidence."""
    groups = recordings(scores)
    calibrated = {"ece_calibrated": calibration(cooled(scores, temperature))["ece"]} if temperature else {}
    return {
        **summary(scores, groups),
        "videos": len(scores.videos),
        "recordings": len(set(groups)),
        "calibration": {**calibration(scores), **calibrated, "temperature": temperature},
        "coverage": [asdict(answered) for answered in selective_accuracy(scores)],
    }


def plan_trial(
    model: str | Path,
    data: str | Path,
    how: Inference,
    *,
    clips: int = 1,
    crops: int = 1,
    full_resolution: bool = False,
    split: str | None = None,
    size: int | None = None,
) -> Trial:
    """Return the trial that ``test`` runs: the network, the videos and their views; nothing is decoded yet.

    Raises:
        DataError: the data has no such split, or classes that the model does not know.
        ConfigError: the network cannot take crops of that size, or there are no such views.
    """
    if clips < 1:
        raise ConfigError(f"clips is {clips}; it must be at least 1. Change --clips.")
    weights, network = load_once(model, how.device)
    spec = choose_input(network, size, full_resolution, crops)
    annotations, records = choose_records(Path(model), locate(data), split)
    require_same_edition(weights, annotations)
    annotations, records = with_classes_of(network, annotations, records)
    views = EvalViews(annotations, records, network.num_segments, spec, clips, crops)
    return Trial(weights, network, views, annotations.swap_indices, how)


def choose_input(network: VideoClassifier, size: int | None, full_resolution: bool, crops: int) -> InputSpec:
    """Return the input of a test; the network keeps its own.

    Raises:
        ConfigError: the network cannot take it, or the crops would lie on top of each other.
    """
    if full_resolution and crops not in (1, 3):
        raise ConfigError(
            f"{crops} crops at full resolution would lie on top of each other: a crop is as large as the "
            "short side of the frames. Give --crops 1 or 3, or leave --full-resolution out."
        )
    spec = network.input_spec.with_size(size) if size else network.input_spec
    if full_resolution:
        spec = spec.at_full_resolution()
    if spec.size != network.input_spec.size:
        require_size(network, spec.size)
    return spec


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
    return read_annotations(lists) if (lists / trained_on).resolve() == root.resolve() else None


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
    taken = {name for pair in annotations.label_swaps for name in pair}
    lacking = [pair for pair in model.label_swaps if not taken & set(pair)]
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
