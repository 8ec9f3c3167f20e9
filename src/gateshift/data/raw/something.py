"""Something-Something V1 and V2, and Jester: numbered videos, and classes in the order of their names."""

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from gateshift.data.catalog import DATASETS
from gateshift.data.label_swaps import find_label_swaps
from gateshift.data.raw.consistency import listed_once
from gateshift.data.raw.files import (
    crlf_note,
    find_file,
    find_optional_file,
    lacks_line_end,
    read_json,
    read_lines,
)
from gateshift.data.raw.records import Choices, RawDataset, RawVideo
from gateshift.errors import DataError

ROW = "Expected 'id;label'; fetch the file again."
BRACKETS = str.maketrans("", "", "[]")  # "Holding [something]" is the class "Holding something"
LONG_NAMES = {"train": "train", "val": "validation"}  # split -> as the files are called


def read_something_v1(root: Path, choices: Choices) -> RawDataset:
    """Read ``something-something-v1-{labels,train,validation,test}.csv``; rows are ``id;label``."""
    choices.refuse("something-v1", "split", "labels", "task")
    return _read_semicolons("something-v1", "something-something-v1", root)


def read_jester(root: Path, choices: Choices) -> RawDataset:
    """Read ``jester-v1-{labels,train,validation,test}.csv``, or ``classInd.txt`` and ``trainlist.txt``."""
    choices.refuse("jester", "split", "labels", "task")
    own = find_optional_file(root, "jester-v1-labels.csv")
    if own is None and find_optional_file(root, "classInd.txt"):
        return _read_jester_indices(root)
    return _read_semicolons("jester", "jester-v1", root)


def read_something_v2(root: Path, choices: Choices) -> RawDataset:
    """Read ``something-something-v2-{labels,train,validation,test}.json``, or ``labels.json`` and so on."""
    choices.refuse("something-v2", "split", "labels", "task")
    labels = find_file(root, *_names_v2("labels"))
    classes = _classes("something-v2", labels, _labels_v2(labels))
    files = {split: find_file(root, *_names_v2(name)) for split, name in LONG_NAMES.items()}
    splits = {split: _videos_v2(file, classes, labels) for split, file in files.items()}
    test = find_optional_file(root, *_names_v2("test"))
    unlabelled = {"test": _videos_v2(test, None, labels)} if test else {}
    return _dataset("something-v2", classes, splits, unlabelled, (labels, *files.values(), *_there(test)))


def _read_semicolons(dataset: str, stem: str, root: Path) -> RawDataset:
    labels = find_file(root, f"{stem}-labels.csv")
    classes = _classes(dataset, labels, [line.strip() for _, line in read_lines(labels)])
    files = {split: find_file(root, f"{stem}-{name}.csv") for split, name in LONG_NAMES.items()}
    splits = {split: _semicolon_rows(file, classes, labels) for split, file in files.items()}
    test = find_optional_file(root, f"{stem}-test.csv")
    unlabelled = {"test": _bare_rows(test)} if test else {}
    notes = tuple(
        note for split, file in files.items() for note in _doubtful_end(file, splits[split], classes)
    )
    return _dataset(dataset, classes, splits, unlabelled, (labels, *files.values(), *_there(test)), notes)


def _read_jester_indices(root: Path) -> RawDataset:
    """Read the form that others pass Jester on in: ``1 Class_name``, and ``id 1`` in lists."""
    file = find_file(root, "classInd.txt")
    names = dict(_fields(file, number, line, " ", "'1 Class_name'") for number, line in read_lines(file))
    classes = _classes("jester", file, list(names.values()))
    found = {split: find_optional_file(root, f"{split}list.txt") for split in LONG_NAMES}
    lists = {split: path for split, path in found.items() if path}
    if not lists:
        find_file(root, *(f"{split}list.txt" for split in LONG_NAMES))  # says what was looked for
    notes = tuple(
        f"There is no {split}list.txt, and so no {split}.csv." for split in found.keys() - lists.keys()
    )
    splits = {split: _numbered_rows(path, names, file) for split, path in lists.items()}
    return _dataset("jester", classes, splits, {}, (file, *lists.values()), notes)


def _dataset(
    name: str,
    classes: tuple[str, ...],
    splits: Mapping[str, tuple[RawVideo, ...]],
    unlabelled: Mapping[str, tuple[RawVideo, ...]],
    files: tuple[Path, ...],
    notes: tuple[str, ...] = (),
) -> RawDataset:
    listed_once([video for videos in splits.values() for video in videos])  # refuses other labels elsewhere
    once = {split: listed_once(videos) for split, videos in splits.items()}
    notes += tuple(remark for _, remarks in once.values() for remark in remarks)
    spec = DATASETS[name]
    return RawDataset(
        name=name,
        classes=classes,
        label_swaps=find_label_swaps(classes),
        splits={split: videos for split, (videos, _) in once.items()},
        unlabelled=unlabelled,
        published=spec.num_videos,
        files=files,
        frame_template=spec.frame_template,
        first_frame=spec.first_frame,
        notes=tuple(note for file in files for note in crlf_note(file)) + notes,
    )


