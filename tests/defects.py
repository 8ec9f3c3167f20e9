"""Every defect that `gateshift check` looks for, planted by seed in the dataset of clean_twin.py.

A planter changes files or lists and returns what a check must then find: (video, kind).
"""

import shutil
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
from PIL import Image

from clean_twin import (
    CLASSES,
    NUM_FRAMES,
    PER_CLASS,
    QUALITY,
    add,
    encode,
    line_of,
    read_rows,
    scene,
    write_description,
    write_rows,
)

Planted = set[tuple[str, str]]
Planter = Callable[[Path, int], Planted]


# One file


def missing_file(root: Path, seed: int) -> Planted:
    return {(add(root, "never_fetched.mp4")[1], "missing-file")}


def empty_file(root: Path, seed: int) -> Planted:
    path, video = add(root, "empty.mp4")
    path.touch()
    return {(video, "empty-file")}


def not_a_video(root: Path, seed: int) -> Planted:
    path, video = add(root, "noise.mp4")
    path.write_bytes(np.random.default_rng(seed).bytes(5000))
    return {(video, "not-a-video")}


def no_video_stream(root: Path, seed: int) -> Planted:
    path, video = add(root, "sound.mp4")
    with av.open(str(path), "w") as file:
        stream = file.add_stream("aac", rate=16000, layout="mono")
        for _ in range(8):
            sound = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
            sound.sample_rate = 16000
            file.mux(stream.encode(sound))
        file.mux(stream.encode())
    return {(video, "no-video-stream")}


def encrypted(root: Path, seed: int) -> Planted:
    path, video = add(root, "secret.mp4")
    key = np.random.default_rng(seed).bytes(16).hex()
    locked = {"encryption_scheme": "cenc-aes-ctr", "encryption_key": key, "encryption_kid": "0" * 32}
    encode(path, scene(seed), container=locked)
    return {(video, "encrypted")}


def cut_short(root: Path, seed: int) -> Planted:
    """Half of a file whose header, at its start, promises the whole."""
    path, video = add(root, "half.mp4")
    encode(path, scene(seed, num_frames=60), container={"movflags": "+faststart"})
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    return {(video, "cut-short")}


def cut_matroska(root: Path, seed: int) -> Planted:
    """Half of a file that counts no frames and says how long it lasts."""
    path, video = add(root, "half.mkv")
    encode(path, scene(seed, num_frames=60))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    return {(video, "cut-short")}


def broken_off(root: Path, seed: int) -> Planted:
    """Noise in the middle of a file of one keyframe."""
    path, video = add(root, "scratched.mp4")
    encode(path, scene(seed, num_frames=60), options=dict(QUALITY, g="60"))
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 400] = np.random.default_rng(seed).bytes(400)
    path.write_bytes(bytes(content))
    return {(video, "broken-off")}


def no_frames(root: Path, seed: int) -> Planted:
    """An AVI of which the first bytes of its first frame are left."""
    path, video = add(root, "headless.avi")
    encode(path, scene(seed), codec="mjpeg", pixels="yuvj420p", options={})
    content = path.read_bytes()
    path.write_bytes(content[: content.index(b"00dc", content.index(b"movi")) + 20])
    return {(video, "no-frames")}


def header_count(root: Path, seed: int) -> Planted:
    """An AVI whose stream header counts 5 frames more than there are."""
    path, video = add(root, "miscounted.avi")
    encode(path, scene(seed), codec="mpeg4", options={})
    content = bytearray(path.read_bytes())
    length = content.index(b"strh") + 8 + 32
    content[length : length + 4] = (NUM_FRAMES + 5).to_bytes(4, "little")
    path.write_bytes(bytes(content))
    return {(video, "frame-count")}


def few_frames(root: Path, seed: int) -> Planted:
    path, video = add(root, "short.mp4")
    encode(path, scene(seed, num_frames=5))
    return {(video, "few-frames")}


def variable_rate(root: Path, seed: int) -> Planted:
    path, video = add(root, "uneven.mkv")
    encode(path, scene(seed), times=lambda i: i * i)
    return {(video, "variable-rate")}


def rotated(root: Path, seed: int) -> Planted:
    path, video = add(root, "turned.mp4")
    encode(path, scene(seed), rotation=90)
    return {(video, "rotated")}


def odd_pixels(root: Path, seed: int) -> Planted:
    path, video = add(root, "ten_bits.mp4")
    encode(path, scene(seed), pixels="yuv420p10le")
    return {(video, "pixel-format")}


def wrong_extension(root: Path, seed: int) -> Planted:
    path, video = add(root, "named_wrongly.avi")
    encode(path, scene(seed), format="mp4")
    return {(video, "wrong-extension")}


# One folder of frames


def _frame_folder(root: Path, name: str, seed: int) -> tuple[Path, str]:
    folder, video = add(root, name)
    folder.mkdir(parents=True)
    for i, pixels in enumerate(scene(seed)):
        Image.fromarray(pixels).save(folder / f"{i + 1:05d}.jpg", quality=95)
    return folder, video


