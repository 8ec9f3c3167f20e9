"""Label and probability of videos: files, folders of files, folders of frames, globs."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from gateshift.data.annotations import DESCRIPTION, read_annotations
from gateshift.data.catalog import DATASETS
from gateshift.data.dataset import EvalViews
from gateshift.data.flow_folder import FLOW_FOLDERS
from gateshift.data.folders import find_videos
from gateshift.data.opening import require_modality
from gateshift.data.records import Annotations, VideoRecord
from gateshift.engine.device import pick_device, pick_precision
from gateshift.engine.inference import Inference, infer, load_once
from gateshift.errors import ConfigError, DataError
from gateshift.evidence.calibration import calibrated
from gateshift.models.classifier import VideoClassifier
from gateshift.models.weights import read_metadata


def predict(
    model: str | Path,
    paths: Sequence[str | Path],
    *,
    top: int = 5,
    clips: int = 1,
    crops: int = 1,
    batch_size: int = 8,
    workers: int = 2,
    device: str = "auto",
    precision: str = "auto",
) -> dict[str, Any]:
    """Say what happens in each video; one that cannot be read has the reason under ``error``.

    Example: `gateshift predict runs/mine clip.mp4 more_clips/ "days/*/cam1.mkv"`

    Probabilities are calibrated where the model is a run's: logits are divided by the ``temperature`` that
    was fitted on its validation videos. It is null for other models, and their probabilities mean less.

    A model that was trained on optical flow takes folders with `flow_x` and `flow_y` in them, or datasets
    whose dataset.json names the flow.

    Args:
        model: a run directory, a weights file, or the name of published weights.
        paths: videos, folders of frames, folders that hold either at any depth, and globs.
        top: labels per video, the likeliest first.
        clips: temporal samplings per video.
        crops: spatial windows per clip: 1, 3, 5 or 10.
        batch_size: clips per forward pass, at most.
        workers: processes that decode videos.
        device: auto, cpu, cuda, cuda:N or mps.
        precision: auto, float32, bfloat16 or float16; auto is bfloat16 where the hardware has it
            (Linux tells of CPUs), which tips near-ties between labels, and float32 elsewhere.

    Raises:
        DataError: none of the paths leads to a video.
    """
    where = pick_device(device)
    how = Inference(where, pick_precision(precision, where, exact=False), batch_size, workers)
    paths = [paths] if isinstance(paths, str | Path) else list(paths)
    if not any(Path(path).is_dir() for path in paths):  # folders wait for the model, which may want flow
        find_all(paths)
    weights, network = load_once(model, how.device)
    if network.classes is None:  # of a released checkpoint: classes are numbers, and so are mirrored ones
        network.label_swaps = numbered_swaps(read_metadata(weights)["trained_on"])
    if network.spec.modality == "flow":
        return predict_flow(network, paths, how=how, top=top, clips=clips, crops=crops)
    return predict_with(network, find_all(paths), how=how, top=top, clips=clips, crops=crops)


def predict_with(
    network: VideoClassifier,
    videos: Sequence[tuple[str, str | None]],
    *,
    how: Inference,
    top: int = 5,
    clips: int = 1,
    crops: int = 1,
) -> dict[str, Any]:
    """Return what ``predict`` returns, from a loaded network and what ``find_all`` found."""
    records = [VideoRecord(video, label=0) for video, error in videos if error is None]  # no label is known
    annotations = Annotations(Path(), class_names(network), network.label_swaps, None, "paths", {})
    answers = iter(label_records(network, annotations, records, how=how, top=top, clips=clips, crops=crops))
    predictions = [
        {"video": video, "labels": [], "error": error} if error else {"video": video, **next(answers)}
        for video, error in videos
    ]
    return {"predictions": predictions, "temperature": network.temperature}


def predict_flow(
    network: VideoClassifier,
    paths: Sequence[str | Path],
    *,
    how: Inference,
    top: int = 5,
    clips: int = 1,
    crops: int = 1,
) -> dict[str, Any]:
    """Return what ``predict`` returns, from a loaded network for flow and folders that hold flow.

    Raises:
        DataError: none of the paths leads to flow.
    """
    predictions: list[dict[str, Any]] = []
    reasons = []
    for path in map(Path, paths):
        try:
            annotations, records = find_flow(path)
        except DataError as error:
            reasons.append(error)
            predictions.append({"video": str(path), "labels": [], "error": str(error)})
            continue
        annotations = replace(annotations, classes=class_names(network), label_swaps=network.label_swaps)
        answers = label_records(network, annotations, records, how=how, top=top, clips=clips, crops=crops)
        predictions += [
            {"video": str(annotations.path(record)), **answer}
            for record, answer in zip(records, answers, strict=True)
        ]
    if len(reasons) == len(predictions):
        raise reasons[0] if reasons else DataError("no path was given. Give folders that hold flow.")
    return {"predictions": predictions, "temperature": network.temperature}


def find_flow(path: Path) -> tuple[Annotations, list[VideoRecord]]:
    """Return the videos whose flow a folder holds, or whose dataset.json in it names.

    Raises:
        DataError: there is no flow.
    """
    if all((path / folder).is_dir() for folder in FLOW_FOLDERS):
        x = path / FLOW_FOLDERS[0]
        found = [video.relative_to(x).as_posix() for video in find_videos([x])]
        annotations = Annotations(path, (), (), None, "paths", {}, flow=FLOW_FOLDERS)
        return annotations, [VideoRecord(video, label=0) for video in found]
    if (path / DESCRIPTION).is_file():
        annotations = read_annotations(path)
        require_modality(annotations, "flow")
        records = [record for split in annotations.splits.values() for record in split]
        return annotations, [replace(record, label=0) for record in records]
    raise DataError(
        f"'{path}' holds no optical flow, and this model sees nothing else. Give a folder with flow_x and "
        "flow_y in it, a dataset whose dataset.json names them, or use a model trained on RGB."
    )


def numbered_swaps(dataset: str) -> tuple[tuple[str, str], ...]:
    """Return the classes that a mirror image exchanges in a dataset of the catalogue, as numbers.

    >>> numbered_swaps("something-v1")
    (('86', '87'), ('93', '94'), ('166', '167'))
    """
    known = DATASETS.get(dataset)
    return tuple((str(one), str(other)) for one, other in (known and known.label_swaps) or ())


def class_names(network: VideoClassifier) -> tuple[str, ...]:
    """Return the names of the network's classes, or their numbers."""
    return network.classes or tuple(str(index) for index in range(network.head.out_features))


