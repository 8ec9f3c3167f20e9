"""Diving48: two editions of labels for one set of videos, told apart by file name and by what is in them."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gateshift.data.catalog import DATASETS
from gateshift.data.raw.consistency import in_two_splits, listed_once
from gateshift.data.raw.files import find_file, find_optional_file, read_json
from gateshift.data.raw.records import Choices, RawDataset, RawVideo
from gateshift.errors import ConfigError, DataError

FILES = {
    "v1": {"train": "Diving48_train.json", "val": "Diving48_test.json"},
    "v2": {"train": "Diving48_V2_train.json", "val": "Diving48_V2_test.json"},
}
VOCABULARY = "Diving48_vocab.json"
MANY = 20  # videos whose labels do not agree by chance
TEST_IS_VAL = (
    "The official test list is the split 'val', as in the released code: the best epoch is chosen on it, "
    "so its accuracy is optimistic."
)


def read_diving48(root: Path, choices: Choices) -> RawDataset:
    """Read one edition of the labels, V1 or V2.

    Raises:
        ConfigError: both editions are there and none was chosen, or the chosen one is not there.
        DataError: half an edition is missing, a file holds another edition than its name says, or a row
            cannot be right.
    """
    choices.refuse("diving48", "split", "task")
    found = {
        edition: {split: file for split, name in names.items() if (file := find_optional_file(root, name))}
        for edition, names in FILES.items()
    }
    edition = _choose(root, found, choices.labels)
    vocabulary = find_file(root, VOCABULARY)
    classes = _read_classes(vocabulary)
    read = {
        name: {split: _read_list(file, classes) for split, file in files.items()}
        for name, files in found.items()
    }
    for name, lists in read.items():
        _require_counts(name, found[name], lists)
    _require_different(found, read)
    splits: dict[str, tuple[RawVideo, ...]] = {}
    notes: tuple[str, ...] = (TEST_IS_VAL,)
    for split, videos in read[edition].items():
        splits[split], remarks = listed_once(videos)
        notes += remarks
    _require_apart(splits, edition)
    spec = DATASETS[f"diving48-{edition}"]
    return RawDataset(
        name=f"diving48-{edition}",
        classes=classes,
        label_swaps=(),
        splits=splits,
        unlabelled={},
        published=spec.num_videos,
        files=(*found[edition].values(), vocabulary),
        frame_template=spec.frame_template,
        first_frame=spec.first_frame,
        notes=notes,
    )


def _choose(root: Path, found: Mapping[str, Mapping[str, Path]], labels: str | None) -> str:
    """Return the edition to read: the one that was asked for, or the only one there is."""
    if labels is not None and labels not in FILES:
        raise ConfigError(f"labels is '{labels}'; Diving48 has v1 and v2. Change --labels.")
    there = [edition for edition, files in found.items() if files]
    if not there:
        names = ", ".join(f"'{name}'" for names in FILES.values() for name in names.values())
        raise DataError(
            f"'{root}' holds none of {names}, up to three folders deep. Put a pair of them there."
        )
    if labels is None and len(there) == 2:
        if all(len(files) == 2 for files in found.values()):
            raise ConfigError(
                f"'{root}' holds the V1 and the V2 labels of Diving48. They label the same videos "
                "differently, and their accuracies do not compare. Say which with --labels v1 or --labels v2."
            )
        raise DataError(_mixed(found))
    edition = labels or there[0]
    if not found[edition]:
        other = next(iter(found[there[0]].values()))
        raise ConfigError(
            f"--labels {edition} was given, and '{root}' holds the labels of {there[0].upper()} alone "
            f"('{other.name}'). Add {_names(edition)}, or give --labels {there[0]}."
        )
    if lacking := [name for split, name in FILES[edition].items() if split not in found[edition]]:
        has = next(iter(found[edition].values()))
        raise DataError(
            f"'{has}' is there without '{lacking[0]}', the other half of Diving48's {edition.upper()} "
            "labels. Put it beside; halves of different editions do not go together."
        )
    return edition


def _mixed(found: Mapping[str, Mapping[str, Path]]) -> str:
    """Say that the lists come from both editions, and what would make one of them whole."""
    first, second = (next(iter(files.values())) for files in found.values())
    halves = {
        edition: [FILES[edition][s] for s in FILES[edition] if s not in found[edition]] for edition in found
    }
    wanted = " or ".join(
        f"'{names[0]}' (with --labels {edition})" for edition, names in halves.items() if names
    )
    return (
        f"'{first}' is of Diving48's V1 labels and '{second}' of its V2 labels, which are not to be mixed: "
        f"they label the same videos differently. Add {wanted}, or move the files of one edition away."
    )


def _names(edition: str) -> str:
    return " and ".join(f"'{name}'" for name in FILES[edition].values())


def _read_classes(vocabulary: Path) -> tuple[str, ...]:
    """Return the classes in their order: takeoff, somersaults, twists and position, joined by '+'."""
    entries = _read_entries(vocabulary)
    num_classes = DATASETS["diving48-v1"].num_classes
    if not all(isinstance(entry, list) and all(isinstance(word, str) for word in entry) for entry in entries):
        raise DataError(f"'{vocabulary}' is not a list of lists of words. Fetch the file again.")
    classes = tuple("+".join(entry) for entry in entries)
    if len(set(classes)) != num_classes or len(classes) != num_classes:
        raise DataError(
            f"'{vocabulary}' holds {len(set(classes))} different classes in {len(classes)} entries; "
            f"Diving48 has {num_classes}. Fetch the file again."
        )
    return classes


def _read_list(file: Path, classes: tuple[str, ...]) -> tuple[RawVideo, ...]:
    entries = enumerate(_read_entries(file), start=1)
    return tuple(_video(f"{file}:entry {i}", entry, classes) for i, entry in entries)


def _video(where: str, entry: Any, classes: tuple[str, ...]) -> RawVideo:
    name = entry.get("vid_name") if isinstance(entry, dict) else None
    if not isinstance(name, str) or not name:
        raise DataError(
            f"{where} is {json.dumps(entry)[:60]}. Expected an object with vid_name, label, start_frame and "
            "end_frame; fetch the file again."
        )
    label, start, end = (_whole_number(where, entry, key) for key in ("label", "start_frame", "end_frame"))
    if label >= len(classes):
        raise DataError(
            f"{where} ('{name}'): there is no label {label}. "
            f"'{VOCABULARY}' has the labels 0 to {len(classes) - 1}; correct it, or fetch the file again."
        )
    if end <= start:
        raise DataError(
            f"{where} ('{name}') leaves no frames: start_frame is {start} and end_frame {end}. Correct them."
        )
    return RawVideo(name, classes[label], where, start_frame=start, end_frame=end)


def _whole_number(where: str, entry: Mapping[str, Any], key: str) -> int:
    value = entry.get(key)
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        shown = json.dumps(value) if key in entry else "missing"
        raise DataError(
            f"{where} ('{entry['vid_name']}'): {key} is {shown}. "
            "Expected a whole number, 0 or more; fetch the file again."
        )
    return value


def _read_entries(file: Path) -> list[Any]:
    entries = read_json(file)
    if not isinstance(entries, list) or not entries:
        raise DataError(
            f"'{file}' holds no list, or an empty one. Fetch it again, as the dataset publishes it."
        )
    return entries


def _require_counts(
    edition: str, files: Mapping[str, Path], splits: Mapping[str, tuple[RawVideo, ...]]
) -> None:
    """Refuse a file whose number of videos tells that it is of the other edition."""
    other = "v2" if edition == "v1" else "v1"
    own, others = DATASETS[f"diving48-{edition}"].num_videos, DATASETS[f"diving48-{other}"].num_videos
    for split, videos in splits.items():
        count = len(videos)
        too_many = split in own and count > own[split]
        if too_many or (count == others.get(split) and count != own.get(split)):
            says = (
                f"{edition.upper()}'s has {own[split]}" if too_many else f"that is {other.upper()}'s number"
            )
            raise DataError(
                f"'{files[split]}' is named as the {edition.upper()} labels are and lists {count} videos: "
                f"{says}. It holds the {other.upper()} labels under a wrong name; name it "
                f"'{FILES[other][split]}', or fetch the right one."
            )


def _require_different(
    found: Mapping[str, Mapping[str, Path]], read: Mapping[str, Mapping[str, tuple[RawVideo, ...]]]
) -> None:
    """Refuse files of both editions that agree on every label: one is a copy under the other's name."""
    common: dict[str, list[bool]] = {}  # split -> whether the editions agree, of each video that both list
    for split in (split for split in read["v1"] if split in read["v2"]):
        labels = {video.video: video.label for video in read["v1"][split]}
        both = [video for video in read["v2"][split] if video.video in labels]
        common[split] = [labels[video.video] == video.label for video in both]
    everywhere = all(agrees for agree in common.values() for agrees in agree)
    for split, agree in common.items():
        if agree and all(agree) and (everywhere or len(agree) >= MANY):
            raise DataError(
                f"'{found['v1'][split]}' and '{found['v2'][split]}' give the same label to every video that "
                f"both list ({len(agree)}). V1 and V2 differ: one is a copy under the other's name. Fetch "
                "both again."
            )


def _require_apart(splits: Mapping[str, tuple[RawVideo, ...]], edition: str) -> None:
    if twice := in_two_splits(splits):
        before, after, count = twice
        raise DataError(
            f"'{before.video}' is at {before.where} and at {after.where}, to train and to test on "
            f"({count} such videos). The lists of one edition share no video: one of {_names(edition)} may "
            "hold the other edition's labels. Fetch both again."
        )
