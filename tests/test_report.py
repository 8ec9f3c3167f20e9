"""The report of a run: whole, self-contained, and safe with any class name."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gateshift.data.annotations import write_annotations
from gateshift.data.records import Annotations, VideoRecord
from gateshift.engine.chart import line_chart, nice_ticks
from gateshift.engine.config import TrainConfig
from gateshift.engine.early_stopping import best_epoch
from gateshift.engine.report import mistaken_for, write_report
from gateshift.engine.run import LOG_COLUMNS
from gateshift.engine.worst_clips import Films, worst_clips
from gateshift.errors import DataError
from gateshift.evidence.scores import Scores
from videos import write_video

NASTY = ('<script>alert("x")</script>', "push & pull", "a 'quoted' <b>name</b>")
VOID = {"meta", "link", "br", "img", "input", "hr"}


def write_run(folder: Path, classes=NASTY, *, epochs=3, videos=12) -> Path:
    """Write what a run leaves behind; the first video can be read, the second is damaged, others are gone."""
    rng = np.random.default_rng(0)
    names = tuple(f"{index % len(classes)}/video {index}.mp4" for index in range(videos))
    labels = np.arange(videos) % len(classes)
    logits = rng.normal(size=(videos, len(classes))).astype(np.float32) + 2 * np.eye(len(classes))[labels]
    logits[:2] -= 9 * np.eye(len(classes))[labels[:2]]
    write_video(folder / "videos" / names[0], num_frames=8)
    (folder / "videos" / names[1]).parent.mkdir(parents=True, exist_ok=True)
    (folder / "videos" / names[1]).write_bytes(b"damaged")
    records = tuple(VideoRecord(name, int(label)) for name, label in zip(names, labels, strict=True))
    splits = {"train": records[:1], "val": records}
    write_annotations(
        Annotations(folder / "videos", tuple(classes), (), None, "test", splits), folder / "run" / "data"
    )
    config = TrainConfig(model="gsm_resnet18", epochs=20).to_json()
    extra = {"data": str(folder / "videos"), "classes": classes, "command": "gateshift train 'my <videos>'"}
    (folder / "run" / "config.json").write_text(json.dumps(config | extra))
    Scores(names, labels, logits.astype(np.float32), tuple(classes)).save(folder / "run" / "val_scores.npz")
    rows = [",".join(LOG_COLUMNS)]
    for epoch in range(epochs):
        share = (epoch + 1) / (epochs + 1)
        rows.append(
            f"{epoch + 1},0.01,{2 - share},{share},{2.2 - share},{share * 0.9},1.0,{share},30.5,12.25"
        )
    (folder / "run" / "log.csv").write_text("\n".join(rows) + "\n")
    return folder / "run"


class Page(HTMLParser):
    """Checks that tags are balanced and collects what the page refers to."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.references: list[str] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.references += [value for name, value in attributes if name in ("src", "href")]
        styles = [value for name, value in attributes if name == "style"]
        self.references += [found for style in styles for found in re.findall(r"url\(([^)]*)\)", style)]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.tags.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] not in ("style", "script"):
            self.text += data


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    return Page(write_report(write_run(tmp_path_factory.mktemp("report"))).read_text(encoding="utf-8"))


def test_tags_are_balanced(page):
    assert page.open == []


def test_class_names_are_text_and_never_markup(page):
    assert page.tags.count("script") == 1
    for name in NASTY:
        assert name in page.text


def test_page_asks_no_network_for_anything(page):
    assert page.references
    assert all(reference.startswith("data:") for reference in page.references)


def test_page_holds_numbers_curves_classes_and_clips(page):
    text = re.sub(r"\s+", " ", page.text)
    for part in (
        "top-1 accuracy",
        "1 min 32 s",
        "validation, epoch 3: 67.5%",
        "gateshift train 'my <videos>'",
    ):
        assert part in text
    assert page.tags.count("polyline") == 8  # training and validation twice, and four alone
    assert page.tags.count("circle") == 7 * 3  # this log is of a version that did not count the waiting
    films = [image for image in page.references if image.startswith("data:image/jpeg")]
    assert len(films) == 3  # of the one video that can be read: it is confused, suspect, and among the worst
    assert "video 1.mp4" in text  # damaged: its reason stands in place of its frames


def test_gates_of_the_run_are_shown(tmp_path):
    run = write_run(tmp_path)
    (run / "explain").mkdir()
    Image.new("RGB", (8, 8)).save(run / "explain" / "gates.png")
    references = Page(write_report(run).read_text(encoding="utf-8")).references
    assert len([image for image in references if image.startswith("data:image/png")]) == 1


def test_many_classes_are_drawn(tmp_path):
    classes = tuple(f"Doing something number {index} to something" for index in range(174))
    page = Page(write_report(write_run(tmp_path, classes, videos=400)).read_text(encoding="utf-8"))
    assert page.open == []
    assert "rect" in page.tags
    assert page.tags.count("table") == 1  # the classes


@pytest.mark.parametrize("epochs", [1, 60])
def test_any_number_of_epochs(tmp_path, epochs):
    page = Page(write_report(write_run(tmp_path, epochs=epochs)).read_text(encoding="utf-8"))
    assert page.tags.count("circle") == 7 * epochs


def test_videos_that_have_moved_leave_a_page_without_frames(tmp_path):
    run = write_run(tmp_path)
    (tmp_path / "videos").rename(tmp_path / "elsewhere")
    assert "no longer where" in write_report(run).read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["config.json", "log.csv", "val_scores.npz"])
def test_what_is_no_run_is_refused(tmp_path, name):
    run = write_run(tmp_path)
    (run / name).unlink()
    with pytest.raises(DataError):
        write_report(run)


def test_worst_clips_come_first(tmp_path):
    scores = Scores.load(write_run(tmp_path) / "val_scores.npz")
    clips = worst_clips(scores, Films(None), most=5)
    losses = [clip.loss for clip in clips]
    assert losses == sorted(losses, reverse=True)
    assert clips[0].loss == pytest.approx(-np.log(clips[0].label_probability))
    assert {clip.video for clip in clips[:2]} == set(scores.videos[:2])


def test_best_epoch_is_the_one_whose_weights_are_kept():
    rows = [(0.5, 1.0), (0.75, 0.9), (0.75, 0.8), (0.75, 0.8), (0.5, 0.1)]
    assert best_epoch([{"val_top1": top1, "val_loss": loss} for top1, loss in rows]) == 3


def test_mistaken_for():
    assert mistaken_for([[3, 1, 2], [0, 4, 0], [1, 0, 0]], "abc") == [("c", 2), ("", 0), ("a", 1)]


def test_chart_leaves_out_what_is_not_a_number():
    chart = line_chart("Loss", {"training": [2.0, float("nan"), 1.0]})
    assert [point.title for point in chart.lines["training"]] == [
        "training, epoch 1: 2",
        "training, epoch 3: 1",
    ]
    assert [tick.text for tick in chart.x_ticks] == ["1", "2", "3"]
    assert all(chart.top <= point.y <= chart.bottom for point in chart.lines["training"])


@pytest.mark.parametrize("high", [1e-9, 0.003, 0.7, 1, 2.6, 4.99, 17, 12345.6])
def test_ticks_cover_the_range(high):
    ticks = nice_ticks(0, high)
    assert 3 <= len(ticks) <= 8
    assert ticks[0] == 0
    assert ticks[-1] >= high * 0.999
