"""
Virtual time: an event loop whose clock jumps, and everything on it in memory.
"""

from harness.simulation.links import Link, LinkOptions, Passage
from harness.simulation.loop import START_S, STEPS_MAX, WALL_EPOCH_S, SimLoop
from harness.simulation.network import Network
from harness.simulation.transports import Kind, Segment

__all__ = [
    "START_S",
    "STEPS_MAX",
    "WALL_EPOCH_S",
    "Kind",
    "Link",
    "LinkOptions",
    "Network",
    "Passage",
    "Segment",
    "SimLoop",
]
