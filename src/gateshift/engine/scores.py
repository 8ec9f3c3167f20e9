"""What a network said of every video of a split: a file that can be kept, compared and added.

Scores hold logits, the mean over a video's views, and not probabilities: the released code averages logits
over views and adds logits over networks, and its ensemble figures are of that kind.

Letters: M videos, K classes.
"""

import zipfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from gateshift.engine.checkpoint import write_atomically
from gateshift.engine.metrics import summary
from gateshift.errors import ConfigError, DataError, ScoresMismatch

ARRAYS = ("videos", "labels", "logits", "classes")


@dataclass(frozen=True, eq=False)
class Scores:
    """Logits of every video of a split, averaged over its views.

    Attributes:
        videos: names, M of them.
        labels: true class of each video, (M,) integers.
        logits: (M, K).
        classes: names in index order, K of them.
    """

    videos: tuple[str, ...]
    labels: np.ndarray
    logits: np.ndarray
    classes: tuple[str, ...]

    def __post_init__(self) -> None:
        expected = (len(self.videos), len(self.classes))
        if self.logits.shape != expected or self.labels.shape != expected[:1]:
            raise ScoresMismatch(
                f"scores of {expected[0]} videos and {expected[1]} classes need logits of shape {expected} "
                f"and {expected[0]} labels, got {self.logits.shape} and {self.labels.shape}."
            )

    def save(self, path: Path) -> None:
        """Write an ``.npz`` file, whole or not at all."""
        write_atomically(path, self._write)

    def _write(self, path: Path) -> None:
        with path.open("wb") as file:  # given a name, numpy would add its own suffix
            np.savez_compressed(
                file,
                videos=np.array(self.videos, dtype=np.str_),
                labels=self.labels.astype(np.int64),
                logits=self.logits.astype(np.float32),
                classes=np.array(self.classes, dtype=np.str_),
            )

    @classmethod
    def load(cls, path: Path) -> "Scores":
        """Read what ``save`` wrote; nothing is unpickled.

        Raises:
            DataError: the file is missing or holds something else.
        """
        if not path.is_file():
            raise DataError(
                f"no score file at {str(path)!r}. `gateshift test ... --save-scores F.npz` writes one."
            )
        try:
            with np.load(path, allow_pickle=False) as file:
                values = {name: file[name] for name in ARRAYS}
        except (KeyError, ValueError, OSError, EOFError, zipfile.BadZipFile, TypeError) as error:
            raise DataError(
                f"{str(path)!r} is not a score file ({error}). Expected an .npz with {', '.join(ARRAYS)}, "
                "as `gateshift test ... --save-scores F.npz` writes it."
            ) from error
        return cls(
            videos=tuple(values["videos"].tolist()),
            labels=values["labels"],
            logits=values["logits"],
            classes=tuple(values["classes"].tolist()),
        )

    def __add__(self, other: "Scores") -> "Scores":
        """Add the logits of the same videos, matched by name."""
        other = other.in_order_of(self)
        wrong = np.flatnonzero(self.labels != other.labels)
        if wrong.size:
            raise ScoresMismatch(
                f"the scores disagree on the label of {wrong.size} of {len(self.videos)} videos: "
                f"{_examples([self.videos[i] for i in wrong])}. Test both models on the same lists."
            )
        return replace(self, logits=self.logits + other.logits)

    def scaled(self, weight: float) -> "Scores":
        """Return the scores with every logit times ``weight``."""
        return replace(self, logits=self.logits * weight)

    def in_order_of(self, other: "Scores") -> "Scores":
        """Return the same scores with videos and classes in the order of ``other``.

        Raises:
            ScoresMismatch: the videos or the classes are not the same ones.
        """
        classes = _positions("classes", other.classes, self.classes)
        videos = _positions("videos", other.videos, self.videos)
        label_of = np.argsort(classes)  # index here -> index in other
        return Scores(
            videos=other.videos,
            labels=label_of[self.labels[videos]],
            logits=self.logits[videos][:, classes],
            classes=other.classes,
        )


def _positions(kind: str, wanted: tuple[str, ...], given: tuple[str, ...]) -> np.ndarray:
    """Return where each wanted name is in ``given``, which must hold the same names."""
    if wanted == given:
        return np.arange(len(given))
    missing, extra = sorted(set(wanted) - set(given)), sorted(set(given) - set(wanted))
    if missing or extra:
        raise ScoresMismatch(
            f"cannot add scores of different {kind}: {len(missing)} only in the first file"
            f"{_examples(missing, ' (', ')')}, {len(extra)} only in the other{_examples(extra, ' (', ')')}. "
            "Test both models on the same data."
        )
    repeated = [name for name, count in (Counter(wanted) | Counter(given)).items() if count > 1]
    if repeated:
        raise ScoresMismatch(
            f"cannot match {kind} by name: {len(repeated)} appear more than once ({_examples(repeated)}). "
            "Give both files the same order."
        )
    place = {name: index for index, name in enumerate(given)}
    return np.array([place[name] for name in wanted])


def _examples(names: Sequence[str], before: str = "", after: str = "", most: int = 3) -> str:
    """Return the first few names, quoted; nothing for no names."""
    if not names:
        return ""
    shown = ", ".join(repr(name) for name in names[:most])
    return f"{before}{shown}{', ...' if len(names) > most else ''}{after}"


def ensemble(files: Sequence[Path], *, weights: str | Sequence[float] | None = None) -> dict[str, Any]:
    """Add the scores of several models for the same videos and measure the sum.

    Example: `gateshift ensemble eight.npz twelve.npz --weights 1,0.5`

    Args:
        files: score files, as `gateshift test --save-scores` writes them.
        weights: one factor per file, as numbers or "1,0.5"; all 1 where not given.

    Raises:
        ScoresMismatch: the files are of different videos, classes or labels.
    """
    if not files:
        raise ConfigError("ensemble needs at least one score file, got none. Give F.npz F.npz ...")
    factors = _factors(weights, len(files))
    members = [Scores.load(Path(file)) for file in files]
    total = members[0].scaled(factors[0])
    for file, member, factor in zip(files[1:], members[1:], factors[1:], strict=True):
        try:
            total = total + member.scaled(factor)
        except ScoresMismatch as error:
            raise ScoresMismatch(f"{str(files[0])!r} and {str(file)!r}: {error}") from error
    measured = summary(total)
    return {
        "top1": measured["top1"],
        "top5": measured["top5"],
        "videos": len(total.videos),
        "members": [
            {"file": str(file), "weight": factor, "top1": summary(member)["top1"]}
            for file, member, factor in zip(files, members, factors, strict=True)
        ],
    }


def _factors(weights: str | Sequence[float] | None, count: int) -> list[float]:
    """Return one finite factor per file."""
    if weights is None:
        return [1.0] * count
    parts = weights.split(",") if isinstance(weights, str) else weights
    try:
        factors = [float(part) for part in parts]
    except ValueError as error:
        raise ConfigError(f"weights {weights!r} are not numbers. Give one per file, like 1,0.5.") from error
    if len(factors) != count:
        raise ConfigError(f"{len(factors)} weights for {count} score files. Give one weight per file.")
    if not np.isfinite(factors).all():
        raise ConfigError(f"weights {weights!r} must be finite numbers.")
    return factors
