"""``gateshift check``: everything wrong with a dataset, before training starts.

survey (lists, classes, splits) -> scan_videos (each file) -> similar (pairs) -> measure_speed -> page, JSON
"""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, get_args

import torch

from gateshift.apps.check_page import page_values
from gateshift.apps.check_speed import measure_speed
from gateshift.apps.show import input_spec
from gateshift.data.check.clean import refuse_other, write_clean
from gateshift.data.check.findings import KINDS, Finding, Severity
from gateshift.data.check.labels import span_findings
from gateshift.data.check.probe import Probe
from gateshift.data.check.scan import scan_videos
from gateshift.data.check.similar import Pair, find_pairs
from gateshift.data.check.survey import Survey, survey
from gateshift.data.locate import locate
from gateshift.data.records import Annotations
from gateshift.engine.config import TrainConfig
from gateshift.engine.device import pick_device
from gateshift.engine.loop import refuse_model
from gateshift.engine.pages import render_page
from gateshift.engine.progress import progress_bar
from gateshift.engine.recipes import DEFAULT_RECIPE, RECIPES
from gateshift.engine.waiting import available_cores
from gateshift.errors import ConfigError, lookup
from gateshift.writing import write_text

SEVERITIES = get_args(Severity)  # from the one that matters most
SCAN_LOG = "scan.jsonl"


@dataclass(frozen=True)
class Checked:
    """A dataset and all that was found out about it.

    Attributes:
        annotations: the records that can be used.
        probes: what is known of each video, by its path.
        findings: what was found, errors first, kind by kind.
        pairs: videos that seem to be one.
    """

    annotations: Annotations
    probes: Mapping[str, Probe]
    findings: tuple[Finding, ...]
    pairs: tuple[Pair, ...]


def check(
    data: str | Path,
    *,
    fast: bool = False,
    out: Path | None = None,
    fix: Path | None = None,
    accept: str = "",
    recipe: str | None = None,
    model: str | None = None,
    num_segments: int | None = None,
    speed: bool = True,
    workers: int = 8,
    device: str = "auto",
) -> dict[str, Any]:
    """Look for everything that is wrong with a dataset, before training; exit 1 if anything is.

    Example: `gateshift check my_videos --fix clean`

    Files are read whole, headers, packets and every frame, as training reads them; lists, classes and splits
    are held against each other; videos of two splits are compared. Errors stop training or make it wrong,
    warnings may make its figures mislead, notes are taken care of. The same command again goes on where it
    was stopped, and looks only at videos that changed.

    Args:
        data: folder of class sub-folders, a folder with lists or shards, or the URL of shards.
        fast: look at headers and three frames of each video, not at all of them.
        out: folder for `check.html`, `check.json` and the log of the videos; by default checks/<data>.
        fix: folder to write clean lists to: without the videos that have errors, and without copies in
            training of videos that are evaluated. `left_out.csv` there says which and why. No video is
            touched.
        accept: kinds that you have looked at and take as they are, such as imbalance,same-scene: they are
            shown, and do not count as wrong.
        recipe: named settings of the training whose needs are measured; by default what dataset.json names,
            or else finetune.
        model: name of its model; see `gateshift models`.
        num_segments: its frames per clip (T).
        speed: measure what this machine reads and what training needs; takes about 10 seconds.
        workers: processes that decode, of these at most one a core; 0 decodes in this one.
        device: where it would train: auto, cpu, cuda or mps.

    Returns:
        ``videos``, ``ok``, ``problems`` (each with ``video``, ``kind``, ``severity``, ``detail``, ``fix``),
        ``problem_counts``, ``severity_counts``, ``classes``, ``class_counts`` by split, ``label_swaps``,
        ``speed``, ``fixed`` (what ``fix`` wrote), ``page`` and ``report``, the files.

    Raises:
        ConfigError: a setting is out of its range.
        DataError: there is no such dataset, a file cannot be written, or ``fix`` would leave too little.
        KeyboardInterrupt: stopped by Ctrl-C; what is looked at is kept.
    """
    accepted = parse_kinds(accept)
    if workers < 0:
        raise ConfigError(f"workers is {workers}; it must be at least 0. Change --workers.")
    where = pick_device(device)
    if fix is not None:
        refuse_other(Path(fix))
    located = locate(data)
    surveyed = survey(located)
    config, remarks = training_config(surveyed, recipe, {"model": model, "num_segments": num_segments})
    name = located.resolve().name
    folder = Path(out) if out else Path("checks") / name
    checked = look(surveyed, remarks, folder, config, fast=fast, workers=min(workers, available_cores()))
    answer = {
        "name": name,
        "data": str(data),
        "fast": fast,
        "accepted": sorted(accepted),
        **what_was_found(checked, accepted),
        "speed": measure(checked, config, where, str(data), in_process=not workers) if speed else None,
        "fixed": None,
        "page": str(folder / "check.html"),
        "report": str(folder / "check.json"),
    }
    write_pages(answer, checked, folder)
    if fix is not None:
        at_fault = [finding for finding in checked.findings if finding.kind not in accepted]
        kept, left_out = write_clean(checked.annotations, at_fault, Path(fix))
        answer["fixed"] = {"out": str(fix), "kept": kept, "left_out": left_out}
        write_pages(answer, checked, folder)
    return answer


def parse_kinds(text: str) -> frozenset[str]:
    """Return the kinds of findings in a list with commas.

    >>> sorted(parse_kinds("same-scene, imbalance"))
    ['imbalance', 'same-scene']

    Raises:
        UnknownName: there is no such kind.
    """
    kinds = frozenset(word.strip() for word in text.split(",") if word.strip())
    for kind in kinds:
        lookup("kind of finding", kind, KINDS)
    return kinds


