"""Checkpoints of others: read as tensors and plain values, so that nothing in them can run.

What is no checkpoint is told apart first: a web page that was saved under a checkpoint's name, half a
download, an empty file. Each has a message of its own.
"""

import pickle
import re
import struct
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gateshift.errors import WeightsError
from gateshift.models.download import describe

ZIP, ZIP_END = b"PK\x03\x04", b"PK\x05\x06"  # how the files of torch.save begin, and begin to end
ZIP_TAIL = 1 << 16  # bytes at most from there on
BEFORE_ZIP = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."  # and did before torch 1.6, when GSM was trained


class Unread:
    """Stands for a number of NumPy's beside the tensors, such as the best accuracy; NumPy is not called."""

    def __init__(self, *parts: object) -> None:
        pass

    def __setstate__(self, state: object) -> None:
        pass


# Names in files of NumPy 1 and 2. None of them leads to NumPy, only to the class above.
UNREAD: list[Callable[..., Any] | tuple[Callable[..., Any], str]] = [
    (Unread, "numpy.core.multiarray.scalar"),
    (Unread, "numpy._core.multiarray.scalar"),
    (Unread, "numpy.dtype"),
]


def read_pickle(path: Path) -> dict[str, Any]:
    """Return what a ``.pth`` file holds; tensors and plain values only, nothing else is unpickled.

    Raises:
        WeightsError: it is no such file.
    """
    try:
        _refuse_other_files(path)
        with torch.serialization.safe_globals(UNREAD):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except WeightsError:
        raise
    except Exception as error:  # a damaged pickle can end in any of them
        raise WeightsError(f"{path} {_why_unreadable(path, error)}") from error
    if not isinstance(content, dict):
        raise WeightsError(f"{path} holds a {type(content).__name__}. Expected a dictionary of tensors.")
    return content


def with_batch_counts(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the state with the ``num_batches_tracked`` of every batch norm, which old files do not have."""
    counts = {
        key.replace("running_mean", "num_batches_tracked"): torch.tensor(0)
        for key in state
        if key.endswith("running_mean")
    }
    return counts | dict(state)


def _refuse_other_files(path: Path) -> None:
    """Refuse what can be told to be no checkpoint by its first bytes.

    Raises:
        WeightsError: it is missing, a folder, empty, a web page or a safetensors file.
    """
    if path.is_dir():
        raise WeightsError(f"{path} is a folder. Give the checkpoint file itself.")
    if not path.is_file():
        raise WeightsError(f"there is no file {path}. Give a checkpoint that torch.save wrote.")
    if path.stat().st_size == 0:
        raise WeightsError(f"{path} is empty. Fetch the checkpoint again.")
    if describe(path) == "a web page":
        raise WeightsError(
            f"{path} is a web page and no checkpoint: what Google Drive shows before a large file, or "
            "instead of it. Remove it, open the link in a browser, and save the file itself."
        )
    if _is_safetensors(path):
        raise WeightsError(
            f"{path} is a safetensors file, and original checkpoints are what torch.save wrote. "
            "Weights of this project need no conversion: give them to test or predict as they are."
        )


def _is_safetensors(path: Path) -> bool:
    """Tell whether a file starts with the length of a JSON header and the header."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        return length < path.stat().st_size and file.read(1) == b"{"


def _why_unreadable(path: Path, error: Exception) -> str:
    """Return the end of a sentence that begins with the name of the file."""
    if isinstance(error, PermissionError):
        return "cannot be read: you have no permission to. Change the permissions of the file."
    text = str(error)
    with path.open("rb") as file:
        start = file.read(len(BEFORE_ZIP))
        file.seek(max(0, path.stat().st_size - ZIP_TAIL))
        ends = ZIP_END in file.read()
    ended = isinstance(error, EOFError | IndexError | struct.error) or "unexpected EOF" in text
    if (start == BEFORE_ZIP and ended) or (start.startswith(ZIP) and not ends):
        return "is cut short: it begins as a checkpoint, and its end is missing. Fetch it again."
    if isinstance(error, pickle.UnpicklingError) and (wanted := re.search(r"GLOBAL (\S+)", text)):
        return (
            f"asks for {wanted[1]} to be called while it is read, and a checkpoint is tensors and plain "
            "values. Nothing was called. Fetch the file from its authors; of one of your own, save the "
            "state_dict only."
        )
    reason = (
        text.rpartition("WeightsUnpickler error:")[2].strip().partition("\n")[0]
    )  # without torch's advice
    return f"is no checkpoint of tensors and plain values: {reason or type(error).__name__}"
