"""What a network holds of many videos before it decides: their features, and how open its gates were.

Letters: M videos, D features, G modules with gates.
"""

import hashlib
import json
import zipfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from gateshift.data.dataset import EvalViews
from gateshift.data.transforms import normalize
from gateshift.engine.gate_statistics import gate_modules, watching_gates
from gateshift.engine.progress import progress_bar
from gateshift.engine.trial import record_name
from gateshift.errors import VideoError
from gateshift.models.classifier import VideoClassifier
from gateshift.models.download import file_sha256
from gateshift.models.weights import find_weights
from gateshift.writing import write_atomically

SURVEY = "survey.npz"  # of a run directory
READERS = 4  # videos that are read ahead; decoding leaves Python to others


@dataclass(frozen=True, eq=False)
class Survey:
    """Features and gates of some videos.

    Attributes:
        videos: names, as in score files.
        labels: true class of each, (M,).
        features: mean over the frames of what the head sees, (M, D).
        modules: names of the modules with gates, G of them; none for TSN and TSM.
        gates: mean size of each module's gates, (M, G).
    """

    videos: tuple[str, ...]
    labels: np.ndarray
    features: np.ndarray
    modules: tuple[str, ...]
    gates: np.ndarray


def survey_run(
    run_dir: Path, network: VideoClassifier, views: EvalViews, most: int, device: torch.device
) -> Survey:
    """Return the survey of a run's network over at most so many videos, spread evenly over ``views``.

    It is kept in the run directory: the same weights and videos are not gone through again. Videos that
    cannot be read are left out.

    Raises:
        WeightsError: the run has no weights.
    """
    weights = find_weights(run_dir)
    places = np.unique(np.linspace(0, len(views) - 1, min(most, len(views))).round().astype(int)).tolist()
    names = [record_name(views.records[place]) for place in places]
    key = hashlib.sha256(json.dumps([file_sha256(weights), names]).encode()).hexdigest()
    kept = _read(run_dir / SURVEY, key)
    if kept is not None:
        return kept
    found = survey(network, views, places, device)
    write_atomically(run_dir / SURVEY, lambda path: _write(path, found, key))
    return found


def survey(network: VideoClassifier, views: EvalViews, places: Sequence[int], device: torch.device) -> Survey:
    """Run the first view of some videos through a network, one by one."""
    network = network.to(device).eval()
    modules = tuple(gate_modules(network))
    kept, features, gates = [], [], []
    with (
        watching_gates(network) as planes,
        torch.inference_mode(),
        progress_bar("features", len(places)) as bar,
    ):
        for place, clip in _read_ahead(views, places):
            if clip is not None:
                kept.append(place)
                inputs = normalize(clip.to(device), network.input_spec)
                features.append(network.forward_features(inputs)[0].mean(dim=0).float().cpu().numpy())
                gates.append([float(planes[name].abs().mean()) for name in modules])
            bar.advance()
    return Survey(
        videos=tuple(record_name(views.records[place]) for place in kept),
        labels=np.array([views.records[place].label for place in kept], dtype=np.int64),
        features=np.stack(features) if features else np.zeros((0, 1), np.float32),
        modules=modules,
        gates=np.array(gates, dtype=np.float32).reshape(len(kept), len(modules)),
    )


def _read_ahead(views: EvalViews, places: Sequence[int]) -> Iterator[tuple[int, Tensor | None]]:
    """Yield the first view of each video, (1, T, 3, S, S), or None where it cannot be read."""

    def read(place: int) -> Tensor | None:
        try:
            return views[place][0][:1]
        except VideoError:
            return None

    with ThreadPoolExecutor(READERS) as pool:
        for begin in range(0, len(places), READERS):
            some = places[begin : begin + READERS]
            yield from zip(some, pool.map(read, some), strict=True)


def _write(path: Path, found: Survey, key: str) -> None:
    with path.open("wb") as file:
        np.savez_compressed(
            file,
            key=np.array(key),
            videos=np.array(found.videos, dtype=np.str_),
            labels=found.labels,
            features=found.features.astype(np.float16),
            modules=np.array(found.modules, dtype=np.str_),
            gates=found.gates,
        )


def _read(path: Path, key: str) -> Survey | None:
    """Return what was kept; None where nothing was, or of other weights or videos."""
    try:
        with np.load(path, allow_pickle=False) as file:
            if str(file["key"]) != key:
                return None
            return Survey(
                tuple(file["videos"].tolist()),
                file["labels"],
                file["features"].astype(np.float32),
                tuple(file["modules"].tolist()),
                file["gates"],
            )
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None
