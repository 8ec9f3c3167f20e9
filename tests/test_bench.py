"""Bench: which cases there are, what is kept, and what is shown."""

import json
import re
from pathlib import Path

import pytest
import torch

from gateshift import cli_tables
from gateshift.apps import bench as benching
from gateshift.apps.measuring.cases import ALL, choose_cases
from gateshift.apps.measuring.page import bars, growth_charts
from gateshift.apps.measuring.places import temporal_places
from gateshift.apps.measuring.timing import growth
from gateshift.errors import ConfigError, DataError, GateshiftError, UnknownName

TINY = {"model": "gsm_resnet18", "size": 32, "batch_size": "2", "rounds": 1, "device": "cpu"}
ASKED = {
    "what": "train",
    "model": "gsm_resnet18",
    "num_segments": "8",
    "batch_size": None,
    "precision": "float32",
    "device": "cpu",
    "size": 32,
    "videos": None,
}


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    out = tmp_path_factory.mktemp("bench")
    return benching.bench(num_segments="2,4", memory=False, precision="float32", out=out, **TINY)


def test_one_case_for_each_combination():
    cases = choose_cases(
        **ASKED | {"what": "infer,train", "num_segments": "8, 16", "precision": "float32,bfloat16"}
    )
    assert len(cases) == len(set(cases)) == (2 + 1) * 2 * 2  # inference has two batch sizes of its own
    assert {case.batch_size for case in cases if case.what == "infer"} == {1, 8}
    assert {case.tsn.model for case in cases} == {"tsn_resnet18"}
    assert choose_cases(**ASKED | {"model": "tsn_resnet18"})[0].tsn is None
    (case,) = choose_cases(**ASKED | {"precision": "auto,fp32"})
    assert case.precision == "float32"


def test_modules_are_measured_where_they_sit():
    asked = ASKED | {"what": "module", "model": "gsm_bninception", "size": 224}
    parts = [case.part for case in choose_cases(**asked)]
    assert parts[0] == ALL and len(parts) == len(set(parts))
    places = temporal_places("gsm_bninception", 8, 224)
    assert len(places) == 10 and {place.size for place in places} == set(parts[1:])
    assert places[0].size == "64 x 28 x 28"


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"what": "tain"}, "Did you mean train"),
        ({"what": ","}, "--what is empty"),
        ({"model": "gsm_resnet19"}, "Did you mean gsm_resnet18"),
        ({"precision": "float23"}, "Did you mean float"),
        ({"model": "gsm_inceptionv3"}, "inceptionv3"),
        ({"size": -1}, "size is -1"),
        ({"num_segments": "8,0"}, "Give counts from 1"),
        ({"batch_size": "many"}, "Give counts from 1"),
        ({"what": "module", "model": "tsn_resnet18"}, "nothing to measure"),
    ],
)
def test_lists_that_cannot_be_are_refused(changes, says):
    with pytest.raises((ConfigError, UnknownName), match=says):
        choose_cases(**ASKED | changes)


def test_command_refuses_before_it_measures(tmp_path):
    with pytest.raises(ConfigError, match="rounds is 0"):
        benching.bench(rounds=0)
    with pytest.raises(DataError, match="there is no folder"):
        benching.bench(videos=tmp_path / "none")
    with pytest.raises(ConfigError, match="Choose auto, cpu"):
        benching.bench(device="abacus")


def test_every_row_says_what_was_measured(measured):
    rows = measured["results"]
    assert [row["what"] for row in rows[::2]] == ["data", "data", *["module"] * 5, "train", "infer"]
    for row in rows:
        assert row["seconds"] > 0 and row["plain_seconds"] > 0
        assert row["ratio_low"] <= row["ratio"] <= row["ratio_high"]
        assert row["clips_per_second"] == pytest.approx(row["batch_size"] / row["seconds"])
        assert (row["over_tsn"] is not None) == (row["what"] in ("train", "infer"))
        assert row["peak_memory"] is None and row["plain_peak_memory"] is None
    assert [row["what"] for row in measured["growth"]] == ["infer", "train"]
    assert measured["waiting"] == []


