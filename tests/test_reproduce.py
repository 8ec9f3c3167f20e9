"""The published table beside what comes out: the figures of `test`, and no more said than was measured."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import gateshift
from gateshift import cli, cli_tables
from gateshift.apps import reproduce as reproducing
from gateshift.apps.published import PUBLISHED
from gateshift.apps.reproduce import measure, reproduce
from gateshift.data.catalog import DATASETS
from gateshift.data.label_swaps import find_label_swaps
from gateshift.engine.test import test as measure_alone
from gateshift.engine.trial import Trial
from gateshift.errors import ConfigError, DataError, UnknownName, WeightsError
from gateshift.evidence.scores import Scores
from gateshift.models.released import RELEASED
from gateshift.models.weights import save_weights
from released_files import gsm_file, released_state
from small_model import small_model
from videos import write_frames

SIDES = [
    f"{verb} something from {way} onto something"
    for verb in ("Pulling", "Pushing")
    for way in ("left to right", "right to left")
] + ["Turning the camera left", "Turning the camera right"]
LABELS = [*SIDES, *(f"Doing thing {i} with something, or pretending to" for i in range(168))][::-1]
SEEN_LABELS = (LABELS[3], SIDES[0], SIDES[4], LABELS[40])
VAL = {str(9 + 38 * i): (SEEN_LABELS[i % 4], 9 + 2 * i) for i in range(12)}  # video -> label, frames
FIGURES = {"8": 0.4901, "12": 0.5158, "16": 0.5063, "24": 0.4963, "8x2": 0.5043, "12x2": 0.5198}
ENSEMBLE = "8x2+12x2+16+24"


def write_something(root: Path, present: tuple[str, ...] = tuple(VAL)) -> Path:
    """Write a download of Something-Something V1 as it comes, with frames of ``present`` videos."""
    root.mkdir(parents=True)
    stem = root / "something-something-v1"
    Path(f"{stem}-labels.csv").write_text("".join(f"{label}\n" for label in LABELS))
    Path(f"{stem}-train.csv").write_text(f"100218;{LABELS[0]}\n48032;{LABELS[1]}\n")
    Path(f"{stem}-validation.csv").write_text("".join(f"{video};{VAL[video][0]}\n" for video in VAL))
    for video in present:
        write_pictures(root / "20bn-something-something-v1" / video, VAL[video][1])
    return root


def write_pictures(folder: Path, num_frames: int) -> None:
    """Write frames of coarse coloured blocks that differ from video to video and from frame to frame."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(int(folder.name))
    tint = rng.uniform(0, 255, 3)
    for number in range(1, num_frames + 1):
        blocks = (tint + rng.uniform(0, 255, (6, 8, 3))) / 2
        Image.fromarray(blocks.astype(np.uint8)).resize((64, 48)).save(folder / f"{number:05d}.jpg")


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return write_something(tmp_path_factory.mktemp("download") / "something")


@pytest.fixture(scope="module")
def networks(tmp_path_factory):
    """Small networks in place of the released ones: classes without names, some videos right."""
    folder, files = tmp_path_factory.mktemp("networks"), {}
    for frames in (8, 12, 16, 24):
        model = small_model(tuple(LABELS), num_segments=frames)
        torch.manual_seed(frames)
        torch.nn.init.normal_(model.head.weight, std=2.0)
        others = [i for i, name in enumerate(sorted(LABELS)) if name not in SEEN_LABELS]
        with torch.inference_mode():
            usual = model.forward_features(torch.randn(4, frames, 3, 32, 32)).mean((0, 1))
            model.head.bias -= model.head.weight @ usual  # no class is the answer to everything
            model.head.bias[others] = -1e4
        model.classes = None
        name = f"gsm_inceptionv3_something-v1_{frames}"
        files[name] = save_weights(model, folder / f"{frames}.safetensors")
    return files


@pytest.fixture
def stand_ins(networks, monkeypatch):
    monkeypatch.setattr(reproducing, "released_weights", lambda name, folder=None: networks[name])


@pytest.fixture
def tests_done(monkeypatch):
    """Return the list of (frames, clips) that are tested while the test runs."""
    done = []
    run = Trial.run

    def counted(trial, save):
        scores = run(trial, save)
        done.append((trial.model.num_segments, trial.views.num_clips))
        return scores

    monkeypatch.setattr(Trial, "run", counted)
    return done


