"""Inference: what an optimised network says is what the plain one says, however videos come to it."""

import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch.utils.data import Dataset

from gateshift.data.transforms import normalize
from gateshift.engine.device import pick_precision
from gateshift.engine.inference import Inference, clips_at_once, infer
from gateshift.models.registry import create_model
from small_model import save_small_model, small_model
from videos import write_video

CPU = torch.device("cpu")
CLASSES = ("drop", "move left", "move right")


class Noise(Dataset):
    """Videos of two views of noise; the label is the process that made the item."""

    def __init__(self, count, size=32):
        self.count, self.size = count, size

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        shape = (2, 4, 3, self.size, self.size)
        generator = torch.Generator().manual_seed(index)
        return torch.randint(256, shape, generator=generator, dtype=torch.uint8), os.getpid(), index


def ask(model, videos, **changes):
    how = Inference(**({"device": CPU, "workers": 0, "progress": False} | changes))
    return infer(model, videos, len(videos), how, flipped=[False, False], label_swaps={})


def opinionated(name):
    """A network with open gates and batch-norms that do something."""
    torch.manual_seed(0)
    model = create_model(name, 5, 4, size=32).eval()
    torch.nn.init.normal_(model.head.weight)
    for key, tensor in model.state_dict().items():
        if key.endswith(("gate.weight", "running_mean")):
            torch.nn.init.normal_(tensor, std=0.1)
        elif key.endswith("running_var"):
            torch.nn.init.uniform_(tensor, 0.5, 1.5)
    return model


@pytest.mark.parametrize("name", ["tsn_resnet18", "tsm_resnet18", "gsm_resnet18", "gsf_resnet18"])
@pytest.mark.parametrize(("precision", "tolerance"), [("float32", 1e-5), ("bfloat16", 0.03)])
def test_answers_are_those_of_the_plain_network(name, precision, tolerance):
    model, videos = opinionated(name), Noise(3)
    with torch.inference_mode():
        expected = [
            model(normalize(views, model.input_spec)).mean(0).numpy() for views, _, _ in videos_of(videos)
        ]
    found = [answer.logits for answer in ask(model, videos, precision=getattr(torch, precision))]
    largest = np.abs(expected).max()
    np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance * largest)
    assert np.std(expected, axis=0).max() > 100 * 1e-5 * largest  # the videos do differ


def videos_of(videos):
    return [videos[index] for index in range(len(videos))]


def test_network_stays_as_it_is():
    model = small_model(CLASSES).train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    layouts = [parameter.stride() for parameter in model.parameters()]
    ask(model, Noise(3), precision=torch.bfloat16)
    assert model.training and all(parameter.requires_grad for parameter in model.parameters())
    assert [parameter.stride() for parameter in model.parameters()] == layouts
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


@pytest.mark.parametrize(("count", "here"), [(1, True), (2, True), (3, False)])
def test_few_videos_start_no_processes(count, here):
    pids = {answer.label for answer in ask(small_model(CLASSES), Noise(count), workers=1)}
    assert (pids == {os.getpid()}) == here


@pytest.mark.parametrize(
    ("size", "num_segments", "batch_size", "expected"),
    [(224, 8, 8, 1), (224, 64, 8, 1), (112, 8, 8, 2), (112, 8, 1, 1), (48, 8, 8, 8), (48, 8, 100, 14)],
)
def test_a_cpu_takes_few_clips_at_once(size, num_segments, batch_size, expected):
    clips = torch.empty(100, num_segments, 3, size, size, dtype=torch.uint8)
    assert clips_at_once(Inference(CPU, batch_size=batch_size), clips) == expected
    assert clips_at_once(Inference(torch.device("cuda"), batch_size=batch_size), clips) == batch_size


def test_predicting_does_not_wait_for_a_compiler(tmp_path):
    """Importing torch's compiler takes a second, which no prediction needs."""
    save_small_model(tmp_path / "run", CLASSES)
    write_video(tmp_path / "clip.mp4")
    code = (
        "import sys, gateshift; gateshift.predict(*sys.argv[1:], device='cpu'); "
        "sys.exit('torch._dynamo' in sys.modules)"
    )
    subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "run"), str(tmp_path / "clip.mp4")], check=True
    )


def test_labels_may_round_where_figures_may_not(monkeypatch):
    cpu = torch.device("cpu")
    for hardware, rounded in ((True, torch.bfloat16), (False, torch.float32)):
        monkeypatch.setattr("gateshift.engine.device.has_bfloat16", lambda hardware=hardware: hardware)
        assert pick_precision("auto", cpu) == torch.float32
        assert pick_precision("auto", cpu, exact=False) == rounded
        assert pick_precision("float32", cpu, exact=False) == torch.float32