def test_results_and_page_are_kept_and_ask_nothing_of_the_network(measured):
    page = Path(measured["page"])
    assert json.loads((page.parent / "results.json").read_text()) == measured
    text = page.read_text(encoding="utf-8")
    assert text.count('class="bar-of"') == len(measured["results"])
    assert text.count("<svg") == 1 + len(measured["growth"])
    assert not re.search(r"(src|href)=\"(https?:)?//", text)
    assert measured["hardware"]["torch"] in text and measured["date"] in text


def test_table_shows_every_case(measured, capsys):
    cli_tables.show("bench", measured)
    said = capsys.readouterr().err
    for word in ("train gsm_resnet18", "frames", "512 x 1 x 1", "x TSN", "time grows", "bench.html"):
        assert word in said
    assert "MB (plain)" not in said  # none was measured


def test_ctrl_c_keeps_what_is_measured(tmp_path, monkeypatch):
    asked = []

    def measure(case, rounds, memory, advance):
        if asked:
            raise KeyboardInterrupt
        asked.append(case)
        return row_of(case)

    monkeypatch.setattr(benching, "measure", measure)
    with pytest.raises(KeyboardInterrupt, match="1 of 2 cases are measured; they are in"):
        benching.bench(what="train", num_segments="2,4", precision="float32", out=tmp_path, **TINY)
    kept = json.loads((tmp_path / "results.json").read_text())
    assert len(kept["results"]) == 1 and kept["waiting"] == ["train gsm_resnet18 float32, 2 x 4"]
    assert "Not measured: train gsm_resnet18 float32, 2 x 4" in (tmp_path / "bench.html").read_text()


def test_too_little_memory_says_what_to_lower(tmp_path, monkeypatch):
    def measure(case, rounds, memory, advance):
        raise torch.OutOfMemoryError

    monkeypatch.setattr(benching, "measure", measure)
    with pytest.raises(GateshiftError, match="Lower --batch-size"):
        benching.bench(what="train", precision="float32", out=tmp_path, **TINY)


def row_of(case, seconds=1.0):
    names = ("what", "model", "part", "num_segments", "batch_size", "precision", "device")
    figures = {"seconds": seconds, "plain_seconds": 2 * seconds, "ratio": 0.5, "ratio_low": 0.4}
    more = {"ratio_high": 1.6, "clips_per_second": 2.0, "over_tsn": 1.1}
    memory = {"peak_memory": 100 * case.num_segments, "plain_peak_memory": 300 * case.num_segments}
    return {name: getattr(case, name) for name in names} | figures | more | memory


def cases_of(*segments):
    return choose_cases(**ASKED | {"num_segments": ",".join(map(str, segments))})


def test_growth_is_a_power_of_the_segments():
    rows = [row_of(case, seconds=case.num_segments**1.5) for case in cases_of(8, 16, 64)]
    (found,) = benching.growths(rows)
    assert found["num_segments"] == [8, 16, 64]
    assert found["seconds"] == pytest.approx(1.5) and found["peak_memory"] == pytest.approx(1)
    assert benching.growths(rows[:1]) == []
    assert growth([2, 4], [3.0, 3.0]) == pytest.approx(0)


def test_charts_put_figures_where_they_belong():
    rows = [row_of(case, seconds=case.num_segments) for case in cases_of(8, 16)]
    chart = bars(rows)
    assert chart.left < chart.bars[0].low < chart.left + chart.bars[0].width < chart.plain
    assert chart.plain < chart.bars[0].high < chart.right
    (lines,) = growth_charts(rows)
    (first, last), plain = lines.lines["gateshift"], lines.lines["plain"]
    assert first.x < last.x and first.y > last.y > plain[1].y
    assert growth_charts(rows[:1]) == []
