"""What tells one file, or one folder of frames, from another: size, time of change, digest of the content."""

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from gateshift.data.frame_folder import is_frame

BLOCK = 1 << 20
ENDS = 1 << 16  # bytes at either end of a file that a quick digest looks at


class Stamp(NamedTuple):
    """Bytes of a file and the time it was changed; of a folder, all its frames' together and the last."""

    num_bytes: int
    modified_ns: int


def stamp(path: Path) -> Stamp:
    """Return the stamp of a video file or of a frame folder; (-1, 0) where there is none."""
    if not path.exists():
        return Stamp(-1, 0)
    found = [file.stat() for file in _files(path)]
    modified = [status.st_mtime_ns for status in found] + [path.stat().st_mtime_ns]
    return Stamp(sum(status.st_size for status in found), max(modified))


def digest(path: Path, fast: bool = False) -> str:
    """Return a digest of a file's content, or of all frames of a folder in the order of their names.

    Args:
        path: a file or a folder.
        fast: of each file only its size and its first and last 64 KiB; of a folder only the first and the
            last frame, and how many there are.
    """
    files = list(_files(path))
    total = hashlib.blake2b(str(len(files)).encode(), digest_size=16)
    for file in [files[0], files[-1]] if fast and files else files:
        total.update(file.stat().st_size.to_bytes(8, "little"))
        for block in _ends(file) if fast else _blocks(file):
            total.update(block)
    return total.hexdigest()


def _files(path: Path) -> Iterator[Path]:
    if not path.is_dir():
        yield path
        return
    with os.scandir(path) as entries:
        names = sorted(entry.name for entry in entries)
    yield from (path / name for name in names if is_frame(Path(name)))


def _blocks(file: Path) -> Iterator[bytes]:
    with file.open("rb") as content:
        while block := content.read(BLOCK):
            yield block


def _ends(file: Path) -> Iterator[bytes]:
    with file.open("rb") as content:
        yield content.read(ENDS)
        content.seek(max(ENDS, file.stat().st_size - ENDS))
        yield content.read(ENDS)