@pytest.fixture(scope="module")
def whole(root, networks, tmp_path_factory):
    """Do all of the table once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reproducing, "released_weights", lambda name, folder=None: networks[name])
        out = tmp_path_factory.mktemp("whole")
        return out, reproduce("something-v1", root, out=out, workers=0)


def kept_file(out: Path, frames: int, clips: int) -> Path:
    """Return the one score file that is kept of a member."""
    (file,) = (out / "scores").glob(f"*{frames}-{clips}x1-*.npz")
    return file


def rows_of(answer):
    return {figure["name"]: figure for figure in answer["figures"]}


def test_the_tables_are_the_published_ones():
    table = PUBLISHED["something-v1"]
    assert dict(table.figures) == FIGURES | {ENSEMBLE: 0.5516}
    assert dict(PUBLISHED["diving48"].figures) == {"16": 0.3903, "16x2": 0.4027}
    for published in PUBLISHED.values():
        assert published.dataset in DATASETS and published.source
        for name in published.figures:
            for member in (published.members[part] for part in name.split("+")):
                assert RELEASED[member.weights].dataset == published.dataset
        for name, member in published.members.items():
            frames, _, clips = name.partition("x")
            assert (RELEASED[member.weights].num_segments, member.num_clips) == (int(frames), int(clips or 1))


def test_labels_hold_the_three_mirrored_pairs():
    assert len(set(LABELS)) == 174 and len(find_label_swaps(sorted(LABELS))) == 3


def test_every_figure_is_what_the_test_command_gives_alone(whole, networks):
    out, answer = whole
    rows = rows_of(answer)
    assert list(rows) == [*FIGURES, ENSEMBLE]
    assert len({row["top1"] for row in rows.values()}) > 2 and rows["8"]["top1"] > 0
    for name, member in PUBLISHED["something-v1"].members.items():
        alone = measure_alone(
            networks[member.weights], out / "data", split="val", clips=member.num_clips, workers=0
        )
        assert rows[name]["top1"] == alone["top1"] and rows[name]["top5"] == alone["top5"]
        assert rows[name]["top1_interval"] == alone["top1_interval"]
        assert rows[name]["points"] == pytest.approx(100 * (alone["top1"] - FIGURES[name]))


def test_the_ensemble_adds_the_logits_of_its_members(whole):
    out, answer = whole
    files = [kept_file(out, *views) for views in ((8, 2), (12, 2), (16, 1), (24, 1))]
    members = [Scores.load(file) for file in files]
    right = (sum(member.logits for member in members).argmax(1) == members[0].labels).mean()
    assert rows_of(answer)[ENSEMBLE]["top1"] == pytest.approx(right)
    assert rows_of(answer)[ENSEMBLE]["top1"] == gateshift.ensemble(files)["top1"]


def test_an_incomplete_copy_is_never_called_reproduced(whole):
    _, answer = whole
    assert (answer["ok"], answer["complete"], answer["videos"], answer["of"]) == (False, False, 12, 11522)
    assert not any(figure["reproduced"] for figure in answer["figures"])
    (table, _) = cli_tables.TABLES["reproduce"](answer)
    assert set(table.columns[-1].cells) == {"-"}


def test_what_was_found_is_kept_as_data_and_as_a_page(whole):
    out, answer = whole
    assert json.loads((out / "reproduce.json").read_text()) == answer
    page = (out / "reproduce.html").read_text()
    assert "on 12 of 11522 val videos" in page and "11510 videos are missing" in page
    assert "8x2 + 12x2 + 16 + 24" in page and "55.16" in page
    assert "http" not in page.replace("https://", "http").partition("<body>")[2]
    table, line = cli_tables.TABLES["reproduce"](answer)
    assert table.row_count == 7 and "on 12 of 11522 videos" in table.title and "README" in line


def test_what_was_tested_is_not_tested_again(whole, root, stand_ins, tests_done):
    out, answer = whole
    assert reproduce("something-v1", root, out=out, workers=0) == answer
    assert tests_done == []


def test_a_stopped_run_goes_on_with_the_rest(whole, root, stand_ins, tests_done, tmp_path, monkeypatch):
    counted = Trial.run

    def stopped_in_the_third(trial, save):
        if len(tests_done) == 2:
            raise KeyboardInterrupt
        return counted(trial, save)

    monkeypatch.setattr(Trial, "run", stopped_in_the_third)
    with pytest.raises(
        KeyboardInterrupt, match="while testing 16; what was tested before is kept in .*scores"
    ):
        reproduce("something-v1", root, out=tmp_path, workers=0)
    assert tests_done == [(8, 1), (12, 1)]
    monkeypatch.setattr(Trial, "run", counted)
    answer = reproduce("something-v1", root, out=tmp_path, workers=0)
    assert tests_done[2:] == [(16, 1), (24, 1), (8, 2), (12, 2)]
    assert answer["figures"] == whole[1]["figures"]


def test_scores_of_other_weights_videos_or_precision_are_not_taken(
    root, networks, tests_done, tmp_path, monkeypatch
):
    def run(download, files=networks, **options):
        monkeypatch.setattr(reproducing, "released_weights", lambda name, folder=None: files[name])
        tests_done.clear()
        reproduce("something-v1", download, out=tmp_path / "out", workers=0, members="8", **options)
        return len(tests_done)

    assert [run(root), run(root)] == [1, 0]
    assert [run(root, precision="bfloat16"), run(root), run(root)] == [1, 0, 0]
    small = small_model(tuple(LABELS), num_segments=8)
    small.classes = None
    other = {"gsm_inceptionv3_something-v1_8": save_weights(small, tmp_path / "8.safetensors")}
    assert [run(root, other), run(root, other)] == [1, 0]
    fewer = write_something(tmp_path / "fewer", present=("47", "85"))
    assert [run(fewer, other), run(fewer, other)] == [1, 0]
    for file in (tmp_path / "out" / "scores").glob("*.npz"):
        file.write_bytes(b"half a fi")
    assert [run(fewer, other), run(fewer, other)] == [1, 0]


def test_frames_that_were_extracted_again_are_tested_again(stand_ins, tests_done, tmp_path):
    root = write_something(tmp_path / "something", present=("9", "47"))
    words = {"out": tmp_path / "out", "members": "8", "workers": 0}
    reproduce("something-v1", root, **words)
    reproduce("something-v1", root, **words)
    assert tests_done == [(8, 1)]
    folder = root / "20bn-something-something-v1" / "47"
    before, found = kept_file(tmp_path / "out", 8, 1), folder.stat()
    os.utime(folder, ns=(found.st_atime_ns, found.st_mtime_ns + 1_000_000_000))
    reproduce("something-v1", root, **words)
    assert tests_done == [(8, 1), (8, 1)]
    assert len(set(before.parent.glob("*.npz")) - {before}) == 1


def test_some_members_only(root, stand_ins, tests_done, tmp_path):
    answer = reproduce("something-v1", root, out=tmp_path, members="8, 12x2", workers=0)
    assert tests_done == [(8, 1), (12, 2)]
    assert [name for name, row in rows_of(answer).items() if "top1" in row] == ["8", "12x2"]
    page = (tmp_path / "reproduce.html").read_text()
    assert "not tested" in page and "2 of 7 figures of the table were tested here and 0 reproduced" in page
    table, line = cli_tables.TABLES["reproduce"](answer)
    assert table.row_count == 7 and line.startswith("2 of 7 figures tested")
    with pytest.raises(UnknownName, match="'9x2'"):
        reproduce("something-v1", root, out=tmp_path, members="9x2", workers=0)


@pytest.mark.parametrize(("published", "ok"), [(0.0, True), (0.2, True), (1.0, False)])
def test_ok_is_a_complete_copy_with_every_figure_in_the_interval_or_above(
    root, stand_ins, tmp_path, monkeypatch, published, ok
):
    spec, table = DATASETS["something-v1"], PUBLISHED["something-v1"]
    complete = replace(spec, num_videos={"val": len(VAL), "train": 86017})  # only the train split is missing
    monkeypatch.setitem(DATASETS, "something-v1", complete)
    monkeypatch.setitem(PUBLISHED, "something-v1", replace(table, figures={"8": published}))
    answer = reproduce("something-v1", root, out=tmp_path, workers=0)
    assert (answer["complete"], answer["ok"]) == (True, ok)
    assert answer["of"] == len(VAL)
    (table, _) = cli_tables.TABLES["reproduce"](answer)
    assert list(table.columns[-1].cells) == ["yes" if ok else "no"]
    page = (tmp_path / "reproduce.html").read_text()
    assert f"1 of 1 figures of the table were tested here and {int(ok)} reproduced" in page
    assert "are missing" not in page


@pytest.mark.parametrize(("members", "ok"), [("8", True), ("12x2", False), ("8,12x2", False), (None, False)])
def test_ok_is_of_the_figures_that_were_asked_for(whole, root, stand_ins, monkeypatch, members, ok):
    spec, table = DATASETS["something-v1"], PUBLISHED["something-v1"]
    monkeypatch.setitem(DATASETS, "something-v1", replace(spec, num_videos={"val": len(VAL), "train": 86017}))
    figures = {"8": 0.0, "12x2": 1.0}
    monkeypatch.setitem(PUBLISHED, "something-v1", replace(table, figures=figures))
    answer = reproduce("something-v1", root, out=whole[0], workers=0, members=members)
    assert (answer["complete"], answer["ok"]) == (True, ok)
    assert list(rows_of(answer)) == ["8", "12x2"]


def scores_of(right: int, total: int) -> Scores:
    """Return scores that have ``right`` of ``total`` videos right."""
    labels = torch.zeros(total, dtype=torch.int64)
    logits = torch.tensor([[1.0, 0.0]] * right + [[0.0, 1.0]] * (total - right))
    return Scores(tuple(map(str, range(total))), labels.numpy(), logits.numpy(), ("a", "b"))


@pytest.mark.parametrize(
    ("published", "within", "reproduced"), [(0.4901, True, True), (0.47, False, True), (0.51, False, False)]
)
def test_a_figure_says_whether_the_published_one_lies_in_its_interval(published, within, reproduced):
    figure = measure("8", published, {"8": scores_of(5647, 11522)}, complete=True)  # 49.01 %, 48.1 to 49.9
    assert (figure["within"], figure["reproduced"]) == (within, reproduced)
    assert not measure("8", published, {"8": scores_of(5647, 11522)}, complete=False)["reproduced"]
    low, high = figure["top1_interval"]
    assert (round(low, 3), round(high, 3)) == (0.481, 0.499)


def test_no_video_and_no_such_table_are_refused(root, stand_ins, tmp_path):
    empty = write_something(tmp_path / "empty", present=())
    with pytest.raises(DataError, match="none of the 11522 val videos of something-v1"):
        reproduce("something-v1", empty, out=tmp_path / "out", workers=0)
    with pytest.raises(UnknownName, match="something-v1"):
        reproduce("something-v2", root, out=tmp_path / "out")


def write_diving(root: Path, *editions: str) -> Path:
    """Write a download of Diving48 with two videos and the labels of the editions: "" is V1, "V2_" V2."""
    root.mkdir(parents=True)
    words = [["Back", f"{i}som", "NoTwis", "PIKE"] for i in range(48)]
    (root / "Diving48_vocab.json").write_text(json.dumps(words))
    for number, edition in enumerate(editions):
        for video, part in (("_a_1", "train"), ("-b_2", "test")):
            row = {"vid_name": video, "label": 3 + number, "start_frame": 0, "end_frame": 12}
            (root / f"Diving48_{edition}{part}.json").write_text(json.dumps([row]))
    for video in ("_a_1", "-b_2"):
        write_frames(root / "rgb" / video, 12)
    return root


def test_diving48_is_of_its_first_labels_only(networks, tmp_path, monkeypatch):
    second = write_diving(tmp_path / "second", "V2_")
    with pytest.raises(DataError, match="diving48-v2.*accuracies with V1 and with V2 do not compare"):
        reproduce("diving48", second, out=tmp_path / "out", workers=0)
    model = small_model(tuple(map(str, range(48))), num_segments=16)
    model.classes = None
    file = save_weights(model, tmp_path / "16.safetensors")
    monkeypatch.setattr(reproducing, "released_weights", lambda name, folder=None: file)
    both = write_diving(tmp_path / "both", "", "V2_")
    answer = reproduce("diving48", both, out=tmp_path / "out", workers=0)
    assert (answer["dataset"], answer["videos"], answer["split"]) == ("diving48-v1", 1, "val")
    assert list(rows_of(answer)) == ["16", "16x2"]
    assert all("top1" in row for row in answer["figures"])
    assert Scores.load(kept_file(tmp_path / "out", 16, 1)).labels.tolist() == [3]


def write_released(folder: Path, *frames: int) -> Path:
    """Write checkpoints of Inception-V3 as they were released; the tensors do not tell the frames."""
    folder.mkdir()
    state = released_state("InceptionV3_gsm_t8_s229_seed1")
    for count in frames:
        record = RELEASED[f"gsm_inceptionv3_something-v1_{count}"]
        torch.save(gsm_file(state, "InceptionV3"), folder / record.file_name)
    return folder


def test_from_the_download_and_the_released_files_to_the_table(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("GATESHIFT_CACHE", str(tmp_path / "cache"))
    root = write_something(tmp_path / "something", present=("47",))
    weights, out = write_released(tmp_path / "weights", 8), tmp_path / "out"
    words = [str(root), "--weights", str(weights), "--out", str(out), "--members", "8,8x2", "--workers", "0"]
    status = cli.run("reproduce", ["something-v1", *words, "--device", "cpu", "--json"])
    captured = capsys.readouterr()
    assert status == 1 and "11521 of 11522 val videos are missing" in captured.err
    rows = rows_of(json.loads(captured.out))
    converted = tmp_path / "cache" / "gsm_inceptionv3_something-v1_8.safetensors"
    alone = measure_alone(converted, out / "data", clips=2, workers=0, save_scores=tmp_path / "alone.npz")
    assert rows["8x2"]["top1"] == alone["top1"]
    kept = [Scores.load(file).logits for file in (kept_file(out, 8, 2), tmp_path / "alone.npz")]
    assert (kept[0] == kept[1]).all() and "top1" in rows["8"]
    with pytest.raises(WeightsError, match="something-v1_RGB_InceptionV3_avg_segment12_checkpoint.pth.tar"):
        reproduce("something-v1", root, weights=weights, out=out, workers=0)


def test_folders_may_be_strings(networks, tmp_path, monkeypatch):
    folders = []
    monkeypatch.setattr(
        reproducing, "released_weights", lambda name, folder=None: folders.append(folder) or networks[name]
    )
    root = write_something(tmp_path / "something", present=("47",))
    words = {"weights": str(tmp_path / "w"), "out": str(tmp_path / "out"), "members": "8", "workers": 0}
    answer = reproduce("something-v1", str(root), **words)
    assert folders == [tmp_path / "w"] and Path(answer["page"]).is_file()


TWO_PROCESSES = """
import json, sys
from pathlib import Path
from accelerate import PartialState
from gateshift.apps import reproduce as reproducing
from gateshift.errors import GateshiftError
root, weights, out = sys.argv[1:]
state = PartialState(cpu=True)
def released(name, folder=None):
    assert state.is_main_process
    return Path(weights)
