"""The datasets this project knows by name: facts only, one record each."""

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class DatasetSpec:
    """What is fixed about a published dataset.

    Attributes:
        num_classes: classes, in the order of ``label_order``.
        label_order: what gives a class its index.
        frame_template: names of its extracted frames; None where it comes as video files.
        first_frame: number in the name of a video's first frame; None likewise.
        label_swaps: indices that a mirror image exchanges; None where nobody has looked, and names tell.
        homepage: where it is described.
    """

    num_classes: int
    label_order: str
    frame_template: str | None = None
    first_frame: int | None = None
    label_swaps: tuple[tuple[int, int], ...] | None = None
    homepage: str


DATASETS = {
    "something-v1": DatasetSpec(
        num_classes=174,
        label_order="sorted names",  # the released lists; others keep the order of the labels file
        frame_template="{:05d}.jpg",
        first_frame=1,
        label_swaps=((86, 87), (93, 94), (166, 167)),  # pulling, pushing, turning the camera: left, right
        homepage="https://arxiv.org/abs/1706.04261",
    ),
    "something-v2": DatasetSpec(
        num_classes=174,
        label_order="sorted names, less brackets",
        label_swaps=((86, 87), (93, 94), (166, 167)),
        homepage="https://www.qualcomm.com/developer/software/something-something-v-2-dataset",
    ),
    "jester": DatasetSpec(
        num_classes=27,
        label_order="sorted names",
        frame_template="{:05d}.jpg",
        first_frame=1,
        label_swaps=((11, 12), (16, 17), (21, 22)),  # sliding, swiping, turning the hand
        homepage="https://www.qualcomm.com/developer/software/jester-dataset",
    ),
    "diving48": DatasetSpec(
        num_classes=48,
        label_order="Diving48_vocab.json",  # V1 and V2 label the same videos: their accuracies do not compare
        label_swaps=(),
        homepage="http://www.svcl.ucsd.edu/projects/resound/dataset.html",
    ),
    "kinetics-400": DatasetSpec(
        num_classes=400,
        label_order="sorted names",
        homepage="https://github.com/cvdfoundation/kinetics-dataset",
    ),
    "kinetics-600": DatasetSpec(
        num_classes=600,
        label_order="sorted names",
        homepage="https://github.com/cvdfoundation/kinetics-dataset",
    ),
    "kinetics-700": DatasetSpec(
        num_classes=700,
        label_order="sorted names",
        homepage="https://github.com/cvdfoundation/kinetics-dataset",
    ),
    "ucf101": DatasetSpec(
        num_classes=101,
        label_order="classInd.txt, less 1",
        homepage="https://www.crcv.ucf.edu/data/UCF101.php",
    ),
    "hmdb51": DatasetSpec(
        num_classes=51,
        label_order="sorted names",
        homepage="https://serre-lab.clps.brown.edu/resource/hmdb-a-large-human-motion-database/",
    ),
    "epic-kitchens-55": DatasetSpec(
        num_classes=125,
        label_order="verbs, EPIC_verb_classes.csv",  # its 352 nouns are another task on the same videos
        frame_template="frame_{:010d}.jpg",
        first_frame=1,
        homepage="https://epic-kitchens.github.io",
    ),
    "epic-kitchens-100": DatasetSpec(
        num_classes=97,
        label_order="verbs, EPIC_100_verb_classes.csv",  # its 300 nouns likewise
        frame_template="frame_{:010d}.jpg",
        first_frame=1,
        homepage="https://epic-kitchens.github.io",
    ),
}


def datasets() -> dict[str, list[dict[str, Any]]]:
    """List the datasets that have a name here, and their facts.

    Example: `gateshift datasets`
    """
    return {"datasets": [{"dataset": name} | asdict(spec) for name, spec in DATASETS.items()]}
