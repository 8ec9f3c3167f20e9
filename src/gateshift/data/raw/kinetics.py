"""Kinetics-400, -600 and -700: CSV files of clips of YouTube videos, under any file name."""

import re
from collections.abc import Callable, Mapping
from pathlib import Path

from gateshift.data.catalog import DATASETS
from gateshift.data.label_swaps import find_label_swaps
from gateshift.data.raw.consistency import listed_once
from gateshift.data.raw.files import crlf_note, find_files
from gateshift.data.raw.records import Choices, RawDataset, RawVideo
from gateshift.data.raw.tables import TableRow, read_header, read_table
from gateshift.errors import DataError

COLUMNS = ("youtube_id", "time_start", "time_end")
SPLITS = {"train": "train", "validate": "val", "validation": "val", "val": "val", "test": "test"}
SPLIT_IN_NAME = re.compile(r"(?<![a-z])(train|validate|validation|val|test)(?![a-z])")
EDITION_IN_NAME = re.compile(r"(?:kinetics[-_ ]?|(?<![a-z])k)(400|600|700)(?!\d)")


def kinetics_reader(dataset: str) -> Callable[[Path, Choices], RawDataset]:
    """Return the function that reads one edition: "kinetics-400", "kinetics-600" or "kinetics-700"."""

    def read_kinetics(root: Path, choices: Choices) -> RawDataset:
        return _read(dataset, root, choices)

    return read_kinetics


def _read(dataset: str, root: Path, choices: Choices) -> RawDataset:
    """Read every clip list of one edition under ``root``.

    Raises:
        DataError: there is no list, the lists are of another edition, or a row cannot be right.
    """
    choices.refuse(dataset, "split", "labels", "task")
    files = _clip_lists(root, dataset)
    notes: tuple[str, ...] = ()
    labelled: dict[str, list[RawVideo]] = {}
    unlabelled: dict[str, list[RawVideo]] = {}
    for file in files:
        notes += crlf_note(file)
        for row in read_table(file, *COLUMNS):
            split, video = _split_of(file, row), _clip(row)
            _require_label(video, split)
            (unlabelled if video.label is None else labelled).setdefault(split, []).append(video)
    if not labelled:
        raise DataError(f"'{files[0]}' lists no labelled clips. Add the training or validation list.")
    splits = {}
    for split in ("train", "val", "test"):
        if split in labelled:
            splits[split], remarks = listed_once(labelled[split])
            notes += remarks
    classes = _classes(splits)
    if len(classes) > DATASETS[dataset].num_classes:
        raise DataError(
            f"'{files[0]}' and the lists beside it name {len(classes)} classes, and {dataset} has "
            f"{DATASETS[dataset].num_classes}: they are of another edition. Prepare that one."
        )
    if "train" not in splits:
        notes += (f"There is no training list of {dataset}; the classes are those of the other lists.",)
    return RawDataset(
        name=dataset,
        classes=classes,
        label_swaps=find_label_swaps(classes),
        splits=splits,
        unlabelled={split: tuple(videos) for split, videos in unlabelled.items()},
        published=DATASETS[dataset].num_videos,
        files=files,
        frame_template=None,
        first_frame=None,
        notes=notes,
    )


def _clip_lists(root: Path, dataset: str) -> tuple[Path, ...]:
    """Return the CSV files with the header of a clip list, less those named after another edition."""
    lists = [file for file in find_files(root, "*.csv") if set(COLUMNS) <= set(read_header(file))]
    if not lists:
        raise DataError(
            f"'{root}' holds no CSV file with the header 'label,youtube_id,time_start,time_end,split', up to "
            f"three folders deep. Put the lists of {dataset} there."
        )
    edition = dataset.removeprefix("kinetics-")
    own = [file for file in lists if _edition(root, file) in (None, edition)]
    if not own:
        raise DataError(
            f"'{lists[0]}' is of kinetics-{_edition(root, lists[0])} by its name, and {dataset} was asked "
            f"for. Prepare kinetics-{_edition(root, lists[0])}, or put the lists of {dataset} there."
        )
    if len(own) < len(lists) and any(_edition(root, file) is None for file in own):
        raise DataError(
            f"'{root}' holds clip lists of several editions, and nothing tells of which '{own[0].name}' is. "
            "Give a folder that holds the lists of one edition."
        )
    return tuple(own)


def _edition(root: Path, file: Path) -> str | None:
    """Return the edition that a file's name or its folders name, the nearest first."""
    names = re.findall(EDITION_IN_NAME, file.relative_to(root).as_posix().lower())
    return names[-1] if names else None


def _split_of(file: Path, row: TableRow) -> str:
    """Return the split of a row: what its column says, or where there is none, what the file's name says."""
    if "split" in row.values:
        if row["split"] not in SPLITS:
            raise DataError(
                f"{row.where}: split is '{row['split']}'. Expected one of {', '.join(SPLITS)}; the file may "
                "be cut short."
            )
        return SPLITS[row["split"]]
    named = SPLIT_IN_NAME.findall(file.name.lower())
    if len(set(named)) != 1:
        raise DataError(
            f"'{file}' has no column 'split', and its name does not tell one. Name it train.csv, "
            "validate.csv or test.csv."
        )
    return SPLITS[named[0]]


def _clip(row: TableRow) -> RawVideo:
    start, end = _second(row, "time_start"), _second(row, "time_end")
    if end <= start:
        raise DataError(
            f"{row.where}: the clip goes from second {start} to {end}. Correct it, or fetch the file again."
        )
    label = row.values.get("label") or None
    return RawVideo(f"{row['youtube_id']}_{start:06d}_{end:06d}", label, row.where)


def _second(row: TableRow, column: str) -> int:
    """Return a time as the names of the clips hold it: whole seconds."""
    if not re.fullmatch(r"\d+(\.\d*)?", row[column], re.ASCII):
        raise DataError(
            f"{row.where}: {column} is '{row[column][:40]}'. Expected seconds, such as 84 or 84.0; correct "
            "it, or fetch the file again."
        )
    return int(float(row[column]))


def _require_label(video: RawVideo, split: str) -> None:
    if video.label is None and split != "test":
        raise DataError(f"{video.where} has no label, and only test lists go without. Fetch the file again.")


def _classes(splits: Mapping[str, tuple[RawVideo, ...]]) -> tuple[str, ...]:
    """Return the labels of the training list, or of all lists where there is none, in sorted order.

    Raises:
        DataError: another split has a label that the training list does not have.
    """
    known = {video.label for video in splits.get("train", ())}
    if not known:
        known = {video.label for videos in splits.values() for video in videos}
    for videos in splits.values():
        for video in videos:
            if video.label not in known:
                raise DataError(
                    f"{video.where}: no row of the training list has the label '{video.label}'. "
                    "Correct it, or fetch the training list again."
                )
    return tuple(sorted(label for label in known if label is not None))
