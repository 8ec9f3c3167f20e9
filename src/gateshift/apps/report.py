"""``gateshift report``: one page of what a run came to, beside another network where one is given."""

from pathlib import Path
from typing import Any

import torch

from gateshift.data.annotations import read_annotations
from gateshift.data.dataset import EvalViews
from gateshift.engine.device import pick_device
from gateshift.engine.feature_map import feature_values
from gateshift.engine.report import Baseline, file_values, run_values, write_page
from gateshift.engine.run import RUN_SCORES
from gateshift.engine.survey import Survey, survey_run
from gateshift.errors import ConfigError, DataError, WeightsError
from gateshift.evidence.paired import Comparison
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
        ConfigError: ``map`` is below 0.
    """
    if map < 0:
        raise ConfigError(f"map is {map}; it must be at least 0. Give --map 0 for no map.")
    run = Path(run)
    file = score_file(run)
    other = as_baseline(Path(baseline)) if baseline is not None else None
    if run.is_dir():
        values = run_values(run, other)
        if map:
            runs = [path for path in (run, baseline and Path(baseline)) if path and path.is_dir()]
            surveys = [(name_of(path), try_survey(path, map, pick_device(device))) for path in runs]
            values |= feature_values(surveys, values["classes"])
    else:
        values = file_values(file, other)
    page = run / "report.html" if run.is_dir() else run.with_suffix(".html")
    return {
        "page": str(write_page(Path(out) if out is not None else page, values)),
        "videos": values["num_videos"],
        "top1": values["measured"]["top1"],
        "top1_interval": values["measured"]["top1_interval"],
        **({"baseline": str(baseline), **as_gain(values["beside"]["found"])} if other else {}),
    }


def as_gain(found: Comparison) -> dict[str, Any]:
    """Return what the answer says of a comparison."""
    return {
        "gain": found.gain,
        "gain_interval": list(found.gain_interval),
        "chance": found.chance,
        "only_this": found.only_this,
        "only_baseline": found.only_baseline,
        "verdict": found.verdict(),
    }


def try_survey(run: Path, most: int, device: torch.device) -> Survey | str:
    """Return the survey of a run over its validation videos, or what of the run is gone."""
    try:
        network = load(run)
        annotations = read_annotations(run / "data")
        views = EvalViews(annotations, "val", network.num_segments, network.input_spec)
    except (WeightsError, DataError) as error:
        return str(error)
    return survey_run(run, network, views, most, device)


def as_baseline(path: Path) -> Baseline:
    """Return the scores of a run or a score file, by its name."""
    return Baseline(name_of(path), Scores.load(score_file(path)))


def name_of(path: Path) -> str:
    """Return what the page calls a run or a score file."""
    return path.resolve().name if path.is_dir() else path.stem


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
