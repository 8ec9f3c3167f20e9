"""`gateshift report`: of runs and of score files, beside a baseline, and in a browser."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import gateshift
from browser import needs_browser, use_page
from gateshift.data.annotations import read_annotations
from gateshift.data.dataset import EvalViews
from gateshift.data.shapes import generate
from gateshift.engine import survey as surveying
from gateshift.errors import ConfigError, DataError, ScoresMismatch
from gateshift.evidence.confusion import class_order
from gateshift.evidence.label_errors import find_label_errors
from gateshift.evidence.scores import Scores
from made_scores import make_scores
from test_report import Page, write_run


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """Two score files of 600 videos of 60 classes; the first is better."""
    folder = tmp_path_factory.mktemp("scores")
    rng = np.random.default_rng(0)
    labels = np.arange(600) % 60
    for name, share in {"gsm": 0.7, "tsn": 0.3}.items():
        make_scores(rng.random(600) < share, labels, 60, rng).save(folder / f"{name}.npz")
    return folder / "gsm.npz", folder / "tsn.npz"


def test_of_a_score_file_beside_another(pair, tmp_path):
    answer = gateshift.report(pair[0], baseline=pair[1], out=tmp_path / "page.html")
    assert answer["page"] == str(tmp_path / "page.html") and answer["videos"] == 600
    assert answer["gain_interval"][0] < answer["gain"] < answer["gain_interval"][1]
    assert answer["chance"] < 1e-10 and answer["verdict"].startswith("better")
    page = Page((tmp_path / "page.html").read_text(encoding="utf-8"))
    assert page.open == [] and "Beside tsn" in page.text and "Most confused" in page.text
    assert all(reference.startswith("data:") for reference in page.references)
    assert "epoch" not in page.text  # nothing is known of a training


def test_of_a_run_its_page_is_written_again(tmp_path):
    run = write_run(tmp_path)
    answer = gateshift.report(run, baseline=run)
    assert answer["page"] == str(run / "report.html")
    assert answer["verdict"].startswith("no difference") and answer["chance"] == 1.0
    assert "Beside run" in (run / "report.html").read_text(encoding="utf-8")


def test_a_score_file_alone_has_its_page_beside_it(pair):
    assert gateshift.report(pair[0])["page"] == str(pair[0].with_suffix(".html"))


def test_a_baseline_of_other_videos_is_refused_and_nothing_is_written(pair, tmp_path):
    run = write_run(tmp_path)
    with pytest.raises(ScoresMismatch, match="different classes"):
        gateshift.report(run, baseline=pair[0])
    assert not (run / "report.html").exists()


def test_a_directory_without_scores_is_named(tmp_path):
    with pytest.raises(DataError, match=r"holds no val_scores.npz: it is no run"):
        gateshift.report(tmp_path)
    with pytest.raises(DataError, match="no score file"):
        gateshift.report(tmp_path / "gone.npz")


def test_174_classes_and_11522_videos_take_little(tmp_path):
    """Made-up scores: a page of a few hundred kilobytes, far within 60 s and 2 GB."""
    rng = np.random.default_rng(1)
    labels = rng.integers(174, size=11522)
    for name, share in {"gsm": 0.47, "tsn": 0.17}.items():
        make_scores(rng.random(11522) < share, labels, 174, rng).save(tmp_path / f"{name}.npz")
    words = [str(tmp_path / "gsm.npz"), "--baseline", str(tmp_path / "tsn.npz"), "--json"]
    script = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_DATA, (2 * 2**30, 2 * 2**30));"
        "from gateshift.cli import main; main(sys.argv[1:])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, "report", *words], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert json.loads(done.stdout)["videos"] == 11522
    assert (tmp_path / "gsm.html").stat().st_size < 10 * 2**20


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Two runs over the same videos, with gates and without."""
    room = tmp_path_factory.mktemp("trained")
    data = generate(room / "data", train_per_class=1, val_per_class=2, test_per_class=1, size=40)
    for temporal in ("tsn", "gsm"):
        gateshift.train(
            data,
            out=room / temporal,
            model=f"{temporal}_mobilenet_v2",
            pretrained=False,
            num_segments=2,
            size=32,
            epochs=1,
            warmup_epochs=0,
            batch_size=4,
            workers=0,
            device="cpu",
        )
    return room


def test_maps_of_both_runs_and_gates_by_class(trained):
    gateshift.report(trained / "gsm", baseline=trained / "tsn", device="cpu")
    text = (trained / "gsm" / "report.html").read_text(encoding="utf-8")
    page = Page(text)
    assert page.open == [] and "Gates by class" in page.text
    assert text.count('<svg class="map"') == 2
    assert len(re.findall(r'<ellipse class="m\d+"', text)) == 2 * 24


def test_runs_of_one_name_have_a_map_each(trained, tmp_path):
    for side in ("one", "two"):
        shutil.copytree(trained / "tsn", tmp_path / side / "run", symlinks=True)
    page = tmp_path / "page.html"
    gateshift.report(tmp_path / "one" / "run", baseline=tmp_path / "two" / "run", out=page, device="cpu")
    assert page.read_text(encoding="utf-8").count('<svg class="map"') == 2


def test_the_last_audit_is_on_the_page(trained):
    gateshift.test(trained / "tsn", trained / "data", audit=True, workers=0, device="cpu")
    page = Path(gateshift.report(trained / "tsn", map=0)["page"]).read_text(encoding="utf-8")
    assert "It is blind to the order of frames" in page and "bottom right crop" in page
    assert "What its accuracy rests on" not in Path(
        gateshift.report(trained / "gsm", map=0)["page"]
    ).read_text(encoding="utf-8")


