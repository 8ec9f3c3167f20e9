"""The learning-rate range test: what follows from a curve, and a sweep over real batches."""

import json
import math

import pytest

import gateshift
from gateshift import cli_tables
from gateshift.apps import find_lr as app
from gateshift.apps.find_lr_page import rate_chart
from gateshift.data.shapes import generate
from gateshift.errors import ConfigError, GateshiftError

TINY = {
    "model": "gsm_resnet18",
    "pretrained": False,
    "num_segments": 4,
    "size": 32,
    "batch_size": 4,
    "accumulate": 2,
    "steps": 20,
    "workers": 0,
    "device": "cpu",
}
RATES = [10 ** (-6 + step * 6 / 99) for step in range(100)]


def valley(rate, best=-2.0):
    """A loss that falls to its least at ``best`` and then rises steeply, over the logarithm of the rate."""
    at = math.log10(rate)
    return 2.5 - 1.5 / (1 + math.exp(-4 * (at - best + 1))) + math.exp(3 * (at - best - 0.5))


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rates") / "data"
    return generate(folder, train_per_class=1, val_per_class=1, test_per_class=1, size=40)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("swept")


@pytest.fixture(scope="module")
def answer(data, folder):
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.chdir(folder)
        return gateshift.find_lr(data, **TINY, highest=10.0)


def test_the_proposal_lies_below_the_turning_point_and_above_what_teaches_nothing():
    found = app.propose(RATES, [valley(rate) for rate in RATES])
    assert 1e-3 < found["steepest"] < found["turning"] < 3e-2
    assert found["lr"] == pytest.approx(found["turning"] / app.BELOW, rel=0.05)


def test_a_curve_that_ends_in_no_number_or_well_above_its_least_has_turned():
    losses = [valley(rate) for rate in RATES[:80]]
    found = app.propose(RATES, [*losses, math.nan])
    assert found["turned"] and len(found["steps"]) == 80
    json.dumps(found, allow_nan=False)
    assert app.propose(RATES, [valley(rate) for rate in RATES])["turned"]
    assert not app.propose(RATES[:70], [valley(rate) for rate in RATES[:70]])["turned"]


def test_a_loss_that_only_rises_is_refused_with_what_to_change():
    with pytest.raises(GateshiftError, match=r"fell at no learning rate.*--lowest"):
        app.propose(RATES, [2 + step / 50 for step in range(100)])


def test_a_sweep_writes_its_page_and_nothing_else(answer, folder):
    assert answer["page"] == "rates/data-gsm_resnet18.html"
    assert [path for path in folder.rglob("*") if path.is_file()] == [folder / answer["page"]]
    page = (folder / answer["page"]).read_text(encoding="utf-8")
    assert f"--lr {answer['lr']:g}" in page and "<polyline" in page
    assert [step["lr"] for step in answer["steps"][:2]] == pytest.approx([1e-6, 1e-6 * 1e7 ** (1 / 19)])
    assert 1e-6 < answer["lr"] < 1
    json.dumps(answer, allow_nan=False)
    assert any("proposed" in str(part) for part in cli_tables.find_lr_table(answer))


def test_a_sweep_is_the_same_again(answer, data, tmp_path):
    again = gateshift.find_lr(data, **TINY, highest=10.0, out=tmp_path / "again.html")
    assert again["steps"] == answer["steps"]


def test_a_loss_that_is_no_number_at_the_start_is_refused(data, tmp_path, monkeypatch):
    monkeypatch.setattr(app, "window_loss", lambda *_: math.nan)
    with pytest.raises(GateshiftError, match="loss is nan at the first step"):
        gateshift.find_lr(data, **TINY, out=tmp_path / "page.html")
    assert not (tmp_path / "page.html").exists()


@pytest.mark.parametrize("changes", [{"steps": 5}, {"lowest": 0.0}, {"lowest": 1.0, "highest": 0.1}])
def test_a_sweep_that_cannot_be_is_refused(tmp_path, changes):
    with pytest.raises(ConfigError, match=r"rates grow from lowest"):
        gateshift.find_lr(tmp_path, **{**TINY, **changes})


def test_the_chart_cuts_off_the_explosion_and_marks_the_rates():
    steps = [
        {"lr": rate, "loss": loss, "smoothed": loss}
        for rate, loss in zip(RATES, map(valley, RATES), strict=True)
    ]
    chart = rate_chart(steps, {"proposed": 1e-3, "elsewhere": 10.0})
    assert [words for _, words in chart.marks] == ["proposed 0.001"]
    assert all(chart.top - 1 <= y <= chart.bottom + 1 for _, y, _ in chart.points)
    assert len(chart.points) < len(steps)
    assert [tick.text for tick in chart.x_ticks] == ["1e-6", "1e-5", "1e-4", "1e-3", "1e-2", "1e-1", "1e0"]
