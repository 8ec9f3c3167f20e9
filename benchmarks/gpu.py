"""What a GPU is held to: bandwidth of the kernels, GSM over TSN, training throughput without data and with.

    python benchmarks/gpu.py                      # on a machine with CUDA; some 5 minutes
    python benchmarks/gpu.py --data DIR           # trains on these videos, in folders by class or with lists

A gate-shift module of an evaluating network needs to read its maps twice and to write them once; bandwidth is
that of these bytes, without what starting kernels costs (CUDA graphs). With data, one epoch of
`gateshift train` after a first one is held against plain steps that wait for nothing. A table goes to stderr,
JSON to stdout; the exit status is 1 where a target is missed.
"""

import argparse
import csv
import json
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from gateshift import bench, create_model, train
from gateshift.apps.measuring.hardware import hardware
from gateshift.apps.measuring.places import Place, temporal_places
from gateshift.apps.measuring.timing import in_turns, paired
from gateshift.data.shapes import generate
from gateshift.engine.device import prepare_for_speed
from gateshift.engine.machine import describe

MODEL, NUM_SEGMENTS = "gsm_bninception", 8
BATCH = 32  # clips
BANDWIDTH = 0.75  # of a copy's, at least
OVER_TSN = 1.08  # of training, at most
THROUGHPUT = 2.5  # times the plain one, at least
PASSES = 3  # over the maps of a module: two to read, one to write
LAYOUTS = {"NCHW": torch.contiguous_format, "channels_last": torch.channels_last}
Figure = dict[str, Any]


def main(arguments: Sequence[str] | None = None) -> list[Figure]:
    """Measure what the arguments ask for; return what is printed."""
    options = parse(arguments)
    if not torch.cuda.is_available():
        sys.exit("gpu.py: this torch finds no CUDA GPU. Run it where there is one; speed.py is for CPUs.")
    print(describe(hardware(torch.device("cuda", torch.cuda.current_device()))), file=sys.stderr)
    figures = [found for precision in ("bfloat16", "float32") for found in bandwidths(precision, options)]
    figures += training(options)
    for found in figures:
        show(found)
    print(json.dumps(figures))
    return figures


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Return the options of the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, help="dataset to train on; drawn without it")
    parser.add_argument("--batch-size", type=int, default=BATCH, help="clips of a step")
    parser.add_argument("--workers", type=int, default=8, help="processes that read videos")
    parser.add_argument("--rounds", type=int, default=9, help="how often each side has its turn")
    parser.add_argument("--out", type=Path, default=Path("runs/gpu"), help="folder for tables and pages")
    return parser.parse_args(arguments)


def bandwidths(precision: str, options: argparse.Namespace) -> list[Figure]:
    """Return the bandwidth of the gate-shift modules in units of a copy's: of each, and of all together."""
    network = create_model(MODEL, 2, NUM_SEGMENTS).cuda().eval()
    prepare_for_speed(network)
    places = temporal_places(MODEL, NUM_SEGMENTS, 0)
    figures = []
    for layout, memory_format in LAYOUTS.items():
        shares = {}
        for place in places:
            frames = frames_of(place, options.batch_size, getattr(torch, precision), memory_format)
            shares[place] = share_of_copy(network.get_submodule(place.name), frames, options.rounds)
        sizes = {place: place.channels * place.height * place.width for place in places}
        # All together spend the sum of what each of them does: its bytes over its bandwidth.
        together = sum(sizes.values()) / sum(size / shares[place] for place, size in sizes.items())
        name = f"bandwidth over a copy's, {precision}, {layout}"
        figures += [hold(f"{name}, {place.size}", share) for place, share in shares.items()]
        figures.append(hold(f"{name}, all modules", together, least=BANDWIDTH))
    return figures


def frames_of(place: Place, batch: int, dtype: torch.dtype, memory_format: torch.memory_format) -> Tensor:
    """Return what a temporal module sees, frames (N, C, H, W)."""
    shape = (batch * NUM_SEGMENTS, place.channels, place.height, place.width)
    return torch.randn(shape, device="cuda", dtype=dtype).to(memory_format=memory_format)


@torch.inference_mode()
def share_of_copy(module: nn.Module, frames: Tensor, rounds: int) -> float:
    """Return the bandwidth of a module that evaluates ``frames``, in units of a copy of them."""
    y = torch.empty_like(frames)
    steps = {"module": captured(lambda: module(frames)), "copy": captured(lambda: y.copy_(frames))}
    seconds = in_turns(steps, rounds, settle=torch.cuda.synchronize, advance=lambda: None)
    return PASSES / 2 / paired(seconds["module"], seconds["copy"]).median


def captured(step: Callable[[], object]) -> Callable[[], object]:
    """Return ``step`` as a CUDA graph, which costs no time between its kernels."""
    aside = torch.cuda.Stream()
    aside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(aside):
        for _ in range(3):
            step()
    torch.cuda.current_stream().wait_stream(aside)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()
    return graph.replay


def training(options: argparse.Namespace) -> list[Figure]:
    """Return what training costs over TSN, and its throughput over that of the plain network's steps."""
    settings = {"model": MODEL, "num_segments": str(NUM_SEGMENTS), "batch_size": str(options.batch_size)}
    out, rounds = options.out / "training", options.rounds
    answer = bench(what="train", precision="bfloat16", device="cuda", rounds=rounds, out=out, **settings)
    (row,) = answer["results"]
    plain = options.batch_size / row["plain_seconds"]
    return [
        hold("training, bfloat16: time over TSN", row["over_tsn"], most=OVER_TSN),
        hold("training, bfloat16: clips/s over plain", 1 / row["ratio"], least=THROUGHPUT),
        hold("training, bfloat16: memory over plain", row["peak_memory"] / row["plain_peak_memory"]),
        hold("the same with data", with_data(options) / plain, least=THROUGHPUT),
    ]


def with_data(options: argparse.Namespace) -> float:
    """Return the clips a second of the second epoch of `gateshift train`."""
    with tempfile.TemporaryDirectory() as room:
        data = options.data or generate(Path(room, "shapes"), train_per_class=40, size=256)
        run = train(
            data,
            out=Path(room, "run"),
            model=MODEL,
            pretrained=False,
            num_segments=NUM_SEGMENTS,
            epochs=2,
            warmup_epochs=0,
            batch_size=options.batch_size,
            precision="bfloat16",
            workers=options.workers,
            device="cuda",
        )["run"]
        with Path(run, "log.csv").open(encoding="utf-8", newline="") as log:
            return float(list(csv.DictReader(log))[-1]["clips_per_second"])


def hold(name: str, value: float, *, most: float | None = None, least: float | None = None) -> Figure:
    """Return a figure, its target where it has one, and whether that is met."""
    met = (most is None or value <= most) and (least is None or value >= least)
    return {"name": name, "value": value, "most": most, "least": least, "met": met}


def show(found: Mapping[str, Any]) -> None:
    """Print a figure beside its target, to stderr."""
    bounds = [
        f"{word} {found[key]:.2f}"
        for key, word in (("most", "at most"), ("least", "at least"))
        if found[key] is not None
    ]
    met = f"{', '.join(bounds)}: {'met' if found['met'] else 'NOT MET'}" if bounds else ""
    print(f"  {found['name']:<62} {found['value']:6.3f}  {met}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(0 if all(found["met"] for found in main()) else 1)
