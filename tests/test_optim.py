"""Schedule, optimiser groups and partial batch-norm."""

import json
from collections import Counter
from fnmatch import fnmatchcase
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from torch import nn

from gateshift.engine.config import TrainConfig
from gateshift.engine.freezing import choose_learning, hold_norms, is_inherited
from gateshift.engine.optim import build_optimizer, current_rate, learning_rate, set_learning_rate
from gateshift.models.backbones import BACKBONES
from gateshift.models.registry import MODELS, create_model, list_models

GOLDEN = json.loads((Path(__file__).parent / "golden" / "lr_schedule.json").read_text())


@pytest.mark.parametrize("epoch", range(GOLDEN["epochs"]))
def test_schedule_is_the_released_one(epoch):
    expected = GOLDEN["lr"][epoch]
    given = learning_rate(
        epoch, lr=GOLDEN["base_lr"], warmup_epochs=GOLDEN["warmup_epochs"], epochs=GOLDEN["epochs"]
    )
    assert given == pytest.approx(expected, rel=1e-12)


def test_schedule_by_epoch_holds_within_an_epoch_and_by_step_does_not():
    optimizer = torch.optim.SGD([{"params": [nn.Parameter(torch.zeros(1))], "factor": 0.5}], lr=1.0)
    config = TrainConfig(epochs=10, warmup_epochs=2, lr=0.1, schedule="epoch")
    assert set_learning_rate(optimizer, config, 3.9) == set_learning_rate(optimizer, config, 3.0)
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.5 * set_learning_rate(optimizer, config, 3.0))
    stepping = TrainConfig(epochs=10, warmup_epochs=2, lr=0.1, schedule="step")
    assert set_learning_rate(optimizer, stepping, 3.9) < set_learning_rate(optimizer, stepping, 3.0)


def test_no_warm_up_starts_at_the_full_rate():
    assert learning_rate(0, lr=0.1, warmup_epochs=0, epochs=5) == pytest.approx(0.1)


def test_every_parameter_is_in_one_group_and_gates_are_not_the_backbones_own():
    model = create_model("gsm_resnet18", 4, 2)
    optimizer = build_optimizer(model, TrainConfig(backbone_lr=0.1))
    own, new = optimizer.param_groups
    assert (own["factor"], new["factor"]) == (0.1, 1.0)
    assert len(own["params"]) + len(new["params"]) == len(list(model.parameters()))
    gates = [p for n, p in model.named_parameters() if ".temporal." in n]
    heads = [p for n, p in model.named_parameters() if n.startswith("head.")]
    assert {id(p) for p in new["params"]} == {id(p) for p in gates + heads}


def test_gates_and_the_backbone_move_at_rates_of_their_own():
    model = create_model("gsm_resnet18", 4, 2)
    optimizer = build_optimizer(model, TrainConfig(backbone_lr=0.1, gate_lr=0.01))
    groups = {group["factor"]: {id(p) for p in group["params"]} for group in optimizer.param_groups}
    gates = {id(p) for n, p in model.named_parameters() if ".temporal." in n}
    assert groups[0.01] == gates and groups[1.0] == {id(p) for p in model.head.parameters()}
    assert set(groups) == {0.1, 1.0, 0.01}
    set_learning_rate(optimizer, TrainConfig(lr=0.5, warmup_epochs=0), 0)
    assert current_rate(optimizer) == 0.5


def test_what_has_no_gates_has_no_rate_of_theirs():
    optimizer = build_optimizer(create_model("s3d_resnet18", 4, 2), TrainConfig(gate_lr=0.01))
    assert [group["factor"] for group in optimizer.param_groups] == [1.0]


def test_partial_bn_freezes_all_2d_norms_but_the_first_and_no_gate():
    model = create_model("gsm_resnet18", 4, 2).train()
    choose_learning(model, TrainConfig(partial_bn=True), epoch=0)
    hold_norms(model)
    norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]
    assert norms[0].training and norms[0].weight.requires_grad
    assert not any(m.training or m.weight.requires_grad for m in norms[1:])
    assert all(m.training for m in model.modules() if isinstance(m, nn.BatchNorm3d))


def test_with_layer_decay_each_stage_learns_slower_than_the_next_and_modules_and_head_in_full():
    model = create_model("gsm_resnet18", 4, 2)
    optimizer = build_optimizer(model, TrainConfig(backbone_lr=0.1, layer_decay=0.5, lr=1.0, warmup_epochs=0))
    set_learning_rate(optimizer, TrainConfig(lr=1.0, warmup_epochs=0), 0)
    rates = {id(parameter): group["lr"] for group in optimizer.param_groups for parameter in group["params"]}
    given = {name: rates[id(parameter)] for name, parameter in model.named_parameters()}
    assert given["head.weight"] == given["backbone.layer1.0.conv2.temporal.gate.weight"] == 1.0
    first = ("conv1.weight", "layer1.0.conv1.weight", "layer2.1.bn2.bias", "layer3.0.conv2.conv.weight")
    steps = [given[f"backbone.{name}"] for name in (*first, "layer4.0.downsample.0.weight")]
    assert steps == pytest.approx([0.1 * 0.5**4, 0.1 * 0.5**3, 0.1 * 0.5**2, 0.1 * 0.5, 0.1])


@pytest.mark.parametrize("name", list_models("ts[nm]_*") + list_models("gs?_*") + list_models("[cs]3d_*"))
def test_every_parameter_of_a_backbone_is_in_one_of_its_five_stages_in_order(name):
    with torch.device("meta"):
        model = create_model(name, 4, 2)
    backbone = BACKBONES[MODELS[name].backbone]
    own = [name.removeprefix("backbone.") for name, _ in model.named_parameters() if is_inherited(name)]
    stages = [backbone.stage_of(name) for name in own]
    assert set(stages) == set(range(5))
    for parameter in own:
        hits = [patterns for patterns in backbone.stages if any(fnmatchcase(parameter, p) for p in patterns)]
        assert len(hits) == 1, parameter
    optimizer = build_optimizer(model, TrainConfig(model=name, layer_decay=0.5))
    assert [group["factor"] for group in optimizer.param_groups] == [1 / 16, 1 / 8, 1 / 4, 1 / 2, 1]


@pytest.mark.parametrize("name", list_models("tsn_*"))
def test_the_maps_of_a_stage_have_half_the_side_of_those_before_it(name):
    model = create_model(name, 4, 1).eval()
    backbone = BACKBONES[MODELS[name].backbone]
    sides = [Counter() for _ in backbone.stages]
    for layer, module in model.backbone.named_modules():
        if isinstance(module, nn.Conv2d):
            seen = sides[backbone.stage_of(f"{layer}.weight")]
            module.register_forward_hook(lambda _module, _inputs, y, seen=seen: seen.update([y.shape[-1]]))
    with torch.no_grad():
        model(torch.zeros(1, 1, 3, 128, 128))
    usual = [seen.most_common(1)[0][0] for seen in sides]
    assert all(0.3 < after / before < 0.6 for before, after in pairwise(usual)), usual
