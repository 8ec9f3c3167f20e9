"""The files of a prepared folder: lists in both formats, dataset.json, what is missing and what is wrong."""

import csv
import io
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from gateshift.data.description import DESCRIPTION, read_description, write_annotations, write_text
from gateshift.data.lists import SPLITS
from gateshift.data.raw.problems import INCOMPLETE, Problem
from gateshift.data.records import Annotations, VideoRecord
from gateshift.errors import DataError

SHOWN = 20  # missing videos, and problems of each kind, in an answer; the files have all
RELEASED = "{}_videofolder.txt"  # the list that the released code reads: path, frames, class index


def write_folder(
    annotations: Annotations, out: Path, missing: Mapping[str, Sequence[str]], problems: Sequence[Problem]
) -> None:
    """Write the lists of a dataset and what it lacks; remove what an earlier run left.

    Args:
        annotations: what is there.
        out: the folder to write.
        missing: names of the videos of each split that are not.
        problems: what is wrong.

    Raises:
        DataError: the folder cannot be written.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
        for partial in out.glob("*.partial"):  # of a process that was killed
            partial.unlink(missing_ok=True)
        if not (out / DESCRIPTION).exists():  # else lists of a process that was killed would be nobody's
            said = {"dataset": annotations.dataset, "source": annotations.source}
            write_text(out / DESCRIPTION, json.dumps(said))
        write_annotations(annotations, out)
        _write_beside(annotations, out, missing, problems)
    except OSError as error:
        raise DataError(
            f"'{out}' cannot be written ({error.strerror}). Give another folder with --out."
        ) from error


def refuse_other(out: Path, dataset: str | None, name: str) -> None:
    """Refuse a folder whose lists are not of the dataset that is about to be written there.

    Args:
        out: the folder to write.
        dataset: what its ``dataset.json`` should say.
        name: what to call that dataset.

    Raises:
        DataError: other lists are there.
    """
    there = [file for file in _list_names() if (out / file).exists()]
    described = (out / DESCRIPTION).is_file()
    before = read_description(out / DESCRIPTION).get("dataset") if described else None
    if (there or described) and (before != dataset or not described):
        holds = f"the lists of {before}" if before else f"'{there[0] if there else DESCRIPTION}'"
        raise DataError(
            f"'{out}' holds {holds}, and {name} would be written over it. "
            "Give another folder with --out, or move the old one away."
        )


def is_complete(missing: Mapping[str, Sequence[str]], problems: Sequence[Problem]) -> bool:
    """Tell whether a copy has all that was annotated."""
    return not any(missing.values()) and not any(problem.kind in INCOMPLETE for problem in problems)


def each_once(missing: Mapping[str, Sequence[str]]) -> list[str]:
    """Return the missing names of all splits, each once."""
    return list(dict.fromkeys(name for names in missing.values() for name in names))


def problem_values(problems: Sequence[Problem]) -> dict[str, Any]:
    """Return what an answer says of problems: the first of each kind, and how many there are."""
    kinds = Counter(problem.kind for problem in problems)
    order = sorted(kinds, key=lambda kind: (kind not in INCOMPLETE, kind))
    shown = [
        asdict(problem)
        for kind in order
        for problem in [problem for problem in problems if problem.kind == kind][:SHOWN]
    ]
    return {"problems": shown, "problem_counts": {kind: kinds[kind] for kind in order}}


def _list_names() -> list[str]:
    return [name for split in SPLITS for name in (f"{split}.csv", RELEASED.format(split))]


def _write_beside(
    annotations: Annotations, out: Path, missing: Mapping[str, Sequence[str]], problems: Sequence[Problem]
) -> None:
    """Write the released lists, what is missing and what is wrong; remove what an earlier copy left."""
    rows = [[problem.kind, problem.where, problem.detail, problem.fix] for problem in problems]
    texts = {
        "missing.txt": "".join(f"{name}\n" for name in each_once(missing)),
        "problems.csv": _csv([["kind", "where", "detail", "fix"], *rows]) if rows else "",
    }
    for split, records in annotations.splits.items():
        texts[RELEASED.format(split)] = _released_list(records)
    for name, text in texts.items():
        if text:
            write_text(out / name, text)
    lists = {f"{split}.csv" for split in annotations.splits}
    for name in (*_list_names(), *texts):
        if name not in lists and not texts.get(name):
            (out / name).unlink(missing_ok=True)


def _released_list(records: Sequence[VideoRecord]) -> str:
    """Return ``path num_frames class_index`` lines; none where lengths are not known or parts are meant."""
    if any(record.start_frame or record.end_frame not in (None, record.num_frames) for record in records):
        return ""
    if any(record.num_frames is None for record in records):
        return ""
    return "".join(f"{record.video} {record.num_frames} {record.label}\n" for record in records)


def _csv(rows: Sequence[Sequence[str]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()
