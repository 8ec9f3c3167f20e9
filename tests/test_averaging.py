"""The average of weights: what it is, that it is what is kept, and that a resume goes on with it."""

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

import gateshift
from gateshift.data.shapes import generate
from gateshift.engine import loop as training
from gateshift.engine.averaging import WeightAverage, decay_at
from gateshift.engine.checkpoint import load_state

TINY = {
    "model": "gsm_resnet18",
    "pretrained": False,
    "num_segments": 2,
    "size": 32,
    "epochs": 2,
    "batch_size": 4,
    "workers": 0,
    "device": "cpu",
    "ema": 0.9,
}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("average") / "data"
    return generate(folder, train_per_class=1, val_per_class=1, test_per_class=1, size=40)


@pytest.fixture(scope="module")
def unbroken(data, tmp_path_factory):
    out = tmp_path_factory.mktemp("average") / "run"
    gateshift.train(data, out=out, **TINY)
    return out


def test_it_is_the_average_of_weights_and_of_statistics():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
    average = WeightAverage(network, 0.6)
    names = [name for name, value in network.state_dict().items() if value.is_floating_point()]
    expected = {name: network.state_dict()[name].clone().double() for name in names}
    for step in range(1, 9):
        network(torch.randn(5, 3))
        with torch.no_grad():
            network[0].weight.normal_()
        average.update(network)
        decay = min(0.6, (1 + step) / (10 + step))
        for name in names:
            expected[name] = decay * expected[name] + (1 - decay) * network.state_dict()[name]
    found = average.network.state_dict()
    for name in names:
        torch.testing.assert_close(found[name].double(), expected[name], rtol=1e-5, atol=1e-6)
    assert found["1.num_batches_tracked"] == 8
    assert decay_at(10**6, 0.6) == 0.6


def test_the_copy_does_not_learn_and_the_network_does_not_notice():
    network = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2)).train()
    average = WeightAverage(network, 0.9)
    assert network.training and not average.network.training
    assert all(parameter.requires_grad for parameter in network.parameters())
    assert not any(parameter.requires_grad for parameter in average.network.parameters())


def test_what_is_kept_is_the_average_and_has_the_accuracy_that_was_logged(unbroken, data):
    state = load_state(unbroken / "last")
    assert state["average"]["steps"] == 6  # 12 videos by 4, two epochs
    last, average = state["model"], state["average"]["network"]
    assert not torch.equal(last["head.weight"], average["head.weight"])
    history = state["position"]["history"]
    kept = load_file(unbroken / "weights.safetensors")
    best = max(history, key=lambda row: (row["val_top1"], -row["val_loss"]))
    if best is history[-1]:
        assert all(torch.equal(kept[name], average[name]) for name in kept)
    tested = gateshift.test(unbroken, data, split="val", workers=0, device="cpu")
    assert tested["top1"] == best["val_top1"]


def test_weights_learn_as_they_do_without(unbroken, data, tmp_path):
    gateshift.train(data, out=tmp_path / "run", **TINY | {"ema": 0.0})
    plain, averaged = (load_state(run / "last") for run in (tmp_path / "run", unbroken))
    assert "average" not in plain
    assert all(torch.equal(plain["model"][name], averaged["model"][name]) for name in plain["model"])


def test_a_stopped_run_goes_on_with_the_same_average(unbroken, data, tmp_path, monkeypatch):
    steps = []

    def stop_in_the_second_epoch(learner, *others):
        steps.append(0)
        if len(steps) == 5:
            raise KeyboardInterrupt
        training_step(learner, *others)

    training_step = training.step_optimizer
    with monkeypatch.context() as patched:
        patched.setattr(training, "SAVE_SECONDS", -1.0)  # after every step
        patched.setattr(training, "step_optimizer", stop_in_the_second_epoch)
        with pytest.raises(KeyboardInterrupt):
            gateshift.train(data, out=tmp_path / "run", **TINY)
    assert load_state(tmp_path / "run" / "last")["average"]["steps"] == 4
    gateshift.train(data, out=tmp_path / "run", **TINY)
    one, other = (load_state(run / "last") for run in (unbroken, tmp_path / "run"))
    assert one["average"]["steps"] == other["average"]["steps"]
    for side in ("model", "average"):
        left, right = (state[side].get("network", state[side]) for state in (one, other))
        assert all(torch.equal(left[name], right[name]) for name in left)
    left, right = (load_file(run / "weights.safetensors") for run in (unbroken, tmp_path / "run"))
    assert all(torch.equal(left[name], right[name]) for name in left)
