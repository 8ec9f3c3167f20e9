"""What a folder of extracted frames holds: one line of JSON for how frames were written, then one a video.

A line is written once its frames are in place, so the next extraction goes on wherever this one ended.
"""

import json
import os
import sys
import unicodedata
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from itertools import count
from pathlib import Path, PurePosixPath
from typing import IO, Any

from gateshift.data.frame_writer import FrameSettings
from gateshift.errors import ConfigError, DataError

if sys.platform != "win32":
    import fcntl

LOG = ".extraction.jsonl"


@dataclass(frozen=True)
class Entry:
    """One video whose frames are there.

    Attributes:
        video: the file, relative to the root of the videos, with forward slashes.
        folder: its frames, relative to the folder of all frames.
        num_frames: how many there are.
        num_bytes: size of the file that they were decoded from.
    """

    video: str
    folder: str
    num_frames: int
    num_bytes: int


class ExtractionLog:
    """The entries of a folder of frames, by video; ``add`` appends one."""

    def __init__(self, file: IO[str], entries: Mapping[str, Entry]) -> None:
        self._file = file
        self.entries = dict(entries)

    def add(self, entry: Entry) -> None:
        """Write down that a video's frames are in place."""
        self.entries[entry.video] = entry
        _write_line(self._file, asdict(entry))


@contextmanager
def open_log(frames: Path, settings: FrameSettings) -> Iterator[ExtractionLog]:
    """Open the log of a folder of frames, for this process alone.

    Raises:
        ConfigError: the frames that are there were written with other settings.
        DataError: the folder holds something else, its log is damaged, or another process writes into it.
    """
    frames.mkdir(parents=True, exist_ok=True)
    path = frames / LOG
    if not path.exists() and (others := sorted(os.listdir(frames))):
        raise DataError(
            f"'{frames}' holds '{others[0]}', which is not of an extraction. "
            "Give another folder with --out, or move it away."
        )
    with path.open("a+", encoding="utf-8") as file:
        _lock(file, frames)
        yield ExtractionLog(file, _read(file, path, settings))


def name_folders(videos: Iterable[str], before: Mapping[str, str]) -> dict[str, str]:
    """Return a folder for the frames of each video: its path without the extension, where that is free.

    No two folders differ in upper and lower case alone, and none lies in another. A video of an earlier
    extraction keeps its folder.

    >>> name_folders(["a.avi", "a.mp4", "A.mp4", "b/c.mp4"], {})
    {'b/c.mp4': 'b/c', 'A.mp4': 'A', 'a.avi': 'a_avi', 'a.mp4': 'a_mp4'}

    Raises:
        DataError: a path is absolute or leads out of its root.
    """
    used = {key for folder in before.values() for key in _keys(folder)}
    folders = {}
    for video in sorted(set(videos), key=lambda video: (-video.count("/"), video)):
        _require_inside(video)
        folder = before.get(video) or next(name for name in _candidates(video) if _is_free(name, used))
        folders[video] = folder
        used.update(_keys(folder))
    return folders


def _read(file: IO[str], path: Path, settings: FrameSettings) -> dict[str, Entry]:
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
            FrameSettings(**_parse(lines[0], path, 1, FrameSettings.__annotations__)), settings, path
        )
    else:
        file.truncate(0)
        _write_line(file, asdict(settings))
    return entries


def _parse(line: str, path: Path, number: int, fields: Mapping[str, type]) -> dict[str, Any]:
    with suppress(ValueError):
        values = json.loads(line)
        if isinstance(values, dict) and {key: type(value) for key, value in values.items()} == fields:
            return values
    raise DataError(
        f"{path}:{number} is '{line[:60]}', which extraction did not write. "
        f"Remove '{path.parent}' to extract all videos again."
    )


def _require_same(before: FrameSettings, settings: FrameSettings, path: Path) -> None:
    for name, there in asdict(before).items():
        if (wanted := getattr(settings, name)) != there:
            flag = f"--{name.replace('_', '-')}"
            raise ConfigError(
                f"the frames in '{path.parent}' were written with {flag} {there}, and {wanted} is asked for. "
                f"Give {flag} {there} to go on with them, or another folder with --out."
            )


def _write_line(file: IO[str], values: Mapping[str, str | int]) -> None:
    file.write(json.dumps(values) + "\n")
    file.flush()


def _lock(file: IO[str], frames: Path) -> None:
    """Keep other processes out until the file is closed; the system unlocks it when this one is killed."""
    if sys.platform == "win32":
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise DataError(
            f"another process extracts into '{frames}'. Wait for it, or give another folder with --out."
        ) from error
    except OSError:  # a drive without locks
        pass


def _require_inside(video: str) -> None:
    if video.startswith("/") or ".." in video.split("/") or not PurePosixPath(video).name:
        raise DataError(
            f"the video '{video}' does not lie in its root. "
            "Give paths below the root, without '..', or another root."
        )


def _candidates(video: str) -> Iterator[str]:
    """Yield names for a folder, the best first; none is hidden, as what extraction itself writes is."""
    path = PurePosixPath(video)
    *above, stem = (f"_{part}" if part.startswith(".") else part for part in (*path.parts[:-1], path.stem))
    long = f"{stem}_{path.suffix[1:]}"
    yield "/".join((*above, stem))
    yield "/".join((*above, long))
    yield from ("_".join((*above, long, str(number))) for number in count(2))


def _keys(folder: str) -> list[str]:
    """Return a folder and, with a slash, those above it, spelled as the least exact file system does."""
    path = PurePosixPath(unicodedata.normalize("NFC", folder).casefold())
    return [f"{path}", *(f"{above}/" for above in path.parents if above.name)]


def _is_free(folder: str, used: Collection[str]) -> bool:
    own, *above = _keys(folder)
    return own not in used and f"{own}/" not in used and not any(key[:-1] in used for key in above)
