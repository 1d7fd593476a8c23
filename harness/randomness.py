"""
The one door to chance.

A seed has named streams, so that a draw added in one place moves nothing in
another, and :meth:`Randomness.draw`, whose value depends on its keys alone, so that
the order in which things happen changes nothing either.
"""

import hashlib
import random
import secrets

_DRAW_BITS = 53


class Randomness:
    """
    Chance from a seed.

    Args:
        seed: None takes one from the operating system; it is kept in :attr:`seed`,
            so that it can be printed and given again.
    """

    def __init__(self, seed: int | None = None) -> None:
        self.seed = secrets.randbits(32) if seed is None else seed
        self._streams: dict[str, random.Random] = {}

    def stream(self, name: str) -> random.Random:
        """
        Return the stream of that name, the same object each time.
        """
        if name not in self._streams:
            self._streams[name] = self.fresh_stream(name)
        return self._streams[name]

    def fresh_stream(self, *keys: str | int) -> random.Random:
        """
        Return a stream that is not kept, for what comes and goes in numbers.

        It begins anew each time, and depends on the seed and the keys alone.
        """
        return random.Random(self._digest("stream", *keys))  # noqa: S311

    def draw(self, *keys: str | int) -> float:
        """
        Return a number in [0, 1) that depends on the seed and the keys alone.
        """
        return (self._digest("draw", *keys) >> (256 - _DRAW_BITS)) / (1 << _DRAW_BITS)

    def _digest(self, *keys: str | int) -> int:
        text = "\x1f".join([str(self.seed), *(str(key) for key in keys)])
        return int.from_bytes(hashlib.sha256(text.encode()).digest())
