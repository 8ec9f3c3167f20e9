"""Temporal modules: they take frames (B*T, C, H, W) and let those of one clip exchange features."""

from gateshift.nn.closing import Exchanging, closing
from gateshift.nn.gate_shift import GATES, GateShift, GateShiftFuse, use_fast_gates
from gateshift.nn.temporal_conv import InflatedConv, TemporalConv
from gateshift.nn.temporal_shift import TemporalShift

__all__ = [
    "GATES",
    "Exchanging",
    "GateShift",
    "GateShiftFuse",
    "InflatedConv",
    "TemporalConv",
    "TemporalShift",
    "closing",
    "use_fast_gates",
]
