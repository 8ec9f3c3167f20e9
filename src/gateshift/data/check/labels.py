"""What labels, class names and lists say that cannot be meant: no video is opened for it."""

import posixpath
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from math import inf
from typing import NamedTuple

from gateshift.data.check.findings import Finding
from gateshift.data.check.probe import Probe
from gateshift.data.records import VideoRecord

# A class with so many times the training videos of another: where work on long tails begins to call data
# imbalanced (imbalance factors of 10, 50 and 100: Cao et al., NeurIPS 2019, https://arxiv.org/abs/1906.07413).
IMBALANCE = 10
MOST_NAMED = 3
LATE_SECONDS = 1.0  # that a list may say a video lasts longer, as the reader allows

Splits = Mapping[str, Sequence[VideoRecord]]


class Entry(NamedTuple):
    """One record, and where it was read."""

    record: VideoRecord
    split: str
    where: str  # "train.csv:7", or the video itself where no list names it


def class_findings(splits: Splits, classes: Sequence[str]) -> Iterator[Finding]:
    """Yield what the number of videos a class says: none, one, none to train on, far fewer than another."""
    counts = {split: Counter(record.label for record in records) for split, records in splits.items()}
    learnt = counts.get("train") or sum(counts.values(), Counter())
    for label, name in enumerate(classes):
        where = [split for split in counts if counts[split][label]]
        if not where:
            yield _of_class("empty-class", f"class '{name}' has no video.", "Add some, or remove the class.")
        elif not learnt[label]:
            yield _of_class(
                "val-only-class",
                f"class '{name}' has {counts[where[0]][label]} videos in {where[0]} and none in train.",
                "Add training videos, or leave the class out.",
            )
        elif learnt[label] == 1:
            detail = f"class '{name}' has a single {'training ' if 'train' in counts else ''}video."
            yield _of_class("singleton-class", detail, "Add more, or leave the class out.")
    yield from _imbalance(learnt, classes)


def _of_class(kind: str, detail: str, fix: str) -> Finding:
    return Finding("", kind, detail, fix)


def _imbalance(learnt: Counter[int], classes: Sequence[str]) -> Iterator[Finding]:
    filled = {label: count for label, count in learnt.items() if count}
    if not filled:
        return
    most, least = max(filled, key=lambda i: (filled[i], -i)), min(filled, key=lambda i: (filled[i], i))
    if filled[most] >= IMBALANCE * filled[least]:
        yield _of_class(
            "imbalance",
            f"class '{classes[most]}' has {filled[most]} training videos and '{classes[least]}' "
            f"{filled[least]}: {filled[most] / filled[least]:.0f} times as many.",
            "Look at mean_class_accuracy beside top-1, and add videos to the small classes.",
        )


def name_findings(classes: Sequence[str], videos: Iterable[str]) -> Iterator[Finding]:
    """Yield names of classes, and paths of videos, that differ in nothing that a person would mean."""
    for names in _alike(classes):
        detail = f"the classes {_quoted(names)} differ in case or spaces alone."
        yield _of_class("case-names", detail, "Write them in one way, if they are one class.")
    for names in _alike(dict.fromkeys(videos)):
        detail = f"{_quoted(names)} differ in case or spaces alone, which not every disk tells apart."
        yield Finding(names[0], "case-names", detail, "Rename one, or leave out what is there twice.")


def _alike(names: Iterable[str]) -> Iterator[list[str]]:
    groups: dict[str, list[str]] = defaultdict(list)
    for name in names:
        groups[" ".join(unicodedata.normalize("NFKC", name).casefold().split())].append(name)
    yield from (sorted(group) for group in groups.values() if len(group) > 1)


def _quoted(names: Sequence[str]) -> str:
    shown = ", ".join(f"'{name}'" for name in names[:MOST_NAMED])
    return shown if len(names) <= MOST_NAMED else f"{shown} and {len(names) - MOST_NAMED} more"


def listing_findings(entries: Iterable[Entry], classes: Sequence[str]) -> Iterator[Finding]:
    """Yield videos that are listed more than once: with two labels, twice in a split, in two splits."""
    by_video: dict[str, list[Entry]] = defaultdict(list)
    for entry in entries:
        by_video[posixpath.normpath(entry.record.video)].append(entry)
    for listed in by_video.values():
        if len(listed) > 1:
            yield from _two_labels(listed, classes)
            yield from _twice(listed)
            yield from _two_splits(listed)


