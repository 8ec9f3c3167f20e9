"""Recipes: every one can be trained, and says no more of its accuracy than its source does."""

import io
import json
import math
from dataclasses import replace

import pytest
import torch
from rich.console import Console

from gateshift import cli_tables
from gateshift.data.annotations import write_annotations
from gateshift.data.catalog import DATASETS
from gateshift.data.records import Annotations, VideoRecord
from gateshift.engine.optim import build_optimizer, set_learning_rate
from gateshift.engine.plan import plan_lines
from gateshift.engine.recipes import RECIPES, recipes
from gateshift.engine.run import Run
from gateshift.engine.train import train
from gateshift.errors import UnknownName
from gateshift.models.registry import create_model
from videos import write_frames

SEEN = {  # recipe -> accuracy as its authors' README or issue states it
    "paper": 0.47,
    "gsm_bninception_something-v1_8": 0.47,
    "gsm_inceptionv3_something-v1_8": 0.4901,
    "gsm_inceptionv3_something-v1_12": 0.5158,
    "gsm_inceptionv3_something-v1_16": 0.5063,
    "gsm_inceptionv3_something-v1_24": 0.4963,
    "gsm_inceptionv3_diving48_16": 0.3903,
}
SEEN_GSF = {
    "gsf_bninception_something-v1_16": 0.5063,
    "gsf_inceptionv3_something-v1_16": 0.5313,
    "gsf_resnet50_something-v1_16": 0.5154,
}
SEEN_ELSEWISE = {  # likewise, from another way to train
    "tsm_resnet50_something-v1_8": 0.456,
    "tsm_resnet50_something-v1_16": 0.472,
}
BASELINES = [
    f"tsn_{backbone}_something-v1_{frames}"
    for backbone in ("bninception", "inceptionv3", "resnet50")
    for frames in (8, 16)
] + ["tsm_bninception_something-v1_8", "tsm_bninception_something-v1_16", "gsm_bninception_something-v1_16"]


def build(name):
    """Build the model of a recipe without its tensors."""
    recipe = RECIPES[name]
    num_classes = 174 if recipe.dataset == "any" else DATASETS[recipe.dataset].num_classes
    config = recipe.config
    with torch.device("meta"):
        return create_model(
            config.model,
            num_classes,
            config.num_segments,
            dropout=config.dropout,
            size=config.size or None,
        )


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_can_be_trained(name):
    recipe, config, model = RECIPES[name], RECIPES[name].config, build(name)
    assert recipe.dataset == "any" or recipe.dataset in DATASETS
    size = model.input_spec.size
    logits = model(torch.empty(1, config.num_segments, 3, size, size, device="meta"))
    assert logits.shape == (1, model.head.out_features)
    optimizer = build_optimizer(model, config)
    rates = [set_learning_rate(optimizer, config, epoch) for epoch in range(config.epochs)]
    assert max(rates) == pytest.approx(config.lr)
    assert rates.index(max(rates)) == config.warmup_epochs
    assert all(math.isfinite(rate) and 0 < rate <= config.lr for rate in rates)


@pytest.mark.parametrize("name", [name for name in RECIPES if "_" in name])
def test_a_name_says_model_dataset_and_frames(name):
    recipe = RECIPES[name]
    model, dataset, frames = name.rsplit("_", 2)
    assert (recipe.config.model, recipe.config.num_segments) == (model, int(frames))
    assert recipe.dataset.removesuffix("-v1") == dataset.removesuffix("-v1")


@pytest.mark.parametrize("name", RECIPES)
def test_accuracies_are_those_that_were_published(name):
    recipe = RECIPES[name]
    assert recipe.source
    assert recipe.expected_top1 == (SEEN | SEEN_GSF).get(name)
    assert recipe.published_top1 == (SEEN | SEEN_GSF | SEEN_ELSEWISE).get(name)
    assert bool(recipe.differs) >= (name in SEEN_ELSEWISE)


def test_every_promised_recipe_is_there():
    general = {"finetune", "small-data", "scratch", "shapes"}
    assert {*SEEN, *SEEN_GSF, *SEEN_ELSEWISE, *BASELINES, *general} == set(RECIPES)


@pytest.mark.parametrize("name", SEEN)
def test_gsm_is_trained_as_by_the_released_command(name):
    config = RECIPES[name].config
    assert (config.effective_batch, config.lr, config.epochs, config.warmup_epochs) == (32, 0.01, 60, 10)
    assert (config.weight_decay, config.clip_grad, config.dropout) == (5e-4, 20, 0.5)
    assert (config.optimizer, config.schedule, config.backbone_lr) == ("sgd", "epoch", 1.0)
    assert (config.size, config.partial_bn, config.flip, config.label_smoothing) == (0, False, True, 0)
    assert (config.precision, config.augment) == ("float32", "")


