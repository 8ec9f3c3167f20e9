"""``gateshift reproduce``: the published table beside what comes out here, from a dataset as downloaded."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from accelerate import PartialState
from accelerate.utils import broadcast_object_list

from gateshift.apps.ensemble import HowTested, score_file
from gateshift.apps.prepare import prepare
from gateshift.apps.published import PUBLISHED, PublishedTable
from gateshift.data.prepare import read_raw
from gateshift.data.raw.records import Choices
from gateshift.engine.device import pick_device, pick_precision
from gateshift.engine.inference import Inference
from gateshift.engine.pages import render_page
from gateshift.engine.progress import console
from gateshift.engine.trial import recordings
from gateshift.errors import ConfigError, DataError, GateshiftError, lookup
from gateshift.evidence.ensemble import add_up, align
from gateshift.evidence.metrics import summary
from gateshift.evidence.scores import Scores
from gateshift.models.released import released_weights
from gateshift.writing import write_text

T = TypeVar("T")


@dataclass(frozen=True)
class PreparedCopy:
    """The prepared copy of a dataset, and how much of what was published it holds.

    Attributes:
        lists: the folder that `prepare` wrote.
        split: what is measured on.
        found: videos of the split that are there.
        published: videos of the split in the published dataset.
    """

    lists: Path
    split: str
    found: int
    published: int

    @property
    def complete(self) -> bool:
        """Whether no video is missing."""
        return self.found == self.published


def reproduce(
    dataset: str,
    root: Path,
    *,
    weights: Path | None = None,
    out: Path | None = None,
    members: str | None = None,
    batch_size: int = 8,
    workers: int = 2,
    device: str = "auto",
    precision: str = "float32",
) -> dict[str, Any]:
    """Test the released networks as they were published, and show both tables side by side.

    Example: `gateshift reproduce something-v1 downloads/something-v1`

    Prepares the download, fetches the released weights, tests each with the published clips, adds up the
    ensemble. The same command again goes on where it was stopped: what has been tested is not tested again.

    A figure is reproduced where the published one lies in the 95 % interval of what comes out, or below it,
    on a copy without a video missing. The exit status is 0 where all figures that it was asked for are, by
    default the whole table, else 1.

    Args:
        dataset: something-v1 or diving48.
        root: the dataset as it is downloaded: videos or frames, and its annotation files.
        weights: folder with the released checkpoints under their own names; they are fetched without.
        out: folder for lists, scores, `reproduce.json` and `reproduce.html`; by default
            runs/reproduce-<dataset>.
        members: figures of the table to do, with commas between, such as 8,12x2; all without. The exit status
            is of these alone.
        batch_size: clips per forward pass.
        workers: processes that read frames.
        device: auto, cpu, cuda, cuda:N or mps.
        precision: float32 as published, bfloat16 or float16.

    Returns:
        ``ok``: all figures that it was asked for are reproduced; ``complete``, ``videos`` and ``of`` (what is
        there, and what was published); ``figures``: for each of the table its ``name``, ``published`` and,
        where it was done, ``top1``, ``top5``, ``top1_interval``, ``points`` (top1 less published, in percent
        points), ``within`` (the interval) and ``reproduced``.

    Raises:
        GateshiftError: the download or the weights cannot be used; the message says what to do.
        KeyboardInterrupt: stopped; what was tested is kept.
    """
    table = lookup("published table", dataset, PUBLISHED)
    chosen = table.choose(members)
    root, weights = Path(root), None if weights is None else Path(weights)
    folder = Path("runs", f"reproduce-{dataset}") if out is None else Path(out)
    where = pick_device(device)
    how = Inference(where, pick_precision(precision, where), batch_size, workers)
    needed = {name: table.members[name] for figure in chosen for name in figure.split("+")}
    copy = in_main_process(lambda: prepare_copy(dataset, table, root, folder / "data"), where)
    released = list(dict.fromkeys(member.weights for member in needed.values()))
    files = in_main_process(lambda: {name: released_weights(name, weights) for name in released}, where)
    testing = HowTested(copy.lists, folder / "scores", 1, False, copy.split, how)
    scores = {
        name: member_scores(name, f"{files[member.weights]}:{member.num_clips}", testing)
        for name, member in needed.items()
    }
    answer = both_tables(table, chosen, copy, scores) | {"page": str(folder / "reproduce.html")}
    if PartialState().is_main_process:
        write_text(folder / "reproduce.json", json.dumps(answer, indent=2) + "\n")
        write_text(folder / "reproduce.html", render_page("reproduce.html.j2", page_values(answer)))
    return answer


def both_tables(
    table: PublishedTable, chosen: Mapping[str, float], copy: PreparedCopy, scores: Mapping[str, Scores]
) -> dict[str, Any]:
    """Return the answer of ``reproduce``, less its page: every published figure, and what came out."""
    figures = [
        measure(name, published, {part: scores[part] for part in name.split("+")}, copy.complete)
        if name in chosen
        else {"name": name, "published": published}
        for name, published in table.figures.items()
    ]
    return {
        "dataset": table.dataset,
        "ok": all(figure["reproduced"] for figure in figures if figure["name"] in chosen),
        "complete": copy.complete,
        "split": copy.split,
        "videos": copy.found,
        "of": copy.published,
        "source": table.source,
        "figures": figures,
    }


def in_main_process(work: Callable[[], T], device: torch.device) -> T:
    """Return, in every process, what ``work`` returns in the main one, the only one that does it.

    Raises:
        GateshiftError: the main process refused; every process then does.
    """
    said: list[Any] = [None, None]
    if PartialState(cpu=device.type == "cpu").is_main_process:
        try:
            said[0] = work()
        except GateshiftError as error:  # or the others would wait for an answer
            said[1] = error
    answer, refusal = broadcast_object_list(said)
    if refusal is not None:
        raise refusal
    found: T = answer
    return found


def require_published_labels(dataset: str, table: PublishedTable, root: Path) -> None:
    """Refuse annotations of another edition than the one that the published figures are of.

    Raises:
        DataError: the download holds the other edition alone.
    """
    if table.labels is None:
        return
    try:
        found = read_raw(dataset, root, Choices()).name
    except ConfigError:  # several editions are there: prepare is told which
        return
    if found != table.dataset:
        raise DataError(
            f"'{root}' holds {found}, and the published table is of {table.dataset}. {table.advice}"
        )


def prepare_copy(dataset: str, table: PublishedTable, root: Path, lists: Path) -> PreparedCopy:
    """Prepare the download, and say on stderr what of it is missing.

    Raises:
        DataError: its annotations cannot be used, or no video of the split is there.
    """
    require_published_labels(dataset, table, root)
    prepared = prepare(dataset, root, out=lists, labels=table.labels)
    counts = prepared["splits"][table.split]
    published = counts["published"] or counts["annotated"]
    if not counts["found"]:
        raise DataError(
            f"none of the {published} {table.split} videos of {table.dataset} are in '{root}'. "
            f"`gateshift prepare {dataset} {root}` says where it looked."
        )
    if counts["found"] < published:
        console().print(
            f"{published - counts['found']} of {published} {table.split} videos are missing, and named in "
            f"{lists / 'missing.txt'}; the figures are of the others and do not compare with the published."
        )
    return PreparedCopy(lists=lists, split=table.split, found=counts["found"], published=published)


def member_scores(name: str, member: str, testing: HowTested) -> Scores:
    """Return the scores of one member of the table: those kept of the same test, else of a test now."""
    try:
        return Scores.load(score_file(member, testing))
    except KeyboardInterrupt as error:
        raise KeyboardInterrupt(
            f"stopped while testing {name}; what was tested before is kept in {testing.folder}. "
            "The same command goes on with the rest."
        ) from error


def measure(name: str, published: float, members: Mapping[str, Scores], complete: bool) -> dict[str, Any]:
    """Return one figure of the table beside what the sum of its members gives on a complete copy, or not."""
    aligned = align(list(members.items()))
    total = add_up(aligned, [1.0] * len(aligned))
    measured = summary(total, recordings(total))
    low, high = measured["top1_interval"]
    return {
        "name": name,
        "published": published,
        "top1": measured["top1"],
        "top5": measured["top5"],
        "top1_interval": [low, high],
        "points": 100 * (measured["top1"] - published),
        "within": low <= published <= high,
        "reproduced": complete and published <= high,
    }


def page_values(answer: Mapping[str, Any]) -> dict[str, Any]:
    """Return all that the page shows; places on its scale are in percent of the width."""
    done = [figure for figure in answer["figures"] if "top1" in figure]
    marks = [figure["published"] for figure in answer["figures"]]
    marks += [end for figure in done for end in figure["top1_interval"]]
    left, right = max(0.0, min(marks) - 0.02), min(1.0, max(marks) + 0.02)

    def place(fraction: float) -> float:
        return 100 * (fraction - left) / (right - left)

    rows = []
    for figure in answer["figures"]:
        row = figure | {"published_at": place(figure["published"]), "tested": figure in done}
        if figure in done:
            low, high = map(place, figure["top1_interval"])
            row |= {"at": place(figure["top1"]), "low": low, "width": high - low}
        rows.append(row)
    counts = {"tested": len(done), "reproduced": sum(figure["reproduced"] for figure in done)}
    return {**answer, **counts, "rows": rows, "left": left, "right": right}
