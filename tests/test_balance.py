"""Skewed classes: how often each is drawn, what each counts in the loss, and what a person is told."""

import csv
import shutil
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import gateshift
from gateshift.data.annotations import read_annotations, write_annotations
from gateshift.data.dataset import TrainClips
from gateshift.data.shapes import generate
from gateshift.data.transforms import train_transform
from gateshift.engine.balance import balanced_draws, class_weights
from gateshift.engine.config import TrainConfig
from gateshift.engine.loading import epoch_batches
from gateshift.engine.mixing import Mix, mix_labels
from gateshift.engine.objective import Objective, build_objective, weighted_cross_entropy
from gateshift.spec import InputSpec

TINY = {
    "model": "tsn_resnet18",
    "pretrained": False,
    "num_segments": 2,
    "size": 32,
    "batch_size": 4,
    "workers": 0,
    "device": "cpu",
}
SPEC = InputSpec(size=32, resize=36, mean=(0.0,) * 3, std=(1.0,) * 3)
SKEWED = np.repeat([0, 1, 2, 3], [50, 7, 3, 1])


def videos_of(draws, labels=SKEWED):
    return draws % len(labels)


@pytest.mark.parametrize("seed", [0, 1])
def test_classes_and_their_videos_are_drawn_evenly_in_an_epoch_and_over_all(seed):
    drawn = Counter()
    for epoch in range(12):
        videos = videos_of(balanced_draws(SKEWED, seed, epoch))
        assert len(videos) == len(SKEWED)
        drawn.update(videos.tolist())
        for counts in (Counter(videos.tolist()), drawn):
            classes = [sum(counts[video] for video in np.flatnonzero(label == SKEWED)) for label in range(4)]
            assert max(classes) - min(classes) <= 1
            for label in range(4):
                of = [counts[video] for video in np.flatnonzero(label == SKEWED)]
                assert max(of) - min(of) <= 1


def test_each_draw_of_a_video_has_a_number_of_its_own():
    for epoch in range(3):
        draws = balanced_draws(SKEWED, 0, epoch)
        assert len(set(draws.tolist())) == len(draws)
        of_rarest = np.sort(draws[videos_of(draws) == 60])
        assert of_rarest.tolist() == [60 + 61 * time for time in range(len(of_rarest))]


def test_batches_follow_from_seed_and_epoch_and_are_mixed():
    config = TrainConfig(batch_size=8, balance="sampling")
    one, other = (np.concatenate(epoch_batches(SKEWED, config, epoch)) for epoch in (0, 1))
    assert np.array_equal(one, np.concatenate(epoch_batches(SKEWED, config, 0)))
    assert not np.array_equal(one, other)
    assert not np.array_equal(one, np.concatenate(epoch_batches(SKEWED, replace(config, seed=1), 0)))
    assert (
        len(
            {
                tuple(np.bincount(SKEWED[batch % 61], minlength=4))
                for batch in epoch_batches(SKEWED, config, 0)
            }
        )
        > 3
    )
    plain = np.concatenate(epoch_batches(SKEWED, TrainConfig(batch_size=8), 0))
    assert np.array_equal(plain, np.random.default_rng((0, 0)).permutation(61))  # as it ever was


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("balance") / "data"
    return generate(folder, train_per_class=1, val_per_class=1, test_per_class=1, size=40)


def test_a_video_that_is_drawn_twice_looks_different_and_has_its_label(data):
    annotations = read_annotations(data)
    clips = TrainClips(annotations, "train", 2, train_transform(SPEC, {}), seed=0)
    clip, label, _ = clips[3]
    again, its_label, _ = clips[3 + len(clips)]
    assert label == its_label == clips.labels[3]
    assert not torch.equal(clip, again)
    assert torch.equal(again, clips[3 + len(clips)][0])


