import pytest

from conftest import shared
from gateshift.data.catalog import DATASETS
from gateshift.data.label_swaps import find_label_swaps


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ("Swiping Left", "Swiping Right"),
        ("swipe_left", "swipe_right"),
        ("TurnLeft", "TurnRight"),
        ("turnLEFT", "turnRIGHT"),
        ("Pushing something from left to right", "Pushing something from right to left"),
        ("Turning Hand Clockwise", "Turning Hand Counterclockwise"),
        ("rotate clockwise", "rotate counter-clockwise"),
        ("rotate clockwise", "rotate anticlockwise"),
        ("rotate clockwise", "rotate anti clockwise"),
        ("Spin CW", "Spin CCW"),
        ("leftward glance", "rightward glance"),
        ("moving leftwards", "moving rightwards"),
        ("left-hand wave", "right-hand wave"),
        ("left-handed throw", "right-handed throw"),
        ("turn-left", "turn_right"),
        ("jab (left)", "jab (right)"),
        ("左 left", "左 right"),
    ],
)
def test_finds_pairs(left, right):
    assert find_label_swaps(["other", left, right]) == ((left, right),)
    assert find_label_swaps([right, "other", left]) == ((right, left),)


@pytest.mark.parametrize(
    "classes",
    [
        ["Swiping Left", "Swiping Up"],
        ["left behind", "lifted"],
        ["Jump", "Run"],
        ["moving left and right", "moving up and down"],
        ["brightly lit", "bleftly lit"],  # only whole words count
        ["turn left", "Turn Left", "turn right"],  # which of the two would it be?
        [],
    ],
)
def test_leaves_others_alone(classes):
    assert find_label_swaps(classes) == ()


def test_name_that_reads_the_other_way_is_its_own_pair():
    classes = ["from left to right", "from right to left", "left to left"]
    assert find_label_swaps(classes) == (("from left to right", "from right to left"),)


def indices(classes: list[str]) -> tuple[tuple[int, int], ...]:
    return tuple((classes.index(a), classes.index(b)) for a, b in find_label_swaps(classes))


def test_something_something():
    folder = shared("data/annotations")
    labels = (folder / "something-v1/something-something-v1-labels.csv").read_text().splitlines()
    assert indices(sorted(labels)) == DATASETS["something-v1"].label_swaps
    labels = (folder / "something-v2/labels_sorted.txt").read_text().splitlines()
    assert indices(labels) == DATASETS["something-v2"].label_swaps


def test_jester():
    lines = shared("data/annotations/jester/classInd.txt").read_text().splitlines()
    assert indices([line.split(" ", 1)[1] for line in lines]) == DATASETS["jester"].label_swaps


def test_sports_and_kitchens_have_none_by_accident():
    folder = shared("data/annotations")
    ucf = [line.split()[1] for line in (folder / "ucf101/classInd.txt").read_text().splitlines()]
    assert find_label_swaps(ucf) == ()
    rows = (folder / "kinetics/kinetics-600_val.csv").read_text().splitlines()[1:]
    assert find_label_swaps(sorted({row.rsplit(",", 4)[0] for row in rows})) == ()
