from pathlib import Path

import av
import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from browser import needs_browser, use_page
from gateshift.apps.explain import explain
from gateshift.apps.explaining.gate_picture import NEGATIVE, POSITIVE, GateRow, draw_gates
from gateshift.apps.explaining.looking import class_map, evidence, look
from gateshift.data.shapes import CLASSES, render, write_video
from gateshift.data.transforms import normalize
from gateshift.errors import UnknownName, VideoError
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


CPU = torch.device("cpu")


def some_clip():
    return torch.randint(
        0, 256, (4, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )


def test_gates_are_the_modules_own():
    model = small_model("gsm_resnet18")
    seen = look(model, some_clip(), CPU)
    assert len(seen.gates) == 8 and list(seen.closed) == list(seen.gates)
    assert {planes.shape[:2] for planes in seen.gates.values()} == {(2, 4)}
    assert not any(module._forward_pre_hooks for module in model.modules())
    assert not any(getattr(module, "closed", False) for module in model.modules())


def test_shut_gates_are_shown_too():
    seen = look(small_model("gsm_resnet18", open_gates=False), torch.zeros_like(some_clip()), CPU)
    assert all((planes == 0).all() for planes in seen.gates.values())
    for logits in [*seen.closed.values(), seen.all_closed]:
        np.testing.assert_allclose(logits, seen.logits, rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", ["tsn_resnet18", "tsm_resnet18", "gsm_resnet18", "gsf_mobilenet_v2"])
def test_maps_and_frames_add_up_to_what_the_network_says(name):
    """Not an estimate of what matters, but the network's own sum."""
    model = small_model(name).eval()
    nn.init.normal_(model.head.weight)
    nn.init.normal_(model.head.bias)
    seen = look(model, some_clip(), CPU)
    with torch.inference_mode():
        expected = model(normalize(some_clip()[None], model.input_spec))[0].numpy()
    tolerance = 1e-5 * float(np.abs(expected).max())
    np.testing.assert_allclose(seen.logits, expected, rtol=0, atol=tolerance)
    means = seen.maps.mean(axis=(1, 2, 3)) + model.head.bias.detach().numpy()
    np.testing.assert_allclose(means, expected, rtol=0, atol=tolerance)
    label = int(expected.argmax())
    assert evidence(seen, label).mean() == pytest.approx(expected[label] - expected.mean(), abs=tolerance)
    bias = model.head.bias.detach().numpy()
    found = class_map(seen, label).mean() + bias[label] - bias.mean()
    assert found == pytest.approx(expected[label] - expected.mean(), abs=tolerance)


def test_a_network_with_all_gates_closed_does_not_know_the_order_of_frames():
    model = small_model("gsm_resnet18")
    clip = some_clip()
    forward, backward = look(model, clip, CPU), look(model, clip.flip(0), CPU)
    scale = np.abs(forward.logits).max()
    assert np.abs(forward.logits - backward.logits).max() > 1e-3 * scale
    np.testing.assert_allclose(forward.all_closed, backward.all_closed, rtol=0, atol=1e-5 * scale)


def test_a_closed_temporal_shift_is_the_network_without_it():
    torch.manual_seed(0)
    shifting = create_model("tsm_resnet18", 3, 4, size=32)
    plain = create_model("tsn_resnet18", 3, 4, size=32)
    of_names = dict(zip(plain.state_dict(), shifting.state_dict().values(), strict=True))
    plain.load_state_dict(of_names)
    expected = look(plain, some_clip(), CPU)
    found = look(shifting, some_clip(), CPU)
    np.testing.assert_allclose(found.all_closed, expected.logits, rtol=0, atol=1e-6)
    assert expected.all_closed is None and expected.closed == {} and found.gates == {}
    assert not np.allclose(found.logits, expected.logits, atol=1e-6)


def test_colours_follow_the_sign():
    gates = np.zeros((8, 2, 2), dtype=np.float32)
    gates[0], gates[1] = 0.8, -0.8
    sheet = np.asarray(
        draw_gates(np.full((8, 16, 16, 3), 128, np.uint8), [GateRow(gates, ("row",))], "title")
    )
    bottom = sheet[-60, :].astype(int)  # across the row of gates
    near = [np.abs(bottom - colour).sum(axis=1).min() for colour in (POSITIVE, NEGATIVE)]
    assert max(near) < 80


def test_named_classes_are_shown_in_their_order(video, tmp_path):
    save_weights(small_model("gsm_resnet18"), tmp_path / "model.safetensors")
    asked = f"{CLASSES[7]},{CLASSES[2]}"
    answer = explain(tmp_path / "model.safetensors", video, classes=asked, out=tmp_path / "out")
    assert [row["class"] for row in answer["classes"]] == [CLASSES[7], CLASSES[2]]
    assert all(len(row["evidence"]) == 4 for row in answer["classes"])
    assert [row["name"] for row in answer["closed"]][-1] == "all" and len(answer["closed"]) == 9


@pytest.mark.parametrize(("name", "modules"), [("tsn_resnet18", 0), ("tsm_resnet18", 8)])
def test_networks_without_gates_have_what_applies(name, modules, video, tmp_path):
    save_weights(small_model(name), tmp_path / "model.safetensors")
    answer = explain(tmp_path / "model.safetensors", video, out=tmp_path / "out")
    assert answer["modules"] == [] and len(answer["closed"]) == (modules and modules + 1)
    page = (tmp_path / "out" / "index.html").read_text()
    assert ("it looks at frames one by one" in page) == (name == "tsn_resnet18")


def test_the_video_plays_every_frame(video, tmp_path):
    save_weights(small_model("gsm_resnet18"), tmp_path / "model.safetensors")
    answer = explain(tmp_path / "model.safetensors", video, out=tmp_path / "out")
    with av.open(answer["overlay"]) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")
        shown = [frame.to_ndarray(format="rgb24") for frame in container.decode(stream)]
    assert len(shown) == 4 * 5 and shown[0].shape == (284, 4 * 256, 3)  # frames, class, earlier, later
    assert np.abs(shown[0].astype(int) - shown[5]).mean() > 1


def test_refusals(video, tmp_path):
    weights = tmp_path / "model.safetensors"
    save_weights(small_model("gsm_resnet18"), weights)
    with pytest.raises(UnknownName, match="class 'pushing'"):
        explain(weights, video, classes="pushing", out=tmp_path / "out")
    with pytest.raises(VideoError):
        explain(weights, tmp_path / "missing.mp4", out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


@needs_browser
def test_the_page_in_a_browser(video, tmp_path):
    save_weights(small_model("gsm_resnet18"), tmp_path / "model.safetensors")
    answer = explain(tmp_path / "model.safetensors", video, out=tmp_path / "out")
    found = use_page(
        Path(answer["page"]),
        """
        const canvas = document.getElementById("map");
        const picture = () => canvas.toDataURL();
        const set = (id, value) => {
          document.getElementById(id).value = value;
          document.getElementById(id).dispatchEvent(new Event("input"));
        };
        const frame = () => document.getElementById("frame").src;
        const first = [frame(), picture()];
        set("time", 3);
        found.number = document.getElementById("number").textContent;
        found.moved = frame() !== first[0] && picture() !== first[1];
        const before = picture();
        set("layer", document.querySelector("#layer optgroup:last-child option").value);
        found.layers = document.querySelectorAll("#layer option").length;
        found.changed = picture() !== before;
        const bars = () => [...document.querySelectorAll("#evidence button")].map(bar => bar.title).join();
        const said = bars();
        set("class", 2);
        found.other_class = bars() !== said;
        document.querySelectorAll("#evidence button")[1].click();
        found.clicked = document.getElementById("number").textContent;
        const film = document.querySelector("video");
        film.play();
        await new Promise(resolve => film.ontimeupdate = () => film.currentTime > 0.2 && resolve());
        found.played = film.currentTime > 0.2 && film.videoWidth;
        """,
        tmp_path,
    )
    assert found == {
        "errors": [],
        "number": "4 of 4",
        "moved": True,
        "layers": 1 + 5 + 16,
        "changed": True,
        "other_class": True,
        "clicked": "2 of 4",
        "played": 4 * 256,
    }
