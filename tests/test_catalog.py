import json

import pytest

from gateshift.data.catalog import DATASETS, datasets
from gateshift.data.frame_folder import template_pattern


@pytest.mark.parametrize("name", DATASETS)
def test_record_is_consistent(name):
    spec = DATASETS[name]
    swapped = [label for pair in spec.label_swaps or () for label in pair]
    assert len(set(swapped)) == len(swapped)
    assert all(0 <= label < spec.num_classes for label in swapped)
    assert {split.rstrip("123") for split in spec.num_videos} <= {"train", "val", "test"}
    assert (spec.frame_template is None) == (spec.first_frame is None)
    if spec.frame_template:
        assert template_pattern(spec.frame_template).fullmatch(spec.frame_template.format(spec.first_frame))


def test_listing_is_json():
    assert [row["dataset"] for row in json.loads(json.dumps(datasets()))["datasets"]] == list(DATASETS)
