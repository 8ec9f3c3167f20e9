"""A user's copy of a dataset: what lies in the root, held against what the annotations say."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from gateshift.data.raw.flow import Flow, find_flow
from gateshift.data.raw.matching import Match, match_videos
from gateshift.data.raw.media import FoundVideo, Media, scan_media
from gateshift.data.raw.problems import (
    UNREADABLE,
    Problem,
    annotation_problems,
    match_problems,
    packed_problems,
    stray_problems,
)
from gateshift.data.raw.records import RawDataset, RawVideo
from gateshift.data.raw.spans import Timing, read_timings


@dataclass(frozen=True)
class Copy:
    """A user's copy of a dataset: what was found for each annotated video.

    Attributes:
        raw: what the annotations say.
        root: the folder that the paths of ``matches`` start from.
        matches: what was found for each name, of videos without label too.
        timings: rate and length of the files of which parts are annotated, by name.
        media: all that lies in the root.
        problems: what is wrong.
        flow: prepared optical flow, where there is some.
        notes: remarks for the user, one sentence each.
    """

    raw: RawDataset
    root: Path
    matches: Mapping[str, Match]
    timings: Mapping[str, Timing]
    media: Media
    problems: tuple[Problem, ...]
    flow: Flow | None = None
    notes: tuple[str, ...] = ()

    def usable(self, video: RawVideo) -> FoundVideo | None:
        """Return what was found for a video, if it is there and whole as far as names tell."""
        found = self.matches[video.video].video
        if found is None or (found.frames and found.frames.gaps):
            return None
        by_time = found.frames is None and _is_timed(video)
        return None if by_time and video.video not in self.timings else found


def find_videos(
    raw: RawDataset,
    root: Path,
    *,
    skip: Path,
    workers: int = 8,
    advance: Callable[[int], object] = lambda videos: None,
) -> Copy:
    """Look for the annotated videos below ``root``, and say what is missing, in the way, or left over.

    Args:
        raw: what the annotations say.
        root: the folder of the download.
        skip: a folder not to look into: where lists and frames are written.
        workers: threads.
        advance: called with the number of videos found since the last call.
    """
    template, first = raw.frame_template, raw.first_frame
    media = scan_media(root, template, first, skip=(skip,), workers=workers, advance=advance)
    unlabelled = [video.video for videos in raw.unlabelled.values() for video in videos]
    labelled = {video.video: video for videos in raw.splits.values() for video in reversed(videos)}
    matches = match_videos((*labelled, *unlabelled), media.videos, "frames" if template else "files")
    rows = [video for videos in raw.splits.values() for video in videos]
    timings, problems = _timings(rows, matches, root, workers)
    bare = {path.rpartition("/")[2]: path for path in media.bare_folders}
    problems += annotation_problems(raw, root)
    for name in dict.fromkeys(video.video for videos in raw.splits.values() for video in videos):
        problems += match_problems(labelled[name], matches[name], root, bare)
    if any(problem.kind == "missing-video" for problem in problems):
        problems += packed_problems(media, root)
    problems += stray_problems(raw, media, matches, root)
    flow, lacking = find_flow(root, media.flow)
    return Copy(raw, root, matches, timings, media, (*problems, *lacking), flow)


def _timings(
    videos: Sequence[RawVideo], matches: Mapping[str, Match], root: Path, workers: int
) -> tuple[dict[str, Timing], list[Problem]]:
    """Return rate and length of the video files of which parts are annotated.

    Times cannot be turned into frames without them; frames only go without the check that they are there.
    """
    timed = {video.video for video in videos if _is_timed(video)}
    files = {}
    for name in dict.fromkeys(
        video.video for video in videos if _is_timed(video) or video.end_frame is not None
    ):
        found = matches[name].video
        if found and found.frames is None:
            files[name] = root / found.path
    timings, problems = {}, []
    read = read_timings(dict.fromkeys(files.values()), workers)
    for name, file in files.items():
        timing = read[file]
        if isinstance(timing, Timing):
            timings[name] = timing
        elif name in timed:
            problems.append(Problem(UNREADABLE, str(files[name]), timing, "Fetch it again; it was left out."))
    return timings, problems


def _is_timed(video: RawVideo) -> bool:
    return video.start_seconds is not None or video.end_seconds is not None
