"""
One world per API key, so that parallel tests share one mock.
"""

import hashlib
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any, TypeVar, cast

from mock_server.journal import Journal, JournalBudget
from mock_server.limits import BoundedDict, Limits

T = TypeVar("T")
_NAME_DIGITS = 12


@lru_cache(maxsize=1024)
def world_name(api_key: str | None) -> str:
    """
    Return the first 12 hex digits of the key's SHA-256.
    """
    # A header may hold bytes that are no text.
    key = (api_key or "").encode("utf-8", "surrogateescape")
    return hashlib.sha256(key).hexdigest()[:_NAME_DIGITS]


class World:
    """
    What is kept for one API key.
    """

    def __init__(self, name: str, budget: JournalBudget) -> None:
        self.name = name
        """The first 12 hex digits of the key's SHA-256."""

        self.journal = Journal(budget, name)
        self._memory: dict[type[Any], Any] = {}

    def recall(self, kind: type[T], make: Callable[[], T]) -> T:
        """
        Return this world's object of that kind, made the first time it is asked for.
        """
        if kind not in self._memory:
            self._memory[kind] = make()
        return cast("T", self._memory[kind])

    def known(self, kind: type[T]) -> T | None:
        """
        Return this world's object of that kind, if it was ever asked for.
        """
        return cast("T | None", self._memory.get(kind))

    def forget(self) -> None:
        """
        Begin anew, the journal kept.
        """
        self._memory.clear()


class Worlds:
    """
    All worlds, bounded.
    """

    def __init__(self, limits: Limits | None = None) -> None:
        limits = limits or Limits()
        self.budget = JournalBudget(limits)
        self._worlds: BoundedDict[str, World] = BoundedDict(
            limits.worlds_max, on_drop=lambda world: world.journal.clear()
        )
        self._of_trace: BoundedDict[str, str] = BoundedDict(limits.traces_max)
        self._latest: World | None = None
        """The one used last, which is the first to be asked for again."""

    def __len__(self) -> int:
        return len(self._worlds)

    def __iter__(self) -> Iterator[World]:
        return iter(list(self._worlds.values()))

    @property
    def dropped(self) -> int:
        """
        Worlds that were forgotten for want of room.
        """
        return self._worlds.dropped

    @property
    def traces(self) -> int:
        """
        Traces whose world is remembered.
        """
        return len(self._of_trace)

    @property
    def traces_dropped(self) -> int:
        """
        Traces that were forgotten for want of room.
        """
        return self._of_trace.dropped

    def get(self, name: str) -> World | None:
        """
        Return the world of that name, if there is one.
        """
        self._latest = None
        return self._worlds.get(name)

    def of_key(self, api_key: str, trace_id: str | None = None) -> World:
        """
        Return the world of an API key, and let the trace belong to it.
        """
        name = world_name(api_key)
        if trace_id is not None:
            self._of_trace.put(trace_id, name)
        return self._open(name)

    def of_trace(self, trace_id: str | None) -> World:
        """
        Return the world that a request without a key belongs to.

        That is the one in which its trace was first seen, else the one of the empty
        key.
        """
        known = self._of_trace.get(trace_id) if trace_id else None
        return self._open(known or world_name(None))

    def forget(self) -> None:
        """
        Begin anew.
        """
        for world in self:
            world.journal.clear()
        self._worlds.clear()
        self._latest = None
        self._of_trace.clear()

    def _open(self, name: str) -> World:
        latest = self._latest
        if latest is not None and latest.name == name:
            return latest
        world = self._worlds.get(name)
        if world is None:
            world = World(name, self.budget)
            self._worlds.put(name, world)
        self._latest = world
        return world
