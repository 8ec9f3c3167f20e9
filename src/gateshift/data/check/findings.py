"""What can be wrong with a dataset: every kind of finding once, with how much it matters.

An error stops training or testing, or makes it wrong. A warning leaves both working, and a number that may
mislead. A note is taken care of: nothing is to be done.
"""

from dataclasses import dataclass
from typing import Literal, NamedTuple

from gateshift.errors import lookup

Severity = Literal["error", "warning", "note"]


class Kind(NamedTuple):
    """How much a kind of finding matters, and its name for people."""

    severity: Severity
    title: str


KINDS = {
    # one video file
    "missing-file": Kind("error", "there is no such file or folder"),
    "empty-file": Kind("error", "files of 0 bytes"),
    "not-a-video": Kind("error", "files that do not open as a video"),
    "no-video-stream": Kind("error", "files without a video stream"),
    "no-frames": Kind("error", "video streams that give no frame"),
    "encrypted": Kind("error", "encrypted videos"),
    "cut-short": Kind("error", "files that hold fewer frames than their header promises"),
    "broken-off": Kind("error", "videos whose decoding ends in the middle"),
    "damaged-frame": Kind("error", "videos with frames that cannot be decoded"),
    "unreadable": Kind("error", "videos that cannot be read for another reason"),
    "crash": Kind("error", "videos that end the process which decodes them"),
    "hang": Kind("error", "videos whose decoding does not end"),
    "frame-count": Kind("warning", "headers that count other frames than there are"),
    "few-frames": Kind("warning", "videos with fewer frames than segments"),
    "wrong-extension": Kind("warning", "files whose name says another format"),
    "variable-rate": Kind("note", "variable frame rate"),
    "rotated": Kind("note", "rotated by a flag"),
    "pixel-format": Kind("note", "pixels other than 8-bit 4:2:0"),
    # one folder of frames
    "missing-frame": Kind("error", "frame folders with a gap"),
    "frame-names": Kind("error", "frame folders whose names do not put them in one order"),
    "frame-file": Kind("error", "frames that cannot be read"),
    "frame-size": Kind("error", "frame folders with frames of different sizes"),
    # lists and classes
    "unusable": Kind("error", "the dataset cannot be read"),
    "bad-description": Kind("error", "dataset.json cannot be used"),
    "bad-row": Kind("error", "rows of a list that cannot be used"),
    "label-range": Kind("error", "labels that name no class"),
    "labels-from-1": Kind("error", "labels that start at 1"),
    "bad-span": Kind("error", "spans outside their video"),
    "two-labels": Kind("error", "videos with two labels"),
    "label-swaps": Kind("error", "label swaps that do not fit the classes"),
    "listed-twice": Kind("warning", "videos listed twice"),
    "empty-class": Kind("warning", "classes without a video"),
    "singleton-class": Kind("warning", "classes with a single video"),
    "val-only-class": Kind("warning", "classes that training does not see"),
    "imbalance": Kind("warning", "classes of very different size"),
    "case-names": Kind("warning", "names that differ in upper and lower case alone"),
    # several videos
    "duplicate": Kind("error", "the same video in two splits, or with two labels"),
    "repeated": Kind("warning", "the same file twice in one split"),
    "near-duplicate": Kind("warning", "copies of a video, encoded anew or changed a little"),
    "same-scene": Kind("warning", "videos that may show the same scene in two splits"),
}


@dataclass(frozen=True)
class Finding:
    """One thing that was found.

    Attributes:
        video: path relative to the dataset's root; a row of a list, such as "train.csv:7"; or "" for the
            dataset as a whole.
        kind: its name in ``KINDS``.
        detail: what it is, with the values; one sentence.
        fix: what to do about it; one sentence, or "" where nothing is to be done.
    """

    video: str
    kind: str
    detail: str
    fix: str = ""

    def __post_init__(self) -> None:
        lookup("kind of finding", self.kind, KINDS)

    @property
    def severity(self) -> Severity:
        """How much it matters: "error", "warning" or "note"."""
        return KINDS[self.kind].severity
