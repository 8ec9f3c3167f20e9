"""Answers of a test that has not ended, on disk: what the same test need not compute again.

An answer is kept under a key that changes with all that decides it, so nothing stale is ever read. Each
process keeps its own file.

Letters: M videos, K classes.
"""

import time
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from gateshift.writing import write_atomically

Kept = tuple[int, np.ndarray]  # label, scores (K,)


class KeptAnswers:
    """The answers of an unfinished test, beside the score file that it will write.

    Args:
        scores: the score file to come.
        keys: one for each video, M of them.
        seconds: between two writings.
    """

    def __init__(self, scores: Path, keys: Sequence[str], seconds: float = 60.0) -> None:
        self.scores = scores
        self.keys = tuple(keys)
        self.seconds = seconds
        self._written = time.monotonic()

    def read(self) -> dict[int, Kept]:
        """Return label and scores of every video whose answer is kept, by index."""
        kept: dict[str, Kept] = {}
        for path in self._files():
            kept |= _read(path)
        return {index: kept[key] for index, key in enumerate(self.keys) if key in kept}

    def due(self) -> bool:
        """Tell whether it is time to write again."""
        return time.monotonic() - self._written > self.seconds

    def write(self, answers: Mapping[int, Kept], process: int) -> None:
        """Write the answers of a process."""
        if not answers:
            return
        arrays = {
            "keys": np.array([self.keys[index] for index in answers]),
            "labels": np.array([label for label, _ in answers.values()], dtype=np.int64),
            "scores": np.stack([scores for _, scores in answers.values()]),
        }
        write_atomically(self._file(process), lambda path: _write(path, arrays))
        self._written = time.monotonic()

    def clear(self) -> None:
        """Remove the files: the test has ended."""
        for path in self._files():
            path.unlink(missing_ok=True)

    def _file(self, process: int) -> Path:
        return self.scores.with_name(f".{self.scores.name}.{process}.kept")

    def _files(self) -> list[Path]:
        """Return the files of all processes; there may have been more of them than now."""
        before, after = f".{self.scores.name}.", ".kept"
        folder = self.scores.parent
        names = [path.name for path in folder.iterdir()] if folder.is_dir() else []
        return [
            folder / name
            for name in sorted(names)
            if name.startswith(before) and name.endswith(after) and name[len(before) : -len(after)].isdigit()
        ]


def _write(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    with path.open("wb") as file:  # given a name, numpy would add its own suffix
        np.savez(file, **arrays)  # type: ignore[arg-type]  # numpy's stubs take it for allow_pickle


def _read(path: Path) -> dict[str, Kept]:
    """Return what a file keeps; nothing of a damaged one, whose videos are then computed again."""
    try:
        with np.load(path, allow_pickle=False) as file:
            rows = zip(file["keys"].tolist(), file["labels"].tolist(), file["scores"], strict=True)
            return {key: (label, scores) for key, label, scores in rows}
    except (KeyError, ValueError, OSError, EOFError, zipfile.BadZipFile):
        return {}