def test_a_map_of_fewer_than_no_videos_is_refused(pair):
    with pytest.raises(ConfigError, match="map is -1; it must be at least 0"):
        gateshift.report(pair[0], map=-1)


def test_what_was_gone_through_is_kept_for_these_weights(trained, monkeypatch):
    gateshift.report(trained / "gsm", device="cpu")
    monkeypatch.setattr(surveying, "survey", None)  # would be called again
    gateshift.report(trained / "gsm", device="cpu")
    with pytest.raises(TypeError):
        gateshift.report(trained / "gsm", map=10, device="cpu")


def test_a_survey_has_the_features_that_the_head_sees(trained):
    network = gateshift.load(trained / "gsm")
    views = EvalViews(
        read_annotations(trained / "gsm" / "data"), "val", network.num_segments, network.input_spec
    )
    found = surveying.survey(network, views, [0, 5], torch.device("cpu"))
    scores = Scores.load(trained / "gsm" / "val_scores.npz")
    logits = found.features @ network.head.weight.detach().numpy().T + network.head.bias.detach().numpy()
    expected = scores.logits[[scores.videos.index(name) for name in found.videos]]
    np.testing.assert_allclose(logits, expected, rtol=0, atol=1e-3 * np.abs(expected).max())
    assert found.gates.shape == (2, len(found.modules)) and (found.gates >= 0).all()


def test_without_a_map_nothing_is_gone_through(trained, tmp_path, monkeypatch):
    monkeypatch.setattr(surveying, "survey", None)
    gateshift.report(trained / "tsn", map=0, out=tmp_path / "page.html")
    assert "Videos by their features" not in (tmp_path / "page.html").read_text(encoding="utf-8")


def test_a_run_whose_weights_are_gone_has_a_page_that_says_so(tmp_path):
    page = Page(Path(gateshift.report(write_run(tmp_path))["page"]).read_text(encoding="utf-8"))
    assert "Videos by their features" in page.text and "weights.safetensors" in page.text


@needs_browser
def test_a_browser_finds_no_error_and_does_what_is_clicked(pair, tmp_path):
    gateshift.report(pair[0], baseline=pair[1], out=tmp_path / "page.html")
    found = use_page(
        tmp_path / "page.html",
        """
        const width = () => document.querySelector(".matrix").getBoundingClientRect().width;
        found.before = width();
        document.querySelector('[data-zoom="1.25"]').click();
        found.after = width();
        document.querySelector('button.class[data-class="7"]').click();
        found.marked = document.querySelectorAll(".marked").length;
        found.names = [...document.querySelectorAll("tr.marked td:first-child")].map(cell => cell.innerText);
        const gain = () => [...document.querySelectorAll(".gains tbody tr")].map(
          row => Number(row.cells[4].dataset.value));
        document.querySelectorAll(".gains thead button")[4].click();
        found.gains = gain();
        """,
        tmp_path,
    )
    assert found["errors"] == []
    assert found["after"] == pytest.approx(1.25 * found["before"], rel=1e-3)
    assert found["marked"] == 4 and found["names"] == ["class 7", "class 7"]
    assert found["gains"] == sorted(found["gains"])


@needs_browser
def test_films_play_in_a_browser(tmp_path):
    page = gateshift.report(write_run(tmp_path))["page"]
    found = use_page(
        Path(page),
        """
        const film = document.querySelector(".film");
        const playing = () => getComputedStyle(film).animationName;
        found.before = playing();
        film.click();
        found.after = playing();
        """,
        tmp_path,
    )
    assert found == {"before": "none", "after": "film", "errors": []}


def test_classes_that_are_taken_for_each_other_stand_together():
    rng = np.random.default_rng(2)
    hidden = rng.permutation(24)  # class at each place of a chain, in which neighbours are confused
    confusion = np.zeros((24, 24), int)
    for place, label in enumerate(hidden):
        confusion[label, label] = 50
        for near in (place - 1, place + 1):
            if 0 <= near < 24:
                confusion[label, hidden[near]] = 8
    found = class_order(confusion.tolist())
    assert found in (hidden.tolist(), hidden[::-1].tolist())
    assert sorted(class_order(np.eye(5, dtype=int).tolist())) == [0, 1, 2, 3, 4]


def test_planted_label_errors_are_found_before_what_is_unsure():
    rng = np.random.default_rng(3)
    truth = np.arange(400) % 4
    sure = rng.random(400) < 0.9
    logits = np.where(sure, 4.0, 0.5)[:, None] * np.eye(4)[truth] + rng.normal(0, 0.01, (400, 4))
    labels, planted = truth.copy(), rng.choice(np.flatnonzero(sure), 8, replace=False)
    labels[planted] = (truth[planted] + 2) % 4
    names = tuple(f"{index}.mp4" for index in range(400))
    found = find_label_errors(Scores(names, labels, logits.astype(np.float32), tuple("abcd")), most=8)
    assert {suspect.index for suspect in found} == set(planted.tolist())
    assert all(suspect.suggested == "abcd"[truth[suspect.index]] for suspect in found)
    assert all(suspect.probability > 0.9 > 0.1 > suspect.label_probability for suspect in found)


def test_a_network_that_is_right_suspects_nothing():
    scores = make_scores([True] * 40, np.arange(40) % 4, 4)
    assert find_label_errors(scores) == []
