"""
Ids of things that are made: decided by the seed and by what is made.
"""

from mock_server.draws import Draws, Key
from mock_server.limits import Counts


class Mint:
    """
    Gives the nth thing that is made of the same parts the nth id of them.

    Args:
        draws: The seed.
        things_max: How many different things are told apart.
    """

    def __init__(self, draws: Draws, *, things_max: int) -> None:
        self._draws = draws
        self._counts: Counts[tuple[Key, ...]] = Counts(things_max)

    def mint(self, prefix: str, *parts: Key, length: int = 24) -> str:
        """
        Return an id that no thing before had.
        """
        number = self._counts.add((prefix, *parts))
        return self._draws.mint(prefix, *parts, number, length=length)
