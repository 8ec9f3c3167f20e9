"""What must be the same where a run is resumed: its settings, its videos, and what their labels mean."""

from collections import Counter
from pathlib import Path

from gateshift.data.records import Annotations, VideoRecord
from gateshift.engine.checkpoint import load_state
from gateshift.engine.config import TrainConfig
from gateshift.errors import ConfigError, DataError, GateshiftError

POLICIES = ("on_bad_video", "max_bad_videos")  # which may change: nothing learnt depends on them


def has_begun(out: Path) -> bool:
    """Tell whether the run in ``out`` has learnt anything that other settings or videos would lose."""
    if (out / "weights.safetensors").exists():
        return True
    try:
        state = load_state(out / "last")
    except GateshiftError:  # damaged: it may have learnt
        return True
    return state is not None and (state["position"]["epoch"], state["position"]["step"]) != (0, 0)


def require_same_config(config: TrainConfig, recorded: TrainConfig, out: Path) -> None:
    """Refuse to resume the run in ``out`` with settings that decide its outcome and are not its own.

    Raises:
        ConfigError: they changed.
    """
    now, then = config.to_json(), recorded.to_json()
    changed = [
        f"{name} {then[name]} -> {now[name]}"
        for name in now
        if now[name] != then[name] and name not in POLICIES
    ]
    if changed:
        raise ConfigError(
            f"{out} holds a run of other settings: {', '.join(changed)}. "
            f"Give the same settings to resume it, or another --out to start anew."
        )


def require_same_data(now: Annotations, then: Annotations, out: Path) -> None:
    """Refuse to resume the run in ``out`` with other videos, labels or classes, or another order of these.

    Raises:
        DataError: they changed.
    """
    if now.classes != then.classes:
        changed = sorted(set(now.classes) ^ set(then.classes)) or "their order"
        raise DataError(
            f"the classes changed since {out} began: {changed}. Restore them, or give another --out."
        )
    if swaps := set(map(frozenset, now.label_swaps)) ^ set(map(frozenset, then.label_swaps)):
        pair = " and ".join(sorted(min(swaps, key=sorted)))
        raise DataError(
            f"the label_swaps changed since {out} began, such as of {pair}: what a mirrored clip shows would "
            f"be another class than before. Restore them, or give another --out."
        )
    for split in ("train", "val"):
        videos, before = (Counter(map(_annotation, side.splits[split])) for side in (now, then))
        if different := (videos - before) + (before - videos):
            raise DataError(
                f"the {split} videos changed since {out} began: {different.total()} differ, "
                f"such as {min(different, key=str)[0]!r}. Restore them, or give another --out."
            )


def _annotation(record: VideoRecord) -> tuple[object, ...]:
    """Return all that a list says of a video but its length, which not every list says."""
    span = (record.start_frame, record.end_frame, record.start_seconds, record.end_seconds)
    return (record.video, record.label, *span)
