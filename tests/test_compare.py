"""Comparing: one training per temporal module, all with the same settings."""

from pathlib import Path

import pytest

from gateshift.apps import compare as comparing
from gateshift.errors import ConfigError, UnknownName
from gateshift.models.registry import create_model
from gateshift.models.weights import save_weights


@pytest.fixture
def trainings(monkeypatch):
    """Replace training by writing an untrained network; return the settings of each call."""
    calls = []

    def train(data, *, out, model, num_segments, size, **settings):
        calls.append({"data": data, "out": out, "model": model, "size": size, **settings})
        weights = save_weights(create_model(model, 3, num_segments, size=size), out / "weights.safetensors")
        return {"weights": str(weights), "best_top1": 0.5, "clips_per_second": 7.0}

    monkeypatch.setattr(comparing, "train", train)
    return calls


def test_one_training_for_each_temporal_module(trainings, tmp_path):
    answer = comparing.compare(
        tmp_path / "data",
        temporal="tsn, gsm,tsn",
        backbone="resnet18",
        out=tmp_path,
        num_segments=4,
        size=32,
        epochs=2,
    )
    tsn, gsm = answer["results"]
    assert set(tsn) == {"temporal", "top1", "params", "macs", "clips_per_second"}
    assert (tsn["temporal"], gsm["temporal"]) == ("tsn", "gsm")
    assert gsm["params"] > tsn["params"]
    assert gsm["macs"] > tsn["macs"]
    assert [call.pop("out") for call in trainings] == [tmp_path / "tsn", tmp_path / "gsm"]
    assert [call.pop("model") for call in trainings] == ["tsn_resnet18", "gsm_resnet18"]
    assert trainings[0] == trainings[1]
    assert trainings[0]["epochs"] == 2


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"temporal": "tsn,gsmm"}, UnknownName, "temporal module 'gsmm'. Did you mean"),
        ({"temporal": " ,"}, ConfigError, "one or more of"),
        ({"backbone": "resnet81"}, UnknownName, "Did you mean"),
    ],
)
def test_bad_names_are_refused_before_any_training(trainings, options, error, message):
    with pytest.raises(error, match=message):
        comparing.compare(Path("data"), **options)
    assert trainings == []
