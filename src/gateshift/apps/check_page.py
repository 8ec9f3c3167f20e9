"""The page of a check: what is wrong by kind, suspected pairs side by side, classes, speed, formats."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from gateshift.data.check.findings import KINDS, Finding
from gateshift.data.check.probe import Probe
from gateshift.data.check.similar import Pair
from gateshift.data.records import Annotations, VideoRecord
from gateshift.engine.worst_clips import film_strip
from gateshift.errors import VideoError

MOST_ROWS = 100  # of each kind on the page; check.json has all
MOST_PAIRS = 30  # that are drawn
MOST_FORMATS = 12
SLOWEST = 5
SPLITS = ("train", "val", "test")


def page_values(
    answer: Mapping[str, Any],
    annotations: Annotations,
    findings: Sequence[Finding],
    pairs: Sequence[Pair],
    probes: Mapping[str, Probe],
) -> dict[str, Any]:
    """Return all that ``check.html`` shows."""
    records = listed(annotations)
    return {
        "answer": answer,
        "verdict": verdict(answer),
        "groups": groups(findings),
        "pairs": [pair_values(pair, annotations, records) for pair in pairs[:MOST_PAIRS]],
        "num_pairs": len(pairs),
        "splits": [split for split in SPLITS if split in annotations.splits],
        "classes": class_bars(answer["class_counts"], annotations),
        "formats": formats(probes),
        "slowest": slowest(probes),
        "speed_bars": speed_bars(answer["speed"]),
    }


def verdict(answer: Mapping[str, Any]) -> str:
    """Return in one sentence what came out.

    >>> verdict({"ok": True, "videos": 12, "fast": False, "severity_counts": {"note": 1}})
    'Nothing is wrong with these 12 videos.'
    """
    errors, warnings = (answer["severity_counts"].get(name, 0) for name in ("error", "warning"))
    said = []
    if errors:
        said.append(f"{errors} {'thing' if errors == 1 else 'things'} would stop training or make it wrong")
    if warnings:
        said.append(f"{warnings} {'thing' if warnings == 1 else 'things'} may make its figures mislead")
    if said:
        return f"{', and '.join(said)}."
    looked = " that a fast look would find" if answer["fast"] else ""
    return f"Nothing{looked} is wrong with these {answer['videos']} videos."


def groups(findings: Sequence[Finding]) -> list[dict[str, Any]]:
    """Return the findings by kind, in the order they come in, each group with its first rows."""
    by_kind: dict[str, list[Finding]] = {}
    for finding in findings:
        by_kind.setdefault(finding.kind, []).append(finding)
    return [
        {
            "kind": kind,
            "severity": KINDS[kind].severity,
            "title": KINDS[kind].title,
            "count": len(found),
            "rows": found[:MOST_ROWS],
        }
        for kind, found in by_kind.items()
    ]


def listed(annotations: Annotations) -> dict[str, tuple[str, VideoRecord]]:
    """Return the split and the record of each video; of one with several records, the first."""
    found: dict[str, tuple[str, VideoRecord]] = {}
    for split, records in annotations.splits.items():
        for record in records:
            found.setdefault(record.video, (split, record))
    return found


def pair_values(
    pair: Pair, annotations: Annotations, records: Mapping[str, tuple[str, VideoRecord]]
) -> dict[str, Any]:
    """Return two videos with some of their frames, so that a person sees whether they are one."""
    sides = []
    for video in (pair.video, pair.other):
        split, record = records[video]
        sides.append(
            {
                "video": video,
                "split": split,
                "class": annotations.classes[record.label],
                **strip_or_reason(annotations, record),
            }
        )
    kind = KINDS[pair.kind]
    return {"title": kind.title, "severity": kind.severity, "mirrored": pair.mirrored, "sides": sides}


def strip_or_reason(annotations: Annotations, record: VideoRecord) -> dict[str, str]:
    """Return a strip of a video's frames as a link that carries it, or why there is none."""
    try:
        return {"strip": film_strip(annotations, record), "error": ""}
    except VideoError as error:
        return {"strip": "", "error": str(error)}


def class_bars(counts: Mapping[str, Mapping[str, int]], annotations: Annotations) -> list[dict[str, Any]]:
    """Return for each class its videos by split, and their shares of the largest class in percent."""
    totals = {name: sum(by_split.values()) for name, by_split in counts.items()}
    most = max(totals.values(), default=0) or 1
    swaps = {name: other for a, b in annotations.label_swaps for name, other in ((a, b), (b, a))}
    return [
        {
            "name": name,
            "total": totals[name],
            "mirror": swaps.get(name, ""),
            "parts": [
                {"split": split, "count": count, "width": round(100 * count / most, 2)}
                for split, count in by_split.items()
            ],
        }
        for name, by_split in counts.items()
    ]


def formats(probes: Mapping[str, Probe]) -> list[dict[str, Any]]:
    """Return how many videos have each codec and size, the most frequent first."""
    counts = Counter((codec_of(probe), size_of(probe)) for probe in probes.values() if probe.width)
    most = counts.most_common(MOST_FORMATS)
    shown = [{"codec": codec, "size": size, "count": count} for (codec, size), count in most]
    rest = counts.total() - sum(count for _, count in most)
    return shown + ([{"codec": "others", "size": "", "count": rest}] if rest else [])


def codec_of(probe: Probe) -> str:
    """Return how the frames of a video are kept, for people."""
    return probe.codec or "folder of frames"


def size_of(probe: Probe) -> str:
    """Return the size of a video's frames, for people; "" where none could be read."""
    return f"{probe.width} x {probe.height}" if probe.width else ""


def slowest(probes: Mapping[str, Probe]) -> list[dict[str, Any]]:
    """Return the videos whose frames took longest to read."""
    order = sorted(probes, key=lambda video: -probes[video].seconds)[:SLOWEST]
    return [
        {
            "video": video,
            "seconds": probes[video].seconds,
            "codec": codec_of(probes[video]),
            "size": size_of(probes[video]),
            "frames": probes[video].num_frames,
        }
        for video in order
        if probes[video].seconds > 0
    ]


def speed_bars(speed: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    """Return what is read and what is needed as bars of one scale; none where either is not known."""
    if not speed or speed["needed_clips_per_second"] is None or speed["read_clips_per_second"] is None:
        return []
    one, needed = speed["read_clips_per_second"], speed["needed_clips_per_second"]
    all_cores = one * speed["cores"]
    most = max(all_cores, needed)
    bars = [
        ("one process reads", one),
        (f"{speed['cores']} would read", all_cores),
        (f"training on {speed['device']} takes", needed),
    ]
    return [
        {"name": name, "value": f"{value:.1f}", "width": round(100 * value / most, 1)} for name, value in bars
    ]
