"""What a network said of every video of a split: a file that can be kept, compared and added.

Scores hold logits, the mean over a video's views: the released code averages logits over views and adds them
over networks, and its ensemble figures are of that kind. Its other option averages the probabilities of the
views; such scores say so in ``kind`` and hold probabilities, which add as a vote in which every network has
as much to say. The two kinds do not add to each other.

Letters: M videos, K classes.
"""

import zipfile
import zlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from gateshift.errors import DataError, ScoresMismatch
from gateshift.writing import write_atomically

DAMAGED = (zipfile.BadZipFile, zlib.error, NotImplementedError, EOFError, OSError)  # what archives raise
ARRAYS = ("videos", "labels", "logits", "classes")
KINDS = ("logits", "probabilities")


@dataclass(frozen=True, eq=False)
class Scores:
    """Logits or probabilities of every video of a split, averaged over its views.

    Attributes:
        videos: names, M of them.
        labels: true class of each video, (M,) integers.
        logits: (M, K); probabilities, if ``kind`` says so.
        classes: names in index order, K of them.
        kind: "logits" or "probabilities".
    """

    videos: tuple[str, ...]
    labels: np.ndarray
    logits: np.ndarray
    classes: tuple[str, ...]
    kind: str = "logits"

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
                kind=np.array(self.kind, dtype=np.str_),
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
            with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
                values = {name: file[name] for name in ARRAYS}
                kind = str(file["kind"]) if "kind" in file else "logits"  # older files hold no other
        except (*DAMAGED, KeyError, ValueError, TypeError) as error:
            raise DataError(
                f"{str(path)!r} is not a score file ({error}). Expected an .npz with {', '.join(ARRAYS)}, "
                "as `gateshift test ... --save-scores F.npz` writes it."
            ) from error
        if kind not in KINDS:
            raise DataError(
                f"{str(path)!r} holds scores of kind {kind!r}. Expected {' or '.join(KINDS)}, as "
                "`gateshift test ... --save-scores F.npz` writes them."
            )
        return cls(
            videos=tuple(values["videos"].tolist()),
            labels=values["labels"],
            logits=values["logits"],
            classes=tuple(values["classes"].tolist()),
            kind=kind,
        )

    def __add__(self, other: "Scores") -> "Scores":
        """Add the logits (or the probabilities) of the same videos, matched by name.

        Raises:
            ScoresMismatch: the videos, classes, labels or kinds are not the same.
        """
        if self.kind != other.kind:
            raise ScoresMismatch(
                f"cannot add {self.kind} and {other.kind}. Test both models with the same --average."
            )
        return replace(self, logits=self.logits + other.same_videos_as(self).logits)

    def scaled(self, weight: float) -> "Scores":
        """Return the scores with every logit times ``weight``."""
        return replace(self, logits=self.logits * weight)

    def part(self, chosen: np.ndarray) -> "Scores":
        """Return the scores of some videos, chosen by (M,) booleans."""
        videos = tuple(self.videos[index] for index in np.flatnonzero(chosen))
        return replace(self, videos=videos, labels=self.labels[chosen], logits=self.logits[chosen])

    def same_videos_as(self, other: "Scores") -> "Scores":
        """Return the same scores in the order of ``other``, which must have the same labels.

        Raises:
            ScoresMismatch: the videos, classes or labels are not the same.
        """
        ordered = self.in_order_of(other)
        wrong = np.flatnonzero(other.labels != ordered.labels)
        if wrong.size:
            raise ScoresMismatch(
                f"the scores disagree on the label of {wrong.size} of {len(self.videos)} videos: "
                f"{_examples([other.videos[i] for i in wrong])}. Test both models on the same lists."
            )
        return ordered

    def in_order_of(self, other: "Scores") -> "Scores":
        """Return the same scores with videos and classes in the order of ``other``.

        Raises:
            ScoresMismatch: the videos or the classes are not the same ones.
        """
        classes = _positions("classes", other.classes, self.classes)
        videos = _positions("videos", other.videos, self.videos)
        label_of = np.argsort(classes)  # index here -> index in other
        return replace(
            self,
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
            f"the scores are of different {kind}: {len(missing)} only in the first file"
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
