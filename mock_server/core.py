"""
What all parts of one mock share.
"""

import asyncio
from dataclasses import dataclass, field
from pathlib import Path

from mock_server.chores import Chores
from mock_server.clock import Clock, LoopClock
from mock_server.draws import Draws
from mock_server.events import Events
from mock_server.injector import Injector
from mock_server.limits import Limits
from mock_server.metrics import Metrics
from mock_server.scenario_time import ScenarioTime
from mock_server.worlds import Worlds


@dataclass(frozen=True, slots=True, kw_only=True)
class Core:
    """
    The parts that have no surface of their own.
    """

    clock: Clock
    draws: Draws
    limits: Limits
    events: Events
    metrics: Metrics
    injector: Injector
    worlds: Worlds
    time: ScenarioTime
    chores: Chores
    speed: float = 1.0
    """How many times as fast as scripted the latencies are."""

    closing: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when the mock stops: whatever hangs then ends."""


def build_core(
    *,
    seed: int,
    clock: Clock | None = None,
    limits: Limits | None = None,
    event_log: Path | None = None,
    may_close: bool = False,
    speed: float = 1.0,
) -> Core:
    """
    Return the parts of a mock, put together.
    """
    clock = clock or LoopClock()
    limits = limits or Limits()
    draws = Draws(seed)
    events = Events(clock=clock, limits=limits, log_file=event_log)
    return Core(
        clock=clock,
        draws=draws,
        limits=limits,
        events=events,
        metrics=Metrics(),
        injector=Injector(draws=draws, limits=limits, may_close=may_close),
        worlds=Worlds(limits),
        time=ScenarioTime(clock=clock, events=events),
        chores=Chores(clock, chores_max=limits.chores_max),
        speed=speed,
    )
