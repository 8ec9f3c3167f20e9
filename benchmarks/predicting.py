"""Videos to labels, end to end: the plain route beside `gateshift predict`, in one run and in turns.

    python benchmarks/predicting.py --videos DIR

Each route is a command with all that belongs to it: starting Python, loading the weights, decoding, the
network; ``in_process`` leaves out the first. ``command`` and ``in_process`` take the precision that it
takes by itself. A figure is the median of the rounds, and a ratio the median of the ratios within a round. A
table goes to stderr, JSON to stdout. The weights are random: what they say means nothing, and all routes must
say the same.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from material import find_videos
from reading import machine, ratio

import gateshift

TARGET = 3.0  # times the speed of the plain route
NUM_CLASSES = 174
PLAIN = [sys.executable, str(Path(__file__).with_name("plain_predict.py"))]
OURS = [sys.executable, "-m", "gateshift", "predict"]
NEAR = 0.2  # JPEG and Pillow move a logit by less than that share of how much it differs from video to video
Said = np.ndarray  # (videos, classes), log-probabilities


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    """Run what the arguments ask for; return what is printed."""
    options = parse(arguments)
    videos = [str(path) for path in find_videos(options.videos, options.count)]
    if not videos:
        sys.exit(f"there is no readable video of 32 frames or more in '{options.videos}'.")
    about = machine(options)
    with tempfile.TemporaryDirectory() as folder:
        weights = str(save_random_weights(Path(folder) / "random.safetensors", options))
        routes: dict[str, Callable[[Sequence[str]], Said]] = {
            "plain": lambda videos: run_plain(weights, videos),
            "command": lambda videos: run_ours(weights, videos, "auto"),
            "command_float32": lambda videos: run_ours(weights, videos, "float32"),
            "in_process": lambda videos: predict_here(weights, videos),
        }
        for route in routes.values():
            route(videos[:2])  # warms up
        rounds = [run_round(routes, videos) for _ in range(options.rounds)]
    seconds = {name: [one[name] for one in rounds] for name in routes}
    answer = {
        "machine": about | {"load_after": os.getloadavg()[0]},
        "model": options.model,
        "videos": len(videos),
        "seconds": {name: median(times) for name, times in seconds.items()},
        "ratios": {name: ratio(seconds["plain"], times) for name, times in seconds.items()},
        "difference": max(one["difference"] for one in rounds),
        "target": TARGET,
        "met": ratio(seconds["plain"], seconds["command"]) >= TARGET,
    }
    show(answer)
    return answer


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Return the options of the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--videos", type=Path, required=True, help="folder of videos, at any depth")
    parser.add_argument("--count", type=int, default=200, help="videos that are predicted, at most")
    parser.add_argument("--rounds", type=int, default=3, help="times that each route predicts all of them")
    parser.add_argument("--model", default="gsm_bninception")
    parser.add_argument("--num-segments", type=int, default=8)
    parser.set_defaults(device="cpu")
    return parser.parse_args(arguments)


def save_random_weights(path: Path, options: argparse.Namespace) -> Path:
    """Write a network with open gates whose answers differ from video to video."""
    torch.manual_seed(0)
    model = gateshift.create_model(options.model, NUM_CLASSES, options.num_segments)
    torch.nn.init.normal_(model.head.weight)
    for name, parameter in model.named_parameters():
        if name.endswith("gate.weight"):
            torch.nn.init.normal_(parameter, std=0.1)
    return gateshift.save_weights(model, path)


def run_round(routes: dict[str, Callable[[Sequence[str]], Said]], videos: Sequence[str]) -> dict[str, float]:
    """Return the seconds of each route, and how far what it says is from what the plain one says."""
    seconds, said = {}, {}
    for name, route in routes.items():
        started = time.perf_counter()
        said[name] = route(videos)
        seconds[name] = time.perf_counter() - started
    spread = said["plain"].std(axis=0).mean()
    difference = float(np.abs(said["command"] - said["plain"]).mean() / spread) if len(videos) > 1 else 0.0
    if difference > NEAR:
        raise RuntimeError(
            f"the routes do not say the same: log-probabilities differ by {difference:.2f} of their spread"
        )
    return seconds | {"difference": difference}


def run_plain(weights: str, videos: Sequence[str]) -> Said:
    """Predict by the plain route."""
    found = subprocess.run([*PLAIN, weights, *videos], check=True, capture_output=True)
    return torch.tensor(json.loads(found.stdout)["logits"]).log_softmax(dim=1).numpy()


def run_ours(weights: str, videos: Sequence[str], precision: str) -> Said:
    """Predict by the command."""
    options = ["--device", "cpu", "--precision", precision, "--top", str(NUM_CLASSES), "--json"]
    found = subprocess.run([*OURS, weights, *videos, *options], check=True, capture_output=True)
    return as_said(json.loads(found.stdout))


def predict_here(weights: str, videos: Sequence[str]) -> Said:
    """Predict in this process, which has imported everything."""
    return as_said(gateshift.predict(weights, videos, device="cpu", top=NUM_CLASSES))


def as_said(answer: dict[str, Any]) -> Said:
    """Return log-probabilities from what `predict` answers."""
    said = np.full((len(answer["predictions"]), NUM_CLASSES), -np.inf)
    for row, prediction in zip(said, answer["predictions"], strict=True):
        for label in prediction["labels"]:
            row[int(label["label"])] = np.log(label["probability"])
    return said


def show(answer: dict[str, Any]) -> None:
    """Print the table to stderr and the JSON to stdout."""
    print(f"{answer['videos']} videos, {answer['model']}", file=sys.stderr)
    print(f"{'':<20}{'seconds':>9}{'videos/s':>10}{'times plain':>13}", file=sys.stderr)
    for name, seconds in answer["seconds"].items():
        speed, times = answer["videos"] / seconds, answer["ratios"][name]
        print(f"  {name:<18}{seconds:9.1f}{speed:10.1f}{times:13.2f}", file=sys.stderr)
    verdict = "met" if answer["met"] else "not met"
    print(f"target: the command at {answer['target']:.1f} times plain: {verdict}", file=sys.stderr)
    print(json.dumps(answer))


if __name__ == "__main__":
    main()
