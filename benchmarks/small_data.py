"""What few videos teach: recipes by temporal modules, over seeds, on videos of other recordings.

    python benchmarks/small_data.py --only fights --videos DIR
    python benchmarks/small_data.py --only arid6 --videos DIR
    python benchmarks/small_data.py --only direction --videos DIR

- **fights**: the 300 clips of the Surveillance Camera Fight Dataset, with its ``videos.txt``, which says what
  was cut from what. Each seed has a split of its own, by recording.
- **arid6**: any folder with ``train`` and ``val``, whose ``val`` is of other scenes.
- **direction**: every video of such a folder once as it is and once reversed; the class is the direction.
  Both ways have the same files of frames, in another order, and what is sampled lies symmetrically: a network
  that is blind to order says the same of both, and is right half the time.

Figures are top-1 accuracy of the last epoch: nothing was chosen on the videos that it is measured on. A table
goes to stderr, JSON to stdout. Finished trainings are not done again.
"""

import argparse
import json
import os
import re
import shutil
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from statistics import mean
from typing import Any

import numpy as np
from trainings import Training, run_all, spread

from gateshift.data.annotations import read_annotations, write_annotations
from gateshift.data.frame_writer import FRAME_TEMPLATE, FrameSettings, write_frames
from gateshift.data.reader import VideoFile
from gateshift.data.records import VideoRecord

SEGMENTS = 8
VAL_FRACTION = 0.25
MOST_UNEVEN = 0.1  # how far the share of a class in validation may be from half
SOURCES = (("CamNet", 62, 75), ("Synopsis", 76, 91))  # "nofi062 - nofi076 : CamNet Dataset", and the rest
MODELS = {"fights": "tsn,tsm,gsm", "arid6": "tsn,tsm,gsm", "direction": "tsn,tsm,gsm,gsf"}
RECIPES = {"fights": "finetune,small-data", "arid6": "finetune,small-data", "direction": "finetune"}


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    """Run what the arguments ask for; return what is printed."""
    options = parse(arguments)
    seeds = [int(seed) for seed in options.seeds.split(",")]
    data = {seed: PREPARE[options.only](options.videos, options.out / "data", seed) for seed in seeds}
    trainings = {
        (recipe, temporal, seed): Training(
            options.out / f"{options.only}-{recipe}-{temporal}-{seed}",
            data[seed],
            {
                "model": f"{temporal}_{options.backbone}",
                "recipe": recipe,
                "seed": seed,
                "workers": 0,
                "device": options.device,
            },
        )
        for seed in seeds
        for recipe in options.recipes.split(",")
        for temporal in options.models.split(",")
    }
    run_all(list(trainings.values()), options.jobs)
    answer = {
        "only": options.only,
        "backbone": options.backbone,
        "seeds": seeds,
        "results": [as_result(key, training) for key, training in trainings.items()],
    }
    show(answer)
    return answer


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Return the options of the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", choices=PREPARE, required=True, help="which question")
    parser.add_argument("--videos", type=Path, required=True, help="folder of the videos")
    parser.add_argument("--out", type=Path, default=Path("runs/small-data"), help="folder of the runs")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--models", help="temporal modules")
    parser.add_argument("--recipes")
    parser.add_argument("--backbone", default="efficientnet_lite0")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="trainings at a time")
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args(arguments)
    options.models = options.models or MODELS[options.only]
    options.recipes = options.recipes or RECIPES[options.only]
    return options


def split_fights(videos: Path, folder: Path, seed: int) -> Path:
    """Write lists of the fights, split by recording; return their folder."""
    annotations = read_annotations(videos)
    records = [record for split in annotations.splits.values() for record in split]
    groups = read_recordings((videos / "videos.txt").read_text(encoding="utf-8"))
    of = [groups.get(PurePosixPath(record.video).stem, record.video) for record in records]
    held_out = choose_recordings(of, [record.label for record in records], seed)
    sides: dict[str, list[VideoRecord]] = {"train": [], "val": []}
    for record, group in zip(records, of, strict=True):
        sides["val" if group in held_out else "train"].append(record)
    splits = {name: tuple(side) for name, side in sides.items()}
    return write_annotations(replace(annotations, splits=splits), folder / f"fights-{seed}")


def read_recordings(text: str) -> dict[str, str]:
    """Return the recording of each clip, from a list of addresses with the clips that were cut from them.

    >>> read_recordings("https://a\\nfi001: 0.1 - 0.2\\nhttps://b\\nfi002: 0.3 - 0.4\\n")["fi002"]
    'https://b'
    """
    groups, address = {}, ""
    for line in text.splitlines():
        if line.startswith("http"):
            address = line.strip()
        elif found := re.match(r"(\w+):", line):
            groups[found[1]] = address
    for name, first, last in SOURCES:
        groups |= {f"nofi{number:03d}": name for number in range(first, last + 1)}
    return groups


