"""
Ids of things that are made: decided by the seed and by what is made.
"""

from collections.abc import Callable

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

    def mint(
        self,
        prefix: str,
        *parts: Key,
        length: int = 24,
        is_taken: Callable[[str], bool] = lambda _: False,
    ) -> str:
        """
        Return an id that nothing else has.

        Args:
            prefix: What the id starts with.
            parts: What the thing is made of.
            length: Of what follows the prefix.
            is_taken: Says that a thing has this id whose count was forgotten.
        """
        while True:
            number = self._counts.add((prefix, *parts))
            minted = self._draws.mint(prefix, *parts, number, length=length)
            if not is_taken(minted):
                return minted
