"""``gateshift reproduce``: the published table beside what comes out here, from a dataset as downloaded."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import add
from pathlib import Path
from typing import Any

from gateshift.apps.prepare import prepare
from gateshift.apps.published import PUBLISHED, Member, PublishedTable
from gateshift.data.annotations import read_annotations
from gateshift.data.prepare import read_raw
from gateshift.data.raw.records import Choices
from gateshift.engine.checkpoint import write_text
from gateshift.engine.metrics import summary
from gateshift.engine.pages import render_page
from gateshift.engine.progress import console
from gateshift.engine.scores import Scores
from gateshift.engine.test import record_name, test
from gateshift.errors import ConfigError, DataError, GateshiftError, lookup
from gateshift.models.download import file_sha256
from gateshift.models.released import released_weights


@dataclass(frozen=True)
class Copy:
    """The prepared copy of a dataset, and how much of what was published it holds.

    Attributes:
        lists: the folder that `prepare` wrote.
        split: what is measured on.
        names: the videos of the split that are there, as score files name them.
        labels: their labels.
        published: videos of the split in the published dataset.
    """

    lists: Path
    split: str
    names: tuple[str, ...]
    labels: tuple[int, ...]
    published: int

    @property
    def complete(self) -> bool:
        """Whether no video is missing."""
        return len(self.names) == self.published


@dataclass(frozen=True)
class HowToTest:
    """Settings of the tests, which are those of `gateshift test`."""

    batch_size: int
    workers: int
    device: str
    precision: str


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
    on a copy without a video missing. The exit status is 0 where all figures of the table are, else 1.

    Args:
        dataset: something-v1 or diving48.
        root: the dataset as it is downloaded: videos or frames, and its annotation files.
        weights: folder with the released checkpoints under their own names; they are fetched without.
        out: folder for lists, scores, `reproduce.json` and `reproduce.html`; by default
            runs/reproduce-<dataset>.
        members: figures of the table to do, with commas between, such as 8,12x2; all without.
        batch_size: clips per forward pass.
        workers: processes that read frames.
        device: auto, cpu, cuda, cuda:N or mps.
        precision: float32 as published, bfloat16 or float16.

    Returns:
        ``ok``; ``complete``, ``videos`` and ``of`` (what is there, and what was published); ``figures``: for
        each of the table its ``name``, ``published`` and, where it was done, ``top1``, ``top5``,
        ``top1_interval``, ``points`` (top1 less published, in percent points), ``within`` (the interval) and
        ``reproduced``.

    Raises:
        GateshiftError: the download or the weights cannot be used; the message says what to do.
        KeyboardInterrupt: stopped; what was tested is kept.
    """
    table = lookup("published table", dataset, PUBLISHED)
    chosen = table.choose(members)
    folder = out or Path("runs") / f"reproduce-{dataset}"
    require_published_labels(dataset, table, root)
    copy = prepare_copy(dataset, table, root, folder / "data")
    how = HowToTest(batch_size=batch_size, workers=workers, device=device, precision=precision)
    needed = {name: table.members[name] for figure in chosen for name in figure.split("+")}
    files = {member.weights: released_weights(member.weights, weights) for member in needed.values()}
    scores = {
        name: member_scores(name, member, files[member.weights], copy, folder / "scores", how)
        for name, member in needed.items()
    }
    figures = [
        measure(name, published, [scores[part] for part in name.split("+")], copy.complete)
        if name in chosen
        else {"name": name, "published": published}
        for name, published in table.figures.items()
    ]
    answer = {
        "dataset": table.dataset,
        "ok": all(figure.get("reproduced", False) for figure in figures),
        "complete": copy.complete,
        "split": copy.split,
        "videos": len(copy.names),
        "of": copy.published,
        "source": table.source,
        "figures": figures,
        "page": str(folder / "reproduce.html"),
    }
    write_text(folder / "reproduce.json", json.dumps(answer, indent=2) + "\n")
    write_text(folder / "reproduce.html", render_page("reproduce.html.j2", page_values(answer)))
    return answer


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


def prepare_copy(dataset: str, table: PublishedTable, root: Path, lists: Path) -> Copy:
    """Prepare the download, and say on stderr what of it is missing.

    Raises:
        DataError: its annotations cannot be used, or no video of the split is there.
    """
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
    records = read_annotations(lists).split(table.split)
    return Copy(
        lists=lists,
        split=table.split,
        names=tuple(record_name(record) for record in records),
        labels=tuple(record.label for record in records),
        published=published,
    )


def member_scores(
    name: str, member: Member, weights: Path, copy: Copy, folder: Path, how: HowToTest
) -> Scores:
    """Return the scores of one member: those on disk where they are of the same test, else of a test now."""
    file, note = folder / f"{name}.npz", folder / f"{name}.json"
    made_with = {
        "weights": member.weights,
        "sha256": file_sha256(weights),
        "clips": member.num_clips,
        "precision": how.precision,
    }
    kept = kept_scores(file, note, made_with, copy)
    if kept is not None:
        console().print(f"{name}: tested before")
        return kept
    console().print(f"{name}: {member.weights}, clips: {member.num_clips}, videos: {len(copy.names)}")
    note.unlink(missing_ok=True)  # or it would speak of the scores to come
    try:
        test(
            weights,
            copy.lists,
            clips=member.num_clips,
            split=copy.split,
            batch_size=how.batch_size,
            workers=how.workers,
            device=how.device,
            precision=how.precision,
            save_scores=file,
        )
    except KeyboardInterrupt as error:
        raise KeyboardInterrupt(
            f"stopped while testing {name}; what was tested before is kept in {folder}. "
            "The same command goes on with the rest."
        ) from error
    write_text(note, json.dumps(made_with, indent=2) + "\n")
    return Scores.load(file)


def kept_scores(file: Path, note: Path, made_with: Mapping[str, Any], copy: Copy) -> Scores | None:
    """Return the scores on disk if they were made with the same weights and settings on the same videos."""
    try:
        same = json.loads(note.read_text(encoding="utf-8")) == made_with
        scores = Scores.load(file) if same else None
    except (OSError, ValueError, GateshiftError):  # never tested, or damaged since: it is tested again
        return None
    if scores is None or scores.videos != copy.names or tuple(scores.labels.tolist()) != copy.labels:
        return None
    return scores


def measure(name: str, published: float, members: Sequence[Scores], complete: bool) -> dict[str, Any]:
    """Return one figure of the table beside what the sum of its members gives on a complete copy, or not."""
    measured = summary(reduce(add, members))
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
    return {**answer, "rows": rows, "left": left, "right": right}
