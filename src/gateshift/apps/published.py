"""The tables that GSM's authors published: each accuracy, and what it was measured with.

A member is one network over a number of clips, named as there: ``12x2`` is the network of 12 frames over 2
clips. All are measured on one centre crop, and ensembles add the logits of their members.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from gateshift.errors import lookup
from gateshift.models.released import RELEASED


@dataclass(frozen=True)
class Member:
    """A network over a number of clips.

    Attributes:
        weights: name of the released weights.
        num_clips: temporal samplings of a video.
    """

    weights: str
    num_clips: int


@dataclass(frozen=True, kw_only=True)
class PublishedTable:
    """What one README says of one dataset.

    Attributes:
        dataset: what ``dataset.json`` calls it.
        labels: which edition of its labels, where there are several.
        split: what was measured on.
        members: the networks by the names of the table.
        figures: names of members with plus signs between -> published top-1 of their sum, a fraction.
        source: where the figures stand.
        advice: why other labels do not compare; empty where there are no others.
    """

    dataset: str
    labels: str | None = None
    split: str
    members: Mapping[str, Member]
    figures: Mapping[str, float]
    source: str
    advice: str = ""

    def choose(self, names: str | None) -> dict[str, float]:
        """Return the figures with ``names``, commas between; all without."""
        if names is None:
            return dict(self.figures)
        chosen = ["".join(name.split()) for name in names.split(",")]
        return {name: lookup("member", name, self.figures) for name in chosen}


def _one_clip(weights: str) -> float:
    """Return the accuracy that the record of released weights holds."""
    record = RELEASED[weights]
    assert record.top1 is not None and record.views == (1, 1)
    return record.top1


README = "README of github.com/swathikirans/GSM"

PUBLISHED = {
    "something-v1": PublishedTable(
        dataset="something-v1",
        split="val",
        members={
            "8": Member("gsm_inceptionv3_something-v1_8", 1),
            "12": Member("gsm_inceptionv3_something-v1_12", 1),
            "16": Member("gsm_inceptionv3_something-v1_16", 1),
            "24": Member("gsm_inceptionv3_something-v1_24", 1),
            "8x2": Member("gsm_inceptionv3_something-v1_8", 2),
            "12x2": Member("gsm_inceptionv3_something-v1_12", 2),
        },
        figures={
            "8": _one_clip("gsm_inceptionv3_something-v1_8"),
            "12": _one_clip("gsm_inceptionv3_something-v1_12"),
            "16": _one_clip("gsm_inceptionv3_something-v1_16"),
            "24": _one_clip("gsm_inceptionv3_something-v1_24"),
            "8x2": 0.5043,
            "12x2": 0.5198,
            "8x2+12x2+16+24": 0.5516,
        },
        source=README,
    ),
    "diving48": PublishedTable(
        dataset="diving48-v1",
        labels="v1",
        split="val",  # the official test list, which the released code validates on
        members={
            "16": Member("gsm_inceptionv3_diving48_16", 1),
            "16x2": Member("gsm_inceptionv3_diving48_16", 2),
        },
        figures={"16": _one_clip("gsm_inceptionv3_diving48_16"), "16x2": 0.4027},
        source=README,
        advice="The published figures were measured with the V1 labels. V2 corrects the labels of the same "
        "videos, so that accuracies with V1 and with V2 do not compare: give the V1 annotations.",
    ),
}
