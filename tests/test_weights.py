"""Weights files, ImageNet weights and the authors' checkpoints: what comes back, and what is refused."""

import hashlib
import json
import os
import pickle
import zipfile
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from gateshift.apps.convert import convert
from gateshift.errors import ConfigError, UnknownName, WeightsError
from gateshift.models import imagenet, weights, weights_file
from gateshift.models.backbones import BACKBONES
from gateshift.models.classifier import VideoClassifier
from gateshift.models.pickles import read_pickle
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

    monkeypatch.setattr(weights_file, "save_file", fail)
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
        (
            {"module.base_model.bn1.weight": None},
            r"looks like gsf_resnet50 with 48 classes, .* 1 of 496 tensors is missing \(bn1\.weight\)",
        ),
        (
            {"module.base_model.layer1.0.conv3.weight": None, "module.new_fc.weight": None},
            r"2 of 496 tensors are missing \(layer1\.0\.conv3\.weight, new_fc\.weight\)",
        ),
        (
            {"module.base_model.layer2.1.gsf.conv3D.weight": None},
            r"1 of 496 tensors is missing \(layer2\.1\.gsf\.conv3D\.weight\)",
        ),
        (
            {"module.new_fc.weight": None, "module.new_fc.bias": None},
            "beside a resnet50 it has 0 classifiers",
        ),
        (
            {"module.base_model.fc.weight": torch.zeros(1000, 2048)},
            "beside a resnet50 it has 2 classifiers",
        ),
        ({"module.base_model.extra.weight": torch.zeros(1)}, r"1 unknown \(extra\.weight\)"),
        (
            {"module.base_model.bn1.weight": torch.zeros(3)},
            r"1 of another shape \(bn1\.weight: 3, not 64\)",
        ),
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


def plain_resnet50() -> dict[str, Tensor]:
    """Return what torchvision publishes: a network for single images, with its 1000 classes."""
    state = create_model("tsn_resnet50", 1000).state_dict()
    return {key.removeprefix("backbone.").replace("head.", "fc."): value for key, value in state.items()}


def tsm_resnet50() -> dict[str, object]:
    """Return what the TSM code saves: its module wraps the first convolution of every block."""
    state = {key: value for key, value in plain_resnet50().items() if not key.startswith("fc.")}
    names = {key: f"module.base_model.{key.replace('.conv1.', '.conv1.net.')}" for key in state}
    head = {"module.new_fc.weight": torch.zeros(174, 2048), "module.new_fc.bias": torch.zeros(174)}
    return {"epoch": 50, "state_dict": {names[key]: value for key, value in state.items()} | head}


def detector() -> dict[str, Tensor]:
    names = ("backbone.body.layer1.0.conv1.weight", "rpn.head.conv.weight", "roi_heads.box_head.fc6.weight")
    return {name: torch.zeros(4, 4) for name in names}


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (plain_resnet50, r"it is a plain resnet50 for single images.*gateshift train"),
        (
            tsm_resnet50,
            r"it comes from the TSM code, .* module\.base_model\.layer1\.0\.conv1\.net|conv1\.net",
        ),
        (
            detector,
            r"its 3 tensors \(backbone\.body.*, rpn\.head.*\) are of another network. Expected one of bnin",
        ),
        (lambda: {"epoch": 3}, "it holds no tensors"),
        (lambda: {"state_dict": torch.zeros(2)}, "has a Tensor for its tensors"),
        (
            lambda: {"state_dict": {"module.new_fc.weight": torch.zeros(3, 4)}},
            "1 tensors .* of another network",
        ),
        (
            lambda: {"inception_3a_1x1.weight": torch.zeros(2), "new_fc.bias": torch.tensor(1)},
            "0 classifiers",
        ),
        (lambda: [torch.zeros(1)], "holds a list. Expected a dictionary"),
    ],
    ids=[
        "image network",
        "tsm",
        "detector",
        "no tensors",
        "tensor",
        "head only",
        "a number for a head",
        "list",
    ],
)
def test_other_networks_are_refused(make: Callable[[], object], message: str, tmp_path: Path) -> None:
    refuse(saved(make(), tmp_path), message)