def _classes(dataset: str, file: Path, names: Sequence[str]) -> tuple[str, ...]:
    """Return the class names in the order of the released lists; a class too few would shift all others."""
    expected = DATASETS[dataset].num_classes
    if twice := [name for i, name in enumerate(names) if name in names[:i]]:
        raise DataError(f"'{file}' lists the class '{twice[0]}' twice. Fetch the file again.")
    if len(names) != expected:
        raise DataError(
            f"'{file}' lists {len(names)} classes; {dataset} has {expected}. Fetch the file again."
        )
    return tuple(sorted(names))


def _semicolon_rows(file: Path, classes: Sequence[str], labels: Path) -> tuple[RawVideo, ...]:
    known = frozenset(classes)
    lines = read_lines(file)
    cut = lines[-1][0] if lines and lacks_line_end(file) else None
    videos = []
    for number, line in lines:
        where = f"{file}:{number}"
        video, mark, label = (part.strip() for part in line.partition(";"))
        if not (video and mark and label):
            raise DataError(f"{where} is '{line[:60]}'. {_advice(number == cut, ROW)}")
        if label not in known:
            raise DataError(f"{where}: {_no_class(label, classes, labels)} {_advice(number == cut)}")
        videos.append(RawVideo(video, label, where))
    return tuple(videos)


def _bare_rows(file: Path) -> tuple[RawVideo, ...]:
    names = [(line.partition(";")[0].strip(), number) for number, line in read_lines(file)]
    return tuple(RawVideo(name, None, f"{file}:{number}") for name, number in names)


def _numbered_rows(file: Path, names: Mapping[str, str], labels: Path) -> tuple[RawVideo, ...]:
    videos = []
    for number, line in read_lines(file):
        video, label = _fields(file, number, line, None, "'id class_number'")
        if label not in names:
            raise DataError(f"{file}:{number}: there is no class {label} in {labels.name}. Fetch both again.")
        videos.append(RawVideo(video, names[label], f"{file}:{number}"))
    return tuple(videos)


def _fields(file: Path, number: int, line: str, mark: str | None, expected: str) -> tuple[str, str]:
    fields = line.split(mark, 1)
    if len(fields) != 2:
        raise DataError(f"{file}:{number} is '{line[:60]}'. Expected {expected}; fetch the file again.")
    return fields[0].strip(), fields[1].strip()


def _names_v2(name: str) -> tuple[str, str]:
    return f"something-something-v2-{name}.json", f"{name}.json"


def _labels_v2(file: Path) -> list[str]:
    """Return the labels of ``{"Approaching ...": "0", ...}``, in the order of their numbers."""
    values = read_json(file)
    if not isinstance(values, dict):
        raise DataError(f"'{file}' holds no object of labels and their numbers. Fetch the file again.")
    names = list(values)
    if [str(values[name]) for name in sorted(names)] != [str(i) for i in range(len(names))]:
        raise DataError(
            f"'{file}' does not number its labels in the order of their names, as the published one does. "
            "Fetch the file again."
        )
    return names


def _videos_v2(file: Path, classes: Sequence[str] | None, labels: Path) -> tuple[RawVideo, ...]:
    """Return the videos of a list of ``{"id": ..., "template": ...}``, unlabelled without ``classes``."""
    values = read_json(file)
    if not isinstance(values, list):
        raise DataError(f"'{file}' holds no list of videos. Fetch the file again.")
    entries = [(f"{file}:entry {i}", entry) for i, entry in enumerate(values, start=1)]
    videos = tuple(RawVideo(_text_of(entry, "id", where), None, where) for where, entry in entries)
    if classes is None:
        return videos
    known = frozenset(classes)
    names = [_text_of(entry, "template", where).translate(BRACKETS) for where, entry in entries]
    for video, label in zip(videos, names, strict=True):
        if label not in known:
            raise DataError(f"{video.where}: {_no_class(label, classes, labels)} {_advice(False)}")
    return tuple(replace(video, label=label) for video, label in zip(videos, names, strict=True))


def _text_of(entry: Any, key: str, where: str) -> str:
    value = entry.get(key) if isinstance(entry, dict) else None
    if not isinstance(value, str | int) or not str(value).strip():
        raise DataError(f"{where} has no '{key}'. Fetch the file again.")
    return str(value).strip()


def _no_class(label: str, classes: Sequence[str], labels: Path) -> str:
    near = difflib.get_close_matches(label, classes, n=1)
    return f"there is no class '{label}' in {labels.name}" + (f", but '{near[0]}'." if near else ".")


def _advice(cut: bool, otherwise: str = "Fetch both files again.") -> str:
    return "The file is cut off in the middle of this row; fetch it again." if cut else otherwise


def _doubtful_end(file: Path, videos: Sequence[RawVideo], classes: Sequence[str]) -> tuple[str, ...]:
    """Remark on a last row without line end whose label another one begins with: it may have been that."""
    if not videos or not lacks_line_end(file):
        return ()
    last = str(videos[-1].label)
    if not any(name.startswith(last) and name != last for name in classes):
        return ()
    return (f"{file.name} ends without a line end after '{last}'; if it is cut off, that label was longer.",)


def _there(file: Path | None) -> tuple[Path, ...]:
    return (file,) if file else ()
