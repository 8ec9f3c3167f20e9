"""Comparing: one training per variant, all with the same settings; what is measured, kept and drawn."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

from gateshift import cli_tables
from gateshift.apps import compare as comparing
from gateshift.apps.variants import choose_variants
from gateshift.data.shapes import generate
from gateshift.engine.scatter import Measured, scatter_chart
from gateshift.errors import ConfigError, DataError, UnknownName
from gateshift.evidence.metrics import summary
from gateshift.evidence.scores import Scores
from gateshift.models.backbones import BACKBONES
from gateshift.models.registry import create_model
from gateshift.models.temporal_options import parse_options
from gateshift.models.weights import save_weights
from made_scores import make_scores
from videos import touch

TINY = {
    "backbone": "efficientnet_lite0",
    "pretrained": False,
    "num_segments": 2,
    "size": 32,
    "epochs": 1,
    "batch_size": 8,
    "warmup_epochs": 0,
    "workers": 0,
    "device": "cpu",
}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tiny") / "data"
    return generate(folder, train_per_class=2, val_per_class=1, test_per_class=1, size=32, num_frames=8)


@pytest.fixture(scope="module")
def compared(data, tmp_path_factory):
    out = tmp_path_factory.mktemp("compared")
    return out, comparing.compare(data, temporal="tsn, gsm,tsn", out=out, **TINY)


def test_every_kind_is_measured_on_the_test_split(compared):
    out, answer = compared
    tsn, gsm = answer["results"]
    assert (tsn["temporal"], gsm["temporal"]) == ("tsn", "gsm")
    for row in (tsn, gsm):
        scores = Scores.load(Path(row["run"]) / "test_scores.npz")
        assert (row["split"], row["videos"]) == ("test", len(scores.videos)) == ("test", 12)
        assert row["top1"] == summary(scores)["top1"]
        low, high = row["top1_interval"]
        assert 0 <= low <= row["top1"] <= high <= 1
        log = (Path(row["run"]) / "log.csv").read_text().splitlines()
        assert f",{row['val_top1']}," in log[-1]
        assert row["last_top1"] == row["val_top1"]
    assert tsn["gain"] == 0 and tsn["chance"] == 1
    assert gsm["gain"] == pytest.approx(gsm["top1"] - tsn["top1"])
    assert gsm["gain_interval"][0] <= gsm["gain"] <= gsm["gain_interval"][1] and 0 < gsm["chance"] <= 1
    assert (out / "tsn" / "report.html").is_file()


def test_costs_are_also_given_over_tsn(compared):
    tsn, gsm = compared[1]["results"]
    assert tsn["params_over_tsn"] == tsn["macs_over_tsn"] == 0
    assert gsm["params_over_tsn"] == pytest.approx(gsm["params"] / tsn["params"] - 1)
    assert 0 < gsm["macs_over_tsn"] == pytest.approx(gsm["macs"] / tsn["macs"] - 1)


def test_page_and_json_hold_the_answer_and_nothing_from_outside(compared):
    out, answer = compared
    assert answer["waiting"] == []
    assert json.loads((out / "compare.json").read_text()) == answer
    page = Path(answer["page"]).read_text(encoding="utf-8")
    assert page.count("<svg") == 2 and page.count('<g class="mark">') == 4
    assert not re.search(r"(src|href)=\"(https?:)?//", page)
    for row in answer["results"]:
        assert f"{100 * row['top1']:.1f}%" in page
        assert f"{row['params'] / 1e6:.3f} M" in page
        assert f'href="{row["temporal"]}/report.html"' in page
    table, words = cli_tables.TABLES["compare"](answer)
    assert table.row_count == 2 and "12 test videos" in words


def test_the_same_command_trains_nothing_again(compared, data, capsys):
    out, answer = compared
    weights = [Path(row["run"], "weights.safetensors").stat().st_mtime_ns for row in answer["results"]]
    again = comparing.compare(data, temporal="gsm,tsn", out=out, **TINY)
    assert again["results"] == answer["results"][::-1]
    assert weights == [
        Path(row["run"], "weights.safetensors").stat().st_mtime_ns for row in answer["results"]
    ]
    said = capsys.readouterr().err
    assert "1 of 2: gsm" in said and "2 of 2: tsn" in said


@pytest.fixture
def folder(tmp_path):
    """Class folders without splits; their videos are never read."""
    touch(*(tmp_path / "videos" / name / f"{index}.mp4" for name in ("x", "y") for index in range(10)))
    return tmp_path / "videos"


@pytest.fixture
def trainings(monkeypatch):
    """Replace training by writing an untrained network and scores; return the settings of each call."""
    calls = []

    def train(data, *, out, model, temporal_options, num_segments, size, **settings):
        calls.append({"out": out, "model": model, "options": temporal_options, "size": size, **settings})
        options = parse_options(temporal_options or "")
        save_weights(create_model(model, 2, num_segments, size=size, **options), out / "weights.safetensors")
        labels, logits = np.array([0, 1]), np.array([[1, 0], [1, 0]], np.float32)
        Scores(("a", "b"), labels, logits, ("x", "y")).save(out / "val_scores.npz")
        return {"weights": str(out), "best_top1": 0.5, "top1": 0.25, "clips_per_second": 7.0}

    monkeypatch.setattr(comparing, "train", train)
    return calls


SMALL = {"backbone": "efficientnet_lite0", "num_segments": 2, "size": 32}


def test_without_a_test_split_it_is_the_validation_of_the_best_epoch(trainings, folder, tmp_path):
    answer = comparing.compare(folder, temporal="tsm", out=tmp_path / "out", epochs=2, **SMALL)
    (row,) = answer["results"]
    assert (row["split"], row["videos"], row["top1"]) == ("val", 2, 0.5)
    assert (row["val_top1"], row["last_top1"]) == (0.5, 0.25)
    assert row["top1_interval"] == [0.0, 1.0]  # of two videos
    assert "a little too good" in Path(answer["page"]).read_text(encoding="utf-8")
    assert "2 val videos" in cli_tables.TABLES["compare"](answer)[1]


def test_one_training_for_each_kind_with_the_same_settings(trainings, folder, tmp_path):
    comparing.compare(folder, temporal="tsn,c3d,s3d", out=tmp_path / "out", epochs=2, **SMALL)
    assert [call.pop("out").name for call in trainings] == ["tsn", "c3d", "s3d"]
    assert [call.pop("model") for call in trainings] == [
        f"{kind}_efficientnet_lite0" for kind in ("tsn", "c3d", "s3d")
    ]
    assert trainings[0] == trainings[1] == trainings[2]
    assert (trainings[0]["epochs"], trainings[0]["recipe"]) == (2, "finetune")


def test_what_a_stopped_comparison_has_is_on_its_page(trainings, folder, tmp_path, monkeypatch):
    train = comparing.train

    def stop_at_gsm(data, *, model, **settings):
        if model.startswith("gsm"):
            raise KeyboardInterrupt("stopped in epoch 1.")
        return train(data, model=model, **settings)

    monkeypatch.setattr(comparing, "train", stop_at_gsm)
    with pytest.raises(KeyboardInterrupt, match=r"stopped in epoch 1\. 1 of 3 are compared.*goes on"):
        comparing.compare(folder, temporal="tsn,gsm,tsm", out=tmp_path / "out", **SMALL)
    kept = json.loads((tmp_path / "out" / "compare.json").read_text())
    assert [row["temporal"] for row in kept["results"]] == ["tsn"]
    assert kept["waiting"] == ["gsm", "tsm"]
    page = (tmp_path / "out" / "compare.html").read_text(encoding="utf-8")
    assert "1 of 3 trained" in page and "Still to come: gsm, tsm" in page


def test_ablation_trains_each_network_once_and_shows_every_option(trainings, folder, tmp_path):
    answer = comparing.compare(folder, ablate="gate,modules,interleave", out=tmp_path / "out", **SMALL)
    gates = ["gate=tanh", "gate=sigmoid", "gate=none"]
    counts = ["num_modules=0", "num_modules=1", "num_modules=5", "num_modules=all"]
    assert [row["options"] for row in answer["results"]] == [
        *gates,
        *counts,
        "interleave=on",
        "interleave=off",
    ]
    assert {row["temporal"] for row in answer["results"]} == {"gsm"}
    assert [call["out"].name for call in trainings] == [
        "gsm",
        "gsm-gate-sigmoid",
        "gsm-gate-none",
        "gsm-num_modules-0",
        "gsm-num_modules-1",
        "gsm-num_modules-5",
        "gsm-interleave-on",
    ]
    assert trainings[0]["options"] is None and trainings[1]["options"] == "gate=sigmoid"
    by_options = {row["options"]: row for row in answer["results"]}
    assert by_options["num_modules=0"]["params_over_tsn"] == by_options["num_modules=0"]["macs_over_tsn"] == 0
    costs = [by_options[count]["macs"] for count in counts]
    assert costs == sorted(set(costs))
    page = Path(answer["page"]).read_text(encoding="utf-8")
    assert all(f"<td>{row['options']}</td>" in page for row in answer["results"])


def test_branches_are_those_of_the_backbone():
    for backbone in ("bninception", "inceptionv3"):
        found = choose_variants(None, "branch", backbone)
        assert [variant.options for variant in found] == [
            f"branch={name}" for name in BACKBONES[backbone].branches
        ]
        assert [variant.options for variant in found if not variant.changes] == ["branch=1x1"]
    on = choose_variants("gsf", "interleave", "bninception")
    assert [(variant.temporal, variant.changes) for variant in on] == [("gsf", ""), ("gsf", "interleave=off")]


def test_backbones_are_compared_one_after_another(trainings, folder, tmp_path):
    settings = SMALL | {"backbone": "mobilenet_v2,efficientnet_lite0"}
    answer = comparing.compare(folder, temporal="tsn,gsm", out=tmp_path / "out", **settings)
    rows = answer["results"]
    assert [(row["backbone"], row["temporal"]) for row in rows] == [
        (backbone, temporal)
        for backbone in ("mobilenet_v2", "efficientnet_lite0")
        for temporal in ("tsn", "gsm")
    ]
    assert [training["model"] for training in trainings] == [
        f"{row['temporal']}_{row['backbone']}" for row in rows
    ]
    assert len({row["run"] for row in rows}) == 4
    page = (tmp_path / "out" / "compare.html").read_text(encoding="utf-8")
    assert "gsm mobilenet_v2" in page and "<td>efficientnet_lite0</td>" in page


def test_recipe_and_backbone_come_from_the_data(trainings, folder, tmp_path):
    (folder / "dataset.json").write_text(json.dumps({"recipe": "scratch"}))
    answer = comparing.compare(folder, temporal="tsn", out=tmp_path / "a", num_segments=2, size=32)
    assert (answer["recipe"], answer["backbone"]) == ("scratch", "resnet18")
    answer = comparing.compare(folder, temporal="tsn", out=tmp_path / "b", recipe="finetune", **SMALL)
    assert (answer["recipe"], trainings[1]["recipe"]) == ("finetune", "finetune")
    (folder / "dataset.json").write_text(json.dumps({"recipe": "scrtch"}))
    with pytest.raises(DataError, match="'recipe' in .*dataset.json' is 'scrtch'.*--recipe"):
        comparing.compare(folder, temporal="tsn", out=tmp_path / "c")


def test_shapes_is_the_embedded_dataset_where_no_folder_has_the_name(trainings, tmp_path, monkeypatch):
    def small(out):
        return generate(out, train_per_class=1, val_per_class=1, test_per_class=1, size=32, num_frames=4)

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(comparing, "generate", small)

    def tested(*args, save_scores, **options):
        make_scores([True, False] * 2, [0, 1, 0, 1], 2).save(save_scores)
        return {"top1": 0.5, "top1_interval": (0, 1), "videos": 4}

    monkeypatch.setattr(comparing, "test", tested)
    answer = comparing.compare(Path("shapes"), temporal="tsn", num_segments=2)
    assert (answer["data"], answer["recipe"], answer["backbone"]) == (
        str(Path("runs", "shapes")),
        "shapes",
        "efficientnet_lite0",
    )
    assert trainings[0]["out"] == Path("runs", "compare-shapes-efficientnet_lite0", "tsn")
    touch(*(tmp_path / "shapes" / name / f"{index}.mp4" for name in ("x", "y") for index in range(4)))
    assert (
        comparing.compare(Path("shapes"), temporal="tsn", num_segments=2, out=tmp_path / "o")["data"]
        == "shapes"
    )


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"temporal": "tsn,gsmm"}, UnknownName, "temporal module 'gsmm'. Did you mean"),
        ({"temporal": " ,"}, ConfigError, "one or more of"),
        ({"backbone": "resnet81"}, UnknownName, "Did you mean"),
        ({"ablate": "gates"}, UnknownName, "ablation 'gates'. Did you mean gate"),
        ({"ablate": ""}, ConfigError, "one or more of modules, branch"),
        ({"ablate": "gate", "temporal": "tsm"}, UnknownName, "gated temporal module 'tsm'"),
        ({"ablate": "gate", "temporal": "gsm,gsf"}, ConfigError, "one temporal module"),
        (
            {"ablate": "gate, branch"},
            ConfigError,
            "efficientnet_lite0 has no branches.*bninception, inceptionv3",
        ),
        ({"recipe": "papr"}, UnknownName, "recipe 'papr'"),
    ],
)
def test_bad_names_are_refused_before_any_training(trainings, options, error, message):
    with pytest.raises(error, match=message):
        comparing.compare(Path("data"), **options)
    assert trainings == []


def test_names_on_the_chart_do_not_cover_each_other():
    near = [Measured(f"kind {index}", 3.4 + index / 1e3, 0.9, (0.85, 0.93)) for index in range(5)]
    chart = scatter_chart("Accuracy", "M parameters", [*near, Measured("c3d", 5.0, 0.5, (0.4, 0.6))])
    assert len(chart.marks) == 6
    heights = sorted(mark.text_y for mark in chart.marks if mark.name != "c3d")
    assert all(after - before >= 12 for before, after in zip(heights, heights[1:], strict=False))
    for mark in chart.marks:
        assert chart.left <= mark.x <= chart.right
        assert chart.top <= mark.high <= mark.y <= mark.low <= chart.bottom
    (far,) = [mark for mark in chart.marks if mark.name == "c3d"]
    assert far.anchor == "end" and "50.0% (40.0% to 60.0%), 5 M parameters" in far.title
    perfect = scatter_chart("Accuracy", "M parameters", [Measured("gsm", 1.0, 1.0, (0.98, 1.0))])
    assert perfect.y_ticks[-1].text == "100%"
    assert scatter_chart("Accuracy", "M parameters", near[:1]).marks[0].name == "kind 0"
