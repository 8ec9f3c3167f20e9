"""What lies in a download's folders: frame folders and video files, found in one pass by several threads.

Nothing is decoded: frames are counted by their names, and only the size of the first and the last one is
asked for, which is where an extraction that was interrupted leaves an empty file.
"""

import os
import re
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from gateshift.data.flow_folder import FLOW_FOLDERS
from gateshift.data.lists import SPLITS
from gateshift.data.raw.files import PASSED_OVER
from gateshift.data.raw.frame_count import FrameCount, count_frames
from gateshift.data.reader import VIDEO_EXTENSIONS
from gateshift.errors import DataError

ARCHIVE = re.compile(r".*(\.zip|\.tar|\.tar\.\w+|\.tgz|\.rar|\.7z)$|20bn-.*-[0-9a-z]{2}$", re.IGNORECASE)


@dataclass(frozen=True)
class FoundVideo:
    """A frame folder or a video file.

    Attributes:
        path: where it lies, relative to the root, with forward slashes.
        frames: what its frames' names say; None for a video file.
        empty: names of files of no size: the first or last frame, or the video file itself.
    """

    path: str
    frames: FrameCount | None
    empty: tuple[str, ...]

    @property
    def name(self) -> str:
        """The path as annotations write it, without the extension of a video file."""
        return self.path if self.frames else self.path.rpartition(".")[0]


@dataclass(frozen=True)
class Media:
    """All that lies in a root, by kind; paths are relative to it, with forward slashes.

    Attributes:
        videos: frame folders and video files.
        flow: the folders called flow_x and flow_y.
        archives: packed downloads, and the parts of split ones.
        other_files: files that are none of these.
        bare_folders: folders that hold nothing.
    """

    videos: tuple[FoundVideo, ...]
    flow: tuple[str, ...]
    archives: tuple[str, ...]
    other_files: tuple[str, ...]
    bare_folders: tuple[str, ...]


class _Folder(NamedTuple):
    """One folder, listed: the folders to look into next, and what its files are."""

    path: str
    inner: tuple[str, ...]
    flow: tuple[str, ...]
    videos: tuple[FoundVideo, ...]
    other_files: tuple[str, ...]
    bare: bool


def scan_media(
    root: Path,
    frame_template: str | None = None,
    first_frame: int | None = None,
    *,
    skip: Collection[Path] = (),
    workers: int = 8,
    advance: Callable[[int], object] = lambda folders: None,
) -> Media:
    """Find the frame folders and video files of ``root``, at any depth.

    Hidden folders, flow folders and folders that ``gateshift prepare`` wrote are not looked into.

    Args:
        root: the folder of a download.
        frame_template: names of the frames, where the dataset comes as frames; else the names tell.
        first_frame: number of the first frame, likewise. Frames that start at 0 are taken as they are.
        skip: folders not to look into.
        workers: threads; a folder on a network drive answers slowly, and many of them at once.
        advance: called with the number of frame folders and video files found since the last call.

    Raises:
        DataError: a folder cannot be listed.
    """
    skipped = frozenset(Path(os.path.relpath(path, root)).as_posix() for path in skip)

    def look(path: str) -> _Folder:
        return _look(root, path, frame_template, first_frame)

    found: list[_Folder] = []
    level = [""]
    with ThreadPoolExecutor(max(1, workers)) as pool:
        try:
            while level:
                below: list[str] = []
                for folder in pool.map(look, level):
                    found.append(folder)
                    below += (path for path in folder.inner if path not in skipped)
                    advance(len(folder.videos))
                level = below
        except BaseException:
            pool.shutdown(cancel_futures=True)  # whoever interrupts does not wait for the rest
            raise
    return _sorted(found)


def _look(root: Path, path: str, frame_template: str | None, first_frame: int | None) -> _Folder:
    """List one folder, ``path`` below ``root``."""
    folder = os.path.join(root, path)
    prefix = path + "/" if path else ""
    inner: list[str] = []
    names: list[str] = []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                (inner if _is_folder(entry) else names).append(entry.name)
    except OSError as error:
        raise DataError(
            f"'{folder}' cannot be listed ({error.strerror}). Make it readable, or give another folder."
        ) from error
    if path and "dataset.json" in names and any(f"{split}.csv" in names for split in SPLITS):
        return _Folder(path, (), (), (), (), bare=False)
    flow = tuple(prefix + name for name in sorted(inner) if name in FLOW_FOLDERS)
    inner = [prefix + name for name in sorted(inner) if name not in FLOW_FOLDERS and _is_looked_into(name)]
    videos, others = _sort_files(folder, path, sorted(names), frame_template, first_frame)
    return _Folder(path, tuple(inner), flow, videos, others, bare=not (inner or flow or names))


def _sort_files(
    folder: str, path: str, names: Sequence[str], frame_template: str | None, first_frame: int | None
) -> tuple[tuple[FoundVideo, ...], tuple[str, ...]]:
    """Return the videos that files make up, and the files that make up none.

    Images beside video files are no frames, but where they are named as the dataset's frames are.
    """
    files = [name for name in names if _is_video(name)]
    frames = count_frames(names, frame_template, first_frame) if path else None
    if frames and (not files or frames.template == frame_template):
        ends = {frames.template.format(number) for number in (frames.first, frames.last)}
        empty = tuple(sorted(name for name in ends if _is_empty(folder, name)))
        return (FoundVideo(path, frames, empty),), ()
    prefix = path + "/" if path else ""
    videos = tuple(
        FoundVideo(prefix + name, None, (name,) if _is_empty(folder, name) else ()) for name in files
    )
    return videos, tuple(prefix + name for name in names if not _is_video(name))


def _is_folder(entry: os.DirEntry[str]) -> bool:
    """Tell whether an entry is a folder to look into; a link to a folder above it would never end."""
    if not entry.is_dir():
        return False
    if not entry.is_symlink():
        return True
    above = os.path.realpath(os.path.dirname(entry.path))
    return not (above + os.sep).startswith(os.path.realpath(entry.path) + os.sep)


def _is_looked_into(name: str) -> bool:
    return not name.startswith(PASSED_OVER)


def _is_video(name: str) -> bool:
    return os.path.splitext(name)[1].lower() in VIDEO_EXTENSIONS and not name.startswith(".")


def _is_empty(folder: str, name: str) -> bool:
    try:
        return os.stat(os.path.join(folder, name)).st_size == 0
    except OSError:  # a missing first frame, or a link to nowhere
        return os.path.islink(os.path.join(folder, name))


def _sorted(found: Sequence[_Folder]) -> Media:
    others = [file for folder in found for file in folder.other_files]
    archives = {file for file in others if ARCHIVE.match(file.rpartition("/")[2])}
    return Media(
        videos=tuple(video for folder in found for video in folder.videos),
        flow=tuple(path for folder in found for path in folder.flow),
        archives=tuple(sorted(archives)),
        other_files=tuple(file for file in others if file not in archives),
        bare_folders=tuple(folder.path for folder in found if folder.bare),
    )
