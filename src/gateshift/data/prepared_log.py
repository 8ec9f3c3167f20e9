"""What a folder of prepared videos holds: one line of JSON for how they were made, then one a video.

A line is written once its video is in place, so the next run goes on wherever this one ended.
"""

import json
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

from gateshift.data.description import write_text
from gateshift.errors import ConfigError, DataError

if sys.platform != "win32":
    import fcntl

LOG = ".prepared.jsonl"
Settings = Mapping[str, int]  # how videos are made; each has a flag of its name


@dataclass(frozen=True)
class Entry:
    """One video that is in place.

    Attributes:
        video: the file or folder that it was made of, relative to the root, with forward slashes.
        num_bytes: size of that.
        name: what was made, relative to the folder of all, without ``suffix``.
        suffix: the extension of a video file; none of a folder.
        num_frames: frames that it has.
        made_bytes: its size.
        taken: it is the source itself, under another name.
    """

    video: str
    num_bytes: int
    name: str
    suffix: str
    num_frames: int
    made_bytes: int
    taken: bool

    @property
    def path(self) -> str:
        """Where it lies, relative to the folder of all."""
        return self.name + self.suffix


class PreparedLog:
    """The entries of a folder, by video; ``add`` appends one."""

    def __init__(self, file: IO[str], path: Path, settings: Settings, entries: Mapping[str, Entry]) -> None:
        self._file = file
        self._path = path
        self._settings = settings
        self.entries = dict(entries)

    def add(self, entry: Entry) -> None:
        """Write down that a video is in place."""
        self.entries[entry.video] = entry
        self._file.write(_line(asdict(entry)))
        self._file.flush()

    def sort(self) -> None:
        """Write all lines anew, in an order that does not tell which video was done first."""
        entries = sorted(self.entries.values(), key=lambda entry: entry.video)
        write_text(self._path, _line(self._settings) + "".join(_line(asdict(entry)) for entry in entries))


@contextmanager
def open_log(folder: Path, settings: Settings) -> Iterator[PreparedLog]:
    """Open the log of a folder of prepared videos, for this process alone.

    Raises:
        ConfigError: the videos that are there were made with other settings.
        DataError: the folder holds something else, its log is damaged, or another process writes into it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / LOG
    for partial in folder.glob(f"{LOG}.*"):  # of a process that was killed as it sorted
        partial.unlink(missing_ok=True)
    if not path.exists() and (others := sorted(os.listdir(folder))):
        raise DataError(
            f"'{folder}' holds '{others[0]}', which was not prepared here. "
            "Give another folder with --out, or move it away."
        )
    with path.open("a+", encoding="utf-8") as file:
        _lock(file, path)
        yield PreparedLog(file, path, settings, _read(file, path, settings))


def _read(file: IO[str], path: Path, settings: Settings) -> dict[str, Entry]:
    """Return the entries; what a killed process left of a last line is cut off."""
    file.seek(0)
    text = file.read()
    whole = text[: text.rfind("\n") + 1]
    file.truncate(len(whole.encode()))
    lines = whole.splitlines()
    entries = {}
    for number, line in enumerate(lines[1:], start=2):
        entry = Entry(**_parse(line, path, number, Entry.__annotations__))
        entries[entry.video] = entry
    if entries:
        _require_same(
            _parse(lines[0], path, 1, {name: type(value) for name, value in settings.items()}), settings, path
        )
    else:
        file.truncate(0)
        file.write(_line(settings))
        file.flush()
    return entries


def _parse(line: str, path: Path, number: int, fields: Mapping[str, type]) -> dict[str, Any]:
    with suppress(ValueError):
        values = json.loads(line)
        if isinstance(values, dict) and {key: type(value) for key, value in values.items()} == dict(fields):
            return values
    raise DataError(
        f"{path}:{number} is '{line[:60]}', which is not of this preparation. "
        f"Remove '{path.parent}' to make all of it again, or give another folder with --out."
    )


def _require_same(before: Settings, settings: Settings, path: Path) -> None:
    for name, there in before.items():
        if (wanted := settings[name]) != there:
            flag = f"--{name.replace('_', '-')}"
            raise ConfigError(
                f"what is in '{path.parent}' was made with {flag} {there}, and {wanted} is asked for. "
                f"Give {flag} {there} to go on with it, or another folder with --out."
            )


def _line(values: Mapping[str, object]) -> str:
    return json.dumps(values) + "\n"


def _lock(file: IO[str], path: Path) -> None:
    """Keep other processes out until the file is closed; the system unlocks it when this one is killed."""
    if sys.platform == "win32":
        return
    busy = f"another process writes into '{path.parent}'. Wait for it, or give another folder with --out."
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise DataError(busy) from error
    except OSError:  # a drive without locks
        return
    if not _is_still(file, path):
        raise DataError(busy)


def _is_still(file: IO[str], path: Path) -> bool:
    """Tell whether an open file is the one at a path: it was not sorted since."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False
