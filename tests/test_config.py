"""Settings out of range are refused before any work, and survive a round trip through JSON."""

import json

import pytest

from gateshift.engine.config import TrainConfig
from gateshift.engine.recipes import RECIPES, recipes
from gateshift.errors import GateshiftError
from gateshift.models.registry import create_model


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"epochs": 0}, "epochs is 0"),
        ({"lr": 0.0}, "lr is 0.0"),
        ({"dropout": 1.0}, "dropout is 1.0"),
        ({"warmup_epochs": 12, "epochs": 12}, "warmup_epochs"),
        ({"optimizer": "adam"}, "Did you mean adamw"),
        ({"val_fraction": 1.0}, "val_fraction"),
        ({"accumulate": 0}, "accumulate"),
    ],
)
def test_bad_values_are_refused(changes, says):
    with pytest.raises(GateshiftError, match=says):
        TrainConfig(**changes)


def test_json_round_trip():
    config = TrainConfig(lr=0.02, seed=3)
    assert TrainConfig.from_json(json.loads(json.dumps(config.to_json()))) == config


def test_changed_keeps_what_is_none():
    assert TrainConfig(lr=0.02).changed({"lr": None, "epochs": 5}) == TrainConfig(lr=0.02, epochs=5)


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_builds(name):
    config = RECIPES[name].config
    model = create_model(config.model, 174, config.num_segments, dropout=config.dropout)
    assert model.num_segments == config.num_segments


def test_the_paper_recipe_is_the_released_command():
    config = RECIPES["paper"].config
    assert (config.effective_batch, config.lr, config.epochs, config.warmup_epochs) == (32, 0.01, 60, 10)
    assert (config.weight_decay, config.clip_grad, config.dropout) == (5e-4, 20, 0.5)


def test_recipes_command_lists_every_recipe():
    assert [row["recipe"] for row in recipes()["recipes"]] == list(RECIPES)
