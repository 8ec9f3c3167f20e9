"""A dataset as it is downloaded becomes lists: what its annotations say, held against what is there.

    read_raw -> RawDataset -> find_videos (raw/copy.py) -> Copy -> write_lists -> train.csv, dataset.json

A copy that lacks videos, frames or rows still gets the lists of what is there, and is never called complete.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from gateshift.data.catalog import DATASETS
from gateshift.data.list_files import (
    SHOWN,
    each_once,
    is_complete,
    problem_values,
    refuse_other,
    write_folder,
)
from gateshift.data.raw.converted import common_template, labelled_videos
from gateshift.data.raw.copy import Copy
from gateshift.data.raw.diving48 import read_diving48
from gateshift.data.raw.epic_kitchens import read_epic_kitchens_55, read_epic_kitchens_100
from gateshift.data.raw.flow import check_flow
from gateshift.data.raw.kinetics import kinetics_reader
from gateshift.data.raw.media import FoundVideo
from gateshift.data.raw.own_csv import read_own
from gateshift.data.raw.problems import Problem
from gateshift.data.raw.records import Choices, RawDataset, RawVideo
from gateshift.data.raw.something import read_jester, read_something_v1, read_something_v2
from gateshift.data.raw.spans import FASTEST_RATE, Span, in_frames, within
from gateshift.data.raw.ucf_hmdb import read_hmdb51, read_ucf101
from gateshift.data.records import Annotations, VideoRecord
from gateshift.errors import VideoError, lookup

RAW: dict[str, Callable[[Path, Choices], RawDataset]] = {
    "something-v1": read_something_v1,
    "something-v2": read_something_v2,
    "jester": read_jester,
    "diving48": read_diving48,
    **{name: kinetics_reader(name) for name in ("kinetics-400", "kinetics-600", "kinetics-700")},
    "ucf101": read_ucf101,
    "hmdb51": read_hmdb51,
    "epic-kitchens-55": read_epic_kitchens_55,
    "epic-kitchens-100": read_epic_kitchens_100,
}


def read_raw(dataset: str, root: Path, choices: Choices) -> RawDataset:
    """Read the annotations of a dataset by its name, or the user's own list by its path.

    Raises:
        UnknownName: there is no such dataset.
        DataError: an annotation file is missing, or a row in it cannot be right.
    """
    if dataset.lower().endswith((".csv", ".txt")):
        return read_own(Path(dataset), root, choices)
    return lookup("dataset", dataset, RAW)(root, choices)


def write_lists(copy: Copy, out: Path) -> dict[str, Any]:
    """Write the lists, ``dataset.json`` and what is wrong into ``out``; return the answer of the command.

    Raises:
        DataError: ``out`` holds another dataset.
    """
    refuse_other(out, copy.raw.name, copy.raw.name)
    base = common_base(copy)
    records: dict[str, tuple[VideoRecord, ...]] = {}
    missing: dict[str, list[str]] = {}
    problems = list(copy.problems)
    for split in copy.raw.splits:
        records[split], missing[split] = _records(copy, split, base, problems)
    flow, lacking = _flow(copy, records)
    problems += lacking
    annotations = Annotations(
        root=copy.root / base,
        classes=copy.raw.classes,
        label_swaps=copy.raw.label_swaps,
        frame_template=common_template(labelled_videos(copy)),
        source=_source(copy.raw),
        splits={split: rows for split, rows in records.items() if rows},
        dataset=copy.raw.name,
        flow=flow,
    )
    write_folder(annotations, out, missing, problems)
    return _answer(copy, out, records, missing, problems)


def _records(
    copy: Copy, split: str, base: str, problems: list[Problem]
) -> tuple[tuple[VideoRecord, ...], list[str]]:
    """Return the records of what is there and whole, and the names of the others; add to ``problems``."""
    index: dict[str | None, int] = {name: i for i, name in enumerate(copy.raw.classes)}
    records, missing = [], []
    for video in copy.raw.splits[split]:
        found = copy.usable(video)
        try:
            span = _span(copy, video, found) if found else None
        except VideoError as error:
            fix = "Extract or fetch the video again; the part was left out."
            problems.append(Problem("missing-frame", video.where, f"of '{video.video}', {error}", fix))
            span = None
        if found is None or span is None:
            missing.append(video.video)
            continue
        if span.end != span.annotated_end:
            detail = f"'{video.video}' ends at frame {span.end}, and {span.annotated_end} is annotated"
            problems.append(
                Problem("late-end", video.where, detail, "Nothing: it ends where the video does.")
            )
        path = found.path[len(base) + 1 :] if base else found.path
        length = found.frames.num_frames if found.frames else None
        timing = copy.timings.get(video.video)
        whole = span.start == 0 and span.end == (length or (timing and timing.num_frames))
        end = None if whole else span.end
        records.append(VideoRecord(path, index[video.label], length, span.start, end))
    return tuple(records), missing


def _flow(
    copy: Copy, records: Mapping[str, Sequence[VideoRecord]]
) -> tuple[tuple[str, str] | None, list[Problem]]:
    if copy.flow is None:
        return None, []
    return check_flow(copy.flow, [record for rows in records.values() for record in rows])


def _span(copy: Copy, video: RawVideo, found: FoundVideo) -> Span:
    length = found.frames.num_frames if found.frames else None
    timing = copy.timings.get(video.video)
    if timing is None:
        most = 1 if video.end_seconds is None else FASTEST_RATE  # times are rounded, frame numbers are not
        return within(video.start_frame, video.end_frame, length, most)
    return in_frames(video, timing._replace(num_frames=length or timing.num_frames))


def common_base(copy: Copy) -> str:
    """Return the one folder below the root that all annotated names start from, "" for the root itself.

    With it as their root, lists hold the names of the annotations: ``100218`` and not ``20bn-.../100218``.
    """
    bases = set()
    for videos in copy.raw.splits.values():
        for video in videos:
            if found := copy.usable(video):
                parts = found.path.split("/")
                bases.add("/".join(parts[: len(parts) - len(video.video.split("/"))]))
    return bases.pop() if len(bases) == 1 else ""


def _source(raw: RawDataset) -> str:
    names = sorted({file.name for file in raw.files})
    more = f" and {len(names) - 4} more" if len(names) > 4 else ""
    return f"{raw.name}, prepared from {', '.join(names[:4])}{more}"


def _answer(
    copy: Copy,
    out: Path,
    records: Mapping[str, Sequence[VideoRecord]],
    missing: Mapping[str, Sequence[str]],
    problems: Sequence[Problem],
) -> dict[str, Any]:
    raw = copy.raw
    complete = is_complete(missing, problems)
    return {
        "dataset": raw.name,
        "out": str(out),
        "root": str(copy.root),
        "complete": complete,
        "ok": complete,
        "splits": {
            split: {
                "annotated": len(raw.splits[split]),
                "published": raw.published.get(split),
                "found": len(records[split]),
                "missing": len(missing[split]),
            }
            for split in raw.splits
        },
        "missing": each_once(missing)[:SHOWN],
        **problem_values(problems),
        "classes": len(raw.classes),
        "label_swaps": [list(pair) for pair in raw.label_swaps],
        "label_swap_indices": [[raw.classes.index(name) for name in pair] for pair in raw.label_swaps],
        "notes": [*raw.notes, *_remarks(copy, records)],
    }


def _remarks(copy: Copy, records: Mapping[str, Sequence[VideoRecord]]) -> list[str]:
    """Return what to know beside the problems, one sentence each."""
    remarks = []
    for split, videos in copy.raw.unlabelled.items():
        names = {video.video for video in videos}
        found = sum(copy.matches[name].video is not None for name in names)
        remarks.append(
            f"'{split}' has no labels and is in no list: {found} of {len(names)} videos are there."
        )
    twice = [match for match in copy.matches.values() if match.passed_over]
    for match in twice[:1]:
        taken, left = (video.path if video else "" for video in (match.video, match.passed_over))
        remarks.append(
            f"{len(twice)} videos are there as frames and as files: '{taken}' was taken and '{left}' was not."
        )
    if copy.raw.name in DATASETS and not copy.raw.published:
        remarks.append(
            "How many rows were published is not known here: a list cut at a row's end looks whole."
        )
    empty = [split for split, rows in records.items() if not rows]
    remarks += [f"There is no {split}.csv: none of its videos is there." for split in empty]
    return remarks + list(copy.notes)
