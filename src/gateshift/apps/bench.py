"""``gateshift bench``: what is spent on reading, modules, training and inference, beside the plain way."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from functools import partial
from itertools import groupby
from pathlib import Path
from statistics import median
from typing import Any

import torch

from gateshift.apps.measuring import steps as sides
from gateshift.apps.measuring.cases import WHOLE, Case, choose_cases
from gateshift.apps.measuring.hardware import hardware
from gateshift.apps.measuring.memory import peak_of
from gateshift.apps.measuring.page import case_name, write_page
from gateshift.apps.measuring.reading import reading_steps
from gateshift.apps.measuring.timing import growth, in_turns, paired
from gateshift.engine.device import pick_device
from gateshift.engine.progress import progress_bar
from gateshift.errors import ConfigError, DataError, GateshiftError
from gateshift.writing import write_text

Row = dict[str, Any]
Step = Callable[[], object]
SIDES: Mapping[str, tuple[Callable[[Case], Step], Callable[[Case], Step]]] = {  # what -> (ours, plain)
    "module": (sides.module_ours, sides.module_plain),
    "train": (sides.train_ours, sides.train_plain),
    "infer": (sides.infer_ours, sides.infer_plain),
}
ALIKE = ("what", "model", "part", "batch_size", "precision", "device")  # in rows that differ in T alone


def bench(
    *,
    what: str = "data,module,train,infer",
    model: str = "gsm_bninception",
    num_segments: str = "8",
    batch_size: str | None = None,
    precision: str = "float32,bfloat16",
    device: str = "auto",
    size: int = 0,
    videos: Path | None = None,
    rounds: int = 7,
    memory: bool = True,
    out: Path | None = None,
) -> dict[str, Any]:
    """Measure reading, temporal modules, training steps and inference, each beside the plain implementation.

    Example: `gateshift bench --what train,infer --model gsm_bninception --num-segments 8,16`

    Both sides run in turns after a warm-up; a ratio is the median over pairs of one round, with the quartiles
    beside it. The plain side is the published description as it stands, in float32, NCHW, eager. A training
    step is all of it, from the bytes of clips to the optimiser; temporal modules run forward and backward;
    inference is latency at one clip and throughput at more. Clips are read by one process up to normalised
    floats. Networks have random weights, and no other work should go on beside a measurement.

    After each case `results.json` and `bench.html` in the folder hold all that is measured by then, with
    hardware and date.

    Args:
        what: names from data, module, train, infer, with commas between.
        model: names of models, with commas between; see `gateshift models`.
        num_segments: frames per clip (T), one count or several; several also show how costs grow with them.
        batch_size: clips of a step, one count or several; by default 4 in training and modules, 1 and 8 in
            inference, and 24 that are read.
        precision: names from auto, float32, bfloat16 and float16, with commas between.
        device: auto, cpu, cuda or mps.
        size: side of the square crop in pixels; 0 keeps the backbone's own.
        videos: folder of videos to read, at any depth; without it some of the embedded dataset are drawn.
        rounds: how often each side has its turn.
        memory: measure peak memory; on a CPU each side then runs once more in a process of its own.
        out: folder for results and page; by default runs/bench-<date and time>.

    Returns:
        ``results``: for each case ``what``, ``model``, ``part`` (of modules: what they see, C x H x W, or
        all; of reading: frames or videos), ``num_segments``, ``batch_size``, ``precision``, ``device``,
        ``seconds`` and ``plain_seconds`` (medians, a step), ``ratio`` with ``ratio_low`` and ``ratio_high``,
        ``clips_per_second``, ``peak_memory`` and ``plain_peak_memory`` (bytes above what was there before
        the first step) and ``over_tsn`` (time in units of the same backbone without temporal modules); null
        where there is none. ``growth``: the power of ``num_segments`` that ``seconds`` and ``peak_memory``
        grow with, 1 being proportional. Also ``hardware``, ``date``, ``rounds``, ``waiting`` and ``page``.

    Raises:
        GateshiftError: a name, number, device or folder that cannot be used, or too little memory.
        KeyboardInterrupt: stopped by Ctrl-C; what is measured is kept.
    """
    if rounds < 1:
        raise ConfigError(f"rounds is {rounds}; it must be at least 1. Change --rounds.")
    if videos is not None and not videos.is_dir():
        raise DataError(f"there is no folder '{videos}'. Give one that holds videos, at any depth.")
    where = pick_device(device)
    cases = choose_cases(
        what=what,
        model=model,
        num_segments=num_segments,
        batch_size=batch_size,
        precision=precision,
        device=str(where),
        size=size,
        videos=videos,
    )
    now = datetime.now().astimezone()
    folder = out or Path("runs") / f"bench-{now:%Y-%m-%d-%H%M%S}"
    head = {"hardware": hardware(where), "date": now.isoformat(timespec="seconds"), "rounds": rounds}
    return measure_all(cases, folder, head, rounds, memory)


def measure_all(
    cases: Sequence[Case], folder: Path, head: Mapping[str, Any], rounds: int, memory: bool
) -> dict[str, Any]:
    """Measure case after case; after each, write what there is. Returns what the command answers."""
    results: list[Row] = []
    answer: dict[str, Any] = {}
    with progress_bar("measuring", len(cases) * (rounds + 1)) as bar:
        for number, case in enumerate(cases, start=1):
            bar.advance(0, note=case_name(vars(case)))
            try:
                results.append(measure(case, rounds, memory, bar.advance))
            except KeyboardInterrupt as stop:
                raise KeyboardInterrupt(_so_far(number - 1, len(cases), folder)) from stop
            except torch.OutOfMemoryError as error:
                raise GateshiftError(
                    f"{case_name(vars(case))} does not fit into the memory of {case.device}. "
                    f"Lower --batch-size or --num-segments. {_so_far(number - 1, len(cases), folder)}"
                ) from error
            answer = {
                **head,
                "results": results,
                "growth": growths(results),
                "waiting": [case_name(vars(later)) for later in cases[number:]],
                "page": str(folder / "bench.html"),
            }
            write_text(folder / "results.json", json.dumps(answer, indent=2, ensure_ascii=False) + "\n")
            write_page(folder / "bench.html", answer)
    return answer


def _so_far(finished: int, number: int, folder: Path) -> str:
    """Say what a stopped measurement leaves."""
    kept = f"; they are in {folder}" if finished else ""
    return f"{finished} of {number} cases are measured{kept}."


def measure(case: Case, rounds: int, memory: bool, advance: Callable[[], object]) -> Row:
    """Measure one case on both sides, and on TSN where there is one; return its row."""
    settle = torch.get_device_module(case.device or "cpu").synchronize
    with steps_of(case) as steps:
        seconds = in_turns(steps, rounds, settle=settle, advance=advance)
    ratio = paired(seconds["ours"], seconds["plain"])
    peak, plain_peak = peak_memory(case) if memory and case.what in WHOLE else (None, None)
    middle = median(seconds["ours"])
    return {
        **{name: getattr(case, name) for name in (*ALIKE, "num_segments")},
        "seconds": middle,
        "plain_seconds": median(seconds["plain"]),
        "ratio": ratio.median,
        "ratio_low": ratio.low,
        "ratio_high": ratio.high,
        "clips_per_second": case.batch_size / middle,
        "peak_memory": peak,
        "plain_peak_memory": plain_peak,
        "over_tsn": paired(seconds["ours"], seconds["tsn"]).median if "tsn" in seconds else None,
    }


@contextmanager
def steps_of(case: Case) -> Iterator[Mapping[str, Step]]:
    """Yield the steps that are to be timed: "ours", "plain", and "tsn" where there is one."""
    if case.what == "data":
        with reading_steps(case) as steps:
            yield steps
    else:
        ours, plain = SIDES[case.what]
        yield {"ours": ours(case), "plain": plain(case)} | ({"tsn": ours(case.tsn)} if case.tsn else {})


def peak_memory(case: Case) -> tuple[int | None, int | None]:
    """Return the peak memory of both sides."""
    ours, plain = (peak_of(partial(side, case), torch.device(case.device)) for side in SIDES[case.what])
    return ours, plain


def growths(results: Sequence[Row]) -> list[Row]:
    """Return how the costs of whole networks grow with the segments, for rows that differ in them alone."""

    def alike(row: Row) -> tuple[Any, ...]:
        return tuple(row[name] for name in ALIKE)

    whole = [row for row in results if row["what"] in WHOLE]
    found = []
    for names, group in groupby(sorted(whole, key=alike), key=alike):
        rows = list(group)
        counts = [row["num_segments"] for row in rows]
        if len(counts) > 1:
            peaks = [row["peak_memory"] for row in rows]
            found.append(
                dict(zip(ALIKE, names, strict=True))
                | {
                    "num_segments": sorted(counts),
                    "seconds": growth(counts, [row["seconds"] for row in rows]),
                    "peak_memory": growth(counts, peaks) if all(peaks) else None,
                }
            )
    return found
