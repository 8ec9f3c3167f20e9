"""`gateshift prepare`: lists of what is there and whole, and every other thing reported by name."""

import csv
import json
import shutil
from pathlib import Path

import pytest

import gateshift
from conftest import shared
from gateshift import cli, cli_tables
from gateshift.data.annotations import read_annotations
from gateshift.data.prepare import RAW
from gateshift.errors import ConfigError, DataError, UnknownName
from something_root import FRAMES, LABELS, STEM, small_root, write_root
from videos import touch, write_video

REAL = "data/annotations/something-v1"
NAMES = {"train": "train", "validation": "val"}


def prepare(root, **options):
    return gateshift.prepare("something-v1", root, out=root.parent / "out", **options)


def listed(root, split="train"):
    return [record.video for record in read_annotations(root.parent / "out").splits[split]]


def problems(answer, kind):
    return [
        (Path(problem["where"]).name, problem["detail"])
        for problem in answer["problems"]
        if problem["kind"] == kind
    ]


@pytest.fixture
def root(tmp_path):
    """A whole copy but for the rows that the published files have."""
    return small_root(tmp_path / "root")


def real_root(root, count, whole_lists):
    """Write some real rows of both splits with as many frames as they have; return the expected lists."""
    folder = shared(REAL)
    expected, lengths, splits = {}, {}, {}
    for long, split in NAMES.items():
        rows = [line.split(";") for line in (folder / f"{STEM}-{long}.csv").read_text().splitlines()]
        lines = (folder / f"expected_{split}_videofolder.txt").read_text().splitlines()[:count]
        expected[split] = lines
        lengths |= {line.split()[0]: int(line.split()[1]) for line in lines}
        splits[long] = rows if whole_lists else rows[:count]
    labels = (folder / f"{STEM}-labels.csv").read_text().splitlines()
    write_root(root, splits, lengths, labels)
    return expected


@pytest.mark.parametrize(("count", "whole_lists"), [(200, False), (100, True)])
def test_real_rows_give_exactly_the_expected_lists(tmp_path, count, whole_lists):
    expected = real_root(tmp_path / "root", count, whole_lists)
    answer = prepare(tmp_path / "root")
    annotations = read_annotations(tmp_path / "out")
    for split, lines in expected.items():
        assert (tmp_path / "out" / f"{split}_videofolder.txt").read_text().splitlines() == lines
        rows = [f"{r.video} {r.num_frames} {r.label}" for r in annotations.splits[split]]
        assert rows == lines
    assert annotations.frame_template == "{:05d}.jpg"
    assert annotations.dataset == "something-v1"
    assert annotations.swap_indices == {86: 87, 87: 86, 93: 94, 94: 93, 166: 167, 167: 166}
    assert answer["label_swap_indices"] == [[86, 87], [93, 94], [166, 167]]
    found = {split: row["found"] for split, row in answer["splits"].items()}
    missing = {split: row["missing"] for split, row in answer["splits"].items()}
    rows = {"train": 8000, "val": 11522} if whole_lists else {"train": count, "val": count}
    assert found == {"train": count, "val": count}
    assert missing == {split: total - count for split, total in rows.items()}
    assert not answer["complete"] and not answer["ok"]
    assert f"{STEM}-train.csv lists {rows['train']} of 86017 published rows" in str(answer["problems"])


def test_a_copy_that_lacks_nothing_but_rows(root):
    answer = prepare(root)
    assert listed(root) == ["12", "7", "100"]
    assert listed(root, "val") == ["5", "33"]
    assert answer["splits"]["train"] == {"annotated": 3, "published": 86017, "found": 3, "missing": 0}
    assert answer["problem_counts"] == {"too-few-rows": 3, "empty-file": 5}
    assert answer["missing"] == [] and not (root.parent / "out" / "missing.txt").exists()
    assert answer["notes"] == ["'test' has no labels and is in no list: 0 of 1 videos are there."]
    assert answer["classes"] == len(LABELS)
    assert json.loads((root.parent / "out" / "dataset.json").read_text())["root"] == str(root / FRAMES)


def test_a_copy_is_complete_where_all_that_was_published_is_there(root, monkeypatch):
    assert prepare(root)["complete"] is False
    spec = RAW["something-v1"]
    published = {"train": 3, "val": 2, "test": 1}
    monkeypatch.setitem(RAW, "something-v1", lambda *args: replace_published(spec(*args), published))
    assert prepare(root)["complete"] is True
    monkeypatch.setitem(
        RAW, "something-v1", lambda *args: replace_published(spec(*args), published | {"val": 3})
    )
    assert prepare(root)["complete"] is False


def replace_published(raw, published):
    return raw.__class__(**vars(raw) | {"published": published})


