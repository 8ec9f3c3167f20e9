"""The two sides of a case: what they run on, how they are timed and weighed, and the machine they run on."""

from functools import partial

import pytest
import torch
from torch import nn

from gateshift.apps import bench as benching
from gateshift.apps.measuring import hardware, memory, steps
from gateshift.apps.measuring.cases import Case
from gateshift.apps.measuring.plain_clips import PlainClips
from gateshift.apps.measuring.reading import as_files, cut_frames, draw, find_readable
from gateshift.apps.measuring.timing import Ratio, in_turns, paired
from gateshift.data.dataset import TrainClips
from gateshift.data.transforms import normalize, train_transform
from gateshift.engine import machine
from gateshift.errors import DataError, GateshiftError
from gateshift.models.backbones import BACKBONES
from gateshift.nn import GateShift

CASE = Case(
    what="train",
    model="gsm_resnet18",
    num_segments=2,
    batch_size=2,
    precision="float32",
    device="cpu",
    size=32,
)


def test_turns_alternate_and_short_routes_are_repeated():
    called, rounds = [], []
    routes = {name: partial(called.append, name) for name in "ab"}
    seconds = in_turns(routes, 2, settle=lambda: None, advance=lambda: rounds.append(len(called)))
    assert len(rounds) == 3 and {len(times) for times in seconds.values()} == {2}
    warm, first, second = called[: rounds[0]], called[rounds[0] : rounds[1]], called[rounds[1] :]
    assert warm == ["a", "a", "b", "b"]
    assert first == ["a"] * 100 + ["b"] * 100 and second == first[::-1]


def test_ratios_are_of_pairs():
    assert paired([1.0, 10.0, 100.0], [2.0, 20.0, 100.0]) == Ratio(0.5, 0.5, 0.75)
    assert paired([1.0], [4.0]) == Ratio(0.25, 0.25, 0.25)


@pytest.mark.parametrize("side", [steps.train_ours, steps.train_plain])
def test_a_training_step_learns(side, monkeypatch):
    monkeypatch.setattr(steps, "LR", 0.01)
    losses = []
    cross_entropy = torch.nn.functional.cross_entropy

    def listen(*args, **kwargs):
        losses.append(cross_entropy(*args, **kwargs))
        return losses[-1]

    monkeypatch.setattr(torch.nn.functional, "cross_entropy", listen)
    step = side(CASE)
    for _ in range(4):
        step()
    assert losses[-1] < losses[0]


def test_the_plain_side_is_the_plain_network(monkeypatch):
    seen = []
    build = steps.create_model
    monkeypatch.setattr(
        steps, "create_model", lambda *args, **kwargs: seen.append(build(*args, **kwargs)) or seen[-1]
    )
    steps.train_plain(CASE)()
    steps.infer_plain(CASE)()
    for network in seen:
        assert type(network.get_submodule("backbone.layer1.0.conv2.temporal").gate) is nn.Conv3d
        for module in network.modules():
            assert not getattr(module, "fast", False) and not getattr(module, "fast_gates", False)
            if isinstance(module, nn.Conv2d):
                assert module.weight.is_contiguous() and module.weight.dtype is torch.float32


def test_both_sides_of_modules_are_the_chosen_ones():
    case = Case(**vars(CASE) | {"what": "module", "part": "64 x 8 x 8", "precision": "bfloat16"})
    modules = steps._modules(case)
    assert len(modules) == 2 and all(isinstance(module, GateShift) for module in modules)
    steps.module_ours(case)()
    steps.module_plain(case)()


class Growing:
    """A step that holds 64 MB while it runs, beside 16 MB that were there before."""

    def __init__(self):
        self.there = torch.ones(4 << 20)

    def __call__(self):
        torch.ones(16 << 20)


def test_peak_memory_is_what_a_step_adds():
    peak = memory.peak_of(Growing, torch.device("cpu"))
    assert peak is None or peak == pytest.approx(64 << 20, rel=0.1)


def test_peak_memory_is_of_both_sides(monkeypatch):
    sides = []
    monkeypatch.setattr(benching, "peak_of", lambda build, device: sides.append(build) or len(sides))
    assert benching.peak_memory(CASE) == (1, 2)
    assert [side.func for side in sides] == [steps.train_ours, steps.train_plain]


def die():
    raise SystemExit(9)


class Deadly:
    """A process that takes this from the queue ends without a word."""

    def __reduce__(self):
        return die, ()


def test_a_killed_process_says_so():
    with pytest.raises(GateshiftError, match="was killed"):
        memory.peak_of(Deadly(), torch.device("cpu"))


def test_reading_the_plain_way_is_the_same_clip(tmp_path):
    videos = draw(str(tmp_path), 2)
    assert find_readable(tmp_path / "videos", 9) == videos
    spec = BACKBONES["bninception"].input_spec.with_size(64)
    for annotations in (cut_frames(videos, tmp_path / "frames"), as_files(videos)):
        ours = TrainClips(annotations, "train", 4, train_transform(spec, {}), seed=0)
        plain = PlainClips(ours, spec)
        for i in range(2):
            there = plain[i][0].unflatten(0, (4, 3))
            assert (normalize(ours[i][0], spec)[0] - there).abs().mean() < 1  # grey level: Pillow rounds


def test_folder_without_readable_videos_is_refused(tmp_path):
    (tmp_path / "broken.mp4").write_bytes(b"no video")
    with pytest.raises(DataError, match="holds no video file of 32 frames"):
        find_readable(tmp_path, 3)


def test_hardware_is_known_from_what_linux_says(tmp_path, monkeypatch):
    info = tmp_path / "cpuinfo"
    info.write_text(
        "model name\t: Some CPU\nflags\t\t: fpu avx2 avx512_bf16 amx_bf16\n\nmodel name\t: other\n"
    )
    monkeypatch.setattr(machine, "CPUINFO", info)
    found = hardware.hardware(torch.device("cpu"))
    assert found["cpu"] == "Some CPU" and found["flags"] == ["avx2", "avx512_bf16", "amx_bf16"]
    assert machine.describe(found).startswith("Some CPU, ")
    monkeypatch.setattr(machine, "CPUINFO", tmp_path / "none")
    assert hardware.hardware(torch.device("cpu"))["cpu"]
