"""What a network says when some of its temporal modules let no frame reach another."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from gateshift.nn.gate_shift import GateShift, GateShiftFuse
from gateshift.nn.temporal_shift import TemporalShift

Exchanging = GateShift | GateShiftFuse | TemporalShift


@contextmanager
def closing(modules: Sequence[Exchanging]) -> Iterator[None]:
    """Inside, modules move nothing: all gates are 0, and TemporalShift hands on what it gets.

    A GateShift still riffles its channels, as the network learnt it with, and a GateShiftFuse still weighs
    what it keeps.
    """
    before = [module.closed for module in modules]
    for module in modules:
        module.closed = True
    try:
        yield
    finally:
        for module, was in zip(modules, before, strict=True):
            module.closed = was
