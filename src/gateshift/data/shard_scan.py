"""Shards without an index, as others make them: what is in them, found by going through their headers.

A sample has its label in KEY.cls (an index, or the name of a class) or in KEY.json (``label``, ``class``).
"""

import json
import re
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import BinaryIO

import fsspec

from gateshift.data.folders import SPLIT_FOLDERS
from gateshift.data.label_swaps import find_label_swaps
from gateshift.data.lists import is_index
from gateshift.data.records import Annotations, Part, Place, Shards, VideoRecord
from gateshift.data.remote import insist, is_url, join
from gateshift.data.shards import KEY, is_frame, is_video, name_video
from gateshift.errors import DataError

SMALL = 1 << 24  # bytes that a label may have
BLOCK = 1 << 20  # bytes that are fetched ahead of a URL
LABELS = (".cls", ".json")
OPTIONAL = {field.name for field in fields(VideoRecord)} - {"video", "label"}


@dataclass
class _Found:
    """One sample on its way: its place in the shard, and what its members say."""

    key: str
    offset: int
    end: int = 0
    extensions: tuple[str, ...] = ()
    cls: str = ""
    about: Mapping[str, object] | None = None


@dataclass(frozen=True)
class _Action:
    """A record whose label is not looked up yet: an index, a name of a class, or both."""

    split: str
    part: Part
    index: int | None
    name: str | None
    span: Mapping[str, object]


def scan_shards(location: str, names: Sequence[str], root: Path, classes: Sequence[str] = ()) -> Annotations:
    """Return the dataset that lies in shards.

    The split is the first word of a shard's name, or its folder: train, val or test; others are to train on.

    Args:
        location: the folder or URL that the names start from.
        names: the tar files.
        root: where the lists of this dataset will lie.
        classes: names in the order of the labels, where they are known.

    Raises:
        DataError: a shard cannot be read, or a sample has no label.
    """
    places: dict[Part, Place] = {}
    actions: list[_Action] = []
    for name in names:
        shard = join(location, name)
        for found in _scan(shard):
            there = _actions(found, shard, _split_of(name))
            actions += there
            for action in there:
                places[action.part] = Place(name, found.offset, found.end - found.offset)
    if not actions:
        raise DataError(f"the shards at '{location}' hold no videos. Give shards with video files or frames.")
    known = tuple(classes) or _class_names(actions)
    splits: dict[str, list[VideoRecord]] = {}
    for action in actions:
        record = VideoRecord(action.part.video, _label(action, known, location), **action.span)  # type: ignore[arg-type]
        splits.setdefault(action.split, []).append(record)
    return Annotations(
        root=root,
        classes=known,
        label_swaps=find_label_swaps(known),
        frame_template=None,
        source=f"shards at {location}",
        splits={split: tuple(records) for split, records in splits.items()},
        shards=Shards(location, places),
    )


def _scan(shard: str) -> list[_Found]:
    """Return the samples of one tar file; only headers and labels are read."""

    def look() -> list[_Found]:
        with fsspec.open(shard, "rb", block_size=BLOCK, cache_type="readahead") as file:
            return list(_samples(file))

    try:
        if is_url(shard):
            return insist(shard, look)
        with open(shard, "rb") as file:
            return list(_samples(file))
    except (tarfile.TarError, EOFError) as error:
        raise DataError(
            f"'{shard}' is no tar file, or is cut short ({error}). Fetch or write it again."
        ) from error
    except OSError as error:
        raise DataError(f"'{shard}' cannot be read ({error.strerror or error}). Mend that.") from error


def _samples(file: BinaryIO) -> Iterator[_Found]:
    found: _Found | None = None
    with tarfile.open(fileobj=file, mode="r:") as tar:
        while member := tar.next():
            tar.members = []  # type: ignore[attr-defined]  # or it would remember every frame of every video
            match = KEY.fullmatch(member.name)
            if not member.isreg() or not match:
                continue
            if found is None or found.key != match[1]:
                if found:
                    yield found
                found = _Found(match[1], member.offset)
            extension = match[2].lower()
            found.extensions += (extension,)
            found.end = tar.offset
            if extension in LABELS and member.size <= SMALL:
                content = tar.extractfile(member)
                assert content, "it is a regular file"
                _take_label(found, extension, content.read())
        end = tar.offset
    if found:
        yield found
    file.seek(end)
    if any(file.read(tarfile.BLOCKSIZE)):
        raise tarfile.ReadError(f"there is no header at byte {end}")


def _take_label(found: _Found, extension: str, content: bytes) -> None:
    """Keep what a small member of a sample says, where it says something."""
    text = content.decode("utf-8", errors="replace").strip()
    if extension == ".cls":
        found.cls = text
        return
    try:
        values = json.loads(text)
    except ValueError:  # other people's .json may be anything
        return
    found.about = values if isinstance(values, dict) else None


def _actions(found: _Found, shard: str, split: str) -> list[_Action]:
    """Return the actions of a sample; none where it holds no video."""
    frames = any(map(is_frame, found.extensions))
    if not frames and not any(map(is_video, found.extensions)):
        return []
    about = found.about or {}
    video = about.get("video", name_video(found.key, found.extensions))
    listed = about.get("actions", [about])
    actions = []
    for values in listed if isinstance(listed, list) else [about]:
        span = {key: value for key, value in values.items() if key in OPTIONAL}
        index, name = _label_of(values, found.cls)
        if index is None and name is None:
            raise DataError(
                f"the sample '{found.key}' of '{shard}' has no label. Expected {found.key}.cls, or a .json "
                "with 'label' or 'class'."
            )
        part = Part(str(video))
        if frames:
            start, end = span.get("start_frame"), span.get("end_frame")
            part = Part(
                part.video, start if isinstance(start, int) else 0, end if isinstance(end, int) else None
            )
        actions.append(_Action(split, part, index, name, span))
    return actions


def _label_of(values: Mapping[str, object], cls: str) -> tuple[int | None, str | None]:
    """Return the index and the name that a sample's label goes by, as far as they are there."""
    name, label = values.get("class"), values.get("label", cls)
    text = str(label) if isinstance(label, int | str) else cls
    index = int(text) if is_index(text) else None
    if not isinstance(name, str):
        name = text if text and index is None else None
    return index, name


def _class_names(actions: Sequence[_Action]) -> tuple[str, ...]:
    """Return the classes in the order of their labels: names, or numbers where there are none."""
    names = {action.index: action.name for action in actions if action.index is not None and action.name}
    if any(action.index is None for action in actions):
        return tuple(sorted({action.name for action in actions if action.name}))
    top = max(action.index for action in actions if action.index is not None)
    return tuple(names.get(index) or str(index) for index in range(top + 1))


def _label(action: _Action, classes: Sequence[str], location: str) -> int:
    if action.name in classes:
        return classes.index(action.name)
    if action.index is None or action.index >= len(classes):
        label = action.name or action.index
        raise DataError(
            f"'{action.part.video}' in the shards at '{location}' has the label '{label}', which is none of "
            f"the {len(classes)} classes. Correct 'classes' in dataset.json."
        )
    return action.index


def _split_of(name: str) -> str:
    """Return the split that a shard's name tells.

    >>> _split_of("validation-0003.tar"), _split_of("test/00.tar"), _split_of("shard-7.tar")
    ('val', 'test', 'train')
    """
    word = re.match(r"[a-z]*", name.lower())
    return SPLIT_FOLDERS.get(word[0] if word else "", "train")
