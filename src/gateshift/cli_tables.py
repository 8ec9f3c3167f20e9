"""What people see of an answer: a table on stderr for each command."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rich.table import Table

from gateshift.engine.progress import console

Answer = Mapping[str, Any]


def show(name: str, answer: Answer) -> None:
    """Print the answer of command ``name`` for people."""
    for part in TABLES[name](answer):
        console().print(part)


def percent(fraction: float) -> str:
    """Return a fraction as people read it.

    >>> percent(0.4724)
    '47.24%'
    """
    return f"{100 * fraction:.2f}%"


def rows(columns: Sequence[str], values: Sequence[Sequence[object]], title: str | None = None) -> Table:
    """Return a table whose first column is text and whose others are figures."""
    table = Table(title=title, title_justify="left")
    for index, column in enumerate(columns):
        table.add_column(column, justify="right" if index else "left", overflow="fold")
    for line in values:
        table.add_row(*map(str, line))
    return table


def train_table(answer: Answer) -> list[Any]:
    """Show where a run is and what it reached."""
    return [
        f"best {percent(answer['best_top1'])}, last epoch {percent(answer['top1'])} on validation",
        f"weights {answer['weights']}, report {answer['run']}/report.html",
    ]


def test_table(answer: Answer) -> list[Any]:
    """Show accuracies and the per-class table."""
    per_class = [
        (row["class"], row["videos"], percent_or_dash(row["accuracy"])) for row in answer["per_class"]
    ]
    return [
        rows(("class", "videos", "accuracy"), per_class),
        f"top-1 {percent(answer['top1'])}, top-5 {percent(answer['top5'])}, mean class accuracy "
        f"{percent(answer['mean_class_accuracy'])} on {answer['videos']} videos x {answer['views']} views",
    ]


def percent_or_dash(fraction: float | None) -> str:
    """Return a fraction in percent, or a dash for a class without videos."""
    return "-" if fraction is None else percent(fraction)


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
    return [table] + ([f"{failed} of {len(lines)} could not be read"] if failed else [])


def compare_table(answer: Answer) -> list[Any]:
    """Show one row per temporal module."""
    return [
        rows(
            ("temporal", "top-1", "parameters", "GMACs", "clips/s"),
            [
                (
                    row["temporal"],
                    percent(row["top1"]),
                    f"{row['params'] / 1e6:.2f} M",
                    f"{row['macs'] / 1e9:.2f}",
                    f"{row['clips_per_second']:.1f}",
                )
                for row in answer["results"]
            ],
        )
    ]


def ensemble_table(answer: Answer) -> list[Any]:
    """Show the accuracy of the sum."""
    return [
        f"top-1 {percent(answer['top1'])}, top-5 {percent(answer['top5'])} on {answer['videos']} videos, "
        f"{len(answer['members'])} members"
    ]


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


def convert_table(answer: Answer) -> list[Any]:
    """Show what the checkpoint turned out to be."""
    return [
        f"{answer['weights']}: {answer['model']}, {answer['num_classes']} classes, "
        f"{answer['num_segments']} frames"
    ]


def demo_table(answer: Answer) -> list[Any]:
    """Show both networks side by side and where the report is."""
    lines = [
        (name.upper(), percent(answer[name]["top1"]), percent(answer[name]["pairs_top1"]))
        for name in ("tsn", "gsm")
    ]
    return [
        rows(("network", "top-1", "right pair"), lines, title="videos with unseen shapes and backgrounds"),
        f"{answer['seconds'] / 60:.1f} minutes; open {answer['report']}",
    ]


def datasets_table(answer: Answer) -> list[Any]:
    """Show the datasets with where they come from; the rest of their facts is in the JSON."""
    lines = [(row["dataset"], row["num_classes"], row["homepage"]) for row in answer["datasets"]]
    return [rows(("dataset", "classes", "homepage"), lines)]


def recipes_table(answer: Answer) -> list[Any]:
    """Show the settings side by side, one column per recipe."""
    records = answer["recipes"]
    names = [name for name in records[0] if name != "recipe"]
    lines = [[name, *("-" if row[name] is None else row[name] for row in records)] for name in names]
    return [rows(("setting", *(row["recipe"] for row in records)), lines)]


def listing(key: str) -> Callable[[Answer], list[Any]]:
    """Return a function that shows the list of records under ``key``."""

    def show_list(answer: Answer) -> list[Any]:
        records = answer[key]
        columns = list(records[0]) if records else []
        return [rows(columns, [["-" if row[c] is None else row[c] for c in columns] for row in records])]

    return show_list


TABLES: Mapping[str, Callable[[Answer], list[Any]]] = {
    "train": train_table,
    "test": test_table,
    "predict": predict_table,
    "compare": compare_table,
    "ensemble": ensemble_table,
    "info": info_table,
    "explain": explain_table,
    "convert": convert_table,
    "demo": demo_table,
    "models": listing("models"),
    "datasets": datasets_table,
    "recipes": recipes_table,
}
