"""
Chance that does not depend on the order of arrival.

A draw is a function of the seed and its keys alone: who asks first, and how many ask
at once, changes nothing. Ids are minted the same way, so that the same seed gives
the same ids to the same conversation.
"""

import hashlib
from collections.abc import Iterator
from itertools import count

_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_DRAW_BITS = 53
_HEX_LENGTH = 32
_MADE_AHEAD = 64
_NUMBERS_KNOWN = 256
_NUMBERS = tuple(f"{len(str(n))}:{n}" for n in range(_NUMBERS_KNOWN))
_TO_ALPHABET = bytes(ord(_ALPHABET[byte % len(_ALPHABET)]) for byte in range(256))

Key = str | int


def draw(seed: int, *keys: Key) -> float:
    """
    Return a number in [0, 1) that depends on the seed and the keys alone.
    """
    return (_digest(seed, "draw", *keys) >> (256 - _DRAW_BITS)) / (1 << _DRAW_BITS)


def mint(seed: int, prefix: str, *keys: Key, length: int = 24) -> str:
    """
    Return ``prefix`` and ``length`` characters of base 62 that the keys decide.

    Args:
        seed: The seed of the mock.
        prefix: What the id starts with, separator included, like ``call_``.
        keys: What the id names; other keys give another id.
        length: At most 64: a digest has no more bytes.
    """
    return _minted(prefix, _joined(seed, "id", prefix, *keys), length)


def mint_hex(seed: int, prefix: str, *keys: Key, length: int = 32) -> str:
    """
    Return ``prefix`` and ``length`` hex digits (at most 64) that the keys decide.
    """
    return (
        prefix
        + hashlib.sha256(_joined(seed, "hex", prefix, *keys)).hexdigest()[:length]
    )


class Draws:
    """
    The draws of one seed.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self._starts: dict[str, str] = {}
        """How the text begins that an id is made of, by the id's prefix."""

    def draw(self, *keys: Key) -> float:
        """
        Return a number in [0, 1) that depends on the seed and the keys alone.
        """
        return draw(self.seed, *keys)

    def mint(self, prefix: str, *keys: Key, length: int = 24) -> str:
        """
        Return an id in base 62 that the keys decide.
        """
        joined = self._start_of(prefix) + _joined_text(keys)
        return _minted(prefix, joined.encode("utf-8", "replace"), length)

    def mint_for(self, prefix: str, data: bytes, key: str, *, length: int = 24) -> str:
        """
        Return an id in base 62 that a key and these bytes decide.

        They are digested together, by the digest that processors know how to do.

        Args:
            prefix: What the id starts with.
            data: What the id names, at any length.
            key: What tells equal data apart.
            length: At most 32.
        """
        start = f"{self._start_of(prefix)}{len(key)}:{key}".encode("utf-8", "replace")
        digest = hashlib.sha256(start + data).digest()
        return prefix + digest[:length].translate(_TO_ALPHABET).decode()

    def numbered_hex(self, prefix: str, *keys: Key) -> Iterator[str]:
        """
        Yield one id in 32 hex digits after the other, which the keys decide.

        Many are cut from one digest: each by itself takes many times as long.
        """
        for block in count():
            joined = _joined(self.seed, "hex", prefix, *keys, block)
            digits = hashlib.shake_128(joined).hexdigest(_MADE_AHEAD * _HEX_LENGTH // 2)
            yield from [
                prefix + digits[start : start + _HEX_LENGTH]
                for start in range(0, len(digits), _HEX_LENGTH)
            ]

    def mint_hex(self, prefix: str, *keys: Key, length: int = 32) -> str:
        """
        Return an id in hex digits that the keys decide.
        """
        return mint_hex(self.seed, prefix, *keys, length=length)

    def _start_of(self, prefix: str) -> str:
        start = self._starts.get(prefix)
        if start is None:
            start = self._starts[prefix] = _joined_text((self.seed, "id", prefix))
        return start


def _digest(seed: int, *keys: Key) -> int:
    return int.from_bytes(hashlib.sha256(_joined(seed, *keys)).digest())


def _minted(prefix: str, joined: bytes, length: int) -> str:
    digest = hashlib.sha512(joined).digest()
    return prefix + digest[:length].translate(_TO_ALPHABET).decode()


def _joined(*keys: Key) -> bytes:
    return _joined_text(keys).encode("utf-8", "replace")


def _joined_text(keys: tuple[Key, ...]) -> str:
    # The length before each key keeps ("ab", "c") and ("a", "bc") apart.
    return "".join(
        [f"{len(key)}:{key}" if type(key) is str else _part_of(key) for key in keys]
    )


def _part_of(key: Key) -> str:
    if type(key) is int and 0 <= key < _NUMBERS_KNOWN:
        return _NUMBERS[key]
    part = str(key)
    return f"{len(part)}:{part}"
