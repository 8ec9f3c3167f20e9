"""Layers that stay as they are: for the first epochs, or but for the head to the end."""

import os
import signal
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

import gateshift
from gateshift.data.shapes import generate
from gateshift.engine import loop
from gateshift.engine.checkpoint import load_state
from gateshift.engine.config import TrainConfig
from gateshift.engine.freezing import choose_learning, hold_norms, is_inherited
from gateshift.errors import ConfigError
from gateshift.models.registry import create_model
from test_train import TINY, assert_same_run, command

FROZEN = {**TINY, "epochs": 3, "freeze_epochs": 2, "lr": 1e-2}
STEM = "backbone.conv1.weight"


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return generate(
        tmp_path_factory.mktemp("frozen") / "data",
        train_per_class=1,
        val_per_class=1,
        test_per_class=1,
        size=40,
    )


def states_by_epoch(monkeypatch):
    """Keep what the network is at the end of each epoch."""
    states, close = [], loop.close_epoch

    def close_and_keep(learner, position, *rest):
        states.append({name: tensor.clone() for name, tensor in learner.model.state_dict().items()})
        return close(learner, position, *rest)

    monkeypatch.setattr(loop, "close_epoch", close_and_keep)
    return states


def moved(before, after):
    return {name for name in before if not torch.equal(before[name], after[name])}


@pytest.fixture(scope="module")
def unbroken(data, tmp_path_factory):
    out = tmp_path_factory.mktemp("unbroken") / "run"
    with pytest.MonkeyPatch.context() as monkeypatch:
        states = states_by_epoch(monkeypatch)
        gateshift.train(data, out=out, **FROZEN)
    return out, states


def test_the_backbone_stays_as_it_is_for_the_first_epochs_and_then_learns(unbroken):
    _, states = unbroken
    assert len(states) == 3
    while_frozen = moved(states[0], states[1])
    assert while_frozen
    assert not any(is_inherited(name) for name in while_frozen)
    assert any(".temporal.norm.running_mean" in name for name in while_frozen)
    assert all(name in moved(states[1], states[2]) for name in states[0])
    torch.manual_seed(0)
    fresh = create_model("gsm_resnet18", 6, 4, size=32).state_dict()
    assert all(torch.equal(fresh[name], states[1][name]) for name in fresh if is_inherited(name))


@pytest.mark.parametrize("window", [3, 5], ids=["frozen", "unfrozen"])
def test_a_run_stopped_in_either_phase_resumes_to_the_same_end(unbroken, data, tmp_path, monkeypatch, window):
    steps, step = [], loop.step_optimizer

    def step_and_stop(*given):
        step(*given)
        steps.append(len(steps))
        if len(steps) == window:
            os.kill(os.getpid(), signal.SIGTERM)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(loop, "step_optimizer", step_and_stop)
        gateshift.train(data, out=tmp_path / "run", **FROZEN)
    position = load_state(tmp_path / "run/last")["position"]
    assert (position["epoch"] < 2) == (window == 3)
    gateshift.train(data, out=tmp_path / "run", **FROZEN)
    assert_same_run(unbroken[0], tmp_path / "run")


def test_a_linear_probe_moves_the_head_alone(data, tmp_path, monkeypatch):
    states = states_by_epoch(monkeypatch)
    gateshift.train(data, out=tmp_path / "run", **{**TINY, "epochs": 2, "lr": 1e-2}, linear_probe=True)
    assert moved(states[0], states[-1]) == {"head.weight", "head.bias"}
    optimizer = load_state(tmp_path / "run/last")["optimizer"]
    assert [len(group["params"]) for group in optimizer["param_groups"]] == [2]


def test_nothing_is_kept_for_a_backward_pass_below_the_lowest_layer_that_learns():
    model = create_model("gsm_resnet18", 4, 2, num_modules=2).train()
    config = TrainConfig(model="gsm_resnet18", freeze_epochs=1)
    assert choose_learning(model, config, epoch=0)
    assert not choose_learning(model, config, epoch=0)
    wants = {}
    for name in ("layer3", "layer4"):
        model.backbone.get_submodule(name).register_forward_hook(
            lambda _module, _inputs, maps, name=name: wants.update({name: maps.requires_grad})
        )
    hold_norms(model)
    model(torch.zeros(1, 2, 3, 32, 32)).sum().backward()
    assert wants == {"layer3": False, "layer4": True}
    assert model.get_parameter(STEM).grad is None
    assert choose_learning(model, config, epoch=1)
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_partial_bn_holds_also_after_the_backbone_is_let_go():
    model = create_model("gsm_resnet18", 4, 2).train()
    config = TrainConfig(partial_bn=True, freeze_epochs=1)
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    for epoch, first in ((0, False), (1, True)):
        choose_learning(model, config, epoch)
        model.train()
        hold_norms(model)
        assert norms[0].training == norms[0].weight.requires_grad == first
        assert not any(norm.training or norm.weight.requires_grad for norm in norms[1:])
        assert all(module.training for module in model.modules() if isinstance(module, nn.BatchNorm3d))


@pytest.mark.slow
def test_two_processes_freeze_and_let_go_together(data, tmp_path):
    out = tmp_path / "run"
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    changes = {"freeze_epochs": 1, "epochs": 2, "lr": 1e-2, "warmup_epochs": 0}
    words = command(data, out, **changes)[1:]  # "-m gateshift ..."
    done = subprocess.run(
        [*launcher, *words],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    torch.manual_seed(0)
    fresh = create_model("gsm_resnet18", 6, 4, size=32).state_dict()
    last = load_state(out / "last")["model"]
    assert all(name in moved(fresh, last) for name in fresh if name.endswith("weight"))
    assert load_file(out / "weights.safetensors")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"linear_probe": True, "freeze_epochs": 1}, "linear_probe freezes the backbone to the end"),
        ({"linear_probe": True, "layer_decay": 0.5}, "linear_probe freezes the backbone to the end"),
        ({"epochs": 3, "freeze_epochs": 4}, r"freeze_epochs \(4\) is more than epochs \(3\)"),
        ({"layer_decay": 0.0}, "layer_decay is 0.0"),
        ({"layer_decay": 1.5}, "layer_decay is 1.5"),
        ({"freeze_epochs": -1}, "freeze_epochs is -1"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        TrainConfig(**settings)
