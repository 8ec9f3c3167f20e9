"""The released checkpoints by name: fetched or taken from a folder, converted once, checked ever after."""

import functools
import hashlib
import json
import shutil
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch

from gateshift import cli_tables
from gateshift.apps.download import download
from gateshift.apps.info import info
from gateshift.apps.models import models
from gateshift.data.catalog import DATASETS
from gateshift.errors import UnknownName, WeightsError
from gateshift.models import released, weights
from gateshift.models.drive import fetch_drive
from gateshift.models.registry import MODELS
from gateshift.models.released import CHECKSUMS, RELEASED, ReleasedWeights, original_path, released_weights
from released_files import gsm_file, released_state

NAME = "gsm_bninception_something-v1_8"
FILE = "something-v1_RGB_BNInception_avg_segment8_checkpoint.pth.tar"


@pytest.fixture(scope="module")
def originals(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder as a user may have filled it by hand."""
    folder = tmp_path_factory.mktemp("originals")
    torch.save(gsm_file(dict(released_state("BNInception_gsm_t8_s224_seed1"))), folder / FILE)
    return folder


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the cache; nothing leaves this machine."""

    def no_network(drive_id: str, path: Path) -> Path:
        assert path.is_file(), f"asked Google Drive for {drive_id}"
        return path

    monkeypatch.setenv("GATESHIFT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(released, "fetch_drive", no_network)
    return tmp_path / "cache"


@pytest.fixture
def drive(originals: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Answer as Google Drive does, from the folder; yield the ids that were asked for."""
    asked: list[str] = []

    class Handler(SimpleHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.path = f"/{FILE}"
            super().do_GET()

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=originals)) as http:
        thread = threading.Thread(target=http.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        site = f"http://127.0.0.1:{http.server_port}/download"
        monkeypatch.setenv("no_proxy", "*")
        monkeypatch.setattr(
            released, "fetch_drive", functools.partial(fetch_drive, site=site, progress=False)
        )
        yield asked
        http.shutdown()
        thread.join()


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def change(path: Path) -> None:
    """Damage the last byte of a file."""
    with path.open("r+b") as file:
        file.seek(-1, 2)
        last = file.read(1)
        file.seek(-1, 2)
        file.write(bytes([last[0] ^ 1]))


@pytest.mark.parametrize(("name", "record"), RELEASED.items(), ids=RELEASED)
def test_records_agree_with_their_names_and_with_the_catalog(name: str, record: ReleasedWeights) -> None:
    assert record.model in MODELS
    model, dataset, num_segments = name.rsplit("_", 2)
    assert (model, num_segments) == (record.model, str(record.num_segments))
    assert record.dataset in (dataset, f"{dataset}-v1")
    assert DATASETS[record.dataset].num_classes == record.num_classes
    if name.startswith("gsm"):
        backbone = {"bninception": "BNInception", "inceptionv3": "InceptionV3"}[MODELS[model].backbone]
        assert record.file_name == f"{dataset}_RGB_{backbone}_avg_segment{num_segments}_checkpoint.pth.tar"
    else:
        assert record.file_name == f"{name}.pth.tar"
    assert bool(record.source) == (record.top1 is not None)
    assert record.top1 is None or 0.3 < record.top1 < 0.6


def test_there_are_seven_of_gsm_and_three_of_gsf() -> None:
    assert [sum(name.startswith(kind) for name in RELEASED) for kind in ("gsm_", "gsf_")] == [7, 3]
    assert len({record.drive_id for record in RELEASED.values()}) == 10
    assert len({record.file_name for record in RELEASED.values()}) == 10
    assert all(len(record.drive_id) == 33 for record in RELEASED.values())


def test_the_first_download_is_converted_and_its_checksum_kept(drive: list[str], cache: Path) -> None:
    answer = download(NAME)
    assert drive == ["/download?id=1rPma02uIiNI-TmL50rOyDDL1JOZeYPzT&export=download&confirm=t"]
    original = cache / "originals" / FILE
    assert answer["name"] == NAME
    assert answer["weights"] == str(cache / f"{NAME}.safetensors")
    assert answer["original"] == str(original)
    assert answer["sha256"] == sha256(original)
    assert (answer["model"], answer["num_segments"], answer["dataset"]) == (
        "gsm_bninception",
        8,
        "something-v1",
    )
    assert answer["published_top1"] == 0.47
    kept = json.loads((cache / CHECKSUMS).read_text())
    assert kept == {NAME: {"original": answer["sha256"], "weights": sha256(Path(answer["weights"]))}}
    assert download(NAME) == answer
    assert len(drive) == 1
    assert not list(cache.rglob("*.part"))


def test_weights_say_who_made_them(originals: Path) -> None:
    metadata = weights.read_metadata(released_weights(NAME, originals))
    assert metadata["recipe"] == NAME
    assert metadata["trained_on"] == "something-v1"
    assert metadata["accuracy"] == {"top1": 0.47}
    assert metadata["classes"] is None
    assert metadata["origin"]["sha256"] == sha256(originals / FILE)
    assert metadata["origin"]["accuracy"] == RELEASED[NAME].source
    assert "1rPma02uIiNI-TmL50rOyDDL1JOZeYPzT" in metadata["origin"]["address"]


def test_load_takes_the_name_and_needs_no_original_any_more(originals: Path, cache: Path) -> None:
    released_weights(NAME, originals)
    assert not (cache / "originals").exists()
    model = weights.load(NAME)
    assert (model.spec.name, model.num_segments) == ("gsm_bninception", 8)
    head = released_state("BNInception_gsm_t8_s224_seed1")["module.new_fc.weight"]
    assert torch.equal(model.head.weight, head)
    assert weights.find_weights(NAME) == cache / f"{NAME}.safetensors"


def test_a_conversion_is_made_once_and_again_where_it_was_damaged(originals: Path, cache: Path) -> None:
    path = released_weights(NAME, originals)
    before = path.stat().st_mtime_ns
    assert released_weights(NAME, originals).stat().st_mtime_ns == before
    content = path.read_bytes()
    change(path)
    assert released_weights(NAME, originals).read_bytes() == content


def test_a_changed_original_is_refused_until_its_checksum_is_removed(originals: Path, cache: Path) -> None:
    shutil.copytree(originals, cache / "originals")
    original = cache / "originals" / FILE
    before = sha256(released_weights(NAME))
    first = sha256(original)
    state = dict(released_state("BNInception_gsm_t8_s224_seed1"))
    state["module.new_fc.bias"] = state["module.new_fc.bias"] + 1
    torch.save(gsm_file(state), original)
    with pytest.raises(
        WeightsError, match=f"SHA-256 {sha256(original)}, .* had {first} when it first came"
    ) as error:
        released_weights(NAME)
    assert f"remove {NAME} from {cache / CHECKSUMS}" in str(error.value)
    with pytest.raises(WeightsError, match="when it first came"):
        weights.load(NAME)
    (cache / CHECKSUMS).write_text("{}")
    assert sha256(released_weights(NAME)) != before
    assert json.loads((cache / CHECKSUMS).read_text())[NAME]["original"] == sha256(original)


def test_a_changed_file_in_a_folder_is_refused_too(originals: Path, tmp_path: Path) -> None:
    released_weights(NAME, originals)
    shutil.copytree(originals, tmp_path / "mine")
    change(tmp_path / "mine" / FILE)
    with pytest.raises(WeightsError, match="when it first came"):
        released_weights(NAME, tmp_path / "mine")


def test_what_is_no_such_checkpoint_leaves_no_checksum(cache: Path, tmp_path: Path) -> None:
    state = dict(released_state("BNInception_gsm_t8_s224_seed1"))
    state |= {"module.new_fc.weight": torch.zeros(48, 1024), "module.new_fc.bias": torch.zeros(48)}
    torch.save(gsm_file(state), tmp_path / FILE)
    with pytest.raises(
        WeightsError, match=r"is a gsm_bninception of 48 classes, and .* of 174\. Remove the file"
    ):
        released_weights(NAME, tmp_path)
    (tmp_path / FILE).write_bytes(b"<!doctype html><html>Google Drive - Virus scan warning</html>")
    with pytest.raises(WeightsError, match="is a web page and no checkpoint"):
        released_weights(NAME, tmp_path)
    assert not (cache / CHECKSUMS).exists()
    assert not (cache / f"{NAME}.safetensors").exists()


def test_another_released_network_under_this_name_is_refused(originals: Path, tmp_path: Path) -> None:
    name = "gsm_inceptionv3_something-v1_8"
    shutil.copy(originals / FILE, tmp_path / RELEASED[name].file_name)
    with pytest.raises(
        WeightsError, match=f"is a gsm_bninception of 174 classes, and {name} a gsm_inceptionv3"
    ):
        released_weights(name, tmp_path)


def test_a_folder_without_the_file_says_which_and_where_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(
        WeightsError, match=rf"{tmp_path} has no {FILE}\. Save https://drive.google.com/file/d/1rP"
    ):
        released_weights(NAME, tmp_path)


@pytest.mark.parametrize("text", ["{", "[]", '{"a": 1}', '{"a": {}}'])
def test_damaged_checksums_are_refused(text: str, originals: Path, cache: Path) -> None:
    cache.mkdir()
    (cache / CHECKSUMS).write_text(text)
    with pytest.raises(WeightsError, match=r"checksums.json is damaged .*Remove it"):
        released_weights(NAME, originals)


def test_checksums_of_others_stay(originals: Path, cache: Path) -> None:
    cache.mkdir()
    other = {"other": {"original": "12", "weights": "34"}}
    (cache / CHECKSUMS).write_text(json.dumps(other))
    released_weights(NAME, originals)
    kept = json.loads((cache / CHECKSUMS).read_text())
    assert kept["other"] == other["other"]
    assert sorted(kept) == [NAME, "other"]


def test_unknown_names_are_refused_with_near_ones() -> None:
    with pytest.raises(UnknownName, match="Did you mean gsm_inceptionv3_something-v1_8"):
        released_weights("gsm_inceptionv3_something-v1_9")
    with pytest.raises(WeightsError, match="Did you mean gsm_inceptionv3_diving48_16"):
        weights.load("gsm_inceptionv3_diving48_8")
    with pytest.raises(WeightsError, match="`gateshift models` lists the names"):
        weights.load("nothing like it")


def test_models_lists_the_released_weights() -> None:
    assert [row["name"] for row in models()["released"]] == list(RELEASED)
    (row,) = models("gsm_*diving48*")["released"]
    assert row["published_top1"] == 0.3903
    assert row["dataset"] == "diving48-v1"
    assert row["file"] == original_path("gsm_inceptionv3_diving48_16").name


def test_people_see_the_published_accuracy(originals: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cli_tables.show("models", models("gsm_*"))
    cli_tables.show("models", models("gsm_*_12"))
    assert "gsm_inceptionv3_something-v1_12" in (shown := capsys.readouterr().err)
    assert "51.58%" in shown
    cli_tables.show("models", models("v9"))
    assert "nothing has such a name" in capsys.readouterr().err
    answer = download(NAME, folder=originals)
    cli_tables.show("download", answer)
    cli_tables.show("download", answer | {"published_top1": None})
    shown = " ".join(capsys.readouterr().err.split())
    assert "published top-1 47.00%, github.com/swathikirans/GSM, issue 2" in shown
    assert "no published accuracy" in shown


def test_info_knows_the_released_weights_without_fetching_them() -> None:
    answer = info("gsm_inceptionv3_diving48_16")
    assert (answer["model"], answer["num_segments"], answer["num_classes"]) == ("gsm_inceptionv3", 16, 48)
    assert info("gsm_inceptionv3_diving48_16", num_segments=8)["num_segments"] == 8
