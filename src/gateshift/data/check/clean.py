"""A dataset without the videos that a check found at fault: lists beside the videos, which stay untouched."""

import csv
import io
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import astuple, dataclass, replace
from pathlib import Path

from gateshift.data.annotations import write_annotations, write_text
from gateshift.data.check.findings import Finding
from gateshift.data.check.labels import overlap
from gateshift.data.records import Annotations, VideoRecord
from gateshift.errors import DataError

LEFT_OUT = "left_out.csv"
COPIES = frozenset(("near-duplicate", "repeated"))  # warnings that leaving out the video puts an end to
EVALUATED = ("test", "val", "train")  # of a video in several splits, the first of these keeps it


@dataclass(frozen=True)
class LeftOut:
    """A record that is in no clean list, or a row that never made one.

    Attributes:
        split: that it was in; "" where it was in none.
        video: its path, or the file and line of the row.
        label: its class.
        kind: why, as findings name it.
        detail: the same as a sentence.
    """

    split: str
    video: str
    label: str
    kind: str
    detail: str


def write_clean(annotations: Annotations, findings: Sequence[Finding], out: Path) -> tuple[int, int]:
    """Write clean lists and ``left_out.csv`` into ``out``; return how many records stayed, and how many not.

    Raises:
        DataError: ``out`` holds something else, or too little is left to train on.
    """
    refuse_other(out)
    clean, left_out = clean_annotations(annotations, findings)
    out.mkdir(parents=True, exist_ok=True)
    write_text(out / LEFT_OUT, _format(left_out))  # first: it tells the folder as one of clean lists
    write_annotations(clean, out)
    for split in set(EVALUATED) - clean.splits.keys():
        (out / f"{split}.csv").unlink(missing_ok=True)
    return sum(map(len, clean.splits.values())), len(left_out)


def clean_annotations(
    annotations: Annotations, findings: Sequence[Finding]
) -> tuple[Annotations, list[LeftOut]]:
    """Return a dataset without the videos that have errors or are copies, and what was left out.

    Of a video that is listed twice, one row stays: that of the split which is evaluated. Classes that
    training no longer sees go, and so do their videos.

    Raises:
        DataError: too little is left to train on.
    """
    reasons = {
        finding.video: finding
        for finding in reversed(findings)
        if finding.severity == "error" or finding.kind in COPIES
    }
    splits, left_out = _without(annotations, reasons)
    left_out += [
        LeftOut("", finding.video, "", finding.kind, finding.detail)
        for finding in reasons.values()
        if _is_row(finding.video) and finding.kind != "duplicate"  # of that, the record is there
    ]
    clean = replace(annotations, splits=splits)
    if "train" in annotations.splits:
        clean = _without_unseen(clean, left_out)
    if len(clean.classes) < 2 or not clean.splits:
        raise DataError(
            f"without what is at fault in '{annotations.root}', the number of classes with training videos "
            f"is {len(clean.classes)}, and telling actions apart takes 2 or more. Mend the videos first; the "
            "same command without --fix shows them."
        )
    return clean, left_out


def _without(
    annotations: Annotations, reasons: dict[str, Finding]
) -> tuple[dict[str, tuple[VideoRecord, ...]], list[LeftOut]]:
    """Return the records of videos without a reason against them, each once, and the others."""
    left_out: list[LeftOut] = []
    kept: dict[str, tuple[VideoRecord, ...]] = {}
    seen: dict[str, list[tuple[str, VideoRecord]]] = defaultdict(list)
    for split in EVALUATED:
        records = []
        for record in annotations.splits.get(split, ()):
            name = annotations.classes[record.label]
            if finding := reasons.get(record.video):
                left_out.append(LeftOut(split, record.video, name, finding.kind, finding.detail))
            elif any(_is_same(record, split, *other) for other in seen[record.video]):
                detail = f"'{record.video}' is listed more than once; another row of it stays."
                left_out.append(LeftOut(split, record.video, name, "listed-twice", detail))
            else:
                records.append(record)
                seen[record.video].append((split, record))
        if records:
            kept[split] = tuple(records)
    return {split: kept[split] for split in annotations.splits if split in kept}, left_out


def _is_same(record: VideoRecord, split: str, other_split: str, other: VideoRecord) -> bool:
    """Tell whether a record shows what another one does; in another split, so much as a frame of it."""
    return record == other if split == other_split else overlap(record, other)


def _without_unseen(annotations: Annotations, left_out: list[LeftOut]) -> Annotations:
    """Return the dataset without the classes that training does not see; their videos go to ``left_out``."""
    learnt = {record.label for record in annotations.splits.get("train", ())}
    classes = tuple(name for label, name in enumerate(annotations.classes) if label in learnt)
    index = {name: label for label, name in enumerate(classes)}
    splits = {}
    for split, records in annotations.splits.items():
        kept = []
        for record in records:
            name = annotations.classes[record.label]
            if name in index:
                kept.append(replace(record, label=index[name]))
            else:
                detail = f"no training video of '{name}' is left."
                left_out.append(LeftOut(split, record.video, name, "val-only-class", detail))
        if kept:
            splits[split] = tuple(kept)
    swaps = tuple(pair for pair in annotations.label_swaps if set(pair) <= set(classes))
    return replace(annotations, classes=classes, label_swaps=swaps, splits=splits)


def _is_row(video: str) -> bool:
    """Tell whether a finding's video is a row of a list, such as "train.csv:7"."""
    file, _, line = video.rpartition(":")
    return file.endswith((".csv", ".txt")) and line.isdigit()


def refuse_other(out: Path) -> None:
    """Refuse a folder with lists that no check wrote: they may be the very ones that were checked.

    Raises:
        DataError: there is something else in it.
    """
    if out.exists() and not out.is_dir():
        raise DataError(f"'{out}' is no folder. Give a new one with --fix.")
    if out.is_dir() and any(out.iterdir()) and not (out / LEFT_OUT).is_file():
        raise DataError(f"'{out}' holds something else than clean lists. Give a new folder with --fix.")


def _format(left_out: Sequence[LeftOut]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(LeftOut.__dataclass_fields__)
    writer.writerows(map(astuple, left_out))
    return text.getvalue()
