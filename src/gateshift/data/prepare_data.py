"""A dataset that `gateshift train` takes becomes another one: its videos as frames, or as small copies.

read_annotations -> Annotations -> convert_data -> Converted -> write_converted -> train.csv, dataset.json
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from gateshift.data.conversion import Conversion, Made, convert_videos
from gateshift.data.flow_folder import flow_name
from gateshift.data.list_files import (
    SHOWN,
    each_once,
    is_complete,
    problem_values,
    refuse_other,
    write_folder,
)
from gateshift.data.lists import find_lists
from gateshift.data.prepared_log import LOG
from gateshift.data.raw.converted import unreadable
from gateshift.data.raw.problems import Problem
from gateshift.data.reader import VideoFile
from gateshift.data.records import Annotations, VideoRecord
from gateshift.errors import ConfigError, DataError, VideoError

LEFT_OUT = "Correct the list; the row was left out."


@dataclass(frozen=True)
class Converted:
    """What became of a dataset.

    Attributes:
        annotations: the videos that there are now.
        missing: names of the videos of each split of which nothing was made.
        problems: why.
    """

    annotations: Annotations
    missing: Mapping[str, tuple[str, ...]]
    problems: tuple[Problem, ...] = ()


def convert_data(
    annotations: Annotations,
    out: Path,
    conversion: Conversion,
    *,
    workers: int,
    advance: Callable[[int], object] = lambda videos: None,
) -> Converted:
    """Convert the videos of all splits; the new dataset has ``out`` as its root.

    Parts that are given in seconds are given in frames then, for what is written has times of its own.

    Args:
        annotations: the dataset; its videos are files or folders of frames.
        out: the folder to write.
        conversion: what is done to each.
        workers: processes that decode.
        advance: called with 1 after each video.

    Raises:
        ConfigError: ``out`` holds what was made with other settings.
        DataError: the dataset is in shards, or ``out`` cannot be written or holds something else.
    """
    if annotations.shards:
        raise DataError(
            f"the dataset at '{annotations.root}' is in shards. Give the one that they were made from."
        )
    videos = each_video(annotations)
    made = convert_videos(annotations.root, videos, out, conversion, workers=workers, advance=advance)
    problems = [unreadable(annotations.root / video, one) for video, one in sorted(made.items()) if one.error]
    splits: dict[str, tuple[VideoRecord, ...]] = {}
    missing: dict[str, tuple[str, ...]] = {}
    read: dict[str, VideoFile] = {}
    for split, records in annotations.splits.items():
        there, lost = [], []
        for record in records:
            try:
                there.append(_record(record, made[record.video], annotations, read))
            except VideoError as error:
                lost.append(record.video)
                if not made[record.video].error:
                    where = f"{split}: {record.video}"
                    problems.append(Problem("missing-frame", where, str(error), LEFT_OUT))
        missing[split] = tuple(lost)
        splits |= {split: tuple(there)} if there else {}
    flow = annotations.flow
    converted = replace(
        annotations,
        root=out,
        splits=splits,
        frame_template=conversion.frame_template(annotations.frame_template, made),
        flow=flow and (str(annotations.root / flow[0]), str(annotations.root / flow[1])),
        notes=annotations.notes + conversion.remarks(made),
    )
    return Converted(_with_flow(converted, made), missing, tuple(problems))


def each_video(annotations: Annotations) -> list[str]:
    """Return the paths of all videos, each once."""
    records = (record for records in annotations.splits.values() for record in records)
    return list(dict.fromkeys(record.video for record in records))


def refuse_place(data: str, annotations: Annotations, out: Path, folders: tuple[str, ...]) -> None:
    """Refuse to write a dataset over another one.

    Args:
        data: what was read.
        annotations: what it holds.
        out: the folder to write.
        folders: what is written there beside the lists.

    Raises:
        ConfigError: ``out`` is the dataset itself, or would be a class of it.
        DataError: ``out`` holds other lists.
    """
    place, folder = out.resolve(), Path(data).resolve()
    if place in (folder, annotations.root.resolve()):
        raise ConfigError(f"'{out}' is the dataset itself. Give another folder with --out.")
    if place.is_relative_to(folder) and not find_lists(folder):
        raise ConfigError(
            f"'{out}' lies in '{data}', where it would be taken for a class. "
            "Give a folder elsewhere with --out."
        )
    refuse_other(out, annotations.dataset, annotations.source)
    if (lists := find_lists(out)) and not any((out / folder / LOG).is_file() for folder in folders):
        raise DataError(
            f"'{out}' holds '{next(iter(lists.values())).name}', which was not prepared here. "
            "Give another folder with --out, or move it away."
        )


def write_converted(converted: Converted, out: Path, name: str) -> dict[str, Any]:
    """Write the lists, ``dataset.json`` and what is wrong into ``out``; return the answer of the command.

    Raises:
        DataError: ``out`` cannot be written.
    """
    write_folder(converted.annotations, out, converted.missing, converted.problems)
    return answer(converted, out, name)


def answer(converted: Converted, out: Path, name: str) -> dict[str, Any]:
    """Return what `gateshift prepare` says of a dataset that it did not read from a download."""
    annotations, missing = converted.annotations, converted.missing
    complete = is_complete(missing, converted.problems)
    found = {split: len(annotations.splits.get(split, ())) for split in missing}
    return {
        "dataset": annotations.dataset or name,
        "out": str(out),
        "root": str(annotations.root),
        "complete": complete,
        "ok": complete,
        "splits": {
            split: {
                "annotated": found[split] + len(lost),
                "published": None,
                "found": found[split],
                "missing": len(lost),
            }
            for split, lost in missing.items()
        },
        "missing": each_once(missing)[:SHOWN],
        **problem_values(converted.problems),
        "classes": len(annotations.classes),
        "label_swaps": [list(pair) for pair in annotations.label_swaps],
        "label_swap_indices": [
            [annotations.classes.index(name) for name in pair] for pair in annotations.label_swaps
        ],
        "notes": list(annotations.notes),
    }


def _record(
    record: VideoRecord, made: Made, annotations: Annotations, read: dict[str, VideoFile]
) -> VideoRecord:
    """Return the record of what was made of a video, or refuse a part that it does not have."""
    if made.error:
        raise VideoError(made.error)
    if made.taken:
        return replace(record, video=made.path)
    path = annotations.path(record)
    start, end, num_frames = record.start_frame, record.end_frame, record.num_frames
    if record.in_seconds:
        video = read.setdefault(record.video, VideoFile(path))
        start, end = video.frames_between(record.start_seconds or 0.0, record.end_seconds)
        end = min(end, made.num_frames)
    if num_frames is None or not path.is_dir():  # of a file, the reader counts for itself
        num_frames = made.num_frames
    if not start < (num_frames if end is None else end) <= made.num_frames:
        raise VideoError(
            f"frames {start} to {num_frames if end is None else end} of '{path}' are asked for, and it has "
            f"{made.num_frames}"
        )
    return VideoRecord(made.path, record.label, num_frames, start, end)


def _with_flow(annotations: Annotations, made: Mapping[str, Made]) -> Annotations:
    """Return a dataset without its flow where a video's new name leads to another one's."""
    there = [(video, one.path) for video, one in made.items() if not one.error]
    moved = [(video, path) for video, path in there if flow_name(video) != flow_name(path)]
    if not (annotations.flow and moved):
        return annotations
    video, path = moved[0]
    note = f"Optical flow was left out: that of '{video}' is not found by its new name, '{path}'."
    return replace(annotations, flow=None, notes=(*annotations.notes, note))