def choose_recordings(groups: Sequence[str], labels: Sequence[int], seed: int) -> set[str]:
    """Return recordings that hold a quarter of the videos, or a little more, and both classes alike."""
    rng = np.random.default_rng(seed)
    names = sorted(set(groups))
    while True:
        chosen: set[str] = set()
        for name in rng.permutation(names).tolist():
            of_chosen = [label for group, label in zip(groups, labels, strict=True) if group in chosen]
            if len(of_chosen) >= VAL_FRACTION * len(groups):
                break
            chosen.add(name)
        if abs(mean(of_chosen) - 0.5) <= MOST_UNEVEN and len(of_chosen) <= 1.2 * VAL_FRACTION * len(groups):
            return chosen


def as_it_is(videos: Path, folder: Path, seed: int) -> Path:
    """Return the folder itself: its split is given, and a seed decides initial weights and order alone."""
    return videos


def both_ways(videos: Path, folder: Path, seed: int) -> Path:
    """Write every video as frames in order and reversed; return the folder, which is made once."""
    folder = folder / "direction"
    if folder.exists():
        return folder
    partial = folder.with_name("direction.partial")
    shutil.rmtree(partial, ignore_errors=True)  # of a command that was stopped
    for path in sorted(videos.glob("*/*/*.mp4")):
        split, label, name = path.relative_to(videos).with_suffix("").parts
        forward, backward = (partial / split / way / f"{label}-{name}" for way in ("forward", "backward"))
        forward.mkdir(parents=True)
        backward.mkdir(parents=True)
        whole = partial / "whole"
        count = write_frames(VideoFile(path), whole, FrameSettings())
        kept = symmetric(count)
        skipped = (count - kept) // 2
        for number in range(1, kept + 1):
            file = whole / FRAME_TEMPLATE.format(skipped + number)
            os.link(file, forward / FRAME_TEMPLATE.format(number))
            os.link(file, backward / FRAME_TEMPLATE.format(kept + 1 - number))
        shutil.rmtree(whole)
    if not partial.exists():
        sys.exit(f"{videos} has no train/CLASS/NAME.mp4 and val/CLASS/NAME.mp4: give --videos such a folder")
    partial.rename(folder)
    return folder


def symmetric(count: int) -> int:
    """Return the most frames, up to ``count``, whose segments each have a middle frame.

    >>> [symmetric(count) for count in (24, 39, 60, 105)]
    [24, 24, 56, 104]

    Raises:
        ValueError: there are fewer frames than segments.
    """
    if count < SEGMENTS:
        raise ValueError(f"a video of {count} frames has none for some of {SEGMENTS} segments: leave it out")
    return range(SEGMENTS, count + 1, 2 * SEGMENTS)[-1]


def as_result(key: tuple[str, str, int], training: Training) -> dict[str, Any]:
    """Return what came of one training."""
    log = training.log()
    return {
        "recipe": key[0],
        "temporal": key[1],
        "seed": key[2],
        "last_top1": log[-1]["val_top1"],
        "best_top1": max(row["val_top1"] for row in log),
        "train_top1": log[-1]["train_top1"],
        "seconds": sum(row["seconds"] for row in log),
        "command": " ".join(training.command()[1:]),
    }


def show(answer: dict[str, Any]) -> None:
    """Print the table to stderr and the JSON to stdout: differences are of trainings of one seed."""
    rows = answer["results"]
    temporals, recipes = (list(dict.fromkeys(row[key] for row in rows)) for key in ("temporal", "recipe"))
    found = {(row["recipe"], row["temporal"], row["seed"]): row for row in rows}
    columns = ("last epoch", "best epoch", f"over {temporals[0]}", f"over {recipes[0]}")
    names = f"  {'':<18}" + "".join(f"{name:>16}" for name in columns)
    print(f"{answer['only']}, {answer['backbone']}: top-1 in %, mean ± deviation of seeds", file=sys.stderr)
    print(f"{names}{'s':>8}", file=sys.stderr)
    for recipe in recipes:
        for temporal in temporals:
            of = [row for row in rows if (row["recipe"], row["temporal"]) == (recipe, temporal)]
            cells = [spread([row[key] for row in of]) for key in ("last_top1", "best_top1")]
            for beside in ((recipe, temporals[0]), (recipes[0], temporal)):
                others = [found[*beside, row["seed"]] for row in of]
                cells.append(
                    spread([a["last_top1"] - b["last_top1"] for a, b in zip(of, others, strict=True)])
                )
            line = "".join(f"{cell:>16}" for cell in cells)
            seconds = mean(row["seconds"] for row in of)
            print(f"  {recipe:<12}{temporal:<6}{line}{seconds:>8.0f}", file=sys.stderr)
    print(json.dumps(answer))


PREPARE = {"fights": split_fights, "arid6": as_it_is, "direction": both_ways}

if __name__ == "__main__":
    main()