def training_config(
    surveyed: Survey, recipe: str | None, changes: Mapping[str, Any]
) -> tuple[TrainConfig, list[Finding]]:
    """Return the settings to train the dataset with, and what is wrong with the recipe that it names."""
    named = surveyed.described.get("recipe")
    remarks = []
    if named is not None and named not in RECIPES:
        detail = f"'recipe' in dataset.json is {named!r}, which is none of `gateshift recipes`."
        remarks.append(Finding("", "bad-description", detail, "Correct it, or remove it."))
        named = None
    name = recipe or named or DEFAULT_RECIPE
    config = lookup("recipe", name, RECIPES).config.changed(changes)
    refuse_model(config)
    return config, remarks


def look(
    surveyed: Survey,
    remarks: Sequence[Finding],
    folder: Path,
    config: TrainConfig,
    *,
    fast: bool,
    workers: int,
) -> Checked:
    """Look at each video, and compare them."""
    annotations = as_annotations(surveyed)
    videos = sorted({record.video for records in surveyed.splits.values() for record in records})
    num_done = 0

    def advance(steps: int) -> None:
        nonlocal num_done
        num_done += steps
        bar.advance(steps)

    try:
        with progress_bar("checking videos", len(videos)) as bar:
            probes = scan_videos(
                surveyed.root,
                videos,
                frame_template=surveyed.frame_template,
                num_segments=config.num_segments,
                fast=fast,
                workers=workers,
                log=folder / SCAN_LOG,
                advance=advance,
                shards=annotations.shards,
            )
        pairs = find_pairs(surveyed, probes, workers)
    except KeyboardInterrupt as stop:
        raise KeyboardInterrupt(
            f"stopped after {num_done} of {len(videos)} videos; what was found is kept in "
            f"{folder / SCAN_LOG}. The same command goes on."
        ) from stop
    of_videos = [finding for probe in probes.values() for finding in probe.findings]
    of_pairs = [pair.finding for pair in pairs]
    of_spans = span_findings(surveyed.splits, probes)
    findings = in_order([*remarks, *surveyed.findings, *of_videos, *of_spans, *of_pairs])
    return Checked(annotations, probes, findings, tuple(pairs))


def as_annotations(surveyed: Survey) -> Annotations:
    """Return what can be used of a dataset in the form that training takes."""
    known = surveyed.annotations or Annotations(
        root=surveyed.root,
        classes=surveyed.classes,
        label_swaps=surveyed.label_swaps,
        frame_template=surveyed.frame_template,
        source=f"what can be used of {surveyed.root}",
        splits={},
        flow=surveyed.described.get("flow"),
        dataset=surveyed.described.get("dataset"),
        shards=surveyed.shards,
    )
    recipe = surveyed.described.get("recipe")
    return replace(
        known,
        classes=surveyed.classes,
        splits=surveyed.splits,
        recipe=recipe if recipe in RECIPES else None,
    )


def in_order(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Return findings with errors first, the kinds in the order of their table, each finding once."""
    places = {kind: (SEVERITIES.index(KINDS[kind].severity), i) for i, kind in enumerate(KINDS)}
    return tuple(sorted(dict.fromkeys(findings), key=lambda found: (places[found.kind], found.video)))


def what_was_found(checked: Checked, accepted: frozenset[str]) -> dict[str, Any]:
    """Return the part of the answer that the findings decide."""
    findings, annotations = checked.findings, checked.annotations
    counted = Counter(finding.severity for finding in findings if finding.kind not in accepted)
    return {
        "videos": len(checked.probes),
        "ok": not counted["error"] and not counted["warning"],
        "problems": [asdict(finding) | {"severity": finding.severity} for finding in findings],
        "problem_counts": dict(Counter(finding.kind for finding in findings)),
        "severity_counts": {severity: counted[severity] for severity in SEVERITIES},
        "classes": list(annotations.classes),
        "class_counts": class_counts(annotations),
        "label_swaps": [list(pair) for pair in annotations.label_swaps],
    }


def class_counts(annotations: Annotations) -> dict[str, dict[str, int]]:
    """Return the number of videos of each class in each split."""
    counts = {
        split: Counter(record.label for record in records) for split, records in annotations.splits.items()
    }
    return {
        name: {split: counts[split][label] for split in counts}
        for label, name in enumerate(annotations.classes)
    }


def measure(
    checked: Checked, config: TrainConfig, device: torch.device, data: str, *, in_process: bool
) -> dict[str, Any] | None:
    """Return what ``measure_speed`` says of the videos that can be read; None where there are none."""
    wrong = {finding.video for finding in checked.findings if finding.severity == "error"}
    splits = checked.annotations.splits
    records = splits.get("train") or [record for found in splits.values() for record in found]
    readable = [record for record in records if record.video not in wrong]
    if not readable:
        return None
    spec = input_spec(config)
    return measure_speed(checked.annotations, readable, config, spec, device, data, in_process=in_process)


def write_pages(answer: Mapping[str, Any], checked: Checked, folder: Path) -> None:
    """Write ``check.json`` and ``check.html``."""
    write_text(folder / "check.json", json.dumps(answer, indent=2, ensure_ascii=False) + "\n")
    values = page_values(answer, checked.annotations, checked.findings, checked.pairs, checked.probes)
    write_text(folder / "check.html", render_page("check.html.j2", values))
