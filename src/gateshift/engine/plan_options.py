"""What the plan says of options for few and skewed videos, and of classes that call for one."""

from collections import Counter

from gateshift.data.records import Annotations
from gateshift.engine.config import TrainConfig

SKEWED = 3  # times as many videos in the largest class as in the smallest: from here on the plan says so
SHOWN = 3  # of the rarest classes

BALANCE = {
    "sampling": "every class is drawn equally often, so that an epoch has videos of rare ones several times",
    "loss": "the loss of a video counts as much more as its class is rarer",
}


def option_lines(config: TrainConfig) -> list[tuple[str, str]]:
    """Return lines of the plan, pairs of name and text, of the options that are on."""
    lines = []
    if config.balance != "none":
        lines.append(("balance", f"{config.balance}: {BALANCE[config.balance]}"))
    if config.distill:
        lines.append(
            (
                "teacher",
                f"{config.distill}: {config.distill_weight:g} of the loss, at temperature "
                f"{config.distill_temperature:g}",
            )
        )
    if config.ema:
        lines.append(("average", f"of the weights, decay {config.ema:g} a step, is validated and kept"))
    if config.early_stop:
        lines.append(("early stop", f"after {config.early_stop} epochs without a better validation"))
    return lines


def balance_note(config: TrainConfig, annotations: Annotations) -> tuple[str, ...]:
    """Return a remark where classes are skewed and nothing is done about it."""
    counts = Counter(record.label for record in annotations.split("train"))
    (_, most), (_, fewest) = counts.most_common()[0], counts.most_common()[-1]
    if config.balance != "none" or most < SKEWED * fewest:
        return ()
    rare = [label for label, count in reversed(counts.most_common()) if SKEWED * count <= most]
    shown = ", ".join(f"{annotations.classes[label]!r} {counts[label]}" for label in rare[:SHOWN])
    more = f" and {len(rare) - SHOWN} more" if len(rare) > SHOWN else ""
    return (
        f"The largest class has {most} training videos, and {len(rare)} of {len(counts)} classes have a "
        f"third of that or fewer: {shown}{more}. If all classes matter alike, give --balance sampling or "
        "loss.",
    )