def test_missing_frames_and_folders_are_named_and_left_out(root):
    (root / FRAMES / "7" / "00003.jpg").unlink()
    (root / FRAMES / "5" / "00001.jpg").unlink()
    shutil.rmtree(root / FRAMES / "100")
    answer = prepare(root)
    assert listed(root) == ["12"]
    assert listed(root, "val") == ["33"]
    assert problems(answer, "missing-frame") == [
        ("7", f"frame '00003.jpg' is missing from '{FRAMES}/7'"),
        ("5", f"frame '00001.jpg' is missing from '{FRAMES}/5'"),
    ]
    assert problems(answer, "missing-video") == [(f"{STEM}-train.csv:3", "'100' is not there")]
    assert answer["missing"] == ["7", "100", "5"]
    assert (root.parent / "out" / "missing.txt").read_text() == "7\n100\n5\n"
    assert answer["splits"]["train"]["missing"] == 2


def test_an_empty_folder_is_missing_and_said_to_be_empty(root):
    shutil.rmtree(root / FRAMES / "12")
    (root / FRAMES / "12").mkdir()
    detail = f"'12' is not there, and its folder '{FRAMES}/12' is empty"
    assert problems(prepare(root), "missing-video") == [(f"{STEM}-train.csv:1", detail)]


def test_stray_files_are_named_and_not_counted(root):
    touch(
        root / FRAMES / "12" / "Thumbs.db",
        root / FRAMES / "12" / "00001 (1).jpg",
        root / FRAMES / "notes.txt",
    )
    touch(root / FRAMES / "4711" / "00001.jpg", root / FRAMES / "900" / "00001.jpg", root / "LICENSE")
    answer = prepare(root)
    assert (root.parent / "out" / "train_videofolder.txt").read_text().startswith("12 4 ")
    assert [name for name, _ in problems(answer, "stray-file")] == ["00001 (1).jpg", "Thumbs.db", "notes.txt"]
    assert problems(answer, "stray-folder") == [("4711", f"'{FRAMES}/4711' is in no annotation")]
    assert answer["missing"] == []
    assert "1 of 1 videos are there" in answer["notes"][0]


def test_windows_line_ends_are_noted(root):
    file = root / f"{STEM}-train.csv"
    file.write_bytes(file.read_bytes().replace(b"\n", b"\r\n"))
    assert "train.csv has Windows line ends" in prepare(root)["notes"][0]
    assert listed(root) == ["12", "7", "100"]


def test_a_truncated_list_is_refused_by_line_on_the_command_line(root, capsys):
    file = root / f"{STEM}-train.csv"
    file.write_bytes(file.read_bytes()[:-8])
    with pytest.raises(SystemExit) as end:
        cli.main(["prepare", "something-v1", str(root), "--out", str(root.parent / "out")])
    assert end.value.code == 2
    assert f"{file}:3: there is no class" in capsys.readouterr().err
    assert not (root.parent / "out").exists()


def test_exit_status_and_one_json_object(root, capsys, monkeypatch):
    words = ["something-v1", str(root), "--out", str(root.parent / "out"), "--json"]
    assert cli.run("prepare", words) == 1
    assert json.loads(capsys.readouterr().out)["ok"] is False
    published = {"train": 3, "val": 2}
    read = RAW["something-v1"]
    monkeypatch.setitem(RAW, "something-v1", lambda *args: replace_published(read(*args), published))
    assert cli.run("prepare", words) == 0
    assert json.loads(capsys.readouterr().out)["ok"] is True


def test_people_see_what_is_missing_and_what_to_do_next(root, capsys):
    (root / FRAMES / "7" / "00003.jpg").unlink()
    cli_tables.show("prepare", prepare(root))
    shown = " ".join(capsys.readouterr().err.split())
    assert "missing-frame" in shown and "not complete" in shown
    assert "a mirror exchanges 172-173" in shown
    assert "next: gateshift train" in shown


def test_the_same_command_again_gives_the_same(root):
    first = prepare(root)
    files = {path.name: path.read_bytes() for path in (root.parent / "out").iterdir()}
    assert prepare(root) == first
    assert {path.name: path.read_bytes() for path in (root.parent / "out").iterdir()} == files


def test_a_mended_copy_leaves_nothing_of_the_old_lists(root):
    val = [root / FRAMES / name for name in ("5", "33")]
    for folder in val:
        folder.rename(root.parent / folder.name)
    answer = prepare(root)
    assert "There is no val.csv: none of its videos is there." in answer["notes"]
    assert answer["missing"] == ["5", "33"]
    for folder in val:
        (root.parent / folder.name).rename(folder)
    for folder in (root / FRAMES).iterdir():
        if folder not in val:
            shutil.rmtree(folder)
    prepare(root)
    assert not [
        name for name in ("train.csv", "train_videofolder.txt") if (root.parent / "out" / name).exists()
    ]
    assert listed(root, "val") == ["5", "33"]


def test_out_of_another_dataset_is_refused(root):
    out = root.parent / "out"
    touch(out / "train.csv")
    with pytest.raises(DataError, match=r"holds 'train.csv', and something-v1 would be written over it"):
        prepare(root)
    (out / "train.csv").unlink()
    prepare(root)
    described = json.loads((out / "dataset.json").read_text())
    (out / "dataset.json").write_text(json.dumps(described | {"dataset": "jester"}))
    with pytest.raises(DataError, match="holds the lists of jester"):
        prepare(root)


