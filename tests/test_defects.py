"""Every defect of tests/defects.py is found where it was planted, and nothing on the clean twin."""

import shutil

import pytest

import clean_twin
import defects
from gateshift.apps.check import check
from gateshift.data.annotations import read_annotations
from gateshift.data.check.findings import KINDS
from gateshift.data.check.survey import survey

SEED = 20
# What no file brings about on every machine: see tests/test_scan.py and tests/test_probe.py.
NOT_PLANTED = {"crash", "hang", "unreadable", "damaged-frame"}


def name_of(planter):
    return planter.__name__


def found_by_check(root, out, **settings):
    """Return what a whole check finds, every frame of every video read."""
    answer = check(root, out=out, speed=False, workers=0, **settings)
    return {(problem["video"], problem["kind"]) for problem in answer["problems"]}, answer


@pytest.fixture(scope="module")
def twin(tmp_path_factory):
    return clean_twin.write_clean_twin(tmp_path_factory.mktemp("clean") / "data")


@pytest.fixture(scope="module")
def planted(twin, tmp_path_factory):
    """All defects of files and of pairs in one dataset: what was planted by each, and what was found."""
    root = shutil.copytree(twin, tmp_path_factory.mktemp("planted") / "data")
    where = {
        planter: planter(root, SEED + i) for i, planter in enumerate(defects.OF_FILES + defects.OF_PAIRS)
    }
    return where, found_by_check(root, root.parent / "out")[0]


@pytest.mark.parametrize("fast", [False, True])
def test_nothing_is_found_on_the_clean_twin(twin, tmp_path, fast):
    found, answer = found_by_check(twin, tmp_path, fast=fast)
    assert found == set()
    assert answer["ok"]
    assert answer["videos"] == 27
    assert answer["label_swaps"] == [["swipe left", "swipe right"]]


@pytest.mark.parametrize("planter", defects.OF_FILES + defects.OF_PAIRS, ids=name_of)
def test_a_defect_of_videos_is_found(planted, planter):
    where, found = planted
    assert where[planter] <= found


def test_nothing_else_is_found_beside_them(planted):
    where, found = planted
    assert found == set().union(*where.values())


@pytest.mark.parametrize("planter", defects.OF_LISTS, ids=name_of)
def test_a_defect_of_lists_is_found_and_nothing_else(twin, tmp_path, planter):
    root = shutil.copytree(twin, tmp_path / "data")
    expected = planter(root, SEED)
    assert {(finding.video, finding.kind) for finding in survey(root).findings} == expected


def test_every_kind_is_planted(twin, tmp_path):
    """A kind that is added needs a planter, or a test of its own."""
    kinds = set()
    for i, planter in enumerate(defects.OF_FILES + defects.OF_PAIRS + defects.OF_LISTS):
        root = shutil.copytree(twin, tmp_path / str(i))
        kinds |= {kind for _, kind in planter(root, SEED)}
    assert KINDS.keys() - kinds == NOT_PLANTED


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("planter", defects.OF_FILES + defects.OF_PAIRS + defects.OF_LISTS, ids=name_of)
def test_each_defect_alone_is_all_that_a_check_finds(tmp_path, planter, seed):
    root = clean_twin.write_clean_twin(tmp_path / "data", seed)
    expected = planter(root, 100 * seed)
    found, answer = found_by_check(root, tmp_path / "out")
    assert found == expected
    severities = {KINDS[kind].severity for _, kind in expected}
    assert answer["ok"] == (severities == {"note"})


@pytest.mark.slow
def test_what_a_check_cleans_is_clean(planted, twin, tmp_path):
    """Of all defects of files at once, `--fix` leaves a dataset that reads and has no error."""
    root = shutil.copytree(twin, tmp_path / "data")
    for i, planter in enumerate(defects.OF_FILES + defects.OF_PAIRS):
        planter(root, SEED + i)
    before = {path: path.stat().st_mtime_ns for path in root.rglob("*") if path.is_file()}
    check(root, out=tmp_path / "out", fix=tmp_path / "clean", speed=False, workers=0)
    assert {path: path.stat().st_mtime_ns for path in root.rglob("*") if path.is_file()} == before
    assert read_annotations(tmp_path / "clean").classes == clean_twin.CLASSES
    answer = check(tmp_path / "clean", out=tmp_path / "out 2", speed=False, workers=0)
    assert answer["severity_counts"]["error"] == 0