def missing_frame(root: Path, seed: int) -> Planted:
    folder, video = _frame_folder(root, "gap", seed)
    (folder / "00007.jpg").unlink()
    return {(video, "missing-frame")}


def frame_file(root: Path, seed: int) -> Planted:
    folder, video = _frame_folder(root, "torn", seed)
    (folder / "00007.jpg").write_bytes((folder / "00007.jpg").read_bytes()[:400])
    return {(video, "frame-file")}


def frame_size(root: Path, seed: int) -> Planted:
    folder, video = _frame_folder(root, "shrunk", seed)
    Image.open(folder / "00007.jpg").resize((32, 24)).save(folder / "00007.jpg")
    return {(video, "frame-size")}


def two_orders(root: Path, seed: int) -> Planted:
    """Frames under two templates: nothing says which are the video."""
    folder, video = _frame_folder(root, "two_takes", seed)
    shutil.copyfile(folder / "00001.jpg", folder / "take2_00001.jpg")
    return {(video, "frame-names")}


def span_after_the_end(root: Path, seed: int) -> Planted:
    path, video = add(root, "spanned.mp4", start_frame="4", end_frame=str(NUM_FRAMES + 6))
    encode(path, scene(seed))
    return {(video, "bad-span")}


def seconds_after_the_end(root: Path, seed: int) -> Planted:
    path, video = add(root, "timed.mp4", start_seconds="0.2", end_seconds="9.5")
    encode(path, scene(seed))
    return {(video, "bad-span")}


# Two videos


def _first(root: Path, split: str, label: str = "jump") -> str:
    return next(row["video"] for row in read_rows(root, split) if row["label"] == label)


def exact_copy(root: Path, seed: int) -> Planted:
    path, video = add(root, "copied.mp4")
    shutil.copyfile(root / _first(root, "val"), path)
    return {(video, "duplicate")}


def relabelled_copy(root: Path, seed: int) -> Planted:
    path, video = add(root, "relabelled.mp4", label="jump")
    before = _first(root, "train", "swipe left")
    shutil.copyfile(root / before, path)
    return {(video, "duplicate"), (before, "duplicate")}


def repeated_copy(root: Path, seed: int) -> Planted:
    path, video = add(root, "z_again.mp4", label="swipe right")
    shutil.copyfile(root / _first(root, "train", "swipe right"), path)
    return {(video, "repeated")}


def _near(
    root: Path, name: str, seed: int, change: Callable[[np.ndarray], np.ndarray], **how: object
) -> Planted:
    """A new video in validation, and a changed copy of it in training."""
    original, _ = add(root, f"{name}_original.mp4", "val", "swipe left")
    copied, video = add(root, f"{name}_copy.mp4", "train", "swipe left")
    frames = scene(seed)
    encode(original, frames)
    encode(copied, change(frames), **how)  # type: ignore[arg-type]
    return {(video, "near-duplicate")}


def encoded_anew(root: Path, seed: int) -> Planted:
    return _near(root, "coarse", seed, lambda frames: frames, options={"crf": "32", "preset": "ultrafast"})


def resized(root: Path, seed: int) -> Planted:
    def larger(frames: np.ndarray) -> np.ndarray:
        return np.stack([np.asarray(Image.fromarray(frame).resize((112, 112))) for frame in frames])

    return _near(root, "larger", seed, larger)


def trimmed(root: Path, seed: int) -> Planted:
    return _near(root, "trimmed", seed, lambda frames: frames[1:-1])


def mirrored(root: Path, seed: int) -> Planted:
    return _near(root, "mirrored", seed, lambda frames: frames[:, :, ::-1])


def same_scene(root: Path, seed: int) -> Planted:
    """Two takes before one background."""
    take, video = add(root, "take_2.mp4", "val", "swipe right")
    other, _ = add(root, "take_1.mp4", "train", "swipe left")
    encode(take, scene(seed, actor=1))
    encode(other, scene(seed, actor=2))
    return {(video, "same-scene")}


# Lists, labels and classes


def label_out_of_range(root: Path, seed: int) -> Planted:
    rows = read_rows(root, "train")
    row = seed % len(rows)
    rows[row]["label"] = "17"
    write_rows(root, "train", rows)
    return {(line_of(root, "train", row), "label-range")}


def unknown_label(root: Path, seed: int) -> Planted:
    rows = read_rows(root, "val")
    row = seed % len(rows)
    rows[row]["label"] = "jmup"
    write_rows(root, "val", rows)
    return {(line_of(root, "val", row), "label-range")}


def labels_from_1(root: Path, seed: int) -> Planted:
    for split in PER_CLASS:
        rows = [row | {"label": str(CLASSES.index(row["label"]) + 1)} for row in read_rows(root, split)]
        write_rows(root, split, rows)
    return {("train.csv", "labels-from-1"), ("val.csv", "labels-from-1")}


