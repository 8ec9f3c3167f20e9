"""Finding videos in folders: the class sub-folders of a dataset, and whatever a user names to predict on.

A video is a file with a known extension, or a folder that holds frames. Hidden files and folders are ignored.
"""

import glob
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from gateshift.data.frame_folder import is_frame
from gateshift.data.reader import VIDEO_EXTENSIONS
from gateshift.errors import DataError

EXTENSIONS_HELP = "Videos are files such as .mp4, .avi, .webm or .mov, or folders of .jpg or .png frames."
SPLIT_FOLDERS = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
    "testing": "test",
}


@dataclass(frozen=True)
class ClassFolders:
    """What a folder of class sub-folders holds.

    Attributes:
        classes: names of the sub-folders, sorted, of all splits together.
        videos: for each split, the videos of each class, relative to the root; without split folders the
            one split is None.
        notes: remarks for the user, one sentence each.
    """

    classes: tuple[str, ...]
    videos: dict[str | None, dict[str, tuple[str, ...]]]
    notes: tuple[str, ...]


def scan_classes(root: Path) -> ClassFolders:
    """Find the classes and videos of ``root/<class>/<video>`` or ``root/<split>/<class>/<video>``.

    Raises:
        DataError: no folder, no videos, one class only, an empty class, or a class that training misses.
    """
    if not root.is_dir():
        raise DataError(f"there is no folder '{root}'. Give a folder of class sub-folders, or of lists.")
    notes: list[str] = []
    splits = find_splits(root)
    folders = splits or {None: root}
    beside = [folder.name for folder in sub_folders(root) if folder not in folders.values()] if splits else []
    if beside:
        notes.append(f"Ignored beside the split folders: {_some(beside)}.")
    videos = {split: scan_split(root, folder, notes) for split, folder in folders.items()}
    classes = tuple(sorted({name for found in videos.values() for name in found}))
    _refuse_unusable(root, classes, videos)
    return ClassFolders(classes, videos, tuple(notes))


def find_splits(root: Path) -> dict[str | None, Path]:
    """Return the split folders of a root, such as {"train": root/train, "val": root/validation}.

    A folder of that name that holds videos and no class folders is a class: people do travel by train.
    """
    found: dict[str | None, Path] = {}
    for folder in sub_folders(root):
        split = SPLIT_FOLDERS.get(folder.name.lower())
        if split and is_class(folder):
            continue
        if split in found:
            raise DataError(
                f"'{root}' has two folders for '{split}': '{found[split].name}' and '{folder.name}'."
            )
        if split:
            found[split] = folder
    return dict(sorted(found.items(), key=lambda item: list(SPLIT_FOLDERS).index(item[0] or "")))


def scan_split(root: Path, folder: Path, notes: list[str]) -> dict[str, tuple[str, ...]]:
    """Return the videos of each class sub-folder, relative to ``root``; remark on files that are none."""
    stray = [path.name for path in visible(folder) if path.is_file() and path.name != "dataset.json"]
    found = {}
    for sub_folder in sub_folders(folder):
        videos: list[Path] = []
        others: list[Path] = []
        for path in visible(sub_folder):
            (videos if is_video(path) else others).append(path)
        stray += [f"{sub_folder.name}/{path.name}" for path in others]
        found[sub_folder.name] = tuple(path.relative_to(root).as_posix() for path in videos)
    if stray:
        files = "1 file that is no video" if len(stray) == 1 else f"{len(stray)} files that are no videos"
        notes.append(f"Ignored {files} in '{folder}': {_some(stray)}.")
    return found


def find_videos(paths: Sequence[str | Path]) -> list[Path]:
    """Return the videos that paths name: files, frame folders, other folders to the bottom, and patterns.

    A path that does not exist and is no pattern is kept, so that reading it says what is wrong.

    Raises:
        DataError: a folder or a pattern holds no videos.
    """
    found: dict[Path, None] = {}  # a set that keeps its order
    for path in map(Path, paths):
        if path.is_dir():
            videos = list(walk_videos(path))
        elif not path.exists() and glob.has_magic(str(path)):
            matches = sorted(map(Path, glob.glob(str(path), recursive=True)))
            videos = [video for match in matches for video in walk_videos(match)]
        else:
            videos = [path]
        if not videos:
            raise DataError(f"'{path}' holds no videos. {EXTENSIONS_HELP}")
        found |= dict.fromkeys(videos)
    return list(found)


def walk_videos(path: Path) -> Iterator[Path]:
    """Yield a path if it is a video, else the videos at any depth of it, in order."""
    if is_video(path):
        yield path
    elif path.is_dir():
        for entry in visible(path):
            yield from walk_videos(entry)


def is_video(path: Path) -> bool:
    """Tell whether a path is a video file by its extension, or a folder of frames and no video files."""
    if not path.is_dir():
        return path.suffix.lower() in VIDEO_EXTENSIONS
    entries = visible(path)
    has_videos = any(entry.suffix.lower() in VIDEO_EXTENSIONS for entry in entries)
    return not has_videos and any(map(is_frame, entries))


def is_class(folder: Path) -> bool:
    """Tell whether a folder holds videos, and no folder but frame folders."""
    return all(map(is_video, sub_folders(folder))) and any(map(is_video, visible(folder)))


def visible(folder: Path) -> list[Path]:
    """Return the entries of a folder in order, less hidden ones."""
    return sorted(path for path in folder.iterdir() if not path.name.startswith((".", "__MACOSX")))


def sub_folders(folder: Path) -> list[Path]:
    """Return the visible sub-folders of a folder in order."""
    return [path for path in visible(folder) if path.is_dir()]


def _refuse_unusable(
    root: Path, classes: tuple[str, ...], videos: dict[str | None, dict[str, tuple[str, ...]]]
) -> None:
    if not any(found for split in videos.values() for found in split.values()):
        raise DataError(
            f"'{root}' holds no videos in class sub-folders. Expected '{root}/<class>/<video>', "
            f"one folder a class, optionally under train/ and val/. {EXTENSIONS_HELP}"
        )
    for split, by_class in videos.items():
        where = root / str(split) if split else root
        if empty := [name for name, found in by_class.items() if not found]:
            raise DataError(
                f"class '{empty[0]}' has no videos in '{where}'. "
                f"Add some, or remove the folder. {EXTENSIONS_HELP}"
            )
    if len(classes) < 2:
        raise DataError(
            f"'{root}' holds one class only, '{classes[0]}'. Telling actions apart takes 2 or more."
        )
    if "train" in videos and (missing := [name for name in classes if name not in videos["train"]]):
        raise DataError(
            f"class '{missing[0]}' has no folder under '{root}/train', and is in another split. "
            "Add its training videos, or remove it there; names must agree to the letter."
        )


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(f"'{name}'" for name in names[:3])
    return shown if len(names) <= 3 else f"{shown} and {len(names) - 3} more"
