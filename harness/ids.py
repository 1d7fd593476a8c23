"""
The one door to identity.

Ids are a prefix and 22 characters of base 62 (130 bits). They come from the
operating system's randomness in production and from a seeded stream in the bench
and in simulation.
"""

import random
import secrets
from typing import NewType

MessageId = NewType("MessageId", str)
"""A webhook message, ``msg_…``: the same over all its attempts."""

DeliveryId = NewType("DeliveryId", str)
"""A message on its way to one endpoint, ``dlv_…``."""

ToolCallId = NewType("ToolCallId", str)
"""A tool call as the model named it; the idempotency key of its execution."""

CallbackId = NewType("CallbackId", str)
"""An asynchronous chat, ``cb_…``."""

SessionId = NewType("SessionId", str)
"""A conversation of one user over several chats, ``ses_…``."""

TraceId = NewType("TraceId", str)
"""32 hex digits, as in ``traceparent``."""

_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_PAIRS = [first + second for first in _ALPHABET for second in _ALPHABET]
_PAIRS_IN_ID = 11
_BITS = 160
"""More than 22 characters hold, so that none of their values is favoured to speak of."""


class IdMint:
    """
    Mints ids.

    Args:
        source: A seeded stream for ids that repeat with the seed; None for the
            operating system's randomness.
    """

    def __init__(self, source: random.Random | None = None) -> None:
        self._source = source or secrets.SystemRandom()

    def mint(self, prefix: str) -> str:
        """
        Return ``prefix``, an underscore, and 22 characters of base 62.
        """
        # One number, for each draw from the operating system is a call of its own.
        number = self._source.getrandbits(_BITS)
        pairs = []
        for _ in range(_PAIRS_IN_ID):
            number, pair = divmod(number, len(_PAIRS))
            pairs.append(_PAIRS[pair])
        return f"{prefix}_{''.join(pairs)}"

    def trace_id(self) -> TraceId:
        """
        Return 32 hex digits, not all zero, as ``traceparent`` asks for.
        """
        return TraceId(f"{self._source.getrandbits(128) or 1:032x}")

    def span_id(self) -> str:
        """
        Return 16 hex digits, not all zero, as ``traceparent`` asks for.
        """
        return f"{self._source.getrandbits(64) or 1:016x}"
