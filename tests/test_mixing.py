"""MixUp and CutMix: what is shown of a class is what its label says, and a resume mixes the same."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file

import gateshift
from gateshift.data.augment import Augment
from gateshift.data.shapes import generate
from gateshift.engine import loop as training
from gateshift.engine.checkpoint import load_state
from gateshift.engine.mixing import Mix, Mixing, draw_box, mix_clips, mix_labels, share_right

TINY = {
    "model": "tsn_resnet18",
    "pretrained": False,
    "num_segments": 2,
    "size": 32,
    "epochs": 2,
    "warmup_epochs": 1,
    "batch_size": 4,
    "workers": 0,
    "device": "cpu",
    "augment": "rand-m9-mstd0.5,jitter=0.4,erase=0.5,mixup=0.4,cutmix=1",
}


def constant_clips(count: int, size: int = 20) -> torch.Tensor:
    """Clips of 3 frames whose values are 1, 2, 3, ... throughout: (B, 3, 3, S, S)."""
    return torch.arange(1.0, count + 1).view(-1, 1, 1, 1, 1).expand(-1, 3, 3, size, size)


def test_cutmix_labels_are_the_pixels_that_are_seen():
    rng = np.random.default_rng(0)
    mixing = Mixing(Augment(cutmix=1.0), num_classes=6)
    clips, labels = constant_clips(6), torch.tensor([3, 0, 5, 1, 2, 4])
    for _ in range(50):
        mixed, targets, _ = mixing(clips, labels, rng)
        for i in range(6):
            own = (mixed[i] == clips[i]).float().mean()
            assert ((mixed[i] == clips[i]) | (mixed[i] == clips[i - 1])).all()
            assert targets[i, labels[i]] == pytest.approx(own.item(), abs=1e-6)
            assert targets[i, labels[i - 1]] == pytest.approx(1 - own.item(), abs=1e-6)
            assert (mixed[i] == mixed[i, :1]).all()  # all frames alike


@pytest.mark.parametrize(("height", "width"), [(1, 1), (2, 9), (224, 224), (37, 50)])
def test_boxes_lie_in_the_frame_and_have_about_their_area(height, width):
    rng = np.random.default_rng(0)
    for share in (0.0, 0.3, 0.999, 1.0):
        for _ in range(50):
            mix = draw_box(share, height, width, rng)
            top, bottom, left, right = mix.box
            assert 0 <= top <= bottom <= height and 0 <= left <= right <= width
            assert mix.share == 1 - (bottom - top) * (right - left) / (height * width)
            assert mix.share >= share - 1e-9  # less where the frame cuts it off
    assert draw_box(1.0, height, width, rng).share == 1.0


def test_mixup_blends_clips_and_labels_by_one_share():
    rng = np.random.default_rng(0)
    mixing = Mixing(Augment(mixup=0.2), num_classes=3)
    clips, labels = constant_clips(3), torch.tensor([2, 0, 0])
    shares = []
    for _ in range(100):
        mixed, targets, _ = mixing(clips, labels, rng)
        share = (mixed[1, 0, 0, 0, 0].item() - 1) / (2 - 1)  # of clip 1, which is 2 beside 1
        torch.testing.assert_close(mixed[1], torch.full_like(mixed[1], 1 + share))
        torch.testing.assert_close(targets[1], torch.tensor([share, 0.0, 1 - share]))
        torch.testing.assert_close(targets[2], torch.tensor([1.0, 0.0, 0.0]))  # its neighbour has its class
        torch.testing.assert_close(targets.sum(1), torch.ones(3))
        shares.append(share)
    assert min(shares) >= 0.5 and max(shares) <= 1
    assert torch.equal(clips, constant_clips(3))


def test_both_take_turns_and_each_clip_draws_for_itself():
    mixing = Mixing(Augment(mixup=0.2, cutmix=1.0), num_classes=2)
    mixes = mixing.draw(1000, 32, 32, np.random.default_rng(0))
    blended = sum(mix.box is None for mix in mixes)
    assert blended == pytest.approx(500, abs=60)
    assert len({mix.share for mix in mixes}) > 600
    assert not Mixing(Augment(erase=0.5), 2) and Mixing(Augment(cutmix=0.5), 2)


@pytest.mark.parametrize("count", [0, 1])
def test_a_clip_alone_stays_itself(count):
    mixing = Mixing(Augment(mixup=1.0, cutmix=1.0), num_classes=2)
    mixed, targets, _ = mixing(
        constant_clips(count), torch.ones(count, dtype=torch.int64), np.random.default_rng(0)
    )
    torch.testing.assert_close(mixed, constant_clips(count))
    torch.testing.assert_close(targets, torch.tensor([[0.0, 1.0]]).expand(count, 2))


def test_loss_is_that_of_both_labels_by_their_shares():
    logits = torch.randn(4, 5, generator=torch.Generator().manual_seed(0))
    labels = torch.tensor([0, 3, 3, 1])
    mixes = [Mix(share) for share in (0.7, 1.0, 0.25, 0.5)]
    targets = mix_labels(labels, mixes, 5)
    for smoothing in (0.0, 0.1):
        own = F.cross_entropy(logits, labels, label_smoothing=smoothing, reduction="none")
        other = F.cross_entropy(logits, labels.roll(1), label_smoothing=smoothing, reduction="none")
        shares = torch.tensor([mix.share for mix in mixes])
        expected = (shares * own + (1 - shares) * other).sum()
        loss = F.cross_entropy(logits, targets, label_smoothing=smoothing, reduction="sum")
        torch.testing.assert_close(loss, expected)
    hard = mix_labels(labels, [Mix(1.0)] * 4, 5)
    assert share_right(logits, labels) == share_right(logits, hard)
    assert torch.equal(mix_clips(constant_clips(4), [Mix(1.0)] * 4), constant_clips(4))


@pytest.mark.slow
def test_a_stopped_run_mixes_the_same_when_it_goes_on(tmp_path, monkeypatch):
    data = generate(tmp_path / "data", train_per_class=1, val_per_class=1, test_per_class=1, size=40)
    gateshift.train(data, out=tmp_path / "unbroken", **TINY)
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
            gateshift.train(data, out=tmp_path / "run", **TINY)
    stopped_at = load_state(tmp_path / "run" / "last")["position"]
    assert (stopped_at["epoch"], stopped_at["step"]) == (1, 1)
    gateshift.train(data, out=tmp_path / "run", **TINY)
    one, other = (load_file(tmp_path / run / "weights.safetensors") for run in ("unbroken", "run"))
    assert all(torch.equal(one[name], other[name]) for name in one)
    without = gateshift.train(data, out=tmp_path / "plain", **TINY | {"augment": "none"})
    plain = load_file(without["weights"])
    assert not all(torch.equal(one[name], plain[name]) for name in one)
