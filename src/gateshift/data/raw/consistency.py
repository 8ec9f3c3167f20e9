"""What annotations must not say: two labels for one video, or one video in two splits."""

from collections.abc import Mapping, Sequence

from gateshift.data.raw.records import RawVideo
from gateshift.errors import DataError

Part = tuple[str, int, int | None, float | None, float | None]  # a video and where the action lies in it


def listed_once(videos: Sequence[RawVideo]) -> tuple[tuple[RawVideo, ...], tuple[str, ...]]:
    """Return the videos, each once, and a remark on those that were listed again with the same label.

    Raises:
        DataError: a video, or the same part of one, is listed with two labels.
    """
    first: dict[Part, RawVideo] = {}
    again = []
    for video in videos:
        before = first.setdefault(part(video), video)
        if before.label != video.label:
            raise DataError(
                f"{video.where}: '{video.video}' has the label '{video.label}', and '{before.label}' at "
                f"{before.where}. Remove the wrong row."
            )
        if before is not video:
            again.append(video)
    if not again:
        return tuple(videos), ()
    remark = f"{again[0].where}: '{again[0].video}' is listed again"
    more = f", and so are {len(again) - 1} more" if len(again) > 1 else ""
    return tuple(first.values()), (f"{remark}{more}; each is taken once.",)


def in_two_splits(splits: Mapping[str, Sequence[RawVideo]]) -> tuple[RawVideo, RawVideo, int] | None:
    """Return one video that is in two splits, as either lists it, and how many there are; None if none is."""
    seen: dict[str, tuple[str, RawVideo]] = {}
    twice: dict[str, tuple[RawVideo, RawVideo]] = {}
    for split, videos in splits.items():
        for video in videos:
            other, before = seen.setdefault(video.video, (split, video))
            if other != split:
                twice.setdefault(video.video, (before, video))
    return (*next(iter(twice.values())), len(twice)) if twice else None


def part(video: RawVideo) -> Part:
    """Return what tells a row's part of a video from all others."""
    return video.video, video.start_frame, video.end_frame, video.start_seconds, video.end_seconds
