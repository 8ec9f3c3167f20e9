"""What each option of learning does to the embedded dataset, beside a plain training of the same videos.

    python benchmarks/options.py --jobs 2
    python benchmarks/options.py --only skewed --seeds 0,1,2,3,4

- **few**: some videos of each of the twelve classes.
- **skewed**: of each pair of a motion and its reversal that a mirror does not exchange, one class has many
  videos and the other one for every fifty of them. Validation has as many of each.

Each seed has videos of its own, in the skewed copies also other rare classes, and trains all options on them.
What is shown is of the last epoch, in which nothing was chosen, and the difference to plain seed by seed. The
teacher of ``distill`` is the same network after more videos. A table goes to stderr, JSON to stdout. Finished
trainings are not done again.
"""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from trainings import Training, run_all, spread

from gateshift.data.annotations import read_annotations, write_annotations
from gateshift.data.records import Annotations, VideoRecord
from gateshift.data.shapes import LABEL_SWAPS, PAIRS, generate

MODEL = "gsm_efficientnet_lite0"
COMMON, RARE = 100, 2  # videos of a class in the skewed copies
FEW = 16  # videos of a class in the others
HELD_OUT = 12  # videos of a class to validate on
PLAIN = {
    "model": MODEL,
    "recipe": "shapes",
    "num_segments": 4,
    "epochs": 5,
    "label_smoothing": 0.0,
    "workers": 0,
    "device": "cpu",
}
TEACHER = {"epochs": 3}
OPTIONS: dict[str, dict[str, Mapping[str, Any]]] = {
    "few": {
        "plain": {},
        "ema": {"ema": 0.98},
        "early stop": {"early_stop": 2},
        "freeze 2 epochs": {"freeze_epochs": 2},
        "layer decay": {"layer_decay": 0.75},
        "linear probe": {"linear_probe": True},
        "mixup": {"augment": "mixup=0.2"},
        "label smoothing": {"label_smoothing": 0.1},
        "distill": {"distill": "{teacher}"},
    },
    "skewed": {
        "plain": {},
        "balance sampling": {"balance": "sampling"},
        "balance loss": {"balance": "loss"},
    },
}
SHOWN = ("top1", "mean_class_accuracy")
Key = tuple[str, str, int]  # data, option, seed


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    """Run what the arguments ask for; return what is printed."""
    options = parse(arguments)
    pool = generate(
        options.out / "pool", train_per_class=COMMON, val_per_class=HELD_OUT, test_per_class=1, size=64
    )
    trainings = plan(
        options.out, pool, options.only.split(","), [int(seed) for seed in options.seeds.split(",")]
    )
    if any(name == "distill" for _, name, _ in trainings):
        teach(options.out, pool, options.jobs)
    run_all(list(trainings.values()), options.jobs)
    answer: dict[str, Any] = {
        "model": MODEL,
        "results": [as_result(key, training) for key, training in trainings.items()],
    }
    show(answer["results"])
    print(json.dumps(answer))
    return answer


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Return the options of the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", default="few,skewed", help="which copies: few, skewed")
    parser.add_argument("--out", type=Path, default=Path("runs/options"), help="folder of the runs")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="trainings at a time")
    return parser.parse_args(arguments)


def plan(out: Path, pool: Path, copies: Sequence[str], seeds: Sequence[int]) -> dict[Key, Training]:
    """Return the training of each option and seed, on videos that are chosen here."""
    annotations = read_annotations(pool)
    choose = {"few": few_records, "skewed": skewed_records}
    trainings = {}
    for copy in copies:
        for seed in seeds:
            data = out / f"{copy}-{seed}-data"
            write_annotations(choose[copy](annotations, seed), data)
            for name, changes in OPTIONS[copy].items():
                settings = {**PLAIN, **changes, "seed": seed}
                if "distill" in settings:
                    settings["distill"] = str(out / "teacher.npz")
                run = out / f"{copy}-{name.replace(' ', '-')}-{seed}"
                trainings[copy, name, seed] = Training(run, data, settings)
    return trainings


