"""The rehearsal before the first epoch: what would fail after an hour fails now."""

import time
from contextlib import closing

from gateshift.data.dataset import EvalViews
from gateshift.engine.learner import Learner, learn, set_train_mode, validate
from gateshift.engine.loading import epoch_batches, load_batches
from gateshift.engine.progress import console, progress_bar
from gateshift.engine.report import duration
from gateshift.engine.run import Position


def rehearse(learner: Learner) -> None:
    """Run three training batches, one of validation and a save, and estimate the time.

    Videos that are to be skipped are, and do not count yet. The model is put back as it was.
    """
    num_clips = learner.config.batch_size
    kept = {name: tensor.clone() for name, tensor in learner.model.state_dict().items()}
    batches = epoch_batches(learner.train_clips.labels, learner.config, epoch=0)
    set_train_mode(learner)
    steps: list[float] = []
    loaded = load_batches(learner, batches[:3], epoch=0)
    shown = learner.accelerator.is_main_process
    with closing(loaded), progress_bar("rehearsal", 4, shown=shown) as bar:
        for batch in loaded:
            started = time.monotonic()
            learn(learner, batch.clips, batch.labels, num_clips, batch.taught)
            if batch.clips is not None:
                steps.append(time.monotonic() - started)
            bar.advance()
        started = time.monotonic()
        views = learner.val_views
        some = EvalViews(views.annotations, views.records[:num_clips], views.num_segments, views.spec)
        validate(learner, some)
        validation = (time.monotonic() - started) / len(some) * len(views)
        bar.advance()
    learner.optimizer.zero_grad()
    learner.model.load_state_dict(kept)
    learner.save(Position())
    epochs = learner.config.epochs
    step = min(steps, default=0.0)  # the first one also sets things up
    estimate = f"about {duration(epochs * (len(batches) * step + validation))} for {epochs} epochs"
    if learner.accelerator.is_main_process:
        console().print(f"rehearsal passed; {estimate if step else 'not one of its clips could be read'}")
