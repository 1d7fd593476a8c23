"""
Virtual time: an event loop whose clock jumps, and everything on it in memory.

The loop, its network and its hosts come with the package. What runs whole scenarios
needs the bench and the mock, and is loaded when it is asked for: tests that only want
a loop whose clock jumps do not pay for them.
"""

import importlib
from typing import TYPE_CHECKING, Any, Final

from harness.simulation.hosts import Ending, Host
from harness.simulation.jumping import START_S, STEPS_MAX
from harness.simulation.life import Life, current_life
from harness.simulation.links import Link, LinkOptions, Passage
from harness.simulation.loop import WALL_EPOCH_S, SimLoop
from harness.simulation.network import CONNECT_TIMEOUT_S, Network
from harness.simulation.running import in_virtual_time, run_virtual
from harness.simulation.wire import Kind, Segment

if TYPE_CHECKING:
    from harness.simulation.explore import (
        Exploration,
        ExploreOptions,
        Flaw,
        SeedOutcome,
        explore_in_foreground,
        explore_seeds,
        parse_seeds,
    )
    from harness.simulation.runs import (
        check_virtual,
        crashes_of_seed,
        run_scenario,
        run_virtually_in_foreground,
    )
    from harness.simulation.world import Crash, VirtualWorld, VirtualWorldOptions

__all__ = [
    "CONNECT_TIMEOUT_S",
    "START_S",
    "STEPS_MAX",
    "WALL_EPOCH_S",
    "Crash",
    "Ending",
    "Exploration",
    "ExploreOptions",
    "Flaw",
    "Host",
    "Kind",
    "Life",
    "Link",
    "LinkOptions",
    "Network",
    "Passage",
    "SeedOutcome",
    "Segment",
    "SimLoop",
    "VirtualWorld",
    "VirtualWorldOptions",
    "check_virtual",
    "crashes_of_seed",
    "current_life",
    "explore_in_foreground",
    "explore_seeds",
    "in_virtual_time",
    "parse_seeds",
    "run_scenario",
    "run_virtual",
    "run_virtually_in_foreground",
]

_LOADED_LATER: Final = {
    "explore": (
        "Exploration",
        "ExploreOptions",
        "Flaw",
        "SeedOutcome",
        "explore_seeds",
        "explore_in_foreground",
        "parse_seeds",
    ),
    "runs": (
        "check_virtual",
        "crashes_of_seed",
        "run_scenario",
        "run_virtually_in_foreground",
    ),
    "world": ("Crash", "VirtualWorld", "VirtualWorldOptions"),
}
"""Names by the module that has them."""


def __getattr__(name: str) -> Any:
    """
    Load what runs scenarios, once somebody asks for it.
    """
    for module, names in _LOADED_LATER.items():
        if name in names:
            return getattr(importlib.import_module(f"{__name__}.{module}"), name)
    message = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(message)
