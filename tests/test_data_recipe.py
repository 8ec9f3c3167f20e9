"""Data that says how it wants to be trained: dataset.json names a recipe, and commands start from it."""

import json
import shlex
from dataclasses import replace
from pathlib import Path

import pytest
import tyro

import gateshift
from gateshift.apps.demo import CONFIG
from gateshift.cli import as_command, spell_switches
from gateshift.data.annotations import read_annotations, write_annotations
from gateshift.data.shapes import generate
from gateshift.engine import train as training
from gateshift.engine.config import TrainConfig
from gateshift.engine.recipes import RECIPES, choose_recipe
from gateshift.engine.run import command_line
from gateshift.errors import DataError, UnknownName


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tiny") / "data"
    return generate(folder, train_per_class=1, val_per_class=1, test_per_class=1, size=32, num_frames=6)


def test_the_embedded_dataset_names_the_recipe_of_the_demo(data):
    assert read_annotations(data).recipe == "shapes"
    assert RECIPES["shapes"].config == CONFIG
    assert (CONFIG.model, CONFIG.size, CONFIG.epochs) == ("gsm_efficientnet_lite0", 48, 5)


def test_lists_keep_the_recipe(data, tmp_path):
    annotations = replace(read_annotations(data), recipe="paper")
    assert read_annotations(write_annotations(annotations, tmp_path / "lists")).recipe == "paper"
    assert choose_recipe(None, tmp_path / "lists") == "paper"
    write_annotations(replace(annotations, recipe=None), tmp_path / "lists")
    assert choose_recipe(None, tmp_path / "lists") == "finetune"


def test_what_is_asked_for_goes_before_what_the_data_says(data, tmp_path):
    assert choose_recipe("scratch", data) == "scratch"
    assert choose_recipe(None, data) == "shapes"
    assert choose_recipe(None, tmp_path) == "finetune"
    with pytest.raises(UnknownName, match="recipe 'scrtch'. Did you mean scratch"):
        choose_recipe("scrtch", data)


@pytest.mark.parametrize("value", ["scrtch", 3])
def test_a_recipe_that_is_none_is_refused_where_it_stands(value, tmp_path):
    (tmp_path / "dataset.json").write_text(json.dumps({"recipe": value}))
    with pytest.raises(DataError, match=r"'recipe' in '.*dataset.json' is .*gateshift recipes"):
        gateshift.train(tmp_path)


def test_training_starts_from_the_recipe_of_the_data_and_says_so(data, tmp_path, capsys):
    small = {"pretrained": False, "num_segments": 2, "size": 32, "epochs": 1, "warmup_epochs": 0}
    gateshift.train(data, out=tmp_path / "run", workers=0, device="cpu", **small)
    written = json.loads((tmp_path / "run" / "config.json").read_text())
    assert TrainConfig.from_json(written) == replace(RECIPES["shapes"].config, **small)
    assert "shapes, as dataset.json says" in capsys.readouterr().err


@pytest.mark.parametrize(
    "config",
    [
        TrainConfig(),
        RECIPES["shapes"].config,
        RECIPES["finetune"].config,
        TrainConfig(partial_bn=True, flip=False),
    ],
)
@pytest.mark.parametrize("named", ["shapes", None])
def test_the_command_of_a_run_gives_its_settings(config, named, tmp_path, monkeypatch):
    """Also those that are a default of TrainConfig and not of the recipe that a bare command takes."""
    (tmp_path / "dataset.json").write_text(json.dumps({"recipe": named}))
    start = RECIPES[choose_recipe(None, tmp_path)].config
    words = shlex.split(command_line(config, tmp_path, tmp_path / "run", start))
    seen = []
    monkeypatch.setattr(training, "train_config", lambda config, *args, **options: seen.append(config) or {})
    tyro.cli(as_command(training.train), args=spell_switches(training.train, words[2:]))
    assert seen == [config]
    assert Path(words[2]) == tmp_path