def saved(content: object, folder: Path, *, zipped: bool = True) -> Path:
    """Write a checkpoint as torch.save does, or (not zipped) as it did before torch 1.6."""
    torch.save(content, folder / "original.pth", _use_new_zipfile_serialization=zipped)
    return folder / "original.pth"


def refuse(original: Path, message: str) -> None:
    """Convert what must be refused, and see that nothing was written."""
    with pytest.raises(WeightsError, match=message):
        convert(original, original.parent / "o.safetensors", num_segments=8)
    assert not (original.parent / "o.safetensors").exists()


class Evil:
    """Makes a folder when it is unpickled."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple:
        return os.mkdir, (str(self.trace),)


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "before torch 1.6"])
@pytest.mark.parametrize("where", ["epoch", "state_dict", "best_prec1"])
def test_code_in_a_pickle_is_never_run(where: str, zipped: bool, tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    content = {"epoch": 60, "state_dict": {"a": torch.zeros(2)}, "best_prec1": 40.0} | {where: Evil(trace)}
    original = saved(content, tmp_path, zipped=zipped)
    refuse(original, r"asks for \w+\.mkdir to be called while it is read.*Nothing was called")
    assert not trace.exists()
    torch.load(original, weights_only=False)
    assert trace.exists(), "the payload must be one that works"


def test_nobody_is_advised_to_unpickle(tmp_path: Path) -> None:
    (tmp_path / "original.pth").write_bytes(b"\x80\x02\xff\xff")
    with pytest.raises(WeightsError) as error:
        read_pickle(tmp_path / "original.pth")
    assert "weights_only" not in str(error.value)
    assert "Unsupported operand 255" in str(error.value)


def test_a_plain_pickle_with_code_is_never_run(tmp_path: Path) -> None:
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        (tmp_path / "original.pth").write_bytes(pickle.dumps(Evil(tmp_path / "trace"), protocol))
        refuse(tmp_path / "original.pth", r"original\.pth (asks for|is no checkpoint|is cut short)")
        assert not (tmp_path / "trace").exists()


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "before torch 1.6"])
def test_numbers_of_numpy_are_passed_over(zipped: bool, tmp_path: Path) -> None:
    content = {"state_dict": released(), "best_prec1": np.float64(47.2), "lr": [np.float32(0.01)]}
    original = saved(content | {"epoch": np.int64(60)}, tmp_path, zipped=zipped)
    found = convert(original, tmp_path / "o.safetensors", num_segments=8)
    assert found["model"] == "gsf_resnet50"


def test_names_of_numpy_call_nothing_of_numpy(tmp_path: Path) -> None:
    content = read_pickle(saved({"best": np.float64(47.2)}, tmp_path))
    assert type(content["best"]).__module__ == "gateshift.models.pickles"
    with pytest.raises(WeightsError, match=r"asks for numpy\.\S+ to be called"):
        read_pickle(saved({"array": np.zeros(3)}, tmp_path))


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "before torch 1.6"])
def test_tensors_of_a_gpu_are_read_on_the_cpu(
    zipped: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.serialization, "location_tag", lambda storage: "cuda:0")
    original = saved({"state_dict": released(), "best_prec1": torch.tensor(47.0)}, tmp_path, zipped=zipped)
    assert b"cuda:0" in original.read_bytes()
    convert(original, tmp_path / "o.safetensors", num_segments=8)
    assert weights.load(tmp_path / "o.safetensors").head.weight.device == torch.device("cpu")


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "before torch 1.6"])
@pytest.mark.parametrize("share", [0.01, 0.05, 0.1, 0.5, 0.999])
def test_a_cut_download_is_told(share: float, zipped: bool, tmp_path: Path) -> None:
    state = {f"module.{index}.weight": torch.randn(20, 20) for index in range(50)}
    original = saved({"state_dict": state}, tmp_path, zipped=zipped)
    content = original.read_bytes()
    original.write_bytes(content[: int(len(content) * share)])
    refuse(original, r"original\.pth is cut short: .*Fetch it again")


def web_page(path: Path) -> None:
    path.write_bytes(
        b"\n<!DOCTYPE html><html><head><title>Google Drive - Virus scan warning</title></head></html>"
    )


def converted_already(path: Path) -> None:
    save_file({"a": torch.zeros(4)}, path)


def other_zip(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "not a checkpoint")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (web_page, "is a web page and no checkpoint.*open the link in a browser"),
        (Path.touch, r"original\.pth is empty\. Fetch"),
        (Path.mkdir, r"original\.pth is a folder\. Give the checkpoint file itself"),
        (converted_already, "is a safetensors file.*need no conversion"),
        (other_zip, "is no checkpoint of tensors and plain values"),
        (lambda path: path.write_bytes(b"PK\x03\x04 cut short"), "is cut short"),
        (lambda path: path.write_text("label,video\n" * 9), "is no checkpoint of tensors and plain values"),
        (lambda path: path.write_bytes(bytes(range(256))), "is no checkpoint of tensors and plain values"),
    ],
    ids=["web page", "empty", "folder", "safetensors", "other zip", "cut zip", "text", "bytes"],
)
def test_files_that_are_no_checkpoints_are_refused(
    make: Callable[[Path], object], message: str, tmp_path: Path
) -> None:
    make(tmp_path / "original.pth")
    refuse(tmp_path / "original.pth", message)


def test_a_file_of_another_user_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    original = saved({"state_dict": {"a": torch.zeros(2)}}, tmp_path)

    def deny(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", deny)
    refuse(original, "cannot be read: you have no permission")


def test_classes_of_a_prepared_folder_name_the_predictions(tmp_path: Path) -> None:
    original = saved(released(), tmp_path)
    names = ["turning left", "turning right", *(f"dive {index}" for index in range(46))]
    description = {"classes": names, "label_swaps": [names[:2]], "root": "."}
    (tmp_path / "dataset.json").write_text(json.dumps(description))
    out = tmp_path / "o.safetensors"
    for classes in (tmp_path, tmp_path / "dataset.json"):
        convert(original, out, num_segments=8, classes=classes)
        model = weights.load(out)
        assert model.classes == tuple(names)
        assert model.label_swaps == (("turning left", "turning right"),)
        out.unlink()
    (tmp_path / "dataset.json").write_text(json.dumps(description | {"dataset": "diving48-v1"}))
    convert(original, out, num_segments=8, classes=tmp_path)
    assert weights.read_metadata(out)["trained_on"] == "diving48-v1"
    out.unlink()
    with pytest.raises(ConfigError, match="is diving48-v1, not diving48-v2"):
        convert(original, out, num_segments=8, classes=tmp_path, dataset="diving48-v2")
    (tmp_path / "dataset.json").write_text(json.dumps({"classes": names[:-1]}))
    with pytest.raises(WeightsError, match=f"has 48 classes, and {tmp_path} 47"):
        convert(original, out, num_segments=8, classes=tmp_path)
    (tmp_path / "dataset.json").write_text("{}")
    with pytest.raises(ConfigError, match="names no classes"):
        convert(original, out, num_segments=8, classes=tmp_path)
    with pytest.raises(ConfigError, match="there is no file .*none"):
        convert(original, out, num_segments=8, classes=tmp_path / "none")
    assert not out.exists()


def test_convert_refuses_what_cannot_be_meant(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="there is no file"):
        convert(tmp_path / "none.pth", tmp_path / "o.safetensors", num_segments=8)
    with pytest.raises(ConfigError, match=r"ends in \.safetensors"):
        convert(tmp_path / "none.pth", tmp_path / "o.pth", num_segments=8)
    with pytest.raises(ConfigError, match="num_segments=0"):
        convert(tmp_path / "none.pth", tmp_path / "o.safetensors", num_segments=0)
