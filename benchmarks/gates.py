"""Whether the gates of a network look at what moves, and what it is without them.

    python benchmarks/gates.py runs/demo/gsm --without runs/demo/tsn

Draws videos of the embedded dataset with shapes and backgrounds that no training shows, and knows which of
their pixels move. For each gate-shift module: the mean size of its gates on what moves, and on the rest, with
the interval of their ratio over the videos. Then the accuracy of the network as it is, with all its gates
closed, the same once its batch-norms have seen training scenes so (they expect what open gates make), and of
the network that never had any. A table goes to stderr, JSON to stdout.
"""

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.optim.swa_utils import update_bn

from gateshift.data.dataset import as_clip
from gateshift.data.sampling import test_clips
from gateshift.data.shapes import CLASSES, render
from gateshift.data.transforms import EvalTransform, normalize, stack_frames
from gateshift.engine.gate_statistics import gate_modules, watching_gates
from gateshift.evidence.intervals import bootstrap, wilson_interval
from gateshift.evidence.paired import chance_text, mcnemar, share_of_sums
from gateshift.models.classifier import VideoClassifier
from gateshift.models.weights import load
from gateshift.nn import closing

SEED = 2_000_003  # of videos that are in no split
ROWS = ("as it is", "all gates closed", "closed, norms anew", "without gates")
NORM_VIDEOS, BATCH = 16, 16  # of each class, that batch-norms see; clips at once
SHOWS = 0.5  # share of a gate's place that must move to count as such


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    """Measure what the arguments ask for; return what is printed."""
    options = parse(arguments)
    network, closed, without = load(options.model), load(options.model), load(options.without)
    modules, modules_closed = (list(gate_modules(each).values()) for each in (network, closed))
    with closing(modules_closed):
        measure_norms(closed, [clip for clip, _ in draw(network, NORM_VIDEOS, options.size, unseen=False)])
    sizes: dict[str, list[tuple[float, float]]] = {name: [] for name in gate_modules(network)}
    right: dict[str, list[bool]] = {name: [] for name in ROWS}
    for place, (clip, moving) in enumerate(draw(network, options.videos, options.size, unseen=True)):
        for module, gates in gates_of(network, clip).items():
            if (found := on_and_off(gates, moving)) is not None:
                sizes[module].append(found)
        said = [says(network, clip)]
        with closing(modules), closing(modules_closed):
            said += [says(network, clip), says(closed, clip)]
        said.append(says(without, clip))
        for name, label in zip(ROWS, said, strict=True):
            right[name].append(label == place % len(CLASSES))
    answer = {
        "model": str(options.model),
        "videos": options.videos * len(CLASSES),
        "modules": [as_module(name, found) for name, found in sizes.items()],
        "top1": {name: as_accuracy(found) for name, found in right.items()},
        "closed_to_without": {
            name: mcnemar(*only(right[name], right["without gates"])) for name in ROWS[1:3]
        },
    }
    show(answer)
    return answer


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Return the options of the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("model", type=Path, help="run of a network with gates, of the embedded dataset")
    parser.add_argument("--without", type=Path, required=True, help="run of a network without")
    parser.add_argument("--videos", type=int, default=10, help="of each class")
    parser.add_argument("--size", type=int, default=64, help="side of the videos in pixels")
    return parser.parse_args(arguments)


