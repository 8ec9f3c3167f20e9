"""A dataset read as far as it goes: what can be used of its lists or class folders, and what is wrong there.

Where ``read_annotations`` refuses at the first fault, a survey finds them all. Of a dataset without faults
both return the same records.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gateshift.data.annotations import read_annotations
from gateshift.data.check.findings import Finding
from gateshift.data.check.labels import Entry, class_findings, listing_findings, name_findings
from gateshift.data.check.reading import split_advice
from gateshift.data.description import DESCRIPTION, examine_description
from gateshift.data.folders import find_splits, scan_split
from gateshift.data.label_swaps import find_label_swaps
from gateshift.data.lists import SPLITS, Row, find_lists, is_index, label_rows, labels_from_one, read_rows
from gateshift.data.locate import locate, read_shards
from gateshift.data.records import Annotations, Shards, VideoRecord
from gateshift.data.splitting import SEED, VAL_FRACTION, grouped_split
from gateshift.errors import DataError

ROW = re.compile(r"^'?([^']*?\.(?:csv|txt):\d+)")  # how a message about a row begins


@dataclass(frozen=True)
class Survey:
    """What can be used of a dataset, and what is wrong with the rest.

    Attributes:
        root: folder that the videos' paths start from.
        classes: names in index order.
        label_swaps: pairs of classes that a mirror image exchanges.
        frame_template: names of a frame folder's files.
        splits: the records that can be used; training videos without validation videos are split.
        findings: what is wrong with lists, labels and classes.
        annotations: what ``read_annotations`` returns, or None where it refuses.
        described: what can be used of dataset.json.
        shards: where the videos lie, if not below the root.
    """

    root: Path
    classes: tuple[str, ...]
    label_swaps: tuple[tuple[str, str], ...]
    frame_template: str | None
    splits: Mapping[str, tuple[VideoRecord, ...]]
    findings: tuple[Finding, ...]
    annotations: Annotations | None
    described: Mapping[str, Any] = field(default_factory=dict)
    shards: Shards | None = None


@dataclass
class _Draft:
    """What has been found so far."""

    folder: Path
    described: Mapping[str, Any] = field(default_factory=dict)
    classes: tuple[str, ...] = ()
    entries: list[Entry] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)

    @property
    def root(self) -> Path:
        return self.folder / self.described.get("root", ".")

    def note(self, error: DataError) -> None:
        """Turn a refusal into a finding; it is about a row where the message begins with one."""
        text = str(error).replace(f"{self.folder}/", "")
        row = ROW.match(text)
        self.findings.append(Finding(row[1] if row else "", error.kind, *split_advice(text)))

    def records(self, split: str) -> tuple[VideoRecord, ...]:
        return tuple(entry.record for entry in self.entries if entry.split == split)


def survey(data: str | Path) -> Survey:
    """Look at the lists or class folders of a dataset, and at no video.

    Raises:
        DataError: there is no such folder.
    """
    draft = _Draft(locate(data))
    if not draft.folder.is_dir():
        read_annotations(draft.folder)  # says so
    draft.described = _describe(draft)
    if not draft.root.is_dir():
        detail = f"there is no folder '{draft.root}', which 'root' in {DESCRIPTION} names."
        draft.findings.append(Finding("", "bad-description", detail, "Correct it: relative, or absolute."))
    elif lists := find_lists(draft.folder):
        _survey_lists(draft, lists)
    else:
        _survey_folders(draft)
    splits = {split: found for split in SPLITS if (found := draft.records(split))}
    draft.findings += class_findings(splits, draft.classes)
    draft.findings += name_findings(draft.classes, (entry.record.video for entry in draft.entries))
    draft.findings += listing_findings(draft.entries, draft.classes)
    swaps = _label_swaps(draft)
    shards = _find_shards(draft)
    annotations = _read_strictly(draft)
    return Survey(
        draft.root,
        draft.classes,
        swaps,
        draft.described.get("frame_template"),
        _with_validation(splits),
        tuple(draft.findings),
        annotations,
        draft.described,
        shards,
    )


def _describe(draft: _Draft) -> Mapping[str, Any]:
    file = draft.folder / DESCRIPTION
    if not file.is_file():
        return {}
    described, faults = examine_description(file)
    for fault in faults:
        draft.note(fault)
    return described


def _survey_lists(draft: _Draft, lists: Mapping[str, Path]) -> None:
    rows: dict[str, list[Row]] = {}
    for split, file in lists.items():
        try:
            rows[split] = read_rows(file, draft.note)
        except DataError as error:
            draft.note(error)
    labels = [row.label for found in rows.values() for row in found]
    from_one = False
    if "classes" in draft.described:
        draft.classes = draft.described["classes"]
    elif labels and all(map(is_index, labels)):
        last = max(map(int, labels))
        from_one = labels_from_one(labels, last)
        draft.classes = tuple(map(str, range(int(from_one), last + 1)))
    else:
        draft.classes = tuple(sorted(set(labels)))
    for split, found in rows.items():
        _enter_rows(draft, split, lists[split].name, found, from_one)


def _enter_rows(draft: _Draft, split: str, list_name: str, rows: Sequence[Row], from_one: bool) -> None:
    """Look up the labels of one list; those that start at 1 are read as they are meant."""
    out_of_range = labels_from_one([row.label for row in rows], len(draft.classes)) and not (
        {row.label for row in rows} & set(draft.classes)
    )
    if from_one or out_of_range:
        detail = f"the labels of {list_name} start at 1, and classes are counted from 0."
        draft.findings.append(Finding(list_name, "labels-from-1", detail, "Subtract 1 from all of them."))
    if out_of_range:
        rows = [row._replace(label=str(int(row.label) - 1)) if is_index(row.label) else row for row in rows]
    draft.entries += (
        Entry(record, split, row.where.replace(f"{draft.folder}/", ""))
        for row, record in label_rows(rows, draft.classes, draft.note)
    )


def _survey_folders(draft: _Draft) -> None:
    try:
        folders = find_splits(draft.root) or {None: draft.root}
    except DataError as error:
        draft.note(error)
        return
    found = {split or "train": scan_split(draft.root, folder, []) for split, folder in folders.items()}
    names = {name for videos in found.values() for name in videos}
    described = draft.described.get("classes", ())
    draft.classes = (*described, *sorted(names - set(described)))
    index = {name: label for label, name in enumerate(draft.classes)}
    for split, videos in found.items():
        for name in sorted(videos, key=index.__getitem__):
            draft.entries += (Entry(VideoRecord(video, index[name]), split, video) for video in videos[name])


def _label_swaps(draft: _Draft) -> tuple[tuple[str, str], ...]:
    swaps = draft.described.get("label_swaps", find_label_swaps(draft.classes))
    for name in dict.fromkeys(name for pair in swaps for name in pair):
        if name not in draft.classes:
            detail = f"'label_swaps' in {DESCRIPTION} names '{name}', which is no class."
            draft.findings.append(Finding("", "label-swaps", detail, "Correct the name, or remove its pair."))
    return tuple((a, b) for a, b in swaps if {a, b} <= set(draft.classes))


def _find_shards(draft: _Draft) -> Shards | None:
    if "shards" not in draft.described:
        return None
    try:
        return read_shards(draft.folder, draft.described["shards"])
    except DataError as error:
        draft.note(error)
        return None


def _read_strictly(draft: _Draft) -> Annotations | None:
    """Return what training would read; a refusal that nothing explains yet is a finding of its own."""
    try:
        return read_annotations(draft.folder)
    except DataError as error:
        if all(finding.severity != "error" for finding in draft.findings):
            draft.note(DataError(str(error)))
        return None


def _with_validation(splits: dict[str, tuple[VideoRecord, ...]]) -> Mapping[str, tuple[VideoRecord, ...]]:
    """Split training videos as ``read_annotations`` does, where there are none to validate on."""
    if "train" not in splits or "val" in splits:
        return splits
    train, val = grouped_split(splits["train"], VAL_FRACTION, SEED)
    return (
        {"train": train} | ({"val": val} if val else {}) | {k: v for k, v in splits.items() if k != "train"}
    )
