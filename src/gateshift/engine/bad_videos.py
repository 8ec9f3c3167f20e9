"""Videos that a run left out because they cannot be read: which, why, and when they are too many.

What is counted, and what ``--max-bad-videos`` limits, are different videos of training and validation
together over the whole run, however many epochs each is missing from.
"""

from collections.abc import Sequence
from pathlib import Path

from accelerate.utils import gather_object

from gateshift.engine.inference import Unreadable
from gateshift.engine.learner import Learner, weigh_gradients
from gateshift.engine.run import BAD_VIDEOS, Position
from gateshift.engine.trial import record_name
from gateshift.errors import DataError


def settle_window(learner: Learner, position: Position, bad: Sequence[Unreadable], num_clips: int) -> bool:
    """Make the gradients of a window a mean over the clips that were there; return whether there were any.

    Args:
        learner: holds the gradients, of a mean over ``num_clips``.
        position: where what was left out is noted.
        bad: what this process could not read.
        num_clips: clips of the window, over all processes, had all been there.

    Raises:
        DataError: by now too many videos could not be read.
    """
    if learner.config.on_bad_video == "error":  # then what is missing ends training, in ``load_batches``
        return True
    missing = gather_object(list(bad))  # the same in every process
    leave_out(learner, position, "train", missing)
    there = num_clips - len(missing)
    if missing and there:
        weigh_gradients(learner, num_clips / there)
    return there > 0


def leave_out(learner: Learner, position: Position, split: str, bad: Sequence[Unreadable]) -> None:
    """Note videos of the running epoch that were left out.

    Raises:
        DataError: by now there are too many; the list of them is written.
    """
    run = learner.run
    before = len(position.bad_videos)
    known = {(row["split"], row["video"]) for row in position.bad_videos}
    for one in bad:
        video = record_name(run.annotations.splits[split][one.index])
        if (split, video) not in known:
            known.add((split, video))  # balanced sampling may have several clips of it in a window
            row = {"video": video, "split": split, "epoch": position.epoch + 1, "reason": one.reason}
            position.bad_videos.append(row)
    position.left_out += len(bad)
    count, most = len(position.bad_videos), run.config.max_bad_videos
    if count > max(before, most):
        listed = _list_now(learner, position)
        raise DataError(
            f"{count} videos cannot be read, and --max-bad-videos is {most}; {listed} lists them. "
            "Mend them, or give the same command with a higher limit; the run is kept up to its last save."
        )


def require_some(learner: Learner, position: Position, split: str, count: float) -> None:
    """Refuse an epoch in which none of the videos of a split could be read.

    Raises:
        DataError: ``count``, of those that could, is 0.
    """
    if count:
        return
    listed = _list_now(learner, position)
    raise DataError(
        f"none of the {split} videos can be read; {listed} has the reasons. Mend them, or train on others."
    )


def _list_now(learner: Learner, position: Position) -> Path:
    """Write the list, from the main process, and return where it is."""
    if learner.accelerator.is_main_process:
        learner.run.write_bad_videos(position)
    return learner.run.dir / BAD_VIDEOS
