"""What people see of an answer: a table on stderr for each command."""

from collections.abc import Callable, Mapping, Sequence
from itertools import groupby
from typing import Any

from rich.markup import escape
from rich.table import Table

from gateshift.cli_accuracy_tables import (
    compare_table,
    demo_table,
    ensemble_table,
    report_table,
    reproduce_table,
    test_table,
)
from gateshift.cli_rows import Answer, percent, percent_or_dash, rows
from gateshift.engine.machine import describe
from gateshift.engine.progress import console


def show(name: str, answer: Answer) -> None:
    """Print the answer of command ``name`` for people."""
    for part in TABLES[name](answer):
        console().print(part)


def prepare_table(answer: Answer) -> list[Any]:
    """Show what is there of each split, what is wrong, and what to do next."""
    columns = ("annotated", "published", "found", "missing")
    splits = [
        (split, *("-" if row[column] is None else row[column] for column in columns))
        for split, row in answer["splits"].items()
    ]
    pairs = ", ".join(f"{a}-{b}" for a, b in answer["label_swap_indices"])
    parts = [rows(("split", *columns), splits, answer["dataset"]), *problem_parts(answer)]
    parts.append(f"{answer['classes']} classes" + (f"; a mirror exchanges {pairs}" if pairs else ""))
    parts += [escape(note) for note in answer["notes"]]
    if not answer["complete"]:
        parts.append("This copy is not complete; its lists hold what is there.")
    if any(row["found"] for row in answer["splits"].values()):
        parts.append(escape(f"next: gateshift train {answer.get('shards', answer['out'])}"))
    return parts


def problem_parts(answer: Answer) -> list[Any]:
    """Show the first problem of each kind, and where all of them are."""
    if not answer["problems"]:
        return []
    table = Table()
    for column in ("problem", "count", "the first", "what to do"):
        table.add_column(column, overflow="fold")
    for kind, count in answer["problem_counts"].items():
        first = next(problem for problem in answer["problems"] if problem["kind"] == kind)
        table.add_row(kind, str(count), escape(first["detail"]), escape(first["fix"]))
    return [table, escape(f"all of them: {answer['out']}/problems.csv")]


def check_table(answer: Answer) -> list[Any]:
    """Show what was found by kind, the label swaps, the speed, and where all of it is."""
    table = Table()
    for column in ("matters", "what", "count", "the first", "what to do"):
        table.add_column(column, overflow="fold")
    for kind, count in answer["problem_counts"].items():
        first = next(problem for problem in answer["problems"] if problem["kind"] == kind)
        matters = "accepted" if kind in answer["accepted"] else first["severity"]
        words = (matters, kind, str(count), first["detail"], first["fix"])
        table.add_row(*map(escape, words))
    pairs = ", ".join(f"{a} <-> {b}" for a, b in answer["label_swaps"])
    said = [
        f"{answer['videos']} videos, {len(answer['classes'])} classes; a mirror exchanges {pairs or 'none'}",
        "nothing is wrong" if answer["ok"] else "",
        answer["speed"]["advice"] if answer["speed"] else "",
        "{kept} records are in the lists of {out}, {left_out} were left out".format(**answer["fixed"])
        if answer["fixed"]
        else "",
        f"open {answer['page']}; all of it as JSON: {answer['report']}",
    ]
    return [*([table] if answer["problems"] else []), *(escape(line) for line in said if line)]


def train_table(answer: Answer) -> list[Any]:
    """Show where a run is and what it reached."""
    return [
        f"best {percent(answer['best_top1'])}, last epoch {percent(answer['top1'])} on validation",
        *(
            [f"{count} videos left out: {answer['run']}/bad_videos.csv"]
            if (count := answer["bad_videos"])
            else []
        ),
        f"weights {answer['weights']}, report {answer['run']}/report.html",
    ]


