"""What people see of an answer that says how often a network is right."""

from collections.abc import Mapping
from typing import Any

from gateshift.cli_rows import Answer, percent, percent_or_dash, percent_with_interval, rows


def test_table(answer: Answer) -> list[Any]:
    """Show accuracies and the per-class table."""
    per_class = [
        (row["class"], row["videos"], percent_or_dash(row["accuracy"])) for row in answer["per_class"]
    ]
    videos = f"{answer['videos']} videos x {answer['views']} views"
    of = "" if answer["recordings"] == answer["videos"] else f" of {answer['recordings']} recordings"
    top1, top5, mean_class = (
        percent_with_interval(answer, name) for name in ("top1", "top5", "mean_class_accuracy")
    )
    return [
        rows(("class", "videos", "accuracy"), per_class),
        f"top-1 {top1}, top-5 {top5}, mean class accuracy {mean_class} on {videos}{of}",
        confidence_line(answer),
        *(audit_lines(answer["audit"]) if "audit" in answer else []),
    ]


def confidence_line(answer: Answer) -> str:
    """Say whether to believe a network's confidence, and what its surest answers are worth."""
    found = answer["calibration"]
    error = f"confidence is {100 * found['ece']:.1f} points off (ECE)"
    if "ece_calibrated" in found:
        error += (
            f", {100 * found['ece_calibrated']:.1f} as `predict` shows it, at temperature "
            f"{found['temperature']:.2f}"
        )
    half = next(row for row in answer["coverage"] if row["coverage"] <= 0.5 or row is answer["coverage"][-1])
    return f"{error}; of the surest {half['coverage']:.0%} of videos {percent(half['accuracy'])} are right"


def audit_lines(audit: Answer) -> list[Any]:
    """Show what altered videos come to, and what it means."""
    lines = [
        (
            check["check"],
            f"{check['top1']:.1%}",
            "{:+.1f} ({:+.0f} to {:+.0f})".format(
                *(100 * points for points in (check["change"], *check["change_interval"]))
            ),
            f"{check['chance']:.2g}",
            f"{check['same']:.0%}",
        )
        for check in audit["checks"]
    ]
    names = ("videos", "top-1", "points (95 %)", "p", "same answers")
    losing = next(check["classes"] for check in audit["checks"] if check["check"] == "shuffled")
    losing = losing if audit["uses_order"] else []
    told = ", ".join(f"{row['class']} {100 * row['change']:+.0f}" for row in losing)
    return [rows(names, lines), audit["verdict"], *([f"most of it in: {told}"] if told else [])]


def report_table(answer: Answer) -> list[Any]:
    """Show the accuracy, what sets it apart from the baseline, and where the page is."""
    beside = [f"beside {answer['baseline']}: {answer['verdict']}"] if "verdict" in answer else []
    top1 = percent_with_interval(answer, "top1")
    return [f"top-1 {top1} on {answer['videos']} videos", *beside, f"page {answer['page']}"]


def compare_table(answer: Answer) -> list[Any]:
    """Show one row per temporal module or variant, and what accuracy was measured on."""
    first = answer["results"][0]
    several = len({row["backbone"] for row in answer["results"]}) > 1
    lines = [
        (
            " ".join(filter(None, [row["temporal"], row["options"], row["backbone"] if several else ""])),
            percent(row["top1"]),
            "-".join(f"{100 * end:.1f}" for end in row["top1_interval"]),
            f"{100 * row['gain']:+.1f}" if row is not first else "",
            f"{row['chance']:.2g}" if row is not first else "",
            f"{row['params'] / 1e6:.2f}",
            f"{100 * row['params_over_tsn']:+.2f}%",
            f"{row['macs'] / 1e9:.3f}",
            f"{100 * row['macs_over_tsn']:+.2f}%",
            f"{row['clips_per_second']:.1f}",
        )
        for row in answer["results"]
    ]
    columns = (
        "temporal",
        "top-1",
        "95 %",
        "gain",
        "p",
        "M params",
        "over TSN",
        "GMACs",
        "over TSN",
        "clips/s",
    )
    return [
        rows(columns, lines),
        f"top-1 of the best epoch on {first['videos']} {first['split']} videos; open {answer['page']}",
    ]


def ensemble_table(answer: Answer) -> list[Any]:
    """Show the members and the accuracy of the sum."""
    lines = [(row["member"], f"{row['weight']:.4g}", percent(row["top1"])) for row in answer["members"]]
    said = [
        rows(("member", "weight", "top-1"), lines),
        f"top-1 {percent_with_interval(answer, 'top1')}, top-5 {percent_with_interval(answer, 'top5')} on "
        f"{answer['videos']} videos, {len(answer['members'])} members",
    ]
    if "fitted_on" in answer:
        said.append(
            f"weights fitted on {answer['fitted_on']} videos (seed {answer['seed']}); all figures are of "
            f"the other {answer['measured_on']}; equal weights reach {percent(answer['top1_equal_weights'])}"
        )
    return said


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


def reproduce_table(answer: Answer) -> list[Any]:
    """Show the published figures beside what came out."""
    lines = [
        (figure["name"], f"{100 * figure['published']:.2f}", *reproduced(figure, answer["complete"]))
        for figure in answer["figures"]
    ]
    columns = ("frames", "published", "here", "95 % interval", "points", "reproduced")
    title = f"{answer['dataset']}, top-1 on {answer['videos']} of {answer['of']} videos"
    done = sum("top1" in figure for figure in answer["figures"])
    return [
        rows(columns, lines, title=title),
        f"{done} of {len(lines)} figures tested; published: {answer['source']}; page {answer['page']}",
    ]


def reproduced(figure: Mapping[str, Any], complete: bool) -> tuple[str, ...]:
    """Return what came out for a published figure, and whether it is as much; dashes where unknown."""
    if "top1" not in figure:
        return ("-",) * 4
    low, high = figure["top1_interval"]
    return (
        f"{100 * figure['top1']:.2f}",
        f"{100 * low:.2f} to {100 * high:.2f}",
        f"{figure['points']:+.2f}",
        ("yes" if figure["reproduced"] else "no") if complete else "-",
    )
