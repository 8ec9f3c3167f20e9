"""Distillation: what the teacher says of a clip, what the loss makes of it, and whose scores are refused."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file

import gateshift
from gateshift.data.annotations import read_annotations
from gateshift.data.augment import Augment
from gateshift.data.dataset import TrainClips
from gateshift.data.shapes import generate
from gateshift.data.transforms import RandomFlip
from gateshift.engine import loop as training
from gateshift.engine.config import TrainConfig
from gateshift.engine.distillation import Teacher, build_teacher, read_logits
from gateshift.engine.mixing import Mixing
from gateshift.engine.objective import Objective
from gateshift.errors import DataError, ScoresMismatch
from gateshift.evidence.scores import Scores

TINY = {
    "model": "tsn_resnet18",
    "pretrained": False,
    "num_segments": 2,
    "size": 32,
    "epochs": 2,
    "batch_size": 4,
    "workers": 0,
    "device": "cpu",
}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("distill") / "data"
    return generate(folder, train_per_class=1, val_per_class=1, test_per_class=1, size=40)


@pytest.fixture(scope="module")
def annotations(data):
    return read_annotations(data)


@pytest.fixture(scope="module")
def taught(data, tmp_path_factory):
    """Scores of a teacher on the training videos, as the two commands make them."""
    room = tmp_path_factory.mktemp("teacher")
    gateshift.train(data, out=room / "teacher", **TINY | {"epochs": 1, "warmup_epochs": 0})
    file = room / "scores.npz"
    gateshift.test(room / "teacher", data, split="train", save_scores=file, workers=0, device="cpu")
    return file


def test_scores_of_a_test_are_matched_by_name_in_any_order(taught, annotations, tmp_path):
    logits = read_logits(taught, annotations)
    scores = Scores.load(taught)
    assert torch.equal(logits, torch.from_numpy(scores.logits))  # one folder, one order
    order, classes = np.random.default_rng(0).permutation(12), np.random.default_rng(1).permutation(12)
    shuffled = Scores(
        tuple(scores.videos[i] for i in order) + ("elsewhere.mp4",),
        np.append(np.argsort(classes)[scores.labels[order]], 0),
        np.append(scores.logits[order][:, classes], np.full((1, 12), 9.0), axis=0),
        tuple(scores.classes[i] for i in classes),
    )
    shuffled.save(tmp_path / "shuffled.npz")
    assert torch.equal(read_logits(tmp_path / "shuffled.npz", annotations), logits)
    softmax = replace(
        scores, logits=F.softmax(torch.from_numpy(scores.logits), 1).numpy(), kind="probabilities"
    )
    softmax.save(tmp_path / "softmax.npz")
    found = read_logits(tmp_path / "softmax.npz", annotations)
    torch.testing.assert_close(found.softmax(1), logits.softmax(1))


def test_scores_that_do_not_fit_are_refused(taught, annotations, tmp_path):
    scores, file = Scores.load(taught), tmp_path / "other.npz"
    some = np.arange(12) != 3
    for wrong, match in (
        (scores.part(some), r"lack 1 of 12 training videos: '.*--split train --save-scores"),
        (replace(scores, classes=("a", *scores.classes[1:])), "other classes than these videos: 'a'"),
        (replace(scores, logits=np.full((12, 12), np.nan)), "not finite"),
        (replace(scores, videos=(*scores.videos[:11], scores.videos[0])), "lack 1 of 12"),
    ):
        wrong.save(file)
        with pytest.raises(ScoresMismatch, match=match):
            read_logits(file, annotations)
    with pytest.raises(DataError, match="no score file"):
        read_logits(tmp_path / "none.npz", annotations)
    assert build_teacher(TrainConfig(), annotations) is None


def test_a_mirrored_clip_has_the_mirrored_probabilities(annotations):
    logits = torch.randn(12, 12, generator=torch.Generator().manual_seed(0))
    swaps = annotations.swap_indices
    mirror = torch.tensor([swaps.get(label, label) for label in range(12)])
    teacher = Teacher(logits, mirror, temperature=2.0, weight=0.5)
    found = teacher(torch.tensor([3, 7, 7]), torch.tensor([False, False, True]))
    torch.testing.assert_close(found[:2], (logits[[3, 7]] / 2).softmax(1))
    assert len(swaps) == 4
    for one in range(12):
        assert found[2, one] == found[1, swaps.get(one, one)]


def test_clips_say_whether_they_are_mirrored(annotations):
    clips = TrainClips(annotations, "train", 2, RandomFlip(annotations.swap_indices), seed=0)
    seen = set()
    for index in range(len(clips)):
        clip, label, mirrored = clips[index]
        plain = clips.read(index)[0]
        assert mirrored == torch.equal(clip[0], plain.flip(-1))
        own = int(clips.labels[index])
        assert label == (annotations.swap_indices.get(own, own) if mirrored else own)
        seen.add(mirrored)
    assert seen == {True, False}


def test_the_loss_is_hintons():
    generator = torch.Generator().manual_seed(0)
    logits, said = (torch.randn(5, 4, generator=generator).double() for _ in range(2))
    labels = torch.tensor([0, 3, 1, 1, 2])
    teacher = Teacher(said, torch.arange(4), temperature=3.0, weight=0.3)
    q = teacher(torch.arange(5), torch.zeros(5, dtype=torch.bool))
    p = (logits / 3).softmax(1)
    divergence = (q * (q / p).log()).sum()
    own = F.cross_entropy(logits, labels, label_smoothing=0.1, reduction="sum")
    found = Objective(0.1, teacher=teacher)(logits, labels, q)
    torch.testing.assert_close(found, 0.7 * own + 0.3 * 9 * divergence)
    same = Teacher(logits, torch.arange(4), temperature=3.0, weight=1.0)
    q = same(torch.arange(5), torch.zeros(5, dtype=torch.bool))
    assert Objective(0.1, teacher=same)(logits, labels, q).abs() < 1e-12  # it says what the teacher says


def test_the_probabilities_of_mixed_clips_are_mixed_by_the_same_shares():
    labels = torch.tensor([2, 0, 1])
    as_sure = F.one_hot(labels, 3).float()
    rng = np.random.default_rng(0)
    _, targets, taught = Mixing(Augment(mixup=1.0, cutmix=1.0), 3)(
        torch.randn(3, 2, 3, 8, 8), labels, rng, as_sure
    )
    assert torch.equal(targets, taught)


def test_a_stopped_run_learns_the_same_and_other_scores_are_refused(taught, data, tmp_path, monkeypatch):
    scores = Scores.load(taught)
    file = tmp_path / "scores.npz"
    scores.save(file)
    settings = TINY | {"distill": str(file), "augment": "mixup=0.4"}
    gateshift.train(data, out=tmp_path / "unbroken", **settings)
    steps = []

    def stop_in_the_second_epoch(learner, *others):
        steps.append(0)
        if len(steps) == 5:
            raise KeyboardInterrupt
        training_step(learner, *others)

    training_step = training.step_optimizer
    with monkeypatch.context() as patched:
        patched.setattr(training, "SAVE_SECONDS", -1.0)  # after every step
        patched.setattr(training, "step_optimizer", stop_in_the_second_epoch)
        with pytest.raises(KeyboardInterrupt):
            gateshift.train(data, out=tmp_path / "run", **settings)
    scores.scaled(2.0).save(file)
    with pytest.raises(DataError, match=r"scores in '.*' changed since .* began"):
        gateshift.train(data, out=tmp_path / "run", **settings)
    scores.save(file)
    gateshift.train(data, out=tmp_path / "run", **settings)
    one, other = (load_file(tmp_path / run / "weights.safetensors") for run in ("unbroken", "run"))
    assert all(torch.equal(one[name], other[name]) for name in one)
