"""What a network's accuracy rests on: the order of frames, colours, the side, the crop.

Letters: M videos, A alterations, K classes.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from gateshift.data.altered import PLAIN, AlteredViews
from gateshift.engine.inference import infer
from gateshift.engine.trial import Trial, as_scores, recordings
from gateshift.errors import ConfigError, VideoError
from gateshift.evidence.metrics import accuracies, accuracy_intervals, among_best
from gateshift.evidence.paired import chance_text, compare_scores
from gateshift.evidence.scores import Scores

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
    """Return the scores of each alteration by name, the videos as they are first."""
    own = trial.views
    views = AlteredViews(own.annotations, own.records, own.num_segments, own.spec)
    answers = infer(
        trial.model,
        views,
        len(views.records),
        trial.how,
        flipped=views.flipped,
        label_swaps=trial.label_swaps,
        stop_at_error=True,
        each_view=True,
    )
    for answer in answers:
        if answer.error:
            raise VideoError(answer.error)
    logits = np.stack([answer.logits for answer in answers if answer.logits is not None])  # (M, A, K)
    whole = as_scores(
        [replace(answer, logits=said[0]) for answer, said in zip(answers, logits, strict=True)],
        trial.model,
        views,
        trial.how,
    )
    return {name: replace(whole, logits=logits[:, place]) for place, name in enumerate(views.names)}


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
