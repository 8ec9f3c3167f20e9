"""Which frame folder or video file an annotated video is: the last parts of its path are the video's name."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from gateshift.data.raw.media import FoundVideo


@dataclass(frozen=True)
class Match:
    """What was found for one name.

    Attributes:
        video: the one frame folder or video file; None where there is none, or nothing tells which.
        candidates: all that it could be, where there are several.
        differs_in_case: whether only upper and lower case tell its path from the name.
        passed_over: what was left for ``video``: the same as a file, or as frames.
    """

    video: FoundVideo | None
    candidates: tuple[FoundVideo, ...] = ()
    differs_in_case: bool = False
    passed_over: FoundVideo | None = None


def match_videos(
    names: Iterable[str], videos: Sequence[FoundVideo], prefer: Literal["frames", "files"]
) -> dict[str, Match]:
    """Find the video of each name: by the exact name, else by a name that differs only in case.

    Where one frame folder and one file have the name, ``prefer`` says which is taken. Two frame folders, or
    two files, are candidates, and none is taken.
    """
    exactly = _by_last_part(videos, str)
    regardless = _by_last_part(videos, str.casefold)
    matches = {}
    for name in names:
        exact = _ending_in(name, exactly, str)
        similar = [] if exact else _ending_in(name, regardless, str.casefold)
        matches[name] = _pick(exact or similar, bool(similar), prefer)
    return matches


def _pick(found: Sequence[FoundVideo], in_case: bool, prefer: Literal["frames", "files"]) -> Match:
    if len(found) < 2:
        return Match(found[0] if found else None, differs_in_case=in_case)
    wanted = [video for video in found if (video.frames is not None) == (prefer == "frames")]
    if len(found) == 2 and len(wanted) == 1:
        other = next(video for video in found if video not in wanted)
        return Match(wanted[0], differs_in_case=in_case, passed_over=other)
    return Match(None, candidates=tuple(found))


def _by_last_part(
    videos: Sequence[FoundVideo], spell: Callable[[str], str]
) -> dict[str, list[tuple[str, FoundVideo]]]:
    by_last_part = defaultdict(list)
    for video in videos:
        name = spell(video.name)
        by_last_part[name.rpartition("/")[2]].append(("/" + name, video))
    return by_last_part


def _ending_in(
    name: str, by_last_part: dict[str, list[tuple[str, FoundVideo]]], spell: Callable[[str], str]
) -> list[FoundVideo]:
    """Return the videos whose path ends in all parts of ``name``, or the one whose whole path it is."""
    name = spell(name)
    found = by_last_part.get(name.rpartition("/")[2], ())
    whole = [video for path, video in found if path == "/" + name]
    return whole or [video for path, video in found if path.endswith("/" + name)]