def nameless_labels_from_1(root: Path, seed: int) -> Planted:
    (root / "dataset.json").unlink()
    return labels_from_1(root, seed)


def empty_class(root: Path, seed: int) -> Planted:
    write_description(root, classes=[*CLASSES, "waving"])
    return {("", "empty-class")}


def _only(root: Path, split: str, label: str, count: int) -> None:
    """Keep ``count`` rows of one class in a split."""
    rows = read_rows(root, split)
    few = [row for row in rows if row["label"] == label][:count]
    write_rows(root, split, [row for row in rows if row["label"] != label or row in few])


def singleton_class(root: Path, seed: int) -> Planted:
    _only(root, "train", "jump", 1)
    return {("", "singleton-class")}


def val_only_class(root: Path, seed: int) -> Planted:
    _only(root, "train", "jump", 0)
    return {("", "val-only-class")}


def imbalance(root: Path, seed: int) -> Planted:
    """Twenty rows of one long video against the two that another class keeps."""
    _only(root, "train", "swipe left", 2)
    path, video = add(root, "long.mp4", label="swipe right", start_frame="0", end_frame="8")
    encode(path, scene(seed, num_frames=200))
    spans = [
        {"video": video, "label": "swipe right", "start_frame": str(i), "end_frame": str(i + 8)}
        for i in range(8, 152, 9)
    ]
    write_rows(root, "train", [*read_rows(root, "train"), *spans])
    return {("", "imbalance")}


def class_names_in_two_cases(root: Path, seed: int) -> Planted:
    write_description(root, classes=None)
    rows = read_rows(root, "train")
    for row in [row for row in rows if row["label"] == "jump"][:3]:
        row["label"] = "Jump"
    write_rows(root, "train", rows)
    return {("", "case-names")}


def file_names_in_two_cases(root: Path, seed: int) -> Planted:
    path, video = add(root, "clip_7.mp4")
    encode(path, scene(seed))
    path, other = add(root, "Clip_7.mp4")
    encode(path, scene(seed + 1))
    return {(min(video, other), "case-names")}


def two_labels(root: Path, seed: int) -> Planted:
    video = _first(root, "train")
    add(root, Path(video).name, label="swipe left")
    return {(video, "two-labels")}


def listed_twice(root: Path, seed: int) -> Planted:
    add(root, Path(_first(root, "train")).name)
    return {(line_of(root, "train", -1), "listed-twice")}


def in_two_splits(root: Path, seed: int) -> Planted:
    add(root, Path(_first(root, "val")).name)
    return {(line_of(root, "train", -1), "duplicate")}


def bad_span(root: Path, seed: int) -> Planted:
    path, _ = add(root, "backwards.mp4", start_frame="9", end_frame="3")
    encode(path, scene(seed))
    return {(line_of(root, "train", -1), "bad-span")}


def bad_row(root: Path, seed: int) -> Planted:
    with (root / "train.csv").open("a", encoding="utf-8") as file:
        file.write("videos/a.mp4,jump,one too many\n")
    return {(f"train.csv:{sum(PER_CLASS['train'] for _ in CLASSES) + 2}", "bad-row")}


def no_label(root: Path, seed: int) -> Planted:
    add(root, "unlabelled.mp4", label=" ")
    return {(line_of(root, "train", -1), "bad-row")}


def bad_description(root: Path, seed: int) -> Planted:
    write_description(root, clases=["jump"])
    return {("", "bad-description")}


def one_class(root: Path, seed: int) -> Planted:
    """A dataset that nothing is wrong with but that there is nothing to tell apart."""
    write_description(root, classes=["jump"])
    for split in PER_CLASS:
        write_rows(root, split, [row for row in read_rows(root, split) if row["label"] == "jump"])
    return {("", "unusable")}


def bad_swaps(root: Path, seed: int) -> Planted:
    write_description(root, label_swaps=[["swipe left", "swipe rihgt"]])
    return {("", "label-swaps")}


OF_FILES: tuple[Planter, ...] = (
    *(missing_file, empty_file, not_a_video, no_video_stream, no_frames, encrypted, cut_short, cut_matroska),
    broken_off,
    *(header_count, few_frames, variable_rate, rotated, odd_pixels, wrong_extension),
    *(missing_frame, frame_file, frame_size, two_orders, span_after_the_end),
    seconds_after_the_end,
)
OF_PAIRS: tuple[Planter, ...] = (
    *(exact_copy, relabelled_copy, repeated_copy, encoded_anew, resized, trimmed, mirrored, same_scene),
)
OF_LISTS: tuple[Planter, ...] = (
    *(label_out_of_range, unknown_label, labels_from_1, nameless_labels_from_1, empty_class),
    *(singleton_class, val_only_class, imbalance, class_names_in_two_cases, file_names_in_two_cases),
    *(
        two_labels,
        listed_twice,
        in_two_splits,
        bad_span,
        bad_row,
        no_label,
        bad_description,
        bad_swaps,
        one_class,
    ),
)
