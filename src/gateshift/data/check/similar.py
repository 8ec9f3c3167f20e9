"""Videos that are one, or seem to be: the same file, a copy of it, the same scene in two splits.

    digests -> the same file
    thumbnails -> the likest pairs of training and evaluation -> their frames -> copies
                                                              -> the same scene, suspected

Validation on what training has seen makes a network look better than it is.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

from gateshift.data.check.alignment import is_copy, mirror, read_all
from gateshift.data.check.findings import Finding
from gateshift.data.check.nearest import Likeness, nearest
from gateshift.data.check.probe import Probe
from gateshift.data.check.survey import Survey
from gateshift.data.lists import SPLITS

# Mean correlations of thumbnails; see LOG.md for what real and generated data have.
MAYBE_COPY = 0.75
SAME_SCENE = 0.93
MOST_READ = 500  # pairs of each two splits whose frames are compared, the likest first


@dataclass(frozen=True)
class Pair:
    """Two videos that are one, or seem to be.

    Attributes:
        finding: what they are; it names the first of the two, the one to look at or to leave out.
        other: the second one.
        similarity: of their thumbnails, up to 1.
        mirrored: whether one is the mirror image of the other.
    """

    finding: Finding
    other: str
    similarity: float = 1.0
    mirrored: bool = False

    @property
    def video(self) -> str:
        """The first of the two."""
        return self.finding.video

    @property
    def kind(self) -> str:
        """What they are, as findings name it."""
        return self.finding.kind


@dataclass(frozen=True)
class _Listed:
    """One video in one split, with its labels there."""

    video: str
    split: str
    labels: frozenset[int]


def find_pairs(surveyed: Survey, probes: Mapping[str, Probe], workers: int = 0) -> list[Pair]:
    """Return the pairs of videos that are one, or seem to be; of copies, the one in training comes first.

    Args:
        surveyed: the splits, and where the videos are.
        probes: what is known of each video.
        workers: processes that read suspected copies; 0 reads in this one.
    """
    listed = _listed(surveyed)
    pairs = _same_files(listed, probes, surveyed.classes)
    train = [entry.video for entry in listed if entry.split == "train"]
    for split in ("val", "test"):
        evaluated = [entry.video for entry in listed if entry.split == split]
        known = {name for pair in pairs for name in (pair.video, pair.other)} | set(train) & set(evaluated)
        pairs += _alike(
            surveyed,
            _with_thumbnails(train, probes, known),
            _with_thumbnails(evaluated, probes, known),
            split,
            workers,
        )
    return pairs


def _listed(surveyed: Survey) -> list[_Listed]:
    labels: dict[tuple[str, str], set[int]] = defaultdict(set)
    for split, records in surveyed.splits.items():
        for record in records:
            labels[record.video, split].add(record.label)
    return [_Listed(video, split, frozenset(found)) for (video, split), found in labels.items()]


def _same_files(listed: Iterable[_Listed], probes: Mapping[str, Probe], classes: Sequence[str]) -> list[Pair]:
    groups: dict[str, list[_Listed]] = defaultdict(list)
    for entry in listed:
        probe = probes.get(entry.video)
        if probe is not None and probe.digest and probe.num_bytes > 0:
            groups[probe.digest].append(entry)
    pairs: list[Pair] = []
    for group in groups.values():
        group.sort(key=lambda entry: (-SPLITS.index(entry.split), entry.video))  # what is evaluated first
        pairs += _same_content(group, classes)
    return pairs


def _same_content(group: Sequence[_Listed], classes: Sequence[str]) -> Iterable[Pair]:
    """Yield what is wrong with files of one content; of two labels nobody knows which is right."""
    for i, entry in enumerate(group):
        if other := next((known for known in group if _contradict(known, entry)), None):
            names = [", ".join(f"'{classes[label]}'" for label in sorted(e.labels)) for e in (entry, other)]
            yield _pair(
                "duplicate",
                entry.video,
                other.video,
                f"'{entry.video}' and '{other.video}' are the same file, labelled {names[0]} and {names[1]}.",
                "Keep the one whose label is right, and leave the other out.",
            )
        elif other := next((known for known in group[:i] if known.video != entry.video), None):
            crossing = other.split != entry.split
            yield _pair(
                "duplicate" if crossing else "repeated",
                entry.video,
                other.video,
                f"'{entry.video}' in {entry.split} and '{other.video}' in {other.split} are the same file.",
                f"Leave it out of {entry.split}.",
            )


def _contradict(a: _Listed, b: _Listed) -> bool:
    return a.video != b.video and a.labels != b.labels


def _pair(kind: str, video: str, other: str, detail: str, fix: str, likeness: Likeness | None = None) -> Pair:
    finding = Finding(video, kind, detail, fix)
    if likeness is None:
        return Pair(finding, other)
    return Pair(finding, other, round(likeness.similarity, 4), likeness.mirrored)


def _with_thumbnails(
    videos: Iterable[str], probes: Mapping[str, Probe], known: Iterable[str]
) -> dict[str, bytes]:
    known = set(known)
    return {
        video: probes[video].thumbnails
        for video in videos
        if video in probes and video not in known and probes[video].thumbnails
    }


def _alike(
    surveyed: Survey, train: Mapping[str, bytes], evaluated: Mapping[str, bytes], split: str, workers: int
) -> Iterable[Pair]:
    """Yield the copies among the videos of training and of another split, and then the same scenes."""
    if not train or not evaluated:
        return
    a, b = list(train), list(evaluated)
    found = nearest(list(train.values()), list(evaluated.values()), MAYBE_COPY, SAME_SCENE)
    said = set()
    for likeness in _copies(surveyed, found.copies, a, b, workers):
        video, other = a[likeness.a], b[likeness.b]
        said.add(other)
        how = " as a mirror image" if likeness.mirrored else ""
        detail = f"'{video}' in train shows the very same as '{other}' in {split}{how}: it is a copy."
        fix = "Look at both, and leave it out of train."
        yield _pair("near-duplicate", video, other, detail, fix, likeness)
    for likeness in found.scenes:
        video, other = b[likeness.b], a[likeness.a]
        if video not in said:
            said.add(video)
            detail = f"'{video}' in {split} looks like '{other}' in train ({likeness.similarity:.3f} of 1)."
            fix = "Look at both; keep the videos of one scene in one split."
            yield _pair("same-scene", video, other, detail, fix, likeness)


def _copies(
    surveyed: Survey, found: Sequence[Likeness], a: Sequence[str], b: Sequence[str], workers: int
) -> Iterable[Likeness]:
    """Yield those of the likest pairs whose frames agree in what moves."""
    likest = list(islice(found, MOST_READ))
    videos = {a[likeness.a] for likeness in likest} | {b[likeness.b] for likeness in likest}
    frames = read_all(surveyed.root, videos, surveyed.frame_template, surveyed.shards, workers)
    for likeness in likest:
        first, second = frames[a[likeness.a]], frames[b[likeness.b]]
        if is_copy(mirror(first) if likeness.mirrored else first, second):
            yield likeness
