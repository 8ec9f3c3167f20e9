"""A copy of a dataset whose videos became something else: what `gateshift prepare` then lists."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from gateshift.data.conversion import Conversion, Made, convert_videos
from gateshift.data.frame_writer import FRAME_TEMPLATE
from gateshift.data.proxy import as_jpeg
from gateshift.data.raw.copy import Copy
from gateshift.data.raw.frame_count import FrameCount
from gateshift.data.raw.media import FoundVideo
from gateshift.data.raw.problems import UNREADABLE, Problem
from gateshift.errors import ConfigError


def convert_copy(
    copy: Copy,
    out: Path,
    conversion: Conversion,
    *,
    workers: int,
    advance: Callable[[int], object] = lambda videos: None,
) -> Copy:
    """Convert all labelled videos; return the copy that they make, with ``out`` as its root.

    Args:
        copy: where the videos lie.
        out: the folder to write.
        conversion: what is done to each.
        workers: processes that decode.
        advance: called with 1 after each video.

    Raises:
        ConfigError: ``out`` holds what was made with other settings.
    """
    # Paths start from the root, and not from what all videos share: more of them may come later.
    videos = labelled_videos(copy)
    paths = list(dict.fromkeys(video.path for video in videos.values()))
    if not paths:
        return copy
    made = convert_videos(copy.root, paths, out, conversion, workers=workers, advance=advance)
    matches, problems = dict(copy.matches), list(copy.problems)
    for name, before in videos.items():
        answer = made[before.path]
        video = None if answer.error else FoundVideo(answer.path, _frames(answer, before, out), empty=())
        matches[name] = replace(copy.matches[name], video=video)
        if answer.error:
            problems.append(unreadable(copy.root / before.path, answer))
    return replace(copy, root=out, matches=matches, problems=tuple(problems), notes=conversion.remarks(made))


def labelled_videos(copy: Copy) -> dict[str, FoundVideo]:
    """Return the video of each annotated name, where there is one."""
    videos = [video for videos in copy.raw.splits.values() for video in videos]
    return {video.video: found for video in videos if (found := copy.usable(video))}


def common_template(videos: Mapping[str, FoundVideo]) -> str | None:
    """Return how the frames of all videos that are folders are named; None where they differ."""
    templates = {video.frames.template for video in videos.values() if video.frames}
    return templates.pop() if len(templates) == 1 else None


def unreadable(source: Path, made: Made) -> Problem:
    """Return what to tell of a video that could not be converted."""
    return Problem(UNREADABLE, str(source), made.error or "", "Fetch or encode it again; it was left out.")


def refuse_frames(root: Path, folders: list[str], num_videos: int) -> None:
    """Refuse to extract frames from what is frames already.

    Raises:
        ConfigError: there are such ``folders`` among the ``num_videos`` below ``root``.
    """
    if folders:
        raise ConfigError(
            f"there is nothing to extract: {len(folders)} of {num_videos} videos are frames already, such "
            f"as '{root / folders[0]}'. Leave out --extract; they are listed as they are."
        )


def _frames(made: Made, before: FoundVideo, out: Path) -> FrameCount | None:
    """Return what the names of a video's frames say now; None of a file."""
    if before.frames:
        template = before.frames.template
        return before.frames._replace(template=template if made.taken else as_jpeg(template), stray=())
    if (out / made.path).is_dir():
        return FrameCount(FRAME_TEMPLATE, 1, made.num_frames, made.num_frames, gaps=(), stray=())
    return None
