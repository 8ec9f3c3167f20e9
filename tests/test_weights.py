"""Weights files, ImageNet weights and the authors' checkpoints: what comes back, and what is refused."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from gateshift.apps.convert import convert
from gateshift.errors import ConfigError, UnknownName, WeightsError
from gateshift.models import imagenet, weights
from gateshift.models.backbones import BACKBONES
from gateshift.models.classifier import VideoClassifier
from gateshift.models.registry import create_model

CLASSES = ("left", "right", "none of the two, with ünïcode")


@pytest.fixture(scope="module")
def model() -> VideoClassifier:
    torch.manual_seed(0)
    model = create_model("gsf_resnet18", 3, 4, dropout=0.2, channel_ratio=0.5, size=64)
    model.classes = CLASSES
    return model.eval()


@pytest.fixture
def path(model: VideoClassifier, tmp_path: Path) -> Path:
    return weights.save_weights(model, tmp_path / "new" / "weights.safetensors", accuracy={"top1": 0.5})


def test_a_saved_model_comes_back_as_it_was(model: VideoClassifier, path: Path) -> None:
    loaded = weights.load(path)
    assert not loaded.training
    assert loaded.spec == model.spec
    assert loaded.classes == CLASSES
    assert loaded.input_spec == model.input_spec
    assert all(parameter.requires_grad for parameter in loaded.parameters())
    clips = torch.randn(2, 4, 3, 64, 64)
    with torch.inference_mode():
        assert torch.equal(loaded(clips), model(clips))
    assert list(path.parent.iterdir()) == [path]


def test_metadata_says_where_weights_come_from(model: VideoClassifier, tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    weights.save_weights(model, path, recipe="quick", accuracy={"top1": 0.25}, trained_on="something-v1")
    metadata = weights.read_metadata(path)
    assert metadata["recipe"] == "quick"
    assert metadata["accuracy"] == {"top1": 0.25}
    assert metadata["trained_on"] == "something-v1"
    assert metadata["model"]["name"] == "gsf_resnet18"


def test_a_run_directory_is_its_weights(model: VideoClassifier, path: Path) -> None:
    assert weights.load(path.parent).spec == model.spec
    assert weights.load(str(path.parent), num_segments=4).num_segments == 4


def no_such(path: Path) -> Path:
    return path / "runs" / "mine"


def not_safetensors(path: Path) -> Path:
    (path / "weights.pth").write_bytes(b"\x80\x02}q\x00." * 100)
    return path / "weights.pth"


def empty_file(path: Path) -> Path:
    (path / "weights.safetensors").touch()
    return path / "weights.safetensors"


def truncated(path: Path) -> Path:
    weights.save_weights(create_model("tsn_resnet18", 3), path / "weights.safetensors")
    content = (path / "weights.safetensors").read_bytes()
    (path / "weights.safetensors").write_bytes(content[: len(content) // 2])
    return path


def damaged_metadata(path: Path) -> Path:
    save_file({"a": torch.zeros(1)}, path / "w.safetensors", {"gateshift": "{"})
    return path / "w.safetensors"


def no_metadata(path: Path) -> Path:
    save_file({"a": torch.zeros(1)}, path / "other.safetensors")
    return path / "other.safetensors"


def later_format(path: Path) -> Path:
    metadata = {"gateshift": json.dumps({"format": 99, "gateshift": "9.0"})}
    save_file({"a": torch.zeros(1)}, path / "later.safetensors", metadata)
    return path / "later.safetensors"


def other_tensors(path: Path) -> Path:
    weights.save_weights(create_model("tsn_resnet18", 3), path / "weights.safetensors")
    metadata = weights.read_metadata(path / "weights.safetensors")
    save_file({"a": torch.zeros(1)}, path / "w.safetensors", {"gateshift": json.dumps(metadata)})
    return path / "w.safetensors"


def unknown_model(path: Path) -> Path:
    weights.save_weights(create_model("tsn_resnet18", 3), path / "weights.safetensors")
    metadata = weights.read_metadata(path / "weights.safetensors")
    metadata["model"]["name"] = "gsm_resnet999"
    save_file({"a": torch.zeros(1)}, path / "w.safetensors", {"gateshift": json.dumps(metadata)})
    return path / "w.safetensors"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (no_such, r"no weights at .*mine.*Give a run directory"),
        (not_safetensors, "weights.pth is no safetensors file: .*gateshift convert"),
        (empty_file, "is no safetensors file"),
        (truncated, "is no safetensors file"),
        (damaged_metadata, "has damaged metadata"),
        (no_metadata, "has tensors and no gateshift metadata"),
        (lambda path: path, "has no weights.safetensors.*run directory"),
        (later_format, "has format 99, and this version reads 1. Install gateshift 9.0"),
        (other_tensors, "does not fit the tsn_resnet18 that it says it is: .*Missing key"),
        (unknown_model, "does not fit the gsm_resnet999 .*unknown model"),
    ],
)
def test_what_are_no_weights_is_refused(make: Callable[[Path], Path], message: str, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=f"(?s){message}"):
        weights.load(make(tmp_path))


def test_another_number_of_frames_is_refused(path: Path) -> None:
    with pytest.raises(WeightsError, match=r"trained with num_segments=4, not 16\. Use 4, or train"):
        weights.load(path, num_segments=16)


def test_a_failed_save_leaves_the_weights_before(
    model: VideoClassifier, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = path.read_bytes()

    def fail(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(weights, "save_file", fail)
    with pytest.raises(OSError, match="disk full"):
        weights.save_weights(model, path)
    assert path.read_bytes() == before


def test_every_backbone_has_imagenet_weights() -> None:
    assert set(imagenet.IMAGENET) == set(BACKBONES)
    for record in imagenet.IMAGENET.values():
        assert f"-{record.sha256}." in record.url, "the publishers put the digest into the name"


def test_the_weights_that_pip_installs_fit_and_see() -> None:
    state = imagenet.imagenet_state("efficientnet_lite0")
    model = create_model("gsm_efficientnet_lite0", 5, 4, backbone_state=state)
    assert torch.equal(model.backbone.get_parameter("_conv_stem.weight"), state["_conv_stem.weight"])
    record = imagenet.IMAGENET["efficientnet_lite0"]
    path = imagenet.packaged(record.url.removeprefix("package:"))
    assert hashlib.sha256(path.read_bytes()).hexdigest().startswith(record.sha256)


def test_caffe_weights_are_fetched_once_and_fit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = BACKBONES["bninception"].build().state_dict()
    published = {key: value for key, value in plain.items() if not key.endswith("num_batches_tracked")}
    norms = {key: value[None] for key, value in published.items() if "_bn." in key}  # Caffe's shape, (1, C)
    classifier = {"fc.weight": torch.zeros(1000, 1024), "fc.bias": torch.zeros(1000)}
    torch.save(published | norms | classifier, tmp_path / "origin.pth")
    fetched = []

    def fetch(url: str, path: Path, sha256: str) -> Path:
        fetched.append(url)
        path.write_bytes((tmp_path / "origin.pth").read_bytes())
        return path

    monkeypatch.setenv("GATESHIFT_CACHE", str(tmp_path))
    monkeypatch.setattr(imagenet, "fetch", fetch)
    model = create_model("gsm_bninception", 5, 4, pretrained=True)
    assert fetched == ["https://yjxiong.blob.core.windows.net/models/bn_inception-9f5701afb96c8044.pth"]
    loaded = model.backbone.state_dict()
    assert torch.equal(loaded["inception_3a_1x1.conv.weight"], plain["inception_3a_1x1.weight"])
    assert torch.equal(loaded["conv1_7x7_s2_bn.running_var"], plain["conv1_7x7_s2_bn.running_var"])


def test_imagenet_weights_that_cannot_be_had_say_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    record = replace(imagenet.IMAGENET["bninception"], url="http://127.0.0.1:9/bn_inception-9f5701af.pth")
    monkeypatch.setitem(imagenet.IMAGENET, "bninception", record)
    monkeypatch.setenv("GATESHIFT_CACHE", str(tmp_path))
    monkeypatch.setenv("no_proxy", "*")
    with pytest.raises(WeightsError, match=r"cannot download .* The host may be gone"):
        imagenet.imagenet_state("bninception")


@cache
def stand_in() -> dict[str, Tensor]:
    """Return what a released GSF ResNet-50 of 48 classes would hold: its names, random values."""
    model = create_model("gsf_resnet50", 48, 8)
    names = {"norm": "bn", "gate": "conv3D", "fuse_earlier": "channel_conv1", "fuse_later": "channel_conv2"}
    state = {}
    for key, value in model.state_dict().items():
        key = key.replace("backbone.", "module.base_model.").replace("head.", "module.new_fc.")
        key = key.replace(".conv3.conv.", ".conv3.").replace(".conv3.temporal.", ".gsf.")
        for ours, theirs in names.items():
            key = key.replace(f".gsf.{ours}.", f".gsf.{theirs}.")
        state[key] = value
    return state


def released(**changes: Tensor | None) -> dict[str, Tensor]:
    """Return the stand-in with some tensors changed, added, or (None) left out."""
    state = dict(stand_in())
    state |= {key: value for key, value in changes.items() if value is not None}
    return {key: value for key, value in state.items() if changes.get(key, value) is not None}


def without_batch_counts(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {key: value for key, value in state.items() if not key.endswith("num_batches_tracked")}


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: {
            "epoch": 60,
            "arch": "resnet50",
            "state_dict": state,
            "best_prec1": torch.tensor(40.3),
        },
        lambda state: {"model_state_dict": state, "scaler_state_dict": {"scale": 65536.0}},
        lambda state: state,
        lambda state: {key.removeprefix("module."): value for key, value in state.items()},
        without_batch_counts,
        lambda state: {key.replace("module.new_fc", "module.base_model.fc"): v for key, v in state.items()},
    ],
    ids=["gsm", "gsf", "bare", "one gpu", "before torch 0.4", "no dropout"],
)
def test_released_files_of_all_layouts_convert(wrap: Callable[[dict], dict], tmp_path: Path) -> None:
    state = released()
    torch.save(wrap(state), tmp_path / "original.pth")
    out = tmp_path / "out" / "weights.safetensors"
    found = convert(tmp_path / "original.pth", out, num_segments=16)
    assert found == {"model": "gsf_resnet50", "num_segments": 16, "num_classes": 48, "weights": str(out)}
    model = weights.load(out, num_segments=16)
    assert model.spec.channel_ratio == 0.25
    assert model.spec.interleave
    assert torch.equal(model.head.weight, state["module.new_fc.weight"])


def test_a_dataset_must_have_as_many_classes(tmp_path: Path) -> None:
    torch.save(released(), tmp_path / "original.pth")
    with pytest.raises(WeightsError, match="has 48 classes, and something-v1 174"):
        convert(tmp_path / "original.pth", tmp_path / "o.safetensors", num_segments=8, dataset="something-v1")
    with pytest.raises(UnknownName, match="something-v1"):
        convert(
            tmp_path / "original.pth", tmp_path / "o.safetensors", num_segments=8, dataset="something-v11"
        )


def test_a_dataset_is_written_down(tmp_path: Path) -> None:
    head = {"module.new_fc.weight": torch.zeros(174, 2048), "module.new_fc.bias": torch.zeros(174)}
    torch.save(released(**head), tmp_path / "original.pth")
    convert(tmp_path / "original.pth", tmp_path / "o.safetensors", num_segments=8, dataset="something-v1")
    assert weights.read_metadata(tmp_path / "o.safetensors")["trained_on"] == "something-v1"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"module.new_fc.weight": None}, "0 classifiers among"),
        ({"module.base_model.layer1.0.conv3.weight": None}, "no known backbone"),
        (
            {"module.base_model.bn1.weight": None},
            r"gsf_resnet50 with 48 classes, but of its tensors are 1 missing \(backbone.bn1.weight\)",
        ),
        (
            {"module.base_model.extra.weight": torch.zeros(1)},
            r"1 unknown \(backbone.extra.weight\)",
        ),
        ({"module.base_model.bn1.weight": torch.zeros(3)}, "1 of another shape"),
        (
            {"module.base_model.layer4.0.gsf.conv3D.weight": torch.zeros(2, 4, 3, 3, 3)},
            "no channel ratio explains",
        ),
    ],
)
def test_files_that_do_not_fit_are_refused(content: dict, message: str, tmp_path: Path) -> None:
    torch.save(released(**content), tmp_path / "original.pth")
    with pytest.raises(WeightsError, match=message):
        convert(tmp_path / "original.pth", tmp_path / "o.safetensors", num_segments=8)
    assert not (tmp_path / "o.safetensors").exists()


class Evil:
    """Runs code when it is unpickled."""

    def __reduce__(self) -> tuple:
        return print, ("unpickled",)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (Evil(), "is no checkpoint of tensors and plain values"),
        ([torch.zeros(1)], "holds a list"),
        ({"epoch": 3}, "is no GSM or GSF checkpoint"),
    ],
    ids=["code", "list", "no tensors"],
)
def test_pickles_are_read_as_tensors_only(
    content: object, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.save(content, tmp_path / "original.pth")
    with pytest.raises(WeightsError, match=message):
        convert(tmp_path / "original.pth", tmp_path / "o.safetensors", num_segments=8)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("content", [b"", b"<html>Sign in</html>", b"PK\x03\x04 cut short"])
def test_damaged_downloads_are_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "original.pth").write_bytes(content)
    with pytest.raises(WeightsError, match="is no checkpoint"):
        convert(tmp_path / "original.pth", tmp_path / "o.safetensors", num_segments=8)


def test_convert_refuses_what_cannot_be_meant(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="there is no file"):
        convert(tmp_path / "none.pth", tmp_path / "o.safetensors", num_segments=8)
    with pytest.raises(ConfigError, match=r"ends in \.safetensors"):
        convert(tmp_path / "none.pth", tmp_path / "o.pth", num_segments=8)
    with pytest.raises(ConfigError, match="num_segments=0"):
        convert(tmp_path / "none.pth", tmp_path / "o.safetensors", num_segments=0)
