"""Whether training still computes with numbers: found where it happens, before anything is saved.

A CPU is asked at each step of the optimiser, before that spoils the weights. A GPU is not waited for: it
notes the first bad batch, and is asked where the run is saved and at the end of an epoch.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from gateshift.engine.learner import Learner
from gateshift.engine.run import Position
from gateshift.engine.trial import record_name
from gateshift.errors import FaultError
from gateshift.evidence.scores import Scores

LEAST_SCALE = 2.0**-10  # of float16's gradients: below it they were infinite 26 times more than not
MOST_NAMES = 8  # of videos, in a message


class FiniteCheck:
    """Watches the losses and gradients of an epoch.

    Args:
        learner: what learns.
        epoch: counted from 0.
        batches: the draws of each batch of the epoch.
    """

    def __init__(self, learner: Learner, epoch: int, batches: Sequence[np.ndarray]) -> None:
        self.learner = learner
        self.epoch = epoch
        self.batches = batches
        self.at_once = learner.device.type == "cpu"
        self.first = torch.full((2,), -1, device=learner.device)  # batch of the first bad loss, bad gradient
        self.step = 0

    def note_loss(self, step: int, loss: Tensor) -> None:
        """Note the loss of a batch: a number, or not."""
        self.step = step
        self._note(0, loss)

    def note_gradients(self, norm: Tensor) -> None:
        """Note the norm of all gradients of the window that the last batch ends.

        Where several processes learn, all have the same gradients, and so all end here.

        Raises:
            FaultError: they are no numbers, or the loss was none. On a CPU only.
        """
        if not self.learner.scaler.is_enabled():  # which looks for itself, and leaves such steps out
            self._note(1, norm)
        if self.at_once:
            self.require()

    def require(self) -> None:
        """Refuse to go on, and to save, once a loss or gradient was no number.

        Raises:
            FaultError: one was not; it says which.
        """
        loss, gradient = self.first.tolist()
        if loss >= 0:
            self._refuse("the training loss", [loss])
        if gradient >= 0:
            name = first_bad({n: p.grad for n, p in self.learner.model.named_parameters()})
            accumulate = self.learner.config.accumulate
            window = range(gradient - gradient % accumulate, gradient + 1)
            self._refuse(f"the gradient{f' of {name}' if name else ''}", list(window))
        scaler = self.learner.scaler
        if scaler.is_enabled() and scaler.get_scale() < LEAST_SCALE:
            self._refuse("each gradient of late", [self.step])

    def require_weights(self) -> None:
        """Refuse to save weights or statistics that are no numbers.

        Raises:
            FaultError: some are not, or ``require`` refuses.
        """
        self.require()
        if name := first_bad(self.learner.model.state_dict()):
            self._refuse(name, [self.step])

    def _note(self, place: int, value: Tensor) -> None:
        new = (self.first[place] < 0) & ~value.detach().isfinite().all()
        self.first[place] = torch.where(new, self.step, self.first[place])

    def _refuse(self, what: str, steps: Sequence[int]) -> None:
        """Say what is no number and where, and what to do."""
        learner = self.learner
        rank, world = learner.accelerator.process_index, learner.accelerator.num_processes
        records = learner.train_clips.records
        drawn = np.concatenate([self.batches[step][rank::world] for step in steps])
        names = [record_name(records[draw % len(records)]) for draw in drawn]
        more = f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else ""
        last = f" to {steps[-1] + 1}" if len(steps) > 1 else ""
        raise FaultError(
            f"{what} is nan or infinite in epoch {self.epoch + 1}, batch {steps[0] + 1}{last}. The videos "
            f"there: {', '.join(names[:MOST_NAMES])}{more}. {advice(learner)}"
        )


def require_finite_scores(learner: Learner, position: Position, scores: Scores) -> None:
    """Refuse to end an epoch after which the network says no numbers of the validation videos.

    Raises:
        FaultError: it does.
    """
    if not np.isfinite(scores.logits).all():
        raise FaultError(
            "what the network says of the validation videos is nan or infinite after epoch "
            f"{position.epoch + 1}. {advice(learner)}"
        )


def advice(learner: Learner) -> str:
    """Say what is kept, and what to do."""
    precise = "" if learner.precision == torch.float32 else "--precision float32, or "
    return (
        "The state before it is kept, from which the same command would come to it again: look at the "
        f"videos, or train anew with {precise}a lower --lr (it was {learner.config.lr}) and another --out."
    )


def first_bad(tensors: dict[str, Tensor | None] | dict[str, Tensor]) -> str:
    """Return the name of the first tensor that does not hold numbers only; nothing if all do.

    >>> first_bad({"a": torch.ones(2), "b": torch.tensor([1.0, torch.nan])})
    'b'
    """
    for name, tensor in tensors.items():
        if tensor is not None and tensor.is_floating_point() and not tensor.isfinite().all():
            return name
    return ""
