"""A program that holds batch-norms over three processes against those of one: ``test_sync_norm`` runs it.

Of five clips the first process has three, the second two, the third none.
"""

import copy
from contextlib import nullcontext

import torch
import torch.distributed as dist
from torch import nn

from gateshift.nn import GateShift, GateShiftFuse, use_fast_gates
from gateshift.nn.checkpointing import checkpointing, run_block
from gateshift.nn.recompute import norm_relu, norm_relu6, recomputing
from gateshift.nn.sync_norm import synchronize_norms, without_clips
from groups import fork_group

SHARES = (3, 2, 0)
SEGMENTS = 2


class Net(nn.Module):
    """A little of everything that has a batch-norm."""

    def __init__(self, gate: type[nn.Module], fast: bool, channels_last: bool) -> None:
        super().__init__()
        self.first, self.first_norm = nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8)
        self.gate = gate(8, SEGMENTS)
        nn.init.normal_(self.gate.gate.weight, std=0.3)
        self.second, self.second_norm = nn.Conv2d(8, 8, 1), nn.BatchNorm2d(8, momentum=None)
        self.last_norm = nn.BatchNorm2d(8)
        self.layout = torch.channels_last if channels_last else torch.contiguous_format
        if fast:
            use_fast_gates(self)

    def block(self, x: torch.Tensor) -> torch.Tensor:
        return norm_relu6(self.second_norm, self.second(self.gate(x)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = norm_relu(self.first_norm, self.first(x.contiguous(memory_format=self.layout)))
        return self.last_norm(run_block(self, self.block, x)).square().mean((2, 3))


def found_by(
    net: nn.Module, clips: torch.Tensor, weights: torch.Tensor, how: str
) -> tuple[dict, torch.Tensor]:
    """Return the gradients and buffers after one step, and the gradient of the clips."""
    clips = clips.clone().requires_grad_()
    with recomputing() if how == "recipes" else checkpointing() if how == "checkpoints" else nullcontext():
        (net(clips) * weights).sum().backward()
    values = {name: parameter.grad for name, parameter in net.named_parameters()} | dict(net.named_buffers())
    return values, clips.grad


def compare(rank: int) -> None:
    dist.init_process_group("gloo")
    start = SEGMENTS * sum(SHARES[:rank])
    own = slice(start, start + SEGMENTS * SHARES[rank])
    for gate, fast, channels_last, how in (
        (GateShift, True, True, "recipes"),
        (GateShift, False, False, ""),
        (GateShiftFuse, True, False, "checkpoints"),
        (GateShiftFuse, True, True, ""),
    ):
        torch.manual_seed(0)
        net = Net(gate, fast, channels_last).double()
        whole = copy.deepcopy(net)
        synchronize_norms(net)
        assert net.state_dict().keys() == whole.state_dict().keys()
        clips = torch.randn(SEGMENTS * sum(SHARES), 3, 6, 5, dtype=torch.float64)
        weights = torch.randn(len(clips), 8, dtype=torch.float64)
        expected, expected_clips = found_by(whole, clips, weights, "")
        if SHARES[rank]:
            found, found_clips = found_by(net, clips[own], weights[own], how)
            torch.testing.assert_close(found_clips, expected_clips[own])
        else:
            with without_clips():
                found, found_clips = found_by(
                    net, torch.full_like(clips[:SEGMENTS], 7.0), weights[:1] * 0, how
                )
            assert not found_clips.any()
        for name, value in found.items():
            if name.split(".")[-1] in ("weight", "bias"):
                dist.all_reduce(value)  # DistributedDataParallel does so with all gradients
            torch.testing.assert_close(value, expected[name], msg=lambda text, name=name: f"{name}: {text}")
        net.eval(), whole.eval()
        torch.testing.assert_close(net(clips), whole(clips))


if __name__ == "__main__":
    assert not any(fork_group(len(SHARES), compare))
