from collections import Counter
from pathlib import PurePosixPath

import pytest

from gateshift.data.records import VideoRecord
from gateshift.data.splitting import group_of, grouped_split, ungrouped_classes


def records(names: str, label: int) -> list[VideoRecord]:
    return [VideoRecord(f"class{label}/{name}.mp4", label) for name in names.split()]


def groups(found: tuple[VideoRecord, ...]) -> set[str]:
    return {group_of(PurePosixPath(record.video).stem) for record in found}


@pytest.mark.parametrize(
    ("stem", "group"),
    [
        ("Jump_8_10", "Jump_8"),
        ("v_ApplyEyeMakeup_g08_c01", "v_ApplyEyeMakeup_g08"),
        ("fi001", "fi001"),
        ("nofi001", "nofi001"),
        ("---QUuC4vJs_000084_000094", "---QUuC4vJs"),
        ("dTh8kkTLcLQ_00005", "dTh8kkTLcLQ"),
        ("April_09_brush_hair_u_nm_np1_ba_goo_0", "April_09_brush_hair_u_nm_np1_ba_goo"),
        ("cam2 take 3", "cam2 take"),
        ("clip7-(2)", "clip7"),
        ("S001C001P001R001A001_rgb", "S001C001P001R001A001_rgb"),
        ("walking", "walking"),
        ("0001", "0001"),
        ("video_12", "video_12"),
    ],
)
def test_group_of(stem, group):
    assert group_of(stem) == group


def many() -> list[VideoRecord]:
    names = [f"cam{g}_{i}" for g in range(10) for i in range(1 + g % 4)]
    return records(" ".join(names), 0) + records(" ".join(f"fi{i:03d}" for i in range(50)), 1)


@pytest.mark.parametrize("seed", range(5))
def test_groups_stay_together_and_classes_keep_their_share(seed):
    train, val = grouped_split(many(), 0.2, seed)
    assert sorted(train + val, key=str) == sorted(many(), key=str)
    assert not groups(train) & groups(val)
    counts = Counter(record.label for record in val)
    assert counts[1] == 10
    assert 2 <= counts[0] <= 5  # of 23 videos in groups of 1 to 4


def test_seed_decides():
    assert grouped_split(many(), 0.2, 1) == grouped_split(many(), 0.2, 1)
    assert grouped_split(many(), 0.2, 1) != grouped_split(many(), 0.2, 2)


def test_one_group_is_split_video_by_video():
    found = records("a1_1 a1_2 a1_3 a1_4 a1_5", 0) + records("b1 b2 b3 b4 b5", 1)
    assert ungrouped_classes(found) == {0}
    _, val = grouped_split(found, 0.2, 0)
    assert Counter(record.label for record in val) == {0: 1, 1: 1}


@pytest.mark.parametrize("seed", range(5))
def test_every_class_is_on_both_sides(seed):
    found = records("a1_1 a1_2 a1_3 a2_1 a2_2", 0) + records("x y", 1) + records("alone", 2)
    train, val = grouped_split(found, 0.2, seed)
    assert {record.label for record in train} == {0, 1, 2}
    assert {record.label for record in val} == {0, 1}


@pytest.mark.parametrize("seed", range(5))
def test_recording_of_two_classes_goes_to_one_side(seed):
    names = " ".join(f"cam{g}_{i}" for g in range(5) for i in range(3))
    train, val = grouped_split(records(names, 0) + records(names, 1), 0.2, seed)
    assert not groups(train) & groups(val)
    assert Counter(record.label for record in val) == {0: 3, 1: 3}


def test_same_plain_names_in_two_classes_are_different_videos():
    names = " ".join(f"{i:03d}" for i in range(10))
    _, val = grouped_split(records(names, 0) + records(names, 1), 0.2, 0)
    assert Counter(record.label for record in val) == {0: 2, 1: 2}
    assert groups(tuple(r for r in val if r.label == 0)) != groups(tuple(r for r in val if r.label == 1))
