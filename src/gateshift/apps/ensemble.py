"""``gateshift ensemble``: several networks as one, from score files or straight from models and data."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from accelerate import PartialState

from gateshift.data.locate import locate
from gateshift.engine.device import pick_device, pick_precision
from gateshift.engine.inference import Inference
from gateshift.engine.progress import console
from gateshift.engine.test import plan_trial
from gateshift.engine.trial import recordings
from gateshift.errors import ConfigError, DataError
from gateshift.evidence.ensemble import add_up, align, fit_weights, fitting_share
from gateshift.evidence.metrics import accuracies, summary
from gateshift.evidence.scores import Scores

WITH_CLIPS = re.compile(r"^(?P<model>.+):(?P<clips>\d+)$")


@dataclass(frozen=True)
class HowTested:
    """How members that are models are tested.

    Attributes:
        data: on what.
        folder: where their scores are kept.
        crops: spatial windows per clip.
        full_resolution: as for `test`.
        split: as for `test`.
        how: device, precision, averaging, batch size and workers.
    """

    data: Path
    folder: Path
    crops: int
    full_resolution: bool
    split: str | None
    how: Inference


def ensemble(
    members: Sequence[str],
    *,
    weights: str | Sequence[float] | None = None,
    fit: float | None = None,
    seed: int = 0,
    out: Path | None = None,
    data: str | Path | None = None,
    scores: Path | None = None,
    crops: int = 1,
    full_resolution: bool = False,
    average: str = "logits",
    split: str | None = None,
    batch_size: int = 8,
    workers: int = 2,
    device: str = "auto",
    precision: str = "auto",
) -> dict[str, Any]:
    """Add what several models say of the same videos, and measure the sum.

    Example: `gateshift ensemble gsm8:2 gsm12:2 gsm16 gsm24 --data prepared/something-v1`

    A member is a score file, as `gateshift test --save-scores` writes it, or a model, with --data: a run
    directory, a weights file or a published name, and :2 behind it for two clips. Models are tested first,
    and their scores kept: the same model on the same videos and views is not tested again.

    Args:
        members: score files (.npz) and models, MODEL or MODEL:CLIPS.
        weights: one factor per member, as numbers or "1,0.5"; all 1 where not given.
        fit: share of the videos, such as 0.5, that weights are fitted on, of every class alike. Accuracy is
            then of the other videos only.
        seed: decides which videos weights are fitted on.
        out: where to write the sum as a score file; with --fit, of the videos that it was not fitted on.
        data: what models are tested on: a folder of class folders, or one with lists, or the URL of shards.
        scores: folder that keeps the scores of models; runs/scores-<data> where not given.
        crops: spatial windows per clip, for models: 1, 3, 5 or 10.
        full_resolution: for models, 1 or 3 crops as large as the short side of the resized frames.
        average: for models: logits over the views, as published, or softmax: their probabilities.
        split: of the data: train, val or test, chosen as `gateshift test` does where not given.
        batch_size: clips per forward pass.
        workers: processes that decode videos.
        device: auto, cpu, cuda, cuda:N or mps.
        precision: auto, float32, bfloat16 or float16.

    Returns:
        ``top1``, ``top1_interval``, ``top5``, ``videos`` and, for each of ``members``, its ``member``,
        ``file``, ``weight`` and ``top1``. With ``fit`` all these are of the videos that were not fitted on,
        and ``fitted_on``, ``measured_on``, ``seed`` and ``top1_equal_weights`` say so.

    Raises:
        ScoresMismatch: the members are of different videos, classes, labels or kinds.
        ConfigError: a model, or a setting of tests, without data, or weights that are not one per member.
    """
    names = [str(members)] if isinstance(members, str | Path) else [str(member) for member in members]
    if not names:
        raise ConfigError("ensemble needs at least one member, got none. Give F.npz F.npz ..., or models.")
    factors = given_weights(weights, len(names))
    if fit is not None and weights is not None:
        raise ConfigError("--weights gives the weights and --fit fits them. Give one of the two.")
    if data is None:
        refuse_options_of_tests(
            average=average != "logits",
            crops=crops != 1,
            full_resolution=full_resolution,
            split=split is not None,
            scores=scores is not None,
        )
    where = pick_device(device)
    how = Inference(where, pick_precision(precision, where), batch_size, workers, average=average)
    testing = None
    if data is not None:
        data = locate(data)
        folder = Path("runs", f"scores-{data.resolve().name}") if scores is None else Path(scores)
        testing = HowTested(data, folder, crops, full_resolution, split, how)
    files = [score_file(name, testing) for name in names]
    return measure(names, files, factors, fit=fit, seed=seed, out=out)


def refuse_options_of_tests(**given: bool) -> None:
    """Refuse those of the options that are given; there is nothing to test.

    Raises:
        ConfigError: one is given.
    """
    flags = [f"--{name.replace('_', '-')}" for name, is_given in given.items() if is_given]
    if flags:
        raise ConfigError(
            f"got {' and '.join(flags)} without --data. Such options say how models are tested, and without "
            f"data none is. Add --data DATA, or leave {'it' if len(flags) == 1 else 'them'} out."
        )


def measure(
    names: Sequence[str],
    files: Sequence[Path],
    factors: Sequence[float],
    *,
    fit: float | None,
    seed: int,
    out: Path | None,
) -> dict[str, Any]:
    """Return the answer of ``ensemble`` from the score files of its members."""
    loaded = [Scores.load(file) for file in files]
    aligned = align([(str(file), member) for file, member in zip(files, loaded, strict=True)])
    said: dict[str, Any] = {}
    if fit is not None:
        chosen = fitting_share(aligned[0], fit, seed)
        factors = fit_weights([member.part(chosen) for member in aligned])
        aligned = [member.part(~chosen) for member in aligned]
        equal = accuracies(add_up(aligned, [1.0] * len(aligned)))
        said = {
            "fitted_on": int(np.sum(chosen)),
            "measured_on": int(np.sum(~chosen)),
            "seed": seed,
            "top1_equal_weights": equal["top1"],
        }
    total = add_up(aligned, factors)
    if out is not None:
        total.save(Path(out))
    measured = summary(total, recordings(total))
    return {
        **{key: measured[key] for key in ("top1", "top1_interval", "top5", "top5_interval")},
        "videos": len(total.videos),
        **said,
        "members": [
            {"member": name, "file": str(file), "weight": factor, "top1": accuracies(member)["top1"]}
            for name, file, factor, member in zip(names, files, factors, aligned, strict=True)
        ],
    }


def score_file(member: str, testing: HowTested | None) -> Path:
    """Return the score file of a member; a model is tested for it, unless the same test is kept whole.

    Raises:
        ConfigError: the member is a model, and there is no data to test it on, or its clips are none.
    """
    if member.endswith(".npz"):
        return Path(member)
    if testing is None:
        raise ConfigError(
            f"member {member!r} is no score file (.npz). To add models, say what to test them on with "
            "--data DATA."
        )
    model, clips = model_and_clips(member)
    trial = plan_trial(
        model,
        testing.data,
        testing.how,
        clips=clips,
        crops=testing.crops,
        full_resolution=testing.full_resolution,
        split=testing.split,
    )
    stem = Path(model).name.removesuffix(".safetensors")
    shown = PartialState(cpu=testing.how.device.type == "cpu").is_main_process
    file = testing.folder / f"{stem}-{clips}x{testing.crops}-{trial.fingerprint()}.npz"
    done = is_whole(file)
    if shown:
        views = f"{len(trial.views.records)} videos x {len(trial.views.flipped)} views"
        again = f" again, for {file} is damaged" if file.exists() else ""
        console().print(f"{member}: {f'tested before, {file}' if done else views + again}", markup=False)
    if not done:
        trial.run(file)
    return file


def is_whole(file: Path) -> bool:
    """Return whether a score file is there and can be read."""
    try:
        Scores.load(file)
    except DataError:
        return False
    return True


def model_and_clips(member: str) -> tuple[str, int]:
    """Return the model and the number of clips that a member names; one clip, where it names none.

    >>> model_and_clips("runs/t8:2")
    ('runs/t8', 2)

    Raises:
        ConfigError: it names 0 clips.
    """
    match = WITH_CLIPS.match(member)
    if match is None or Path(member).exists():
        return member, 1
    if int(match["clips"]) < 1:
        raise ConfigError(f"member {member!r}: clips must be 1 or more. Write {match['model']}:1, for one.")
    return match["model"], int(match["clips"])


def given_weights(weights: str | Sequence[float] | None, count: int) -> list[float]:
    """Return one finite factor per member.

    Raises:
        ConfigError: there are more or fewer of them, or one is no finite number.
    """
    if weights is None:
        return [1.0] * count
    parts = weights.split(",") if isinstance(weights, str) else weights
    try:
        factors = [float(part) for part in parts]
    except ValueError as error:
        raise ConfigError(f"weights {weights!r} are not numbers. Give one per member, like 1,0.5.") from error
    if len(factors) != count:
        raise ConfigError(f"{len(factors)} weights for {count} members. Give one weight per member.")
    if not np.isfinite(factors).all():
        raise ConfigError(f"weights {weights!r} must be finite numbers.")
    return factors
