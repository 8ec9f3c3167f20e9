"""Weights of one edition of a dataset are not tested on another: the same videos, under other labels."""

import json

import pytest

import gateshift
from gateshift.data.catalog import DATASETS, EDITIONS, edition_of
from gateshift.errors import DataError
from gateshift.models.weights import read_metadata, save_weights
from small_model import small_model
from videos import write_video

CLASSES = ("Back+15som", "Inward+25som")


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    folder = tmp_path_factory.mktemp("weights")
    model = small_model(CLASSES)
    names = ("diving48-v1", "ucf101-split1", "something-v1", "")
    return {name: save_weights(model, folder / f"{name}.safetensors", trained_on=name) for name in names}


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    root = tmp_path_factory.mktemp("videos")
    for name in ("a", "b"):
        write_video(root / f"{name}.mp4", 6)
    return root


def lists(folder, root, dataset):
    """Lists as ``gateshift prepare`` leaves them."""
    folder.mkdir()
    described = {"root": str(root), "classes": CLASSES, "label_swaps": [], "dataset": dataset}
    (folder / "dataset.json").write_text(json.dumps(described))
    for split in ("train", "val"):
        (folder / f"{split}.csv").write_text(f"video,label\na.mp4,{CLASSES[0]}\nb.mp4,{CLASSES[1]}\n")
    return folder


@pytest.mark.parametrize(
    ("trained_on", "tested_on"), [("diving48-v1", "diving48-v2"), ("ucf101-split1", "ucf101-split3")]
)
def test_another_edition_is_refused_by_name(weights, videos, tmp_path, trained_on, tested_on):
    data = lists(tmp_path / "data", videos, tested_on)
    with pytest.raises(
        DataError, match=f"was trained on {trained_on}, and this data is {tested_on}.*prepare"
    ):
        gateshift.test(weights[trained_on], data, device="cpu", workers=0)


@pytest.mark.parametrize(
    ("trained_on", "tested_on"),
    [
        ("diving48-v1", "diving48-v1"),
        ("something-v1", "something-v2"),
        ("", "diving48-v2"),
        ("diving48-v1", None),
    ],
)
def test_the_same_edition_and_other_datasets_are_tested(weights, videos, tmp_path, trained_on, tested_on):
    data = lists(tmp_path / "data", videos, tested_on)
    assert gateshift.test(weights[trained_on], data, device="cpu", workers=0)["videos"] == 2


def test_a_run_tells_its_weights_the_name_of_its_dataset(videos, tmp_path):
    data = lists(tmp_path / "v2", videos, "diving48-v2")
    small = {"model": "gsm_resnet18", "size": 32, "num_segments": 2, "epochs": 1, "warmup_epochs": 0}
    run = tmp_path / "run"
    gateshift.train(data, out=run, pretrained=False, batch_size=2, device="cpu", workers=0, **small)
    assert read_metadata(run / "weights.safetensors")["trained_on"] == "diving48-v2"
    assert gateshift.test(run, data, device="cpu", workers=0)["videos"] == 2
    with pytest.raises(DataError, match="was trained on diving48-v2, and this data is diving48-v1"):
        gateshift.test(run, lists(tmp_path / "v1", videos, "diving48-v1"), device="cpu", workers=0)


def test_every_dataset_with_editions_is_known():
    assert {name for name in DATASETS if edition_of(name)} == {"diving48-v1", "diving48-v2"}
    assert set(EDITIONS.values()) == {"diving48", "ucf101", "hmdb51"}
