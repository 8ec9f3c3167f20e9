"""The datasets this project knows by name: facts only, one record each."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
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
        num_videos: rows of each split's published annotations; a split is left out where nobody counted.
        task_classes: classes of each task, where the same videos have several kinds of labels.
        homepage: where it is described.
    """

    num_classes: int
    label_order: str
    frame_template: str | None = None
    first_frame: int | None = None
    label_swaps: tuple[tuple[int, int], ...] | None = None
    num_videos: Mapping[str, int] = field(default_factory=dict)
    task_classes: Mapping[str, int] = field(default_factory=dict)
    homepage: str


DATASETS = {
    "something-v1": DatasetSpec(
        num_classes=174,
        label_order="sorted names",  # the released lists; others keep the order of the labels file
        frame_template="{:05d}.jpg",
        first_frame=1,
        label_swaps=((86, 87), (93, 94), (166, 167)),  # pulling, pushing, turning the camera: left, right
        num_videos={"train": 86017, "val": 11522, "test": 10960},  # test without labels
        homepage="https://arxiv.org/abs/1706.04261",
    ),
    "something-v2": DatasetSpec(
        num_classes=174,
        label_order="sorted names, less brackets",
        label_swaps=((86, 87), (93, 94), (166, 167)),
        num_videos={"train": 168913, "val": 24777, "test": 27157},  # test without labels
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
    "diving48-v1": DatasetSpec(
        num_classes=48,
        label_order="Diving48_vocab.json",  # V1 and V2 label the same videos: their accuracies do not compare
        label_swaps=(),
        homepage="http://www.svcl.ucsd.edu/projects/resound/dataset.html",
    ),
    "diving48-v2": DatasetSpec(
        num_classes=48,
        label_order="Diving48_vocab.json",
        label_swaps=(),
        num_videos={"train": 15027, "val": 1970},  # as users of the published files count them
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
        num_videos={  # of each of the three splits; the test list is the split val
            "train1": 9537,
            "train2": 9586,
            "train3": 9624,
            "val1": 3783,
            "val2": 3734,
            "val3": 3696,
        },
        homepage="https://www.crcv.ucf.edu/data/UCF101.php",
    ),
    "hmdb51": DatasetSpec(
        num_classes=51,
        label_order="sorted names",
        num_videos={"train": 3570, "val": 1530},  # in each of the three splits: 70 and 30 of a class
        homepage="https://serre-lab.clps.brown.edu/resource/hmdb-a-large-human-motion-database/",
    ),
    "epic-kitchens-55": DatasetSpec(
        num_classes=125,
        label_order="verbs, EPIC_verb_classes.csv",
        task_classes={"verb": 125, "noun": 352},
        frame_template="frame_{:010d}.jpg",
        first_frame=1,
        num_videos={"train": 28472},  # those held out for validation included
        homepage="https://epic-kitchens.github.io",
    ),
    "epic-kitchens-100": DatasetSpec(
        num_classes=97,
        label_order="verbs, EPIC_100_verb_classes.csv",
        task_classes={"verb": 97, "noun": 300},
        frame_template="frame_{:010d}.jpg",
        first_frame=1,
        num_videos={"train": 67217, "val": 9668, "test": 13092},  # test without labels
        homepage="https://epic-kitchens.github.io",
    ),
}

EDITIONS = {  # names that stand for other labels, or another split, of the same videos -> their dataset
    "diving48-v1": "diving48",
    "diving48-v2": "diving48",
    **{f"{name}-split{number}": name for name in ("ucf101", "hmdb51") for number in (1, 2, 3)},
}


def edition_of(name: str) -> str | None:
    """Return the dataset that a name is one of several editions of; None for all other names.

    >>> edition_of("diving48-v1"), edition_of("something-v1")
    ('diving48', None)
    """
    return EDITIONS.get(name)


def datasets() -> dict[str, list[dict[str, Any]]]:
    """List the datasets that have a name here, and their facts.

    Example: `gateshift datasets`
    """
    return {"datasets": [{"dataset": name} | asdict(spec) for name, spec in DATASETS.items()]}