def draw(network: VideoClassifier, count: int, size: int, *, unseen: bool) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield ``clip_and_mask`` of so many videos of each class, class by class."""
    for number in range(count):
        for place, name in enumerate(CLASSES):
            rng = np.random.default_rng((SEED, number, place // 2))
            yield clip_and_mask(*render(name, rng, size=size, unseen=unseen), network)


def measure_norms(network: VideoClassifier, clips: Sequence[Tensor]) -> None:
    """Let batch-norms take their means and variances anew, of clips (1, T, 3, S, S); nothing else changes."""
    order = np.random.default_rng(SEED).permutation(len(clips)).tolist()
    batches = (order[begin : begin + BATCH] for begin in range(0, len(clips), BATCH))
    update_bn((torch.cat([clips[place] for place in batch]) for batch in batches), network)


def clip_and_mask(frames: np.ndarray, masks: np.ndarray, network: VideoClassifier) -> tuple[Tensor, Tensor]:
    """Return the clip that the network sees, (1, T, 3, S, S), and what moves in it, (T, S, S) in 0..1."""
    spec = network.input_spec
    places = torch.from_numpy(test_clips(len(frames), network.num_segments, 1, spec.frames_read)).flatten()
    transform = EvalTransform(spec)
    whole = as_clip(np.ascontiguousarray(frames))[places]
    mask = torch.from_numpy(masks.copy())[places, None].expand(-1, 3, -1, -1).to(torch.uint8) * 255
    clip, moving = (stack_frames(transform(part), network.num_segments) for part in (whole, mask))
    return normalize(clip, spec), moving[0, :, 0].float() / 255


def gates_of(network: VideoClassifier, clip: Tensor) -> dict[str, Tensor]:
    """Return the gates (2, T, h, w) of each module."""
    with watching_gates(network) as planes, torch.inference_mode():
        network(clip)
    return {name: gates[0] for name, gates in planes.items()}


def says(network: VideoClassifier, clip: Tensor) -> int:
    """Return the class that a network names."""
    with torch.inference_mode():
        return int(network(clip)[0].argmax())


def on_and_off(gates: Tensor, moving: Tensor) -> tuple[float, float] | None:
    """Return the mean size of gates (2, T, h, w) where something moves and elsewhere, if it does."""
    shares = torch.nn.functional.adaptive_avg_pool2d(moving[:, None], gates.shape[-2:])[:, 0]  # (T, h, w)
    # Of what is smaller than a place of coarse gates, the place that holds most of it.
    threshold = torch.minimum(torch.tensor(SHOWS), shares.amax(dim=(-2, -1), keepdim=True))
    on = (shares >= threshold) & (shares > 0)
    size = gates.abs().mean(dim=0)
    if not on.any() or on.all():
        return None
    return float(size[on].mean()), float(size[~on].mean())


def as_module(name: str, found: Sequence[tuple[float, float]]) -> dict[str, Any]:
    """Return the ratio of gates on and off what moves, with its interval over the videos."""
    sums = np.array(found)
    on, off = sums.mean(axis=0)
    return {
        "name": name,
        "on": on,
        "off": off,
        "ratio": on / off,
        "interval": bootstrap(sums, share_of_sums)[0],
    }


def only(one: Sequence[bool], other: Sequence[bool]) -> tuple[int, int]:
    """Return how many videos one network alone has right, and how many the other."""
    first, second = np.array(one), np.array(other)
    return int((first & ~second).sum()), int((second & ~first).sum())


def as_accuracy(found: Sequence[bool]) -> dict[str, Any]:
    """Return an accuracy with its interval."""
    return {"top1": sum(found) / len(found), "interval": wilson_interval(sum(found), len(found))}


def show(answer: dict[str, Any]) -> None:
    """Print the table to stderr and the JSON to stdout."""
    print(
        f"{answer['model']}: mean |gate| on what moves and elsewhere, {answer['videos']} videos",
        file=sys.stderr,
    )
    for row in answer["modules"]:
        low, high = row["interval"]
        figures = f"{row['on']:.3f} {row['off']:.3f}  ratio {row['ratio']:.2f} ({low:.2f} to {high:.2f})"
        print(f"  {row['name']:<32}{figures}", file=sys.stderr)
    for name, row in answer["top1"].items():
        low, high = row["interval"]
        chance = answer["closed_to_without"].get(name)
        beside = "" if chance is None else f", beside the one without: {chance_text(chance)}"
        print(f"  top-1 {name:<20}{row['top1']:.1%} ({low:.1%} to {high:.1%}){beside}", file=sys.stderr)
    print(json.dumps(answer))


if __name__ == "__main__":
    main()
