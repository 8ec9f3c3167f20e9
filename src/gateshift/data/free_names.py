"""Names for what videos become: their paths less the extension, each free on every file system."""

import unicodedata
from collections.abc import Collection, Iterable, Iterator, Mapping
from itertools import count
from pathlib import PurePosixPath

from gateshift.data.reader import VIDEO_EXTENSIONS
from gateshift.errors import DataError


def free_names(videos: Iterable[str], before: Mapping[str, str]) -> dict[str, str]:
    """Return a name for each video: its path without the extension of a video file, where that is free.

    No two names differ in upper and lower case alone, and none lies in another. A video of an earlier run
    keeps its name.

    >>> free_names(["a.avi", "a.mp4", "A.mp4", "b/c.mp4"], {})
    {'b/c.mp4': 'b/c', 'A.mp4': 'A', 'a.avi': 'a_avi', 'a.mp4': 'a_mp4'}

    Raises:
        DataError: a path is absolute or leads out of its root.
    """
    used = {key for name in before.values() for key in _keys(name)}
    names = {}
    for video in sorted(set(videos), key=lambda video: (-video.count("/"), video)):
        _require_inside(video)
        name = before.get(video) or next(name for name in _candidates(video) if _is_free(name, used))
        names[video] = name
        used.update(_keys(name))
    return names


def split_extension(video: str) -> tuple[str, str]:
    """Return a path without the extension of a video file, and that, as it is written.

    >>> split_extension("push/7.MP4"), split_extension("push/v1.2")
    (('push/7', '.MP4'), ('push/v1.2', ''))
    """
    suffix = PurePosixPath(video).suffix
    return (video.removesuffix(suffix), suffix) if suffix.lower() in VIDEO_EXTENSIONS else (video, "")


def _require_inside(video: str) -> None:
    if video.startswith("/") or ".." in video.split("/") or not PurePosixPath(video).name:
        raise DataError(
            f"the video '{video}' does not lie in its root. "
            "Give paths below the root, without '..', or another root."
        )


def _candidates(video: str) -> Iterator[str]:
    """Yield names, the best first; none is hidden, as what is written beside them is, or that of a file."""
    stem, suffix = split_extension(PurePosixPath(video).as_posix())
    visible = "/".join(f"_{part}" if part.startswith(".") else part for part in stem.split("/"))
    if not split_extension(visible)[1]:
        yield visible
    long = f"{visible}_{suffix[1:]}"
    yield long
    flat = long.replace("/", "_")  # where a folder above is taken, too
    yield from (f"{flat}_{number}" for number in count(2))


def _keys(name: str) -> list[str]:
    """Return a name and, with a slash, the folders above it, spelled as the least exact file system does."""
    path = PurePosixPath(unicodedata.normalize("NFC", name).casefold())
    return [f"{path}", *(f"{above}/" for above in path.parents if above.name)]


def _is_free(name: str, used: Collection[str]) -> bool:
    own, *above = _keys(name)
    return own not in used and f"{own}/" not in used and not any(key[:-1] in used for key in above)