def test_out_may_lie_in_the_root(root):
    answers = [gateshift.prepare("something-v1", root, out=root / FRAMES / "lists") for _ in range(2)]
    assert answers[0] == answers[1]
    assert "stray-file" not in answers[1]["problem_counts"]


def test_all_problems_are_in_a_file_and_twenty_of_a_kind_in_the_answer(root):
    touch(*(root / FRAMES / f"{i}" / "00001.jpg" for i in range(1000, 1030)))
    answer = prepare(root)
    assert answer["problem_counts"]["stray-folder"] == 30
    assert len(problems(answer, "stray-folder")) == 20
    with (root.parent / "out" / "problems.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == sum(answer["problem_counts"].values())
    assert set(rows[0]) == {"kind", "where", "detail", "fix"}


def test_archives_are_pointed_to_where_videos_are_missing(root):
    parts = [root / f"20bn-something-something-v1-{i:02d}" for i in range(3)]
    touch(*parts)
    assert "packed" not in prepare(root)["problem_counts"]
    shutil.rmtree(root / FRAMES)
    answer = prepare(root)
    packed = next(problem for problem in answer["problems"] if problem["kind"] == "packed")
    assert "'20bn-something-something-v1-00' and 2 more parts" in packed["detail"]
    assert f"`cat {root}/20bn-something-something-v1-?? | tar -xzf - -C {root}`" in packed["fix"]
    assert answer["splits"]["train"]["found"] == 0
    assert json.loads((root.parent / "out" / "dataset.json").read_text())["dataset"] == "something-v1"


def test_one_name_in_two_places_is_not_chosen_between(root):
    touch(root / "again" / "12" / "00001.jpg")
    answer = prepare(root)
    (where, detail), *others = problems(answer, "two-places")
    assert where == f"{STEM}-train.csv:1" and not others
    assert f"'{FRAMES}/12'" in detail and "'again/12'" in detail
    assert answer["missing"] == ["12"]


def test_a_video_in_two_splits_is_named(root):
    with (root / f"{STEM}-validation.csv").open("a") as file:
        file.write(f"12;{LABELS[0]}\n")
    assert problems(prepare(root), "duplicate") == [
        (f"{STEM}-validation.csv:3", f"'12' is in {root / STEM}-train.csv:1 as well (1 such videos)")
    ]


def test_frames_of_another_name_are_taken_by_their_own(root):
    for path in (root / FRAMES).glob("*/*.jpg"):
        path.rename(path.with_name(f"img_{path.name}"))
    prepare(root)
    annotations = read_annotations(root.parent / "out")
    assert annotations.frame_template == "img_{:05d}.jpg"
    assert [record.num_frames for record in annotations.splits["train"]] == [4, 5, 6]


def test_names_in_several_places_keep_the_root(root):
    (root / "more").mkdir()
    (root / FRAMES / "7").rename(root / "more" / "7")
    answer = prepare(root)
    assert answer["splits"]["train"]["found"] == 3
    assert listed(root) == [f"{FRAMES}/12", "more/7", f"{FRAMES}/100"]
    assert read_annotations(root.parent / "out").root == root


def test_video_files_are_listed_with_their_extension(tmp_path):
    root = tmp_path / "root"
    (root / "videos").mkdir(parents=True)
    labels = {name: str(i) for i, name in enumerate(sorted(LABELS))}
    (root / "something-something-v2-labels.json").write_text(json.dumps(labels))
    for name, video in (("train", "1"), ("validation", "2")):
        rows = [{"id": video, "template": "Holding [something]"}]
        (root / f"something-something-v2-{name}.json").write_text(json.dumps(rows))
        write_video(root / "videos" / f"{video}.webm", 3, codec="libvpx-vp9")
    touch(root / "videos" / "3.webm")
    answer = gateshift.prepare("something-v2", root, out=tmp_path / "out")
    assert listed(root) == ["1.webm"]
    assert problems(answer, "stray-file") == [("3.webm", "'videos/3.webm' is in no annotation")]
    assert not (tmp_path / "out" / "train_videofolder.txt").exists()
    assert read_annotations(tmp_path / "out").frame_template is None


def test_a_list_goes_to_prepared_without_out(root, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert gateshift.prepare("something-v1", root)["out"] == str(Path("prepared/something-v1"))
    assert (tmp_path / "prepared/something-v1/train.csv").is_file()


def test_refusals(root):
    with pytest.raises(UnknownName, match="something-v1"):
        gateshift.prepare("something-v3", root)
    with pytest.raises(DataError, match="there is no folder"):
        gateshift.prepare("something-v1", root / "nowhere")
    touch(root.parent / "file")
    with pytest.raises(DataError, match="file' cannot be written"):
        gateshift.prepare("something-v1", root, out=root.parent / "file")
    with pytest.raises(ConfigError, match="workers is 0"):
        prepare(root, workers=0)
    with pytest.raises(ConfigError, match="Leave out --split"):
        prepare(root, split=1)
