"""UCF101 and HMDB51: three official splits each, of which one is read at a time."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from gateshift.data.catalog import DATASETS
from gateshift.data.label_swaps import find_label_swaps
from gateshift.data.raw.consistency import in_two_splits, listed_once
from gateshift.data.raw.files import crlf_note, find_file, find_files, read_lines
from gateshift.data.raw.records import Choices, RawDataset, RawVideo
from gateshift.errors import ConfigError, DataError

TEST_IS_VAL = (
    "The official test list is the split 'val': where the best epoch is chosen on it, its accuracy is "
    "optimistic."
)
VIDEO_SUFFIX = ".avi"
UCF_ROW = re.compile(r"(?P<label>[^/]+)/(?P<name>[^/]+)\.avi(?:\s+(?P<number>[0-9]+))?")


def read_ucf101(root: Path, choices: Choices) -> RawDataset:
    """Read one split of UCF101: ``classInd.txt``, ``trainlist01.txt`` and ``testlist01.txt``.

    Raises:
        DataError: a file is missing, or a row cannot be right.
    """
    number = _split_number("ucf101", choices)
    files = tuple(
        find_file(root, name)
        for name in ("classInd.txt", f"trainlist0{number}.txt", f"testlist0{number}.txt")
    )
    classes = _ucf_classes(files[0])
    train = [_ucf_video(f"{files[1]}:{i}", line, classes, "1") for i, line in read_lines(files[1])]
    val = [_ucf_video(f"{files[2]}:{i}", line, classes) for i, line in read_lines(files[2])]
    counts = DATASETS["ucf101"].num_videos
    published = {split: counts[f"{split}{number}"] for split in ("train", "val")}
    return _dataset(f"ucf101-split{number}", classes, train, val, published, files)


def read_hmdb51(root: Path, choices: Choices) -> RawDataset:
    """Read one split of HMDB51: ``<class>_test_split1.txt``, one file a class.

    Raises:
        DataError: there are no such files, or a row cannot be right.
    """
    number = _split_number("hmdb51", choices)
    ending = f"_test_split{number}.txt"
    files = find_files(root, f"*{ending}")
    classes = tuple(sorted(file.name.removesuffix(ending) for file in files))
    if twice := [name for name in classes if classes.count(name) > 1]:
        raise DataError(f"'{root}' holds two files '{twice[0]}{ending}'. Keep one of them.")
    lists: dict[str, list[RawVideo]] = {"0": [], "1": [], "2": []}
    for file in files:
        for i, line in read_lines(file):
            use, video = _hmdb_video(f"{file}:{i}", line, file.name.removesuffix(ending))
            lists[use].append(video)
    published = DATASETS["hmdb51"].num_videos
    dataset = _dataset(f"hmdb51-split{number}", classes, lists["1"], lists["2"], published, files)
    if not lists["0"]:
        return dataset
    note = f"{len(lists['0'])} videos have no part in split {number}: they are marked 0, for neither list."
    unused = tuple(replace(video, label=None) for video in lists["0"])
    return replace(dataset, unlabelled={"unused": unused}, notes=(*dataset.notes, note))


def _split_number(dataset: str, choices: Choices) -> int:
    choices.refuse(dataset, "labels", "task")
    number = 1 if choices.split is None else choices.split
    if number not in (1, 2, 3):
        raise ConfigError(f"split is {number}; {dataset} has the splits 1, 2 and 3. Change --split.")
    return number


def _ucf_classes(file: Path) -> tuple[str, ...]:
    """Return the class names: ``1 ApplyEyeMakeup``, numbered from 1 in order."""
    names: list[str] = []
    for i, line in read_lines(file):
        number, _, name = line.strip().partition(" ")
        if number != str(len(names) + 1) or not name.strip():
            raise DataError(
                f"{file}:{i} is '{line.strip()[:60]}'. Expected '{len(names) + 1} ClassName'; fetch the file "
                "again."
            )
        names.append(name.strip())
    num_classes = DATASETS["ucf101"].num_classes
    if len(set(names)) != num_classes or len(names) != num_classes:
        raise DataError(
            f"'{file}' holds {len(set(names))} classes; UCF101 has {num_classes}. The file may be cut short, "
            "or of another dataset; fetch it again."
        )
    return tuple(names)


def _ucf_video(where: str, line: str, classes: Sequence[str], needed: str = "") -> RawVideo:
    """Read ``Class/v_Class_g08_c01.avi 1``, or the same without the number in a test list."""
    match = UCF_ROW.fullmatch(line.strip())
    if not match or (needed and not match["number"]):
        raise DataError(
            f"{where} is '{line.strip()[:80]}'. Expected 'Class/v_Class_g08_c01.avi"
            f"{needed and ' ' + needed}'; the file may be cut short."
        )
    label, number = match["label"], match["number"]
    if label not in classes:
        raise DataError(f"{where}: there is no class '{label}' in classInd.txt. Correct the row.")
    if number and classes.index(label) + 1 != int(number):
        raise DataError(
            f"{where}: '{label}' has the number {classes.index(label) + 1} in classInd.txt, and {number} "
            "here. The file may be cut short; fetch it again."
        )
    return RawVideo(f"{label}/{match['name']}", label, where)


def _hmdb_video(where: str, line: str, label: str) -> tuple[str, RawVideo]:
    """Read ``name.avi 1``: 1 to train on, 2 to test on, 0 neither. Names hold all kinds of signs."""
    name, _, use = line.strip().rpartition(" ")
    name = name.strip()
    if use not in ("0", "1", "2") or not name.endswith(VIDEO_SUFFIX):
        raise DataError(
            f"{where} is '{line.strip()[-80:]}'. Expected 'name.avi 1', with 0, 1 or 2; the file may be cut "
            "short."
        )
    return use, RawVideo(f"{label}/{name.removesuffix(VIDEO_SUFFIX)}", label, where)


def _dataset(
    name: str,
    classes: tuple[str, ...],
    train: Sequence[RawVideo],
    val: Sequence[RawVideo],
    published: Mapping[str, int],
    files: tuple[Path, ...],
) -> RawDataset:
    splits: dict[str, tuple[RawVideo, ...]] = {}
    notes: tuple[str, ...] = (TEST_IS_VAL, *_line_ends(files))
    for split, videos in (("train", train), ("val", val)):
        splits[split], remarks = listed_once(videos)
        notes += remarks
    if twice := in_two_splits(splits):
        before, after, count = twice
        raise DataError(
            f"'{before.video}' is at {before.where}, to train on, and at {after.where}, to test on "
            f"({count} such videos). The lists are of different splits; fetch them again."
        )
    return RawDataset(
        name=name,
        classes=classes,
        label_swaps=find_label_swaps(classes),
        splits=splits,
        unlabelled={},
        published=published,
        files=files,
        frame_template=None,
        first_frame=None,
        notes=notes,
    )


def _line_ends(files: Sequence[Path]) -> tuple[str, ...]:
    """Return the remark on Windows line ends, once for all files that have them."""
    noted = [note for file in files for note in crlf_note(file)]
    return (*noted[:1], f"So have {len(noted) - 1} more of its files.") if len(noted) > 1 else tuple(noted)
