"""
Virtual time: an event loop whose clock jumps, and everything on it in memory.
"""

from harness.simulation.hosts import Ending, Host
from harness.simulation.jumping import START_S, STEPS_MAX
from harness.simulation.life import Life, current_life
from harness.simulation.links import Link, LinkOptions, Passage
from harness.simulation.loop import WALL_EPOCH_S, SimLoop
from harness.simulation.network import CONNECT_TIMEOUT_S, Network
from harness.simulation.running import in_virtual_time, run_virtual
from harness.simulation.wire import Kind, Segment

__all__ = [
    "CONNECT_TIMEOUT_S",
    "START_S",
    "STEPS_MAX",
    "WALL_EPOCH_S",
    "Ending",
    "Host",
    "Kind",
    "Life",
    "Link",
    "LinkOptions",
    "Network",
    "Passage",
    "Segment",
    "SimLoop",
    "current_life",
    "in_virtual_time",
    "run_virtual",
]
