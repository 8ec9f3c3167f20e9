"""Batch-norms and dropout over several processes, against those of one."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from gateshift.nn.recompute import recomputing
from gateshift.nn.shared_dropout import SharedDropout
from gateshift.nn.sync_norm import is_shared, synchronize_norms, without_clips


def test_norms_over_unequal_shares_are_those_of_the_whole_batch():
    script = Path(__file__).with_name("shared_norms.py")
    done = subprocess.run(
        [sys.executable, str(script)],
        capture_output=True,
        text=True,
        timeout=300,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.mark.parametrize("training", [True, False])
def test_alone_a_shared_norm_is_a_norm(training):
    plain = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Sequential(nn.BatchNorm2d(4)))
    shared = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Sequential(nn.BatchNorm2d(4)))
    shared.load_state_dict(plain.state_dict())
    weights = list(shared.parameters())
    synchronize_norms(shared)
    assert all(new is old for new, old in zip(shared.parameters(), weights, strict=True))
    assert isinstance(shared[2][0], nn.BatchNorm2d) and type(shared[2][0]) is not nn.BatchNorm2d
    plain.train(training), shared.train(training)
    assert is_shared(shared[1]) == training
    x = torch.randn(5, 3, 2, 2)
    with recomputing():
        torch.testing.assert_close(shared(x), plain(x), rtol=0, atol=0 if not training else 1e-6)
    for new, old in zip(shared.buffers(), plain.buffers(), strict=True):
        torch.testing.assert_close(new, old)


@pytest.mark.parametrize("world", [2, 3])
@pytest.mark.parametrize("num_clips", [6, 4, 2])
def test_shares_of_dropout_are_the_mask_that_one_process_draws(world, num_clips):
    features = torch.randn(num_clips, 3, 5)
    torch.manual_seed(4)
    whole = nn.Dropout(0.5)(features)
    after = torch.rand(())
    for rank in range(world):
        share = SharedDropout(0.5, rank, world)
        share.num_clips = num_clips
        torch.manual_seed(4)
        own = share(features[rank::world])
        assert torch.equal(own, whole[rank::world])
        assert torch.equal(torch.rand(()), after)  # what is drawn next is the same, too


def test_dropout_of_clips_that_nobody_counted_is_drawn_for_them_alone():
    features, share = torch.ones(4, 3, 5), SharedDropout(0.5, 1, 2)
    for share.num_clips in (0, 2):  # none was said; what was said is of another batch
        torch.manual_seed(1)
        dropped = share(features)
        torch.manual_seed(1)
        assert torch.equal(dropped, nn.functional.dropout(features, 0.5))
    with without_clips():
        assert share(features) is features
    assert share.eval()(features) is features
