"""``gateshift report``: one page of what a run came to, beside another network where one is given."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from gateshift.data.annotations import read_annotations
from gateshift.data.dataset import EvalViews
from gateshift.engine.device import pick_device
from gateshift.engine.report import Baseline, write_report, write_scores_report
from gateshift.engine.run import RUN_SCORES
from gateshift.engine.survey import Survey, survey_run
from gateshift.engine.trial import recordings
from gateshift.errors import DataError, WeightsError
from gateshift.evidence.metrics import accuracies, accuracy_intervals
from gateshift.evidence.paired import compare_scores
from gateshift.evidence.scores import Scores
from gateshift.models.weights import load

MAPPED = 200  # videos on the map


def report(
    run: str | Path,
    *,
    baseline: str | Path | None = None,
    out: str | Path | None = None,
    map: int = MAPPED,
    device: str = "auto",
) -> dict[str, Any]:
    """Write one page of what a run came to: results, classes, confusions, confidence, clips to look at.

    Example: `gateshift report runs/gsm --baseline runs/tsn`

    The page needs no network and holds all that it shows. With a baseline it says which classes gain and
    which lose, and whether chance could have made the difference.

    Args:
        run: a run directory, or a score file as `gateshift test --save-scores` writes it.
        baseline: another run, or its score file, of the same videos.
        out: the page; report.html in the run directory, or NAME.html beside a score file, without.
        map: validation videos on the map of features and in the gates by class, spread evenly; 0 leaves both
            out. The first time the run goes through them, and keeps what it finds.
        device: auto, cpu, cuda, cuda:N or mps.

    Returns:
        ``page``, ``videos``, ``top1`` and ``top1_interval``; with a baseline ``gain`` of top-1 with its
        ``gain_interval``, ``chance`` (McNemar), ``only_this``, ``only_baseline`` and the ``verdict``.

    Raises:
        DataError: there is no such run or file.
        ScoresMismatch: the baseline is of other videos, classes or labels.
    """
    run = Path(run)
    scores = Scores.load(score_file(run))
    other = as_baseline(Path(baseline)) if baseline is not None else None
    page = Path(out) if out is not None else run / "report.html" if run.is_dir() else run.with_suffix(".html")
    if run.is_dir():
        runs = [path for path in (run, baseline and Path(baseline)) if path and path.is_dir()]
        write_report(run, other, page, survey_all(runs, map, pick_device(device)) if map else None)
    else:
        write_scores_report(run, other, page)
    groups = recordings(scores)
    answer = {
        "page": str(page),
        "videos": len(scores.videos),
        "top1": accuracies(scores)["top1"],
        "top1_interval": list(accuracy_intervals(scores, groups)["top1"]),
    }
    if other is None:
        return answer
    found = compare_scores(scores, other.scores, groups)
    return answer | {
        "baseline": str(baseline),
        "gain": found.gain,
        "gain_interval": list(found.gain_interval),
        "chance": found.chance,
        "only_this": found.only_this,
        "only_baseline": found.only_baseline,
        "verdict": found.verdict(),
    }


def survey_all(runs: Sequence[Path], most: int, device: torch.device) -> dict[str, Survey | str]:
    """Return the surveys of runs over their validation videos, or why there is none, by their names."""
    return {run.resolve().name: try_survey(run, most, device) for run in runs}


def try_survey(run: Path, most: int, device: torch.device) -> Survey | str:
    """Return the survey of a run, or what of the run is gone."""
    try:
        network = load(run)
        annotations = read_annotations(run / "data")
        views = EvalViews(annotations, "val", network.num_segments, network.input_spec)
    except (WeightsError, DataError) as error:
        return str(error)
    return survey_run(run, views, most, device)


def as_baseline(path: Path) -> Baseline:
    """Return the scores of a run or a score file, by its name."""
    return Baseline(path.resolve().stem, Scores.load(score_file(path)))


def score_file(path: Path) -> Path:
    """Return the score file that a run directory holds, or the file itself.

    Raises:
        DataError: there is nothing at this place, or a directory without scores.
    """
    if not path.is_dir():
        return path
    if not (path / RUN_SCORES).is_file():
        raise DataError(
            f"'{path}' holds no {RUN_SCORES}: it is no run, or one that has not finished an epoch. Give a "
            "directory that `gateshift train` wrote, or a score file."
        )
    return path / RUN_SCORES
