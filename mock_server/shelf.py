"""
What the API keeps for its users, bounded.
"""

from typing import Generic, TypeVar

T = TypeVar("T")


class Shelf(Generic[T]):
    """
    Things of all worlds by their id; the oldest make room, and that is counted.

    Args:
        things_max: How many there are at most.
        bytes_max: What they may weigh together, if they are weighed.
    """

    def __init__(self, things_max: int, *, bytes_max: int | None = None) -> None:
        self._things_max = things_max
        self._bytes_max = bytes_max
        self._things: dict[tuple[str, str], tuple[T, int]] = {}
        self.kept_bytes = 0
        self.dropped = 0

    def __len__(self) -> int:
        return len(self._things)

    def put(
        self, world: str, thing_id: str, thing: T, *, weight_bytes: int = 0
    ) -> None:
        """
        Keep a thing; one with the same id keeps its place in the order.
        """
        key = (world, thing_id)
        if key in self._things:
            self.kept_bytes -= self._things[key][1]
        self._things[key] = (thing, weight_bytes)
        self.kept_bytes += weight_bytes
        while self._is_full() and len(self._things) > 1:
            oldest = next(iter(self._things))
            self.kept_bytes -= self._things.pop(oldest)[1]
            self.dropped += 1

    def get(self, world: str, thing_id: str) -> T | None:
        """
        Return a thing, if it is there.
        """
        found = self._things.get((world, thing_id))
        return None if found is None else found[0]

    def pop(self, world: str, thing_id: str) -> T | None:
        """
        Return a thing that is kept no longer.
        """
        found = self._things.pop((world, thing_id), None)
        if found is None:
            return None
        self.kept_bytes -= found[1]
        return found[0]

    def of(self, world: str) -> list[T]:
        """
        Return the things of a world, the oldest first.
        """
        return [
            thing for (name, _), (thing, _) in self._things.items() if name == world
        ]

    def _is_full(self) -> bool:
        if len(self._things) > self._things_max:
            return True
        return self._bytes_max is not None and self.kept_bytes > self._bytes_max
