"""Copies of Something-Something V1 for the tests: its annotation files, and folders of empty frames."""

from collections.abc import Mapping, Sequence
from pathlib import Path

STEM = "something-something-v1"
FRAMES = "20bn-something-something-v1"
LABELS = (  # 174 names, not in order, with one pair that a mirror exchanges
    "Pushing something from right to left",
    "Pushing something from left to right",
    "Holding something",
    "Holding something behind something",
    *(f"Doing the thing called {i}" for i in range(170)),
)


def write_root(
    root: Path,
    splits: Mapping[str, Sequence[tuple[str, str]]],
    lengths: Mapping[str, int],
    labels: Sequence[str] = LABELS,
    test: Sequence[str] = (),
) -> Path:
    """Write a root: rows of (id, label) for "train" and "validation", and a frame folder for each length."""
    root.mkdir(parents=True, exist_ok=True)
    _write_lines(root / f"{STEM}-labels.csv", labels)
    for split, rows in splits.items():
        _write_lines(root / f"{STEM}-{split}.csv", [f"{video};{label}" for video, label in rows])
    if test:
        _write_lines(root / f"{STEM}-test.csv", test)
    for video, length in lengths.items():
        folder = root / FRAMES / video
        folder.mkdir(parents=True)
        for i in range(1, length + 1):
            (folder / f"{i:05d}.jpg").touch()
    return root


def small_root(root: Path, **changes: int) -> Path:
    """Write a root of three training and two validation videos, with 4 to 8 frames."""
    train = [("12", LABELS[0]), ("7", LABELS[2]), ("100", "Doing the thing called 3")]
    val = [("5", LABELS[1]), ("33", LABELS[3])]
    lengths = {"12": 4, "7": 5, "100": 6, "5": 7, "33": 8} | changes
    return write_root(root, {"train": train, "validation": val}, lengths, test=["900"])


def _write_lines(file: Path, lines: Sequence[str]) -> None:
    file.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
