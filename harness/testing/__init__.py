"""
Tools for tests: virtual time, recorders and fakes.

pytest finds the fixtures and the marker ``virtual_time`` by itself once the package
is installed; what is here is for code that needs the types, or no pytest at all.
"""

from harness.simulation import (
    WALL_EPOCH_S,
    Ending,
    Host,
    Kind,
    Link,
    LinkOptions,
    Network,
    Passage,
    Segment,
    SimLoop,
    in_virtual_time,
    run_virtual,
)
from harness.testing.recorder import Recorder

__all__ = [
    "WALL_EPOCH_S",
    "Ending",
    "Host",
    "Kind",
    "Link",
    "LinkOptions",
    "Network",
    "Passage",
    "Recorder",
    "Segment",
    "SimLoop",
    "in_virtual_time",
    "run_virtual",
]
