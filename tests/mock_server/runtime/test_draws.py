"""
Chance and ids of the mock.
"""

import hashlib
from collections import Counter
from itertools import islice

from hypothesis import given
from hypothesis import strategies as st

from mock_server.draws import Draws, draw, mint, mint_hex

_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

KEYS = st.lists(st.one_of(st.text(), st.integers()), max_size=4)


@given(seed=st.integers(), keys=KEYS)
def test_a_draw_depends_on_its_keys_alone(seed: int, keys: list[str | int]) -> None:
    """
    The same seed and keys give the same number, between 0 and 1.
    """
    value = draw(seed, *keys)

    assert 0 <= value < 1
    assert value == Draws(seed).draw(*keys)


def test_keys_are_told_apart() -> None:
    """
    Keys that only read the same when joined are not the same keys.
    """
    assert draw(1, "ab", "c") != draw(1, "a", "bc")
    assert draw(1, "a") != draw(11, "a")


def test_draws_are_spread() -> None:
    """
    Draws fill the range evenly.
    """
    tenths = Counter(int(draw(7, "spread", number) * 10) for number in range(5000))

    assert set(tenths) == set(range(10))
    assert all(400 < count < 600 for count in tenths.values())


def test_mints_ids_of_the_asked_shape() -> None:
    """
    An id is its prefix and so many characters of its alphabet.
    """
    word = mint(1, "call_", "conversation", 2)
    digits = mint_hex(1, "req_", "conversation", 2)

    assert word.startswith("call_")
    assert len(word) == len("call_") + 24
    assert word.removeprefix("call_").isalnum()
    assert len(digits) == len("req_") + 32
    assert int(digits.removeprefix("req_"), 16)


def test_ids_do_not_repeat() -> None:
    """
    Other keys give another id.
    """
    ids = {mint(1, "call_", number) for number in range(2000)}

    assert len(ids) == 2000


def test_a_draw_is_the_same_for_ever() -> None:
    """
    The numbers of a seed are part of what a seed promises: they do not change.
    """
    assert draw(7, "fault", "upstream.faults.0", 3) == 0.8548821286406774
    assert mint(7, "call_", "a", 1) == "call_Ls6dKj0ofImbc8e9fbpbQ76A"


def test_ids_in_a_row_are_the_same_for_ever_and_do_not_repeat() -> None:
    """
    What counts up gives the same ids for the same seed and keys, each of them once.
    """
    minted = [*islice(Draws(7).numbered_hex("req_", "request"), 200)]

    assert minted == [*islice(Draws(7).numbered_hex("req_", "request"), 200)]
    assert minted[0] == "req_9c813fdd712b9094bc0d7707cfecec4a"
    assert minted[64] == "req_5580bac463c1d714ad3ed6e4ef01b563"
    assert len({*minted, *islice(Draws(7).numbered_hex("req_", "other"), 200)}) == 400
    assert not {*minted} & {*islice(Draws(8).numbered_hex("req_", "request"), 200)}
    assert {len(each) for each in minted} == {36}


def test_a_long_key_is_told_apart_as_a_short_one() -> None:
    """
    Keys have their length before them, however long they are.
    """
    draws = Draws(7)
    lengths = (255, 256, 257, 1000)

    for length in lengths:
        joined = f"1:72:id5:call_{length}:{'k' * length}".encode()
        digest = hashlib.sha512(joined).digest()

        minted = draws.mint("call_", "k" * length)

        assert [_ALPHABET.index(c) for c in minted.removeprefix("call_")] == [
            byte % 62 for byte in digest[:24]
        ]