def prepare(*words, _prepare=reproducing.prepare, **options):
    assert state.is_main_process
    return _prepare(*words, **options)
reproducing.released_weights, reproducing.prepare = released, prepare
options = dict(out=out, members="8,8x2", workers=0, device="cpu")
answer = reproducing.reproduce("something-v1", root, **options)
Path(out, f"answer-{state.process_index}.json").write_text(json.dumps(answer))
try:
    reproducing.reproduce("something-v1", root + "/none", **options)
except GateshiftError as error:
    Path(out, f"refused-{state.process_index}.txt").write_text(str(error))
state.destroy_process_group()
"""


def test_processes_under_torchrun_share_one_preparation(whole, root, networks, tmp_path):
    script, out = tmp_path / "script.py", tmp_path / "out"
    script.write_text(TWO_PROCESSES)
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    words = [script, root, networks["gsm_inceptionv3_something-v1_8"], out]
    done = subprocess.run(
        [*launcher, *map(str, words)],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    first, second = (json.loads((out / f"answer-{process}.json").read_text()) for process in range(2))
    assert first == second == json.loads((out / "reproduce.json").read_text())
    for name in ("8", "8x2"):
        assert rows_of(first)[name] == rows_of(whole[1])[name]
    refusals = [(out / f"refused-{process}.txt").read_text() for process in range(2)]
    assert refusals[0] == refusals[1] and "none" in refusals[0]


def test_bad_settings_are_refused(root, stand_ins, tmp_path):
    with pytest.raises(ConfigError, match="batch_size"):
        reproduce("something-v1", root, out=tmp_path, batch_size=0, members="8", workers=0)


@pytest.mark.slow
def test_the_whole_table_from_the_released_files(tmp_path, monkeypatch):
    monkeypatch.setenv("GATESHIFT_CACHE", str(tmp_path / "cache"))
    root = write_something(tmp_path / "something", present=("47",))
    weights = write_released(tmp_path / "weights", 8, 12, 16, 24)
    answer = reproduce("something-v1", root, weights=weights, out=tmp_path / "out", workers=0)
    assert all("top1" in figure for figure in answer["figures"])
    files = [kept_file(tmp_path / "out", *views) for views in ((8, 2), (12, 2), (16, 1), (24, 1))]
    assert rows_of(answer)[ENSEMBLE]["top1"] == gateshift.ensemble(files)["top1"]