def _two_labels(listed: Sequence[Entry], classes: Sequence[str]) -> Iterator[Finding]:
    labels: dict[tuple[object, ...], dict[int, Entry]] = defaultdict(dict)
    for entry in listed:
        labels[_span(entry.record)].setdefault(entry.record.label, entry)
    for found in labels.values():
        if len(found) > 1:
            said = " and ".join(f"'{classes[label]}' in {entry.where}" for label, entry in found.items())
            detail = f"'{listed[0].record.video}' has {len(found)} labels: {said}."
            fix = "Keep the row whose label is right; a network learns one label a video."
            yield Finding(listed[0].record.video, "two-labels", detail, fix)


def _twice(listed: Sequence[Entry]) -> Iterator[Finding]:
    first: dict[tuple[object, ...], Entry] = {}
    for entry in listed:
        before = first.setdefault((entry.split, entry.record.label, _span(entry.record)), entry)
        if before is not entry:
            detail = f"'{entry.record.video}' is listed in {before.where} and again in {entry.where}."
            yield Finding(entry.where, "listed-twice", detail, "Remove one of the two rows.")


def _two_splits(listed: Sequence[Entry]) -> Iterator[Finding]:
    """Of a video in two splits, the row of training is named: what is evaluated stays comparable."""
    evaluated = [entry for entry in listed if entry.split != "train"]
    shared = False
    for entry in listed if evaluated else ():
        if entry.split != "train":
            continue
        if other := next((other for other in evaluated if overlap(entry.record, other.record)), None):
            detail = f"'{entry.record.video}' in {entry.where} is in {other.split} too, in {other.where}."
            yield Finding(entry.where, "duplicate", detail, "Remove it from train.")
        elif not shared:
            shared = True
            detail = (
                f"'{entry.record.video}' is in train and in {evaluated[0].split}, with other frames of it."
            )
            fix = "Keep the actions of one video in one split."
            yield Finding(entry.record.video, "same-scene", detail, fix)


def _span(record: VideoRecord) -> tuple[object, ...]:
    """Return what part of its video a record means."""
    return tuple(
        value for name, value in vars(record).items() if name not in ("video", "label", "num_frames")
    )


def overlap(a: VideoRecord, b: VideoRecord) -> bool:
    """Tell whether two records of one video share frames; of frames and seconds only a whole video tells."""
    if a.in_seconds != b.in_seconds:
        return any(not record.in_seconds and _extent(record) == (0, inf) for record in (a, b))
    (start, end), (other_start, other_end) = _extent(a), _extent(b)
    return start < other_end and other_start < end


def _extent(record: VideoRecord) -> tuple[float, float]:
    """Return where an action begins and ends, in frames or in seconds."""
    if record.in_seconds:
        return record.start_seconds or 0.0, inf if record.end_seconds is None else record.end_seconds
    return record.start_frame, inf if record.end_frame is None else record.end_frame


def span_findings(splits: Splits, probes: Mapping[str, Probe]) -> Iterator[Finding]:
    """Yield the actions that go on after their video ends, once the videos have been looked at."""
    for split, records in splits.items():
        for record in records:
            probe = probes.get(record.video)
            if probe is None or not probe.num_frames:
                continue  # nothing is known of its frames
            if record.in_seconds:
                yield from _span_in_seconds(split, record, probe)
            else:
                yield from _span_in_frames(split, record, probe)


def _span_in_seconds(split: str, record: VideoRecord, probe: Probe) -> Iterator[Finding]:
    start, end = _extent(record)
    if not probe.container:
        detail = (
            f"'{record.video}' is a folder of frames, which say nothing of seconds, and {split} gives some."
        )
        yield Finding(record.video, "bad-span", detail, "Give start_frame and end_frame.")
    elif probe.duration and (start >= probe.duration or inf > end > probe.duration + LATE_SECONDS):
        listed = f"{split} lists it from {start:g} to {end:g}"
        detail = f"'{record.video}' lasts {probe.duration:.2f} seconds, and {listed}."
        yield Finding(record.video, "bad-span", detail, "Correct start_seconds and end_seconds.")


def _span_in_frames(split: str, record: VideoRecord, probe: Probe) -> Iterator[Finding]:
    listed = (
        None if probe.container else record.num_frames
    )  # of a video file, reading counts the frames itself
    end = listed if record.end_frame is None else record.end_frame
    detail = f"'{record.video}' has {probe.num_frames} frames, and {split} lists it"
    if (end or 0) > probe.num_frames or record.start_frame >= probe.num_frames:
        last = "its end" if end is None else str(end)
        detail += f" from {record.start_frame} to {last}."
        yield Finding(record.video, "bad-span", detail, "Correct num_frames, start_frame and end_frame.")
    elif record.end_frame is None and listed is not None and listed < probe.num_frames:
        detail += f" with {listed}."
        yield Finding(record.video, "frame-count", detail, "Correct num_frames, or leave it away.")
