"""A program that takes the same training steps in one process, in two, in four: ``test_processes`` runs it.

    shared_steps.py DATA ROOM ASKED

ASKED is JSON: "settings" of the run, "worlds" (numbers of processes), "batches" (clips of each batch, over
all processes), "windows" of them, and "double" for float64. Each process of each group leaves its weights,
and what it counted, in ROOM/<world>-<rank>.pt. Everything is imported once, and the processes are forks.
"""

import json
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from torch.utils.data import default_collate

from gateshift.engine.config import TrainConfig
from gateshift.engine.learner import Learner, begin_batch, build_learner, enter_epoch, learn, step_optimizer
from gateshift.engine.run import open_run
from groups import fork_group

EMPTY = torch.zeros(1, 1), 0, 0  # in the place of a share without clips


def count_reductions(learner: Learner) -> list[int]:
    """Return the numbers of the last gradient bucket, one for each time that gradients were averaged."""
    seen: list[int] = []

    def hook(_: Any, bucket: torch.distributed.GradBucket) -> torch.futures.Future[torch.Tensor]:
        if bucket.is_last():
            seen.append(bucket.index())
        return (
            torch.distributed.all_reduce(bucket.buffer(), async_op=True)
            .get_future()
            .then(lambda done: done.value()[0] / learner.accelerator.num_processes)
        )

    learner.parallel.register_comm_hook(None, hook)
    return seen


def take_steps(data: Path, room: Path, asked: dict[str, Any], world: int, rank: int) -> None:
    if asked.get("double"):
        torch.set_default_dtype(torch.float64)
    config = TrainConfig(**asked["settings"])
    accelerator = Accelerator(cpu=True)
    with accelerator.main_process_first():
        run = open_run(room / f"run{world}", config, data, main=rank == 0)
    learner = build_learner(run, accelerator, 0, asked.get("checkpoint_activations", False))
    if asked.get("double"):
        learner.model.register_forward_pre_hook(lambda _, inputs: inputs[0].double())
    enter_epoch(learner, 0)
    reductions = count_reductions(learner) if world > 1 else []
    sizes, losses = asked["batches"], []
    for window in range(asked["windows"]):
        learner.train_clips.set_epoch(window)
        for step, size in enumerate(sizes, start=window * len(sizes)):
            videos = np.random.default_rng(step).choice(len(learner.train_clips), size)[rank::world]
            clips, labels, _ = default_collate([learner.train_clips[i] for i in videos] or [EMPTY])
            begin_batch(learner, 0, step, size)
            ends = step + 1 == (window + 1) * len(sizes)
            with nullcontext() if ends or world == 1 else accelerator.no_sync(learner.parallel):
                loss, _ = learn(learner, clips[:, 0] if len(videos) else None, labels, sum(sizes))
        losses.append(float(loss))
        step_optimizer(learner)
    found = {
        "weights": learner.model.state_dict(),
        "kept": learner.kept.state_dict(),
        "reductions": len(reductions),
        "losses": losses,
    }
    torch.save(found, room / f"{world}-{rank}.pt")
    accelerator.wait_for_everyone()


def main(data: str, room: str, asked: str) -> None:
    wanted = json.loads(asked)
    for world in wanted["worlds"]:

        def work(rank: int, world: int = world) -> None:
            take_steps(Path(data), Path(room), wanted, world, rank)

        ended = fork_group(world, work)
        assert not any(ended), f"{world} processes ended with {ended}"


if __name__ == "__main__":
    main(*sys.argv[1:])
