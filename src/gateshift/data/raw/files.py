"""The annotation files of a download: where they lie, and their lines with numbers for messages."""

import json
import os
from collections.abc import Iterable, Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from gateshift.data.frame_folder import FRAME_EXTENSIONS
from gateshift.errors import DataError

DEPTH = 3  # folders below the root in which annotation files are looked for
MANY_FOLDERS = 1000  # a root with more sub-folders holds videos in them, and no annotation files
MANY_BELOW = 100  # likewise a folder below the root
MANY_IMAGES = 200  # a folder that begins with more images is a video's frames
PASSED_OVER = (".", "__MACOSX", "lost+found", "$RECYCLE.BIN", "System Volume Information")


def find_file(root: Path, *names: str) -> Path:
    """Return the one file with one of ``names``, in ``root`` or up to three folders below.

    Raises:
        DataError: there is none, or there are several.
    """
    file = find_optional_file(root, *names)
    if file is None:
        raise DataError(_not_found(root, " or ".join(f"'{name}'" for name in names)))
    return file


def find_optional_file(root: Path, *names: str) -> Path | None:
    """Return what ``find_file`` returns, or None where there is none; several are still refused."""
    found = [path for path in _files(root) if path.name in names]
    if len(found) > 1:
        raise DataError(
            f"'{found[0]}' and '{found[1]}' both lie in '{root}'. "
            "Keep the one that belongs to these videos, and move the other out of there."
        )
    return found[0] if found else None


def find_files(root: Path, pattern: str) -> tuple[Path, ...]:
    """Return all files whose names match ``pattern``, such as ``*_test_split1.txt``, in order of their names.

    Raises:
        DataError: there is none.
    """
    found = sorted(
        (path for path in _files(root) if fnmatchcase(path.name, pattern)), key=lambda path: path.name
    )
    if not found:
        raise DataError(_not_found(root, f"files named '{pattern}'"))
    return tuple(found)


def read_lines(path: Path) -> list[tuple[int, str]]:
    """Return the lines of a UTF-8 text that are not blank, without their ends, each with its number."""
    lines = _text(path).replace("\r\n", "\n").split("\n")
    return [(number, line) for number, line in enumerate(lines, start=1) if line.strip()]


def read_json(path: Path) -> Any:
    """Return what a JSON file holds, or refuse it with the line where it stops being JSON."""
    try:
        return json.loads(_text(path))
    except json.JSONDecodeError as error:
        cut = error.pos >= len(error.doc.rstrip()) or error.msg.startswith("Unterminated")
        what = "is cut off" if cut else f"is not JSON ({error.msg})"
        raise DataError(f"{path}:{error.lineno} {what}. Fetch the file again.") from error


def lacks_line_end(path: Path) -> bool:
    """Tell whether a file ends in the middle of a line, as one that was cut off does."""
    return path.read_bytes()[-1:] != b"\n"


def crlf_note(path: Path) -> tuple[str, ...]:
    """Return a remark where a file has Windows line ends, nothing where it has not."""
    if b"\r\n" not in path.read_bytes():
        return ()
    return (f"{path.name} has Windows line ends (CRLF); they were read all the same.",)


def _text(path: Path) -> str:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"'{path}' cannot be read ({error.strerror}). Make it readable.") from error
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise DataError(f"{path}:{line} is not UTF-8 text ({error.reason}). Fetch the file again.") from error


def _files(root: Path) -> Iterator[Path]:
    """Yield the files in ``root`` and up to three folders below, nearer ones first."""
    if not root.is_dir():
        raise DataError(f"there is no folder '{root}'. Give the folder that holds the download.")
    folders, limit = [root], MANY_FOLDERS
    for _ in range(DEPTH + 1):
        below: list[Path] = []
        for folder in folders:
            files, inner = _list(folder)
            yield from files
            below += inner if len(inner) <= limit else []
        folders, limit = below, MANY_BELOW


def _list(folder: Path) -> tuple[list[Path], list[Path]]:
    """Return the files, less images, and the visible sub-folders of a folder, in order."""
    try:
        with os.scandir(folder) as entries:
            seen = _less_images(entries)
    except OSError as error:
        raise DataError(
            f"'{folder}' cannot be listed ({error.strerror}). Make it readable, or give another folder."
        ) from error
    inside = sorted(seen, key=lambda entry: entry.name)
    files = [Path(entry.path) for entry in inside if entry.is_file()]
    inner = [Path(entry.path) for entry in inside if entry.is_dir()]
    return files, inner


def _less_images(entries: Iterable[os.DirEntry[str]]) -> list[os.DirEntry[str]]:
    """Return the entries that could lead to annotations; a long folder of frames is not read to its end."""
    seen: list[os.DirEntry[str]] = []
    images = 0
    for entry in entries:
        if os.path.splitext(entry.name)[1].lower() in FRAME_EXTENSIONS:
            images += 1
            if images > MANY_IMAGES and not seen:
                return []
        elif not entry.name.startswith(PASSED_OVER):
            seen.append(entry)
    return seen


def _not_found(root: Path, what: str) -> str:
    return (
        f"'{root}' holds no {what}, nor do its sub-folders {DEPTH} deep. "
        "Put the dataset's own annotation files into it, or give the folder that they lie in."
    )
