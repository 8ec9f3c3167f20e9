"""Videos as points of a map on which those with like features lie together, and gates by class.

Letters: M videos, D features.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gateshift.engine.survey import Survey

SIDE = 440  # pixels of the map
EDGE = 12
FEWEST = 8  # videos that make a map
SEED = 0
EXTRA = "the map needs scikit-learn: pip install 'gateshift[report]', and give the command again"


@dataclass(frozen=True)
class Dot:
    """One video on the map, in pixels."""

    x: float
    y: float
    label: int
    title: str


@dataclass(frozen=True)
class FeatureMap:
    """A map of one network, or why there is none."""

    name: str
    dots: tuple[Dot, ...]
    error: str = ""


@dataclass(frozen=True)
class GatesOfClass:
    """How open the gates of each module are for one class, and how far from their mean over classes."""

    name: str
    open: tuple[float, ...]
    apart: tuple[float, ...]


def feature_map(name: str, found: Survey, classes: Sequence[str]) -> FeatureMap:
    """Lay the videos of a survey out by t-SNE of their features' directions (van der Maaten, Hinton 2008).

    Distances between far groups mean little, and those within a group what they seem to.
    """
    if len(found.videos) < FEWEST:
        return FeatureMap(name, (), f"{len(found.videos)} videos are too few for a map")
    try:
        from sklearn.manifold import TSNE
    except ImportError:
        return FeatureMap(name, (), EXTRA)
    norms = np.linalg.norm(found.features, axis=1, keepdims=True)
    directions = found.features / np.maximum(norms, np.finfo(np.float32).tiny)
    perplexity = min(30.0, (len(directions) - 1) / 3)
    places = TSNE(init="pca", perplexity=perplexity, random_state=SEED).fit_transform(directions)
    low, high = places.min(axis=0), places.max(axis=0)
    pixels = EDGE + (places - low) / np.maximum(high - low, 1e-9) * (SIDE - 2 * EDGE)
    return FeatureMap(
        name,
        tuple(
            Dot(round(float(x), 1), round(float(y), 1), int(label), f"{classes[label]}: {video}")
            for (x, y), label, video in zip(pixels, found.labels, found.videos, strict=True)
        ),
    )


def feature_values(surveys: Sequence[tuple[str, Survey | str]], classes: Sequence[str]) -> dict[str, Any]:
    """Return what the page shows of networks' names and surveys, or of why there is none.

    Gates are those of the first.
    """
    first = surveys[0][1] if surveys else ""
    by_class = [] if isinstance(first, str) else gates_by_class(first, classes)
    return {
        "maps": [
            FeatureMap(name, (), found) if isinstance(found, str) else feature_map(name, found, classes)
            for name, found in surveys
        ],
        "class_gates": by_class,
        "gate_names": () if isinstance(first, str) else first.modules,
        "most_apart": max((abs(apart) for row in by_class for apart in row.apart), default=0.0) or 1.0,
    }


def gates_by_class(found: Survey, classes: Sequence[str]) -> list[GatesOfClass]:
    """Return the gates of the classes that the survey has videos of; nothing for a network without gates."""
    if not found.modules or not found.videos:
        return []
    means: Mapping[int, np.ndarray] = {
        label: found.gates[found.labels == label].mean(axis=0) for label in np.unique(found.labels).tolist()
    }
    overall = np.mean(list(means.values()), axis=0)
    return [
        GatesOfClass(classes[label], tuple(mean.tolist()), tuple((mean - overall).tolist()))
        for label, mean in means.items()
    ]
