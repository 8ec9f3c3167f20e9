"""The figures that speed is held to, each beside its target: latency, training, GSM over TSN, growth.

    python benchmarks/speed.py                    # some 15 minutes on two cores, with nothing else running
    python benchmarks/speed.py --only latency     # or training, growth

Every figure comes out of `gateshift bench`, whose tables and pages are kept in --out. A table goes to stderr,
JSON to stdout; the exit status is 1 where a target is missed.
"""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from gateshift import bench
from gateshift.engine.machine import describe

Answer = Mapping[str, Any]
SEGMENTS = "8,16,32,64"  # for growth
FEW = 3  # rounds of growth, whose steps are long


@dataclass(frozen=True)
class Target:
    """What a figure must be.

    Attributes:
        run: a name of ``RUNS``.
        what: of the row: infer or train.
        model: of the row; "" for the first model.
        precision: of the row.
        figure: a name of ``FIGURES``.
        most: that it may be.
        least: that it may be.
    """

    run: str
    what: str
    model: str
    precision: str
    figure: str
    most: float
    least: float = 0.0


BN, V3 = "gsm_bninception", "gsm_inceptionv3"
TARGETS = (
    Target("latency", "infer", BN, "bfloat16", "time over plain", 0.30),
    Target("latency", "infer", BN, "float32", "time over plain", 0.50),
    Target("latency", "infer", V3, "bfloat16", "time over plain", 0.25),
    Target("latency", "infer", V3, "float32", "time over plain", 0.42),
    *(
        Target("latency", "infer", model, precision, "time over TSN", 1.10)
        for model in (BN, V3)
        for precision in ("bfloat16", "float32")
    ),
    Target("training", "train", BN, "bfloat16", "time over plain", 0.40),
    Target("training", "train", BN, "float32", "time over plain", 0.60),
    *(
        Target("training", "train", BN, precision, figure, most)
        for figure, most in (("memory over plain", 0.60), ("time over TSN", 1.15))
        for precision in ("bfloat16", "float32")
    ),
    *(
        Target("growth", what, BN, precision, figure, 1.10, least)
        for what in ("infer", "train")
        for figure, least in (("growth of time", 0.90), ("growth of memory", 0.0))  # weights do not grow
        for precision in ("bfloat16", "float32")
    ),
)
FIGURES = {  # figure -> where in the answer, and the value there
    "time over plain": ("results", lambda row: row["ratio"]),
    "time over TSN": ("results", lambda row: row["over_tsn"]),
    "memory over plain": ("results", lambda row: row["peak_memory"] / row["plain_peak_memory"]),
    "growth of time": ("growth", lambda row: row["seconds"]),
    "growth of memory": ("growth", lambda row: row["peak_memory"]),
}
RUNS: Mapping[str, Mapping[str, Any]] = {  # name -> arguments of `bench`
    "latency": {"what": "infer", "model": f"{BN},{V3}", "batch_size": "1", "memory": False},
    "training": {"what": "train", "model": BN, "batch_size": "4"},
    "growth": {"what": "train,infer", "model": BN, "num_segments": SEGMENTS, "batch_size": "1"},
}


def main(arguments: Sequence[str] | None = None) -> list[dict[str, Any]]:
    """Measure what the arguments ask for; return what is printed."""
    options = parse(arguments)
    found: list[dict[str, Any]] = []
    for name in options.only or RUNS:
        rounds = min(options.rounds, FEW) if name == "growth" else options.rounds
        answer = bench(**RUNS[name], rounds=rounds, size=options.size, device="cpu", out=options.out / name)
        figures = hold(answer, [target for target in TARGETS if target.run == name])
        show(answer, figures)
        found += figures
    print(json.dumps(found))
    return found


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Return the options of the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=list(RUNS), help="which runs; all of them without it")
    parser.add_argument("--rounds", type=int, default=9, help="how often each side has its turn")
    parser.add_argument(
        "--size", type=int, default=0, help="side of the crop; the targets are for the own one"
    )
    parser.add_argument("--out", type=Path, default=Path("runs/speed"), help="folder for tables and pages")
    return parser.parse_args(arguments)


def hold(answer: Answer, targets: Sequence[Target]) -> list[dict[str, Any]]:
    """Return each target with the value that was found, and whether it is met."""
    figures = []
    for target in targets:
        table, value_of = FIGURES[target.figure]
        wanted = (target.what, target.model, target.precision)
        row = next(row for row in answer[table] if (row["what"], row["model"], row["precision"]) == wanted)
        value = value_of(row)
        figures.append(asdict(target) | {"value": value, "met": target.least <= value <= target.most})
    return figures


def show(answer: Answer, figures: Sequence[Mapping[str, Any]]) -> None:
    """Print the figures of one run beside their targets, to stderr."""
    print(f"{describe(answer['hardware'])}; {answer['date']}; {answer['page']}", file=sys.stderr)
    for figure in figures:
        name = f"{figure['what']} {figure['model']} {figure['precision']}"
        target = f"at most {figure['most']:.2f}" + (
            f", at least {figure['least']:.2f}" * bool(figure["least"])
        )
        met = "met" if figure["met"] else "NOT MET"
        print(f"  {name:<32} {figure['figure']:<18} {figure['value']:6.3f}  {target}: {met}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(0 if all(found["met"] for found in main()) else 1)
