"""The state that a resume needs: on disk twice, the last one and the one before, each with its checksum."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import torch

from gateshift.engine.progress import console
from gateshift.errors import GateshiftError
from gateshift.writing import write_atomically

STATE = "state.pt"
PREVIOUS = "previous.pt"
MARK = b"gateshift sha256"  # after what torch wrote, and before the checksum of that; torch looks at neither
DIGEST = 32  # bytes of the checksum
CHUNK = 2**20


def save_state(folder: Path, state: dict[str, Any]) -> None:
    """Write all that a resume needs into ``folder``, and keep what was written there before.

    Raises:
        WriteError: it cannot be written; what was there before is.
    """

    def write(partial: Path) -> None:
        with partial.open("wb") as file:
            summed = _Summed(file)
            torch.save(state, summed)  # type: ignore[arg-type]  # it only writes
            file.write(MARK + summed.sum.digest())

    write_atomically(folder / STATE, write, size=size_of(state), previous=folder / PREVIOUS)


def load_state(folder: Path, *, main: bool = False) -> dict[str, Any] | None:
    """Return what ``save_state`` wrote last and is sound, or None where nothing was written yet.

    The ``main`` process says so where that is not the last one, and removes that: it must not take the place
    of the sound one when the next is written.

    Raises:
        GateshiftError: there are files, and none of them is sound.
    """
    damaged: list[tuple[Path, str]] = []
    for path in (folder / STATE, folder / PREVIOUS):
        try:
            state = _read(path)
        except FileNotFoundError:
            continue
        except Exception as error:  # whatever torch says of a damaged file, the user needs the same advice
            damaged.append((path, (str(error).splitlines() or [type(error).__name__])[0]))
            continue
        if damaged and main:
            path, reason = damaged[0]
            console().print(f"{path} is damaged ({reason}); going on from the state that was saved before it")
            path.unlink(missing_ok=True)
        return state
    if not damaged:
        return None
    what = " and ".join(f"{path} ({reason})" for path, reason in damaged)
    raise GateshiftError(
        f"the state of this run cannot be read: {what}. It was damaged after it was written; put a copy of "
        f"{STATE} in its place, or delete {folder} to train this run from its start."
    )


def _read(path: Path) -> Any:
    """Return what a file holds; one of an earlier version has no checksum.

    Raises:
        GateshiftError: it is not what was written.
        Exception: it cannot be read.
    """
    with path.open("rb") as file:
        length = path.stat().st_size - len(MARK) - DIGEST
        file.seek(max(length, 0))
        tail = file.read()
        file.seek(0)
        if tail.startswith(MARK):
            summed, left = hashlib.sha256(), length
            while left:
                chunk = file.read(min(left, CHUNK))
                summed.update(chunk)
                left -= len(chunk)
            if summed.digest() != tail[len(MARK) :]:
                raise GateshiftError("its checksum does not fit")
    return torch.load(path, map_location="cpu", weights_only=True)


class _Summed:
    """A file for ``torch.save``, with the checksum of what goes into it."""

    def __init__(self, file: BinaryIO) -> None:
        self.file = file
        self.sum = hashlib.sha256()

    def write(self, content: bytes) -> int:
        self.sum.update(content)
        return self.file.write(content)

    def flush(self) -> None:
        self.file.flush()


def size_of(state: Any) -> int:
    """Return the bytes of all tensors in nested mappings and sequences.

    >>> size_of({"model": {"a": torch.zeros(3)}, "steps": [torch.zeros(2), 1]})
    20
    """
    if isinstance(state, torch.Tensor):
        return state.numel() * state.element_size()
    if isinstance(state, Mapping):
        return sum(map(size_of, state.values()))
    return sum(map(size_of, state)) if isinstance(state, list | tuple) else 0
