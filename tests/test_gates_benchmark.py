"""The benchmark of gates: what it counts as moving, what it does to batch-norms, and its rows."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from gateshift.data.shapes import CLASSES
from gateshift.models.registry import create_model
from gateshift.models.weights import save_weights
from small_model import save_small_model

FILE = Path(__file__).resolve().parents[1] / "benchmarks" / "gates.py"


@pytest.fixture
def benchmark(monkeypatch):
    monkeypatch.syspath_prepend(FILE.parent)
    import gates

    return gates


def test_gates_on_what_moves_are_apart_from_the_rest(benchmark):
    gates, moving = torch.full((2, 1, 4, 4), -0.25), torch.zeros(1, 8, 8)
    gates[:, 0, 1, 2] = torch.tensor([1.0, -0.5])
    moving[0, 2:4, 4:6] = 1.0
    assert benchmark.on_and_off(gates, moving) == pytest.approx((0.75, 0.25))


def test_of_what_is_smaller_than_a_place_that_place_counts_and_of_nothing_none(benchmark):
    gates, moving = torch.rand(2, 1, 2, 2), torch.zeros(1, 8, 8)
    assert benchmark.on_and_off(gates, moving) is None
    moving[0, 0, 0] = 1.0
    on, off = benchmark.on_and_off(gates, moving)
    size = gates.mean(dim=0)[0]
    assert on == pytest.approx(float(size[0, 0]))
    assert off == pytest.approx(float((size.sum() - size[0, 0]) / 3))


def test_batch_norms_take_the_means_of_all_clips_and_nothing_else_changes(benchmark):
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(2, 3, 1), nn.BatchNorm2d(3), nn.BatchNorm2d(3, affine=False)).eval()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    clips = [torch.randn(1, 2, 4, 4) + 3 for _ in range(2 * benchmark.BATCH)]
    benchmark.measure_norms(network, clips)
    with torch.no_grad():
        seen = network[0](torch.cat(clips))
    torch.testing.assert_close(network[1].running_mean, seen.mean(dim=(0, 2, 3)))
    for name, value in network.state_dict().items():
        if "running" not in name and "tracked" not in name:
            assert torch.equal(value, before[name])
    assert not any(module.training for module in network.modules())


def test_networks_of_one_answer_are_as_good(tmp_path):
    """Neither ever trained: what is printed has every row, and a network beside itself is no better."""
    run, without = save_small_model(tmp_path / "gsm", CLASSES), tmp_path / "tsn"
    network = create_model("tsn_resnet18", len(CLASSES), 4, size=32)
    network.classes = CLASSES
    save_weights(network, without / "weights.safetensors")
    words = [run, "--without", without, "--videos", "1", "--size", "32"]
    done = subprocess.run(
        [sys.executable, FILE, *map(str, words)], capture_output=True, text=True, timeout=300, check=True
    )
    answer = json.loads(done.stdout)
    assert answer["videos"] == len(CLASSES) and len(answer["modules"]) == 8
    assert all(np.isfinite([row["on"], row["off"], *row["interval"]]).all() for row in answer["modules"])
    assert list(answer["top1"]) == ["as it is", "all gates closed", "closed, norms anew", "without gates"]
    assert answer["top1"]["without gates"]["top1"] == 1 / len(CLASSES)  # one class for all
    assert "ratio" in done.stderr and "beside the one without" in done.stderr