def test_gsf_and_tsm_are_trained_as_their_authors_say():
    gsf = RECIPES["gsf_resnet50_something-v1_16"]
    assert (gsf.config.batch_size, gsf.config.accumulate, gsf.config.precision) == (32, 1, "float16")
    assert (gsf.config.augment, gsf.differs) == ("rand-m9-mstd0.5", "")
    tsm = RECIPES["tsm_resnet50_something-v1_8"]
    assert (tsm.config.batch_size, tsm.config.epochs, tsm.config.lr) == (64, 50, 0.01)
    assert not tsm.config.flip and "20 and 40" in tsm.differs


def test_listing_holds_every_recipe_and_a_pattern_some():
    assert [row["recipe"] for row in json.loads(json.dumps(recipes()))["recipes"]] == list(RECIPES)
    found = [row["recipe"] for row in recipes("gsf_*")["recipes"]]
    assert found == [name for name in RECIPES if name.startswith("gsf_")]
    (row,) = recipes("gsf_resnet50_something-v1_16")["recipes"]
    assert row["published_top1"] == row["expected_top1"] == 0.5154
    (row,) = recipes("tsm_resnet50_something-v1_8")["recipes"]
    assert row["published_top1"] == 0.456 and row["expected_top1"] is None
    with pytest.raises(UnknownName, match="Did you mean paper"):
        recipes("papr")


def shown(answer):
    console = Console(width=80, file=io.StringIO())
    for part in cli_tables.TABLES["recipes"](answer):
        console.print(part)
    return console.file.getvalue().replace("│", " ")


def test_table_has_one_line_for_each_recipe_and_one_alone_shows_all():
    lines = shown(recipes()).splitlines()
    for name in RECIPES:
        assert sum(f" {name} " in line for line in lines) == 1
    assert len(lines) < len(RECIPES) + 8
    (line,) = [line for line in lines if "gsf_resnet50" in line]
    assert "51.54%" in line and "(51.54%)" not in line
    (line,) = [line for line in lines if "tsm_resnet50_something-v1_8" in line]
    assert "(45.6%)" in line
    alone = shown(recipes("gsf_resnet50_something-v1_16"))
    assert "weight_decay" in alone and "rand-m9-mstd0.5" in alone


@pytest.mark.parametrize(
    ("recipe", "dataset", "noted"),
    [
        ("paper", "something-v2", True),
        ("paper", "something-v1", False),
        ("paper", None, False),
        ("finetune", "something-v2", False),
        ("", "something-v2", False),
    ],
)
def test_plan_notes_a_recipe_for_other_data(recipe, dataset, noted, tmp_path):
    videos = (VideoRecord("a", 0), VideoRecord("b", 1))
    annotations = Annotations(tmp_path, ("a", "b"), (), None, "lists", {"train": videos, "val": videos})
    config = RECIPES["finetune"].config
    run = Run(tmp_path, config, tmp_path, replace(annotations, dataset=dataset))
    model = create_model("gsm_resnet18", 2, config.num_segments, size=32)
    lines = plan_lines(run, model, torch.device("cpu"), torch.float32, recipe)
    notes = [text for name, text in lines if name == "note"]
    assert len(notes) == noted
    assert all("made for something-v1" in note and "are of something-v2" in note for note in notes)


@pytest.mark.parametrize(
    ("model", "precision", "hardware", "advised"),
    [
        ("gsm_resnet18", torch.float32, True, True),
        ("gsm_resnet18", torch.float32, False, False),
        ("gsm_resnet18", torch.bfloat16, True, False),
        ("gsm_mobilenet_v2", torch.float32, True, False),  # depthwise convolutions are slow in it
    ],
)
def test_plan_advises_bfloat16_where_it_is_faster(model, precision, hardware, advised, tmp_path, monkeypatch):
    monkeypatch.setattr("gateshift.engine.plan.has_bfloat16", lambda: hardware)
    videos = (VideoRecord("a", 0), VideoRecord("b", 1))
    annotations = Annotations(tmp_path, ("a", "b"), (), None, "lists", {"train": videos, "val": videos})
    run = Run(tmp_path, RECIPES["finetune"].config, tmp_path, annotations)
    lines = dict(plan_lines(run, create_model(model, 2, 2, size=32), torch.device("cpu"), precision))
    assert ("--precision bfloat16" in lines["runs on"]) == advised


def test_train_shows_the_note(tmp_path, monkeypatch):
    splits = {split: tuple(VideoRecord(f"{split}{i}", i) for i in (0, 1)) for split in ("train", "val")}
    for record in (*splits["train"], *splits["val"]):
        write_frames(tmp_path / record.video, 3)
    annotations = Annotations(tmp_path, ("a", "b"), (), None, "lists", splits, dataset="something-v2")
    write_annotations(annotations, tmp_path / "lists")
    notes = []

    def stop_at_the_plan(*plan):
        notes.extend(text for name, text in plan_lines(*plan) if name == "note")
        raise KeyboardInterrupt

    monkeypatch.setattr("gateshift.engine.loop.show_plan", stop_at_the_plan)
    with pytest.raises(KeyboardInterrupt):
        train(
            tmp_path / "lists",
            recipe="paper",
            model="gsm_resnet18",
            pretrained=False,
            size=32,
            out=tmp_path / "run",
            device="cpu",
        )
    assert "The recipe paper was made for something-v1" in notes[0]
