"""Variants of temporal modules by one text: parsed once, refused clearly, kept by runs and weights."""

import json
from dataclasses import asdict

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

import gateshift
from gateshift.data.shapes import generate
from gateshift.engine.config import TrainConfig
from gateshift.errors import ConfigError, UnknownName
from gateshift.models.registry import create_model
from gateshift.models.temporal_options import parse_options
from gateshift.models.weights import load, save_weights

ALL = "gate=sigmoid, num_modules=5,interleave=off,branch=3x3,channel_ratio=0.5"


def test_a_text_becomes_arguments():
    assert parse_options(ALL) == {
        "gate": "sigmoid",
        "num_modules": 5,
        "interleave": False,
        "branch": "3x3",
        "channel_ratio": 0.5,
    }
    assert parse_options("") == parse_options(" , ") == {}
    assert parse_options("num_modules=all,interleave=on") == {"num_modules": -1, "interleave": True}


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("gates=sigmoid", UnknownName, "temporal option 'gates'. Did you mean gate"),
        ("sigmoid", UnknownName, "temporal option 'sigmoid'"),
        ("gate", ConfigError, "'gate' among the temporal options has no value. Expected gate=tanh, sigmoid"),
        ("gate=", ConfigError, "has no value"),
        ("num_modules=few", ConfigError, "'num_modules=few'.*Expected num_modules=a number from 0, or all"),
        ("num_modules=-1", ConfigError, "'num_modules=-1'"),
        ("interleave=yes", ConfigError, "Expected interleave=on or off"),
        ("gate=tanh,gate=none", ConfigError, "gate comes twice"),
    ],
)
def test_what_is_no_option_is_refused(text, error, message):
    with pytest.raises(error, match=message):
        parse_options(text)
    with pytest.raises(error, match=message):
        TrainConfig(temporal_options=text)


def test_info_shows_where_a_variant_has_its_modules():
    answer = gateshift.info("gsm_bninception", temporal_options="num_modules=2,branch=double_3x3_1")
    names = [point["name"] for point in answer["insertion_points"]]
    assert names == ["inception_5a_double_3x3_1", "inception_5b_double_3x3_1"]
    assert answer["temporal_options"] == "num_modules=2,branch=double_3x3_1"
    with pytest.raises(ConfigError, match="tsm_bninception has no gate"):
        gateshift.info("tsm_bninception", temporal_options="gate=none")


@pytest.fixture
def variant():
    torch.manual_seed(0)
    options = parse_options("gate=none,num_modules=3,interleave=on")
    model = create_model("gsm_resnet18", 3, 2, size=32, **options).eval()
    for name, parameter in model.named_parameters():
        if "gate." in name or "head." in name:
            torch.nn.init.normal_(parameter)
    return model


def test_weights_keep_the_variant(variant, tmp_path):
    back = load(save_weights(variant, tmp_path / "w.safetensors"))
    assert back.spec == variant.spec
    assert back.insertion_points == variant.insertion_points
    x = torch.randn(2, 2, 3, 32, 32)
    with torch.inference_mode():
        assert torch.equal(back(x), variant(x))


def test_weights_from_before_there_were_variants_load(tmp_path):
    model = create_model("gsm_resnet18", 3, 2, size=32)
    path = save_weights(model, tmp_path / "w.safetensors")
    with safe_open(path, "pt") as file:
        metadata = json.loads(file.metadata()["gateshift"])
    for name in ("gate", "branch", "num_modules"):
        del metadata["model"][name]
    old = tmp_path / "old.safetensors"
    save_file(load_file(path), old, {"gateshift": json.dumps(metadata)})
    assert asdict(load(old).spec) == asdict(model.spec)


TINY = {
    "model": "gsm_efficientnet_lite0",
    "pretrained": False,
    "num_segments": 2,
    "size": 32,
    "epochs": 1,
    "warmup_epochs": 0,
    "workers": 0,
    "device": "cpu",
}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tiny") / "data"
    return generate(folder, train_per_class=1, val_per_class=1, test_per_class=1, size=32, num_frames=6)


def test_a_run_trains_and_keeps_its_variant(data, tmp_path, capsys):
    out = tmp_path / "run"
    gateshift.train(data, out=out, temporal_options="gate=sigmoid,num_modules=2", **TINY)
    spec = load(out).spec
    assert (spec.gate, spec.num_modules) == ("sigmoid", 2)
    assert json.loads((out / "config.json").read_text())["temporal_options"] == "gate=sigmoid,num_modules=2"
    said = capsys.readouterr().err
    assert "gate=sigmoid,num_modules=2" in said and "2 temporal modules" in said
    with pytest.raises(ConfigError, match="temporal_options gate=sigmoid,num_modules=2 -> gate=sigmoid"):
        gateshift.train(data, out=out, temporal_options="gate=sigmoid", **TINY)


@pytest.mark.parametrize(
    ("options", "error"),
    [("gate=sigmiod", UnknownName), ("branch=3x3", ConfigError), ("num_modules=99", ConfigError)],
)
def test_a_variant_that_cannot_be_leaves_no_run(data, options, error, tmp_path):
    with pytest.raises(error):
        gateshift.train(data, out=tmp_path / "run", temporal_options=options, **TINY)
    assert not (tmp_path / "run").exists()
