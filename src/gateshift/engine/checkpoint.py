"""Files of a run that must never be found half-written, and the state that a resume needs."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from gateshift.errors import GateshiftError

STATE = "state.pt"


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Let ``write`` fill a file beside ``path``, then put it in place in one step."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        write(partial)
        with partial.open("rb") as file:
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write ``text`` as UTF-8, whole or not at all."""
    write_atomically(path, lambda partial: partial.write_text(text, encoding="utf-8"))


def save_state(folder: Path, state: dict[str, Any]) -> None:
    """Write all that a resume needs into ``folder``."""
    write_atomically(folder / STATE, lambda partial: torch.save(state, partial))


def load_state(folder: Path) -> dict[str, Any] | None:
    """Return what ``save_state`` wrote, or None where nothing was written yet.

    Raises:
        GateshiftError: the file is there and cannot be read.
    """
    path = folder / STATE
    if not path.exists():
        return None
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # whatever torch says of a damaged file, the user needs the same advice
        raise GateshiftError(
            f"{path} cannot be read ({error}). It was damaged after it was written; "
            f"delete {folder} to train this run from its start."
        ) from error
