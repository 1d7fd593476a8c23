"""
Tools for tests: virtual time, recorders and fakes.
"""

from harness.simulation import (
    WALL_EPOCH_S,
    Link,
    LinkOptions,
    Network,
    Passage,
    SimLoop,
)
from harness.testing.recorder import Recorder

__all__ = [
    "WALL_EPOCH_S",
    "Link",
    "LinkOptions",
    "Network",
    "Passage",
    "Recorder",
    "SimLoop",
]