def test_a_bad_video_is_listed_once_and_each_of_its_clips_is_counted(data, tmp_path):
    copy = tmp_path / "data"
    shutil.copytree(data, copy)
    annotations = read_annotations(copy)
    one, other = annotations.splits["train"][:2]
    common = tuple(replace(record, label=0) for record in annotations.splits["train"][2:8])
    splits = {
        "train": (replace(one, label=0), *common, replace(other, label=1)),
        "val": annotations.splits["val"][:2],
    }
    lists = replace(annotations, classes=("common", "rare"), label_swaps=(), splits=splits)
    write_annotations(lists, tmp_path / "lists")
    rare = annotations.path(other)
    rare.write_bytes(rare.read_bytes()[:200])
    settings = {"balance": "sampling", "on_bad_video": "skip", "epochs": 1, "warmup_epochs": 0}
    gateshift.train(tmp_path / "lists", out=tmp_path / "run", **TINY | settings)
    (row,) = csv.DictReader((tmp_path / "run" / "log.csv").read_text().splitlines())
    assert int(row["left_out"]) == 4  # of 8 clips, half are of the rare class
    (bad,) = csv.DictReader((tmp_path / "run" / "bad_videos.csv").read_text().splitlines())
    assert bad["video"] == other.video


def test_weights_are_one_over_the_videos_with_a_mean_of_one():
    weights = class_weights(SKEWED, 5, {})
    assert weights[SKEWED].mean() == pytest.approx(1)
    assert weights[:4] * [50, 7, 3, 1] == pytest.approx([61 / 4] * 4)
    assert weights[4] == 0  # which no video has


def test_weights_count_what_a_mirror_makes_of_the_videos():
    swaps = {0: 3, 3: 0, 2: 4, 4: 2}  # the mirror of class 2 has no videos itself
    weights = class_weights(SKEWED, 5, swaps)
    seen = np.array([25.5, 7, 1.5, 25.5, 1.5])
    assert weights * seen == pytest.approx([61 / 5] * 5)
    assert (weights * seen).sum() / 61 == pytest.approx(1)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_the_loss_of_a_clip_counts_as_its_class_does(smoothing):
    generator = torch.Generator().manual_seed(0)
    logits, labels = torch.randn(6, 4, generator=generator).double(), torch.tensor([0, 3, 1, 1, 2, 0])
    weights = torch.tensor([0.3, 1.0, 2.5, 4.0]).double()
    alone = F.cross_entropy(logits, labels, label_smoothing=smoothing, reduction="none")
    found = weighted_cross_entropy(logits, labels, weights, smoothing)
    torch.testing.assert_close(found, (alone * weights[labels]).sum())
    mixes = [Mix(share) for share in (0.7, 1.0, 0.25, 0.5, 0.9, 0.6)]
    shares = torch.tensor([mix.share for mix in mixes]).double()
    before, its = alone_as(logits, labels.roll(1), smoothing), labels.roll(1)
    expected = (shares * alone * weights[labels] + (1 - shares) * before * weights[its]).sum()
    found = weighted_cross_entropy(logits, mix_labels(labels, mixes, 4).double(), weights, smoothing)
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-6)
    even = weighted_cross_entropy(logits, labels, torch.ones(4).double(), smoothing)
    torch.testing.assert_close(even, Objective(smoothing)(logits, labels))


def alone_as(logits, labels, smoothing):
    return F.cross_entropy(logits, labels, label_smoothing=smoothing, reduction="none")


def test_an_objective_weighs_only_where_it_was_asked_to(data):
    annotations = read_annotations(data)
    device = torch.device("cpu")
    assert build_objective(TrainConfig(), annotations, device).class_weights is None
    assert build_objective(TrainConfig(balance="sampling"), annotations, device).class_weights is None
    skewed = replace(annotations, splits={"train": annotations.splits["train"][:7]})
    weights = build_objective(TrainConfig(balance="loss", flip=False), skewed, device).class_weights
    assert weights.tolist() == pytest.approx([1.0] * 7 + [0.0] * 5)
