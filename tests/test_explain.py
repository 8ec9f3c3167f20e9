import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from gateshift.apps.explain import capture_gates, explain
from gateshift.apps.gate_picture import NEGATIVE, POSITIVE, GateRow, draw_gates
from gateshift.data.shapes import CLASSES, render, write_video
from gateshift.errors import GateshiftError, VideoError
from gateshift.models.registry import create_model
from gateshift.models.weights import save_weights
from gateshift.nn import GateShift, GateShiftFuse


def small_model(name, open_gates=True):
    torch.manual_seed(0)
    model = create_model(name, len(CLASSES), 4, size=32)
    model.classes = CLASSES
    for module in model.modules():
        if open_gates and isinstance(module, GateShift | GateShiftFuse):
            nn.init.normal_(module.gate.weight, std=0.1)
    return model


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    path = tmp_path_factory.mktemp("videos") / "clip & <b>.mp4"
    frames, _ = render(CLASSES[0], np.random.default_rng(0), size=48)
    write_video(path, frames)
    return path


@pytest.mark.parametrize("name", ["gsm_resnet18", "gsf_resnet18"])
def test_explain_writes_picture_and_page(name, video, tmp_path):
    weights = tmp_path / "model.safetensors"
    save_weights(small_model(name), weights)
    answer = explain(weights, video, out=tmp_path / "out")
    with Image.open(answer["gates"]) as picture:
        assert picture.width > 600 and picture.height > 400
    page = (tmp_path / "out" / "index.html").read_text()
    assert answer["page"] == str(tmp_path / "out" / "index.html")
    assert "clip &amp; &lt;b&gt;.mp4" in page and "http" not in page and "data:image/png;base64," in page
    assert len(answer["labels"]) == 5 and answer["labels"][0]["label"] in CLASSES
    assert len(answer["modules"]) == 2 * 8  # two gates in each of the 8 residual blocks
    assert all(0 < row["open"] <= row["largest"] < 1 for row in answer["modules"])


def test_captured_gates_are_the_modules_own():
    model = small_model("gsm_resnet18")
    clip = torch.randint(0, 256, (4, 3, 32, 32), dtype=torch.uint8)
    gates, logits = capture_gates(model, clip, torch.device("cpu"))
    assert list(gates) == [point["name"] for point in model.insertion_points] or len(gates) == 8
    assert {planes.shape[:2] for planes in gates.values()} == {(2, 4)}
    assert logits.shape == (len(CLASSES),)
    assert not any(module._forward_pre_hooks for module in model.modules())


def test_shut_gates_are_drawn_too():
    gates, _ = capture_gates(
        small_model("gsm_resnet18", open_gates=False),
        torch.zeros(4, 3, 32, 32, dtype=torch.uint8),
        torch.device("cpu"),
    )
    assert all((planes == 0).all() for planes in gates.values())


def test_colours_follow_the_sign():
    gates = np.zeros((8, 2, 2), dtype=np.float32)
    gates[0], gates[1] = 0.8, -0.8
    sheet = np.asarray(
        draw_gates(np.full((8, 16, 16, 3), 128, np.uint8), [GateRow(gates, ("row",))], "title")
    )
    bottom = sheet[-60, :].astype(int)  # across the row of gates
    near = [np.abs(bottom - colour).sum(axis=1).min() for colour in (POSITIVE, NEGATIVE)]
    assert max(near) < 80


def test_refusals(video, tmp_path):
    weights = tmp_path / "model.safetensors"
    save_weights(small_model("tsn_resnet18"), weights)
    with pytest.raises(GateshiftError, match="no gates.*gsm_"):
        explain(weights, video, out=tmp_path / "out")
    with pytest.raises(VideoError):
        explain(weights, tmp_path / "missing.mp4", out=tmp_path / "out")
    assert not (tmp_path / "out").exists()
