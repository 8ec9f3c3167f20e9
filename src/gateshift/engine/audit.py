"""What a network's accuracy rests on: the order of frames, colours, the side, the crop.

Letters: M videos, A alterations, K classes.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from accelerate import PartialState

from gateshift.data.altered import PLAIN, AlteredViews
from gateshift.engine.inference import Answer
from gateshift.engine.trial import Trial, answer_all, as_scores, recordings
from gateshift.errors import ConfigError, WeightsError
from gateshift.evidence.metrics import accuracies, accuracy_intervals, among_best
from gateshift.evidence.paired import chance_text, compare_scores
from gateshift.evidence.scores import Scores
from gateshift.models.download import file_sha256
from gateshift.models.weights import find_weights
from gateshift.writing import write_text

AUDIT = "audit.json"  # of a run directory
ROUNDING = 1e-5  # of the largest logit: what adding frames up in another order changes
MOST_CLASSES = 5  # that are named for each alteration


def audit(trial: Trial) -> dict[str, Any]:
    """Test a network on videos as they are and altered, and say what its accuracy needs.

    Returns:
        ``verdict``, in words; ``order_blind``, whether it says the same of reversed and shuffled videos;
        ``uses_order``, whether either costs accuracy that chance would leave; ``needs_order``, the share of
        its top-1 that shuffling takes away; ``checks``, for each alteration: ``check``, ``top1`` with
        ``top1_interval``, ``change`` (to the videos as they are, a fraction) with ``change_interval`` and
        ``chance`` (McNemar), ``is_sure``, ``same`` (share of the videos of which it says the same class),
        ``largest_change`` of a logit, and ``classes``, those that lose most, with their ``change``.

    Raises:
        VideoError: a video cannot be read.
    """
    said = altered_scores(trial)
    plain = said.pop(PLAIN)
    groups = recordings(plain)
    checks = [as_check(name, scores, plain, groups) for name, scores in said.items()]
    top1 = accuracies(plain)["top1"]
    return {
        "top1": top1,
        "top1_interval": list(accuracy_intervals(plain, groups)["top1"]),
        **judge_order(top1, {check["check"]: check for check in checks}, float(np.abs(plain.logits).max())),
        "checks": checks,
    }


def keep_audit(run_dir: Path, trial: Trial, found: Mapping[str, Any]) -> None:
    """Write what was found into the run directory that the network is of, for its report."""
    kept = {"weights": file_sha256(trial.weights), "videos": len(trial.views.records), **found}
    state = PartialState()
    if state.is_main_process:
        write_text(run_dir / AUDIT, json.dumps(kept, indent=2, ensure_ascii=False) + "\n")
    state.wait_for_everyone()


def read_audit(run_dir: Path) -> dict[str, Any] | None:
    """Return the last audit of a run; None where its weights were never audited."""
    try:
        kept = json.loads((run_dir / AUDIT).read_text(encoding="utf-8"))
        return kept if kept["weights"] == file_sha256(find_weights(run_dir)) else None
    except (OSError, ValueError, KeyError, TypeError, WeightsError):
        return None


def require_one_view(trial: Trial) -> None:
    """Refuse to audit a trial of several views of a video.

    Raises:
        ConfigError: it is one.
    """
    if len(trial.views.flipped) > 1:
        raise ConfigError(
            f"--audit looks at one view of each video, and {len(trial.views.flipped)} were asked for. "
            "Leave --clips, --crops and --full-resolution out."
        )


def altered_scores(trial: Trial) -> dict[str, Scores]:
    """Return the scores of each alteration by name, the videos as they are first.

    Raises:
        VideoError: a video cannot be read.
    """
    own = trial.views
    views = AlteredViews(own.annotations, own.records, own.num_segments, own.spec)
    answers = answer_all(trial.model, views, trial.how, label_swaps=trial.label_swaps, each_view=True)
    return {
        name: as_scores([one_view(answer, place) for answer in answers], trial.model, views, trial.how)
        for place, name in enumerate(views.names)
    }


def one_view(answer: Answer, place: int) -> Answer:
    """Return an answer to all alterations, (A, K) logits, as that to one of them."""
    return replace(answer, logits=None if answer.logits is None else answer.logits[place])


def as_check(name: str, scores: Scores, plain: Scores, groups: Sequence[str]) -> dict[str, Any]:
    """Return what an alteration does to the answers."""
    found = compare_scores(scores, plain, groups)
    same = scores.logits.argmax(axis=1) == plain.logits.argmax(axis=1)
    return {
        "check": name,
        "top1": accuracies(scores)["top1"],
        "top1_interval": list(accuracy_intervals(scores, groups)["top1"]),
        "change": found.gain,
        "change_interval": list(found.gain_interval),
        "chance": found.chance,
        "is_sure": found.is_sure,
        "same": float(same.mean()),
        "largest_change": float(np.abs(scores.logits - plain.logits).max()),
        "classes": most_changed(scores, plain),
    }


def most_changed(scores: Scores, plain: Scores) -> list[dict[str, Any]]:
    """Return the classes that lose most of their accuracy, the greatest loss first."""
    difference = among_best(scores, 1).astype(float) - among_best(plain, 1)
    changes = sorted(
        (float(difference[of].mean()), int(of.sum()), name)
        for label, name in enumerate(plain.classes)
        if (of := plain.labels == label).any()
    )
    losing = [
        {"class": name, "videos": videos, "change": change} for change, videos, name in changes if change < 0
    ]
    return losing[:MOST_CLASSES]


def judge_order(top1: float, checks: dict[str, dict[str, Any]], largest: float) -> dict[str, Any]:
    """Say whether a network uses the order of frames, from what shuffling and reversing them does."""
    shuffled, backward, still = (checks[name] for name in ("shuffled", "reversed", "one frame repeated"))
    blind = max(check["largest_change"] for check in (shuffled, backward)) <= ROUNDING * largest
    lost = max(0.0, -shuffled["change"])
    needs = lost / top1 if top1 else 0.0
    uses = not blind and any(check["is_sure"] and check["change"] < 0 for check in (shuffled, backward))
    if blind:
        said = "It is blind to the order of frames: it says the same of shuffled and of reversed videos."
    elif not uses:
        said = (
            "It does not use motion: out of order, frames are recognised as well, as far as "
            f"these videos tell ({points(shuffled)} points, {chance_text(shuffled['chance'])})."
        )
    else:
        said = (
            f"{needs:.0%} of its accuracy needs the order of frames: shuffling them changes it by "
            f"{points(shuffled)} points, reversing them by {points(backward)}."
        )
    if still["is_sure"] or not blind:
        said += f" A single frame, repeated, is enough for {still['top1']:.1%}."
    return {"verdict": said, "order_blind": blind, "uses_order": uses, "needs_order": needs}


def points(check: dict[str, Any]) -> str:
    """Return a change in percentage points, with its sign."""
    return f"{100 * check['change']:+.1f}"
