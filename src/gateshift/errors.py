"""What goes wrong in ways a user can mend: each message says what, what was expected, what to do."""

import difflib
from collections.abc import Mapping
from typing import TypeVar

T = TypeVar("T")


class GateshiftError(Exception):
    """A refusal with a message for the user; the command line prints it and exits with status 2."""


class UnknownName(GateshiftError):
    """A name that is in no table: model, dataset, recipe, command."""


class DataError(GateshiftError):
    """A dataset whose layout, lists or labels cannot be used.

    Args:
        message: for the user.
        kind: what `gateshift check` calls it, such as "bad-row".
    """

    def __init__(self, message: str, kind: str = "unusable") -> None:
        super().__init__(message)
        self.kind = kind


class VideoError(GateshiftError):
    """One video that cannot be read.

    Args:
        message: for the user.
        kind: what `gateshift check` calls it, such as "broken-off".
    """

    def __init__(self, message: str, kind: str = "unreadable") -> None:
        super().__init__(message)
        self.kind = kind


class WeightsError(GateshiftError):
    """Weights that are missing, damaged, or do not fit the model."""


class ConfigError(GateshiftError):
    """A setting out of its range, or at odds with another one."""


class WriteError(GateshiftError):
    """A file that cannot be written: the disk is full, or fails."""


class FaultError(GateshiftError):
    """What happened to a run while it trained: the state that it saved last is kept, and goes on."""


class ScoresMismatch(GateshiftError):
    """Score files of different videos or classes."""


def lookup(kind: str, name: str, table: Mapping[str, T]) -> T:
    """Return ``table[name]``, or refuse with the nearest names.

    >>> lookup("model", "gsm", {"gsm": 1})
    1
    """
    if name in table:
        return table[name]
    near = difflib.get_close_matches(name, table, n=2)
    hint = f"Did you mean {' or '.join(near)}?" if near else f"Choose from: {', '.join(sorted(table))}."
    raise UnknownName(f"unknown {kind} {name!r}. {hint}")