def label_records(
    network: VideoClassifier,
    annotations: Annotations,
    records: Sequence[VideoRecord],
    *,
    how: Inference,
    top: int,
    clips: int,
    crops: int,
) -> list[dict[str, Any]]:
    """Return ``labels`` and ``error`` of each record, one of them empty."""
    for name, value in {"top": top, "clips": clips}.items():
        if value < 1:
            raise ConfigError(f"{name} is {value}; it must be at least 1. Change --{name}.")
    views = EvalViews(annotations, records, network.num_segments, network.input_spec, clips, crops)
    answers = infer(
        network,
        views,
        len(records),
        how,
        flipped=views.flipped,
        label_swaps=annotations.swap_indices,
    )
    labelled = []
    for answer in answers:
        labels = (
            []
            if answer.logits is None
            else best(answer.logits, annotations.classes, top, network.temperature)
        )
        error = answer.error if labels or answer.error else "the network's output is not finite"
        labelled.append({"labels": labels, "error": error})
    return labelled


def find_all(paths: Sequence[str | Path]) -> list[tuple[str, str | None]]:
    """Return the videos that paths lead to, in order and once each; a path to nowhere has its reason.

    Raises:
        DataError: none of the paths leads to a video.
    """
    found: dict[str, str | None] = {}
    for path in [paths] if isinstance(paths, str | Path) else paths:
        try:
            for video in find_videos([path]):
                found.setdefault(str(video), _why_not(video))
        except DataError as error:
            found.setdefault(str(path), str(error))
        except OSError as error:
            found.setdefault(str(path), f"'{path}' cannot be searched: {error.strerror}.")
    if all(error is not None for error in found.values()):
        reasons = list(found.values()) or ["no path was given. Give videos, folders or globs."]
        more = f" (and {len(reasons) - 1} more paths)" if len(reasons) > 1 else ""
        raise DataError(f"{reasons[0]}{more}")
    return list(found.items())


def _why_not(video: Path) -> str | None:
    """Return why a path is no file or folder that could be read; None if it is one."""
    if video.is_file() or video.is_dir():
        return None
    if video.exists():
        return f"'{video}' is neither a file nor a folder."
    return f"there is no file '{video}'. Give a video, a folder or a glob."


def best(
    logits: np.ndarray, classes: Sequence[str], top: int, temperature: float | None = None
) -> list[dict[str, Any]]:
    """Return the ``top`` likeliest labels, the likeliest first; none where a logit is not finite.

    >>> best(np.array([0.0, np.log(3.0)]), ["push", "pull"], top=1)
    [{'label': 'pull', 'probability': 0.75}]
    """
    if not np.isfinite(logits).all():
        return []
    probabilities = calibrated(logits, temperature)
    order = np.argsort(-probabilities, kind="stable")[:top]
    return [{"label": classes[index], "probability": float(probabilities[index])} for index in order]