def find_lr_table(answer: Answer) -> list[Any]:
    """Show some of the steps, and the rate that is proposed."""
    every = max(len(answer["steps"]) // 12, 1)
    steps = [(f"{step['lr']:.1e}", f"{step['smoothed']:.3f}") for step in answer["steps"][::every]]
    more = "" if answer["turned"] else "; it had not risen again: a higher --highest may move it up"
    return [
        rows(("learning rate", "loss, smoothed"), steps),
        f"proposed: --lr {answer['lr']:g}, a third of where the loss was lowest{more}",
        f"it fell most steeply at {answer['steepest']:.2g}; the recipe has {answer['recipe_lr']:g}",
        escape(f"open {answer['page']}"),
    ]


def predict_table(answer: Answer) -> list[Any]:
    """Show the labels of each video, or why it could not be read."""
    lines = []
    for row in answer["predictions"]:
        text = row["error"] or ", ".join(
            f"{label['label']} {label['probability']:.1%}" for label in row["labels"]
        )
        lines.append((row["video"], text))
    failed = sum(1 for row in answer["predictions"] if row["error"])
    table = Table("video", "labels", show_lines=False)
    for video, text in lines:
        table.add_row(video, text)
    told = [f"{failed} of {len(lines)} could not be read"] if failed else []
    if answer["temperature"]:
        told.append(f"probabilities calibrated on validation, temperature {answer['temperature']:.2f}")
    return [table, *told]


def bench_table(answer: Answer) -> list[Any]:
    """Show a table for each thing that was measured, how costs grow, and on what machine."""
    groups = groupby(answer["results"], key=lambda row: (row["what"], row["model"]))
    grown = [
        f"{row['what']} {row['model']} {row['precision']}, {row['num_segments'][0]} to "
        f"{row['num_segments'][-1]} segments: time grows with their power {row['seconds']:.2f}"
        + (f", memory {row['peak_memory']:.2f}" if row["peak_memory"] is not None else "")
        for row in answer["growth"]
    ]
    return [
        *(bench_group(" ".join(filter(None, names)), list(group)) for names, group in groups),
        *grown,
        escape(f"{describe(answer['hardware'])}; {answer['date']}"),
        escape(
            "B clips of T segments; ratios are to the plain implementation, with quartiles; "
            f"open {answer['page']}"
        ),
    ]


def bench_group(title: str, group: Sequence[Answer]) -> Table:
    """Show some rows of `bench`, without the columns that say nothing of them."""
    lines = [
        {
            "": ", ".join(filter(None, (row["part"], row["precision"]))),
            "B x T": f"{row['batch_size']} x {row['num_segments']}",
            "ms": f"{1000 * row['seconds']:.4g}",
            "plain": f"{1000 * row['plain_seconds']:.4g}",
            "ratio": f"{row['ratio']:.3f} ({row['ratio_low']:.2f}-{row['ratio_high']:.2f})",
            "clips/s": f"{row['clips_per_second']:.1f}",
            "MB (plain)": peaks(row),
            "x TSN": "" if row["over_tsn"] is None else f"{row['over_tsn']:.3f}",
        }
        for row in group
    ]
    columns = [name for name in lines[0] if any(line[name] for line in lines)]
    table = rows(columns, [[line[name] for name in columns] for line in lines], title)
    table.box = None  # there are many columns
    return table


def peaks(row: Answer) -> str:
    """Return peak memory in megabytes, that of the plain side in brackets; nothing where it is not known."""
    sizes = (row["peak_memory"], row["plain_peak_memory"])
    return "" if None in sizes else "{:.0f} ({:.0f})".format(*(size / 1e6 for size in sizes))


def info_table(answer: Answer) -> list[Any]:
    """Show size, cost and insertion points."""
    points = [(point["name"], point["channels"]) for point in answer["insertion_points"]]
    return [
        rows(("insertion point", "channels"), points),
        f"{answer['model']}: {answer['params'] / 1e6:.2f} M parameters, {answer['macs'] / 1e9:.2f} GMACs "
        f"for a clip of {answer['num_segments']} frames",
    ]


def explain_table(answer: Answer) -> list[Any]:
    """Show where the pictures are."""
    return [f"{name}: {value}" for name, value in answer.items() if isinstance(value, str)]


def show_table(answer: Answer) -> list[Any]:
    """Show what was drawn for each clip, and where the pictures are."""
    table = Table()
    for column in ("video", "class", "learnt as", "drawn"):
        table.add_column(column, overflow="fold")
    for clip in answer["clips"]:
        words = (clip["video"], clip["class"], clip["learnt_as"], ", ".join(clip["drawn"]))
        table.add_row(*map(escape, words))
    return [table, escape(f"open {answer['page']}; the same as one picture: {answer['sheet']}")]


def convert_table(answer: Answer) -> list[Any]:
    """Show what the checkpoint turned out to be."""
    return [
        f"{answer['weights']}: {answer['model']}, {answer['num_classes']} classes, "
        f"{answer['num_segments']} frames"
    ]


def download_table(answer: Answer) -> list[Any]:
    """Show what came, and what it is worth by its authors."""
    top1 = answer["published_top1"]
    published = (
        "no published accuracy" if top1 is None else f"published top-1 {percent(top1)}, {answer['source']}"
    )
    return [
        f"{answer['weights']}: {answer['model']}, {answer['num_segments']} frames, {answer['dataset']}",
        published,
        f"SHA-256 of the original: {answer['sha256']}. Licence: {answer['licence']}.",
    ]


def models_table(answer: Answer) -> list[Any]:
    """Show the models and, below, what was released."""
    lines = [
        (row["name"], row["dataset"], percent_or_dash(row["published_top1"])) for row in answer["released"]
    ]
    return [
        *(listing("models")(answer) if answer["models"] else []),
        *([rows(("released weights", "dataset", "published top-1"), lines)] if lines else []),
        *([] if answer["models"] or lines else ["nothing has such a name"]),
    ]


def datasets_table(answer: Answer) -> list[Any]:
    """Show the datasets with where they come from; the rest of their facts is in the JSON."""
    lines = [(row["dataset"], row["num_classes"], row["homepage"]) for row in answer["datasets"]]
    return [rows(("dataset", "classes", "homepage"), lines)]


def recipes_table(answer: Answer) -> list[Any]:
    """Show one row per recipe; of a single one, every setting."""
    if len(answer["recipes"]) == 1:
        (record,) = answer["recipes"]
        table = Table("setting", "value", box=None)
        for name, value in record.items():
            if value not in (None, ""):
                table.add_row(name, str(value))
        return [table]
    lines = [
        (
            row["recipe"],
            row["num_segments"],
            row["epochs"],
            f"{row['batch_size']} x {row['accumulate']}",
            expected_accuracy(row),
        )
        for row in answer["recipes"]
    ]
    return [
        rows(("recipe", "frames", "epochs", "batch", "top-1"), lines),
        "top-1 is published; in brackets where the authors trained otherwise. "
        "`gateshift recipes NAME` says how, and from where.",
    ]


def expected_accuracy(recipe: Mapping[str, Any]) -> str:
    """Return the accuracy to expect of a recipe, in brackets where it is of another way to train."""
    if recipe["expected_top1"] is None and recipe["published_top1"] is not None:
        return f"({100 * recipe['published_top1']:.4g}%)"
    return "-" if recipe["expected_top1"] is None else f"{100 * recipe['expected_top1']:.4g}%"


def listing(key: str) -> Callable[[Answer], list[Any]]:
    """Return a function that shows the list of records under ``key``."""

    def show_list(answer: Answer) -> list[Any]:
        records = answer[key]
        columns = list(records[0]) if records else []
        return [rows(columns, [["-" if row[c] is None else row[c] for c in columns] for row in records])]

    return show_list


TABLES: Mapping[str, Callable[[Answer], list[Any]]] = {
    "prepare": prepare_table,
    "check": check_table,
    "train": train_table,
    "test": test_table,
    "find-lr": find_lr_table,
    "predict": predict_table,
    "compare": compare_table,
    "bench": bench_table,
    "ensemble": ensemble_table,
    "info": info_table,
    "explain": explain_table,
    "show": show_table,
    "convert": convert_table,
    "demo": demo_table,
    "download": download_table,
    "models": models_table,
    "datasets": datasets_table,
    "recipes": recipes_table,
    "report": report_table,
    "reproduce": reproduce_table,
}
