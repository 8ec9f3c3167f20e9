"""The benchmark of options: which videos it trains on, and what its table compares."""

from collections import Counter
from pathlib import Path

import pytest

from gateshift.data.records import Annotations, VideoRecord
from gateshift.data.shapes import CLASSES, LABEL_SWAPS, PAIRS
from gateshift.engine.config import TrainConfig

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"


@pytest.fixture
def options(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    import options

    return options


@pytest.fixture
def pool(options, tmp_path):
    splits = {
        split: tuple(
            VideoRecord(f"{split}/{name}/{i}.mp4", label)
            for label, name in enumerate(CLASSES)
            for i in range(count)
        )
        for split, count in (("train", options.COMMON), ("val", options.HELD_OUT))
    }
    return Annotations(tmp_path, CLASSES, LABEL_SWAPS, None, "drawn", splits)


def counts_of(annotations, split):
    return Counter(annotations.classes[record.label] for record in annotations.splits[split])


def test_a_skewed_copy_has_one_rare_class_of_each_pair(options, pool):
    rare = set()
    for seed in range(6):
        copy = options.skewed_records(pool, seed)
        counts = counts_of(copy, "train")
        pairs = [pair for pair in PAIRS if pair not in LABEL_SWAPS]
        for pair in pairs:
            assert sorted(counts[name] for name in pair) == [options.RARE, options.COMMON]
        assert options.COMMON == 50 * options.RARE
        assert set(counts) == set(copy.classes) == {name for pair in pairs for name in pair}
        assert set(counts_of(copy, "val").values()) == {options.HELD_OUT}
        assert copy.label_swaps == ()
        for record in (*copy.splits["train"], *copy.splits["val"]):
            assert record.video.split("/")[1] == copy.classes[record.label]
        rare.add(tuple(sorted(name for name in counts if counts[name] == options.RARE)))
    assert len(rare) > 1


def test_a_small_copy_has_other_videos_for_each_seed(options, pool):
    copies = [options.few_records(pool, seed) for seed in (0, 0, 1)]
    assert set(counts_of(copies[0], "train").values()) == {options.FEW}
    assert copies[0].label_swaps == pool.label_swaps
    videos = [{record.video for record in copy.splits["train"]} for copy in copies]
    assert videos[0] == videos[1] != videos[2]
    assert len(videos[0]) == options.FEW * 12


def test_every_option_is_a_setting_of_training(options):
    for copies in options.OPTIONS.values():
        assert next(iter(copies)) == "plain"
        for changes in copies.values():
            settings = {**options.PLAIN, **changes}
            for name in ("recipe", "workers", "device"):
                settings.pop(name)
            TrainConfig(**settings)


def test_the_table_has_the_differences_seed_by_seed(options, capsys):
    results = [
        {
            "data": "few",
            "option": option,
            "seed": seed,
            "top1": top1,
            "mean_class_accuracy": top1 / 2,
            "best_top1": top1,
            "epochs": 5,
            "seconds": 2.0,
        }
        for option, values in {"plain": (0.2, 0.6), "ema": (0.3, 0.7)}.items()
        for seed, top1 in enumerate(values)
    ]
    options.show(results)
    row = next(line for line in capsys.readouterr().err.splitlines() if "ema" in line)
    expected = "ema 50.0 ± 28.3 10.0 ± 0.0 25.0 ± 14.1 5.0 ± 0.0 5.0 2"
    assert " ".join(row.split()) == expected


@pytest.mark.slow
def test_every_option_trains(options, monkeypatch, tmp_path, capsys):
    for name, count in {"COMMON": 4, "RARE": 1, "FEW": 2, "HELD_OUT": 1}.items():
        monkeypatch.setattr(options, name, count)
    tiny = {"model": "gsm_resnet18", "pretrained": False, "num_segments": 2, "size": 32, "epochs": 2}
    monkeypatch.setattr(options, "PLAIN", {**options.PLAIN, **tiny})
    monkeypatch.setattr(options, "TEACHER", {"epochs": 2})
    monkeypatch.setitem(options.OPTIONS["few"], "freeze 2 epochs", {"freeze_epochs": 1})
    answer = options.main(["--seeds", "0", "--jobs", "2", "--out", str(tmp_path)])
    names = [(copy, name) for copy, names in options.OPTIONS.items() for name in names]
    assert [(row["data"], row["option"]) for row in answer["results"]] == names
    assert all(row["seconds"] > 0 and row["epochs"] == 2 for row in answer["results"])
    assert "linear probe" in capsys.readouterr().err
