"""Early stopping: after which epoch, in a stopped run too, and what is said of it."""

import csv
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file

import gateshift
from gateshift.data.records import Annotations, VideoRecord
from gateshift.data.shapes import generate
from gateshift.engine import loop as training
from gateshift.engine.config import TrainConfig
from gateshift.engine.early_stopping import best_epoch, is_over, stops_early
from gateshift.engine.plan_options import balance_note, option_lines

TINY = {
    "model": "tsn_resnet18",
    "pretrained": False,
    "num_segments": 2,
    "size": 32,
    "epochs": 6,
    "batch_size": 12,
    "workers": 0,
    "device": "cpu",
    "lr": 1e-9,  # nothing is learnt, and top-1 stays what it is
    "weight_decay": 0.0,
    "early_stop": 2,
}


def rows(*pairs):
    return [{"val_top1": top1, "val_loss": loss} for top1, loss in pairs]


def test_it_waits_for_so_many_epochs_without_a_better_one():
    config = TrainConfig(early_stop=2, epochs=6)
    history = rows((0.1, 2.0), (0.3, 1.0), (0.3, 0.9), (0.3, 0.9), (0.2, 0.1), (0.9, 0.1))
    assert [is_over(history[:count], config) for count in range(7)] == [False] * 5 + [True, True]
    assert [stops_early(history[:count], config) for count in range(7)] == [False] * 5 + [True, False]
    assert [best_epoch(history[:count]) for count in range(7)] == [0, 1, 2, 3, 3, 3, 6]
    assert not is_over(history[:5], replace(config, early_stop=0))


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("early") / "data"
    return generate(folder, train_per_class=1, val_per_class=1, test_per_class=1, size=40)


def test_training_ends_and_a_stopped_run_ends_there_too(data, tmp_path, monkeypatch, capsys):
    # Validation that answers the same each time: the first epoch stays the best.
    first = []

    def same_scores(learner):
        first.append(training_validate(learner)[0])
        return first[0], []

    training_validate = training.validate
    monkeypatch.setattr(training, "validate", same_scores)
    answer = gateshift.train(data, out=tmp_path / "unbroken", **TINY)
    said = capsys.readouterr().err
    assert (answer["epochs"], answer["stopped_early"]) == (3, True)
    assert "stopped early, after epoch 3 of 6: 2 since epoch 1 were no better" in " ".join(said.split())
    assert "after 2 epochs without a better validation" in " ".join(said.split())
    assert len(list(csv.DictReader((tmp_path / "unbroken/log.csv").read_text().splitlines()))) == 3

    steps = []

    def stop_in_the_third_epoch(learner, *others):
        steps.append(0)
        if len(steps) == 3:
            raise KeyboardInterrupt
        training_step(learner, *others)

    training_step = training.step_optimizer
    with monkeypatch.context() as patched:
        patched.setattr(training, "step_optimizer", stop_in_the_third_epoch)
        with pytest.raises(KeyboardInterrupt):
            gateshift.train(data, out=tmp_path / "run", **TINY)
    resumed = gateshift.train(data, out=tmp_path / "run", **TINY)
    assert (resumed["epochs"], resumed["stopped_early"]) == (3, True)
    one, other = (load_file(tmp_path / run / "weights.safetensors") for run in ("unbroken", "run"))
    assert all(torch.equal(one[name], other[name]) for name in one)
    before = len(first)
    assert gateshift.train(data, out=tmp_path / "run", **TINY) == resumed
    assert len(first) == before  # a run that is over is not trained on


def test_the_plan_says_which_options_are_on():
    assert option_lines(TrainConfig()) == []
    config = TrainConfig(balance="loss", ema=0.99, early_stop=3, distill="t.npz")
    assert [name for name, _ in option_lines(config)] == ["balance", "teacher", "average", "early stop"]


def test_the_plan_advises_balance_where_classes_are_skewed(tmp_path):
    def of(*counts):
        names = tuple("abcdef"[: len(counts)])
        records = [VideoRecord(f"{i}", i) for i, count in enumerate(counts) for _ in range(count)]
        return Annotations(tmp_path, names, (), None, "", {"train": tuple(records)})

    assert balance_note(TrainConfig(), of(8, 3)) == ()
    (note,) = balance_note(TrainConfig(), of(9, 3, 5))
    assert "largest class has 9" in note and "1 of 3" in note and "'b' 3" in note and "--balance" in note
    (note,) = balance_note(TrainConfig(), of(50, 1, 2, 3, 4))
    assert "'b' 1, 'c' 2, 'd' 3 and 1 more" in note
    assert balance_note(TrainConfig(balance="loss"), of(50, 1)) == ()
