"""Settings out of range are refused before any work, and survive a round trip through JSON."""

import json

import pytest

from gateshift.engine.config import TrainConfig
from gateshift.errors import GateshiftError


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


def test_settings_of_an_older_version_are_those_of_today_by_default():
    settings = TrainConfig(lr=0.5).to_json()
    for newer in ("balance", "freeze_epochs", "linear_probe", "layer_decay", "ema", "early_stop", "sync_bn"):
        del settings[newer]
    assert TrainConfig.from_json(settings) == TrainConfig(lr=0.5)
