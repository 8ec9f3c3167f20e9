"""Schedule, optimiser groups and partial batch-norm."""

import json
from pathlib import Path

import pytest
import torch
from torch import nn

from gateshift.engine.config import TrainConfig
from gateshift.engine.optim import build_optimizer, freeze_batch_norms, learning_rate, set_learning_rate
from gateshift.models.registry import create_model

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
    assert len(own["params"]) + len(new["params"]) == len(list(model.parameters()))
    gates = [p for n, p in model.named_parameters() if ".temporal." in n]
    heads = [p for n, p in model.named_parameters() if n.startswith("head.")]
    assert {id(p) for p in new["params"]} == {id(p) for p in gates + heads}


def test_partial_bn_freezes_all_2d_norms_but_the_first_and_no_gate():
    model = create_model("gsm_resnet18", 4, 2).train()
    freeze_batch_norms(model)
    norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]
    assert norms[0].training and norms[0].weight.requires_grad
    assert not any(m.training or m.weight.requires_grad for m in norms[1:])
    assert all(m.training for m in model.modules() if isinstance(m, nn.BatchNorm3d))
