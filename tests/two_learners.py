"""One of two processes that learn from one window: ``test_bad_videos`` starts them.

Of four clips each has one, then the first has another, and the second a video that cannot be read.
"""

import sys
from pathlib import Path

import torch
from accelerate import Accelerator

from gateshift.engine.bad_videos import settle_window
from gateshift.engine.inference import Unreadable
from gateshift.engine.learner import learn
from gateshift.engine.run import Position
from test_bad_videos import build, gradients_of, some_clips


def main(data: Path, room: Path) -> None:
    accelerator = Accelerator(cpu=True)
    rank = accelerator.process_index
    learner = build(data, room / "two", accelerator)
    learner.model.eval()
    clips, labels = some_clips(4), torch.arange(4)
    before = [buffer.clone() for buffer in learner.model.buffers()]
    with accelerator.no_sync(learner.parallel):
        learn(learner, clips[rank : rank + 1], labels[rank : rank + 1], 4)
    if rank == 0:
        learn(learner, clips[2:3], labels[2:3], 4)
    else:
        learn(learner, None, labels[:0], 4)
    position = Position()
    assert settle_window(learner, position, [Unreadable(5, "gone")] if rank else [], 4)
    assert all(torch.equal(old, new) for old, new in zip(before, learner.model.buffers(), strict=True))
    torch.save({"gradients": gradients_of(learner), "bad": position.bad_videos}, room / f"gradients{rank}.pt")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
