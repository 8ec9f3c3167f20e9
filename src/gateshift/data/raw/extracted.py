"""A copy of a dataset whose video files became frames: what `gateshift prepare --extract` lists."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from gateshift.data.extract import Extracted, extract_videos
from gateshift.data.frame_writer import FRAME_TEMPLATE, FrameSettings
from gateshift.data.raw.copy import Copy
from gateshift.data.raw.frame_count import FrameCount
from gateshift.data.raw.media import FoundVideo
from gateshift.data.raw.problems import UNREADABLE, Problem
from gateshift.errors import ConfigError


def extract_copy(
    copy: Copy,
    frames: Path,
    settings: FrameSettings,
    *,
    workers: int,
    advance: Callable[[int], object] = lambda videos: None,
) -> Copy:
    """Write the frames of all labelled videos; return the copy that they make, with ``frames`` as its root.

    Args:
        copy: where the video files lie.
        frames: the folder to write.
        settings: how frames are written.
        workers: processes that decode.
        advance: called with 1 after each video file.

    Raises:
        ConfigError: videos of the copy are frames already, or ``frames`` holds others.
    """
    # Paths start from the root, and not from what all videos share: more of them may come later.
    paths = {name: video.path for name, video in labelled_videos(copy).items()}
    files = list(dict.fromkeys(paths.values()))
    if not files:
        return copy
    extracted = extract_videos(copy.root, files, frames, settings, workers=workers, advance=advance)
    matches, problems = dict(copy.matches), list(copy.problems)
    for name, path in paths.items():
        answer = extracted[path]
        video = None if answer.error else _frame_folder(answer)
        matches[name] = replace(copy.matches[name], video=video)
        if answer.error:
            fix = "Fetch or encode it again; it was left out."
            problems.append(Problem(UNREADABLE, str(copy.root / path), answer.error, fix))
    return replace(copy, root=frames, matches=matches, problems=tuple(problems))


def labelled_videos(copy: Copy) -> dict[str, FoundVideo]:
    """Return the video file of each annotated name, where there is one.

    Raises:
        ConfigError: one of them is a folder of frames.
    """
    videos = [video for videos in copy.raw.splits.values() for video in videos]
    found = {video.video: file for video in videos if (file := copy.usable(video))}
    if as_frames := [video.path for video in found.values() if video.frames]:
        raise ConfigError(
            f"there is nothing to extract: {len(as_frames)} of {len(found)} videos are frames already, such "
            f"as '{copy.root / as_frames[0]}'. Leave out --extract; they are listed as they are."
        )
    return found


def _frame_folder(answer: Extracted) -> FoundVideo:
    count = FrameCount(FRAME_TEMPLATE, 1, answer.num_frames, answer.num_frames, gaps=(), stray=())
    return FoundVideo(answer.folder, count, empty=())
