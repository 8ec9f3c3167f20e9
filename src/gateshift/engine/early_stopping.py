"""When training is over: after all of its epochs, or sooner where validation gets no better.

It follows from the log alone, so that a run that was stopped ends where the unbroken one does.
"""

from collections.abc import Mapping, Sequence

from gateshift.engine.config import TrainConfig


def is_over(history: Sequence[Mapping[str, float]], config: TrainConfig) -> bool:
    """Tell whether training ends after the epochs of ``history``, rows of ``log.csv``."""
    return len(history) >= config.epochs or stops_early(history, config)


def stops_early(history: Sequence[Mapping[str, float]], config: TrainConfig) -> bool:
    """Tell whether the last ``early_stop`` epochs, and there are more to come, were no better than before."""
    waited = len(history) - best_epoch(history)
    return 0 < config.early_stop <= waited and len(history) < config.epochs


def best_epoch(history: Sequence[Mapping[str, float]]) -> int:
    """Return the epoch, counted from 1, whose weights are kept: of equal top-1, that of the lowest loss.

    >>> rows = [(0.5, 1.0), (0.75, 0.9), (0.75, 0.8), (0.7, 0.2)]
    >>> best_epoch([{"val_top1": top1, "val_loss": loss} for top1, loss in rows])
    3
    """
    best, found = [-1.0, float("-inf")], 0
    for epoch, row in enumerate(history, start=1):
        if [row["val_top1"], -row["val_loss"]] > best:
            best, found = [row["val_top1"], -row["val_loss"]], epoch
    return found


def stop_message(history: Sequence[Mapping[str, float]], config: TrainConfig) -> str:
    """Say why training ended before its last epoch."""
    best = best_epoch(history)
    return (
        f"stopped early, after epoch {len(history)} of {config.epochs}: {len(history) - best} since epoch "
        f"{best} were no better than its {history[best - 1]['val_top1']:.1%}"
    )
