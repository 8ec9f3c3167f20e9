"""The main job, whole: the embedded dataset, both networks, and what is left behind."""

import json

import numpy as np
import pytest

import gateshift
from gateshift.apps.demo import pairs_top1
from gateshift.data.shapes import CLASSES, PAIRS
from gateshift.errors import ConfigError
from gateshift.evidence.scores import Scores


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_gate_shift_sees_what_an_order_blind_network_cannot(tmp_path):
    answer = gateshift.demo(out=tmp_path / "demo", seed=2, device="cpu")
    assert answer["gsm"]["top1"] >= 0.90
    assert answer["tsn"]["top1"] <= 0.55
    assert json.loads((tmp_path / "demo" / "results.json").read_text()) == answer
    assert answer["predictions"][0]["error"] is None
    page = (tmp_path / "demo" / "report.html").read_text(encoding="utf-8")
    assert page.count("<video") == len(CLASSES) + 1
    for link in ("tsn/report.html", "gsm/report.html", "explain/index.html"):
        assert link in page
        assert (tmp_path / "demo" / link).exists()


def test_the_right_pair_counts_whichever_direction():
    there, back = (CLASSES.index(name) for name in PAIRS[0])
    other = CLASSES.index(PAIRS[1][0])
    logits = np.eye(len(CLASSES), dtype=np.float32)[[there, back, other]]
    scores = Scores(("a", "b", "c"), np.array([there, there, there]), logits, CLASSES)
    assert pairs_top1(scores) == pytest.approx(2 / 3)


def test_no_time_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="minutes is 0"):
        gateshift.demo(out=tmp_path, minutes=0)
