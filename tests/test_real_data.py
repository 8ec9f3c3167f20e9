"""Real videos, through the commands: skipped where they are not beside the checkout."""

import csv

import pytest

import gateshift
from conftest import shared

SMALL = {"size": 64, "num_segments": 4, "epochs": 2, "device": "cpu"}


@pytest.mark.slow
def test_a_folder_without_splits_trains_tests_and_predicts(tmp_path):
    data, run = shared("data/fights"), tmp_path / "run"
    answer = gateshift.train(data, out=run, **SMALL)
    assert answer["epochs"] == 2
    rows = [
        list(csv.DictReader((run / "data" / f"{split}.csv").read_text().splitlines()))
        for split in ("train", "val")
    ]
    assert sum(map(len, rows)) == 300
    tested = gateshift.test(run, data, device="cpu")
    assert tested["videos"] == len(rows[1])
    assert tested["top1"] == answer["best_top1"]

    answered = gateshift.predict(run, [shared("data/tricky_videos")], device="cpu")["predictions"]
    assert len(answered) == 37
    assert all(bool(row["labels"]) != bool(row["error"]) for row in answered)
    assert sum(1 for row in answered if row["labels"]) == 28


@pytest.mark.slow
def test_a_dataset_keeps_its_own_splits(tmp_path):
    run = tmp_path / "run"
    gateshift.train(shared("data/arid6"), out=run, **SMALL)
    with (run / "data" / "val.csv").open() as file:
        assert all(row["video"].startswith("val/") for row in csv.DictReader(file))