def few_records(pool: Annotations, seed: int) -> Annotations:
    """Return a copy with ``FEW`` videos of each class to train on."""
    rng = np.random.default_rng(seed)
    return thinned(pool, {name: FEW for name in pool.classes}, rng)


def skewed_records(pool: Annotations, seed: int) -> Annotations:
    """Return a copy with the classes of some pairs, one of each with ``RARE`` videos, drawn by lot.

    A mirror would make videos of a rare class from the common one, so that such pairs are left out.
    """
    rng = np.random.default_rng(seed)
    counts: dict[str, int] = {}
    for pair in PAIRS:
        if pair not in LABEL_SWAPS:
            rare = int(rng.integers(2))
            counts |= {pair[rare]: RARE, pair[1 - rare]: COMMON}
    return thinned(pool, counts, rng)


def thinned(pool: Annotations, counts: Mapping[str, int], rng: np.random.Generator) -> Annotations:
    """Return the annotations of some classes, each with so many of its training videos, drawn by ``rng``."""
    classes = tuple(name for name in pool.classes if name in counts)
    label_of = {pool.classes.index(name): label for label, name in enumerate(classes)}

    def of_class(split: str, name: str) -> list[VideoRecord]:
        its = [record for record in pool.splits[split] if pool.classes[record.label] == name]
        return [replace(record, label=label_of[record.label]) for record in its]

    train = []
    for name in classes:
        its = of_class("train", name)
        chosen = sorted(rng.choice(len(its), counts[name], replace=False).tolist())
        train += [its[index] for index in chosen]
    val = [record for name in classes for record in of_class("val", name)]
    swaps = tuple(pair for pair in pool.label_swaps if set(pair) <= set(classes))
    return replace(
        pool, classes=classes, label_swaps=swaps, splits={"train": tuple(train), "val": tuple(val)}
    )


def teach(out: Path, pool: Path, jobs: int) -> None:
    """Train a network on all videos of the pool, and save what it says of those to train on."""
    teacher, scores = Training(out / "teacher", pool, {**PLAIN, **TEACHER}), out / "teacher.npz"
    if scores.exists():
        return
    run_all([teacher], jobs=1)
    words = ["test", str(teacher.out), str(pool), "--split", "train", "--device", "cpu"]
    subprocess.run(
        [sys.executable, "-m", "gateshift", *words, "--save-scores", str(scores)],
        check=True,
        stdout=subprocess.DEVNULL,
    )


def as_result(key: Key, training: Training) -> dict[str, Any]:
    """Return what came of one training."""
    log = training.log()
    return {
        "data": key[0],
        "option": key[1],
        "seed": key[2],
        "top1": log[-1]["val_top1"],
        "mean_class_accuracy": log[-1]["mean_class_accuracy"],
        "best_top1": max(row["val_top1"] for row in log),
        "epochs": len(log),
        "seconds": sum(row["seconds"] for row in log),
        "command": " ".join(training.command()[1:]),
    }


def show(results: Sequence[Mapping[str, Any]]) -> None:
    """Print a table of each copy to stderr: means and deviations over seeds, in percent."""
    for copy in dict.fromkeys(row["data"] for row in results):
        of = [row for row in results if row["data"] == copy]
        plain = {row["seed"]: row for row in of if row["option"] == "plain"}
        print(
            f"{copy}: mean ± deviation of seeds {', '.join(map(str, plain))}, in %\n"
            f"  {'':<18}{'top-1':>14}{'to plain':>14}{'class mean':>14}{'to plain':>14}{'epochs':>8}{'s':>6}",
            file=sys.stderr,
        )
        for name in dict.fromkeys(row["option"] for row in of):
            its = [row for row in of if row["option"] == name]
            cells = []
            for value in SHOWN:
                differences = [row[value] - plain[row["seed"]][value] for row in its]
                cells += [spread([row[value] for row in its]), spread(differences)]
            epochs, seconds = (np.mean([row[value] for row in its]) for value in ("epochs", "seconds"))
            line = "".join(f"{cell:>14}" for cell in cells)
            print(f"  {name:<18}{line}{epochs:>8.1f}{seconds:>6.0f}", file=sys.stderr)


if __name__ == "__main__":
    main()
