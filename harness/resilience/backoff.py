"""
How long to wait before a retry: pure functions of the retry's number and a draw.

The cap applies to the envelope *before* the jitter is drawn. A cap on the result
would give every late retry the same delay, and callers that failed together would
come back together.
"""

import random
from typing import assert_never

from harness.resilience.options import BackoffOptions, Jitter

_DECORRELATED_GROWTH = 3.0


def envelope_s(options: BackoffOptions, retry_number: int) -> float:
    """
    Return the delay before any jitter.

    Args:
        options: The backoff.
        retry_number: Counts the retries of the call from 1.
    """
    try:
        grown_s = options.base_s * options.multiplier ** (retry_number - 1)
    except OverflowError:
        return options.max_s
    return min(options.max_s, grown_s)


def delay_s(
    options: BackoffOptions,
    retry_number: int,
    *,
    draws: random.Random,
    previous_s: float | None = None,
) -> float:
    """
    Return how long to wait before a retry.

    Args:
        options: The backoff.
        retry_number: Counts the retries of the call from 1.
        draws: Where the jitter comes from.
        previous_s: The delay before the last retry of this very call, if there was
            one; only decorrelated jitter looks at it.
    """
    envelope = envelope_s(options, retry_number)
    match options.jitter:
        case Jitter.NONE:
            return envelope
        case Jitter.FULL:
            return draws.uniform(0, envelope)
        case Jitter.EQUAL:
            return envelope / 2 + draws.uniform(0, envelope / 2)
        case Jitter.PROPORTIONAL:
            share = options.jitter_share
            return envelope * draws.uniform(1 - share, 1 + share)
        case Jitter.DECORRELATED:
            before_s = options.base_s if previous_s is None else previous_s
            top_s = min(options.max_s, _DECORRELATED_GROWTH * before_s)
            return draws.uniform(options.base_s, max(options.base_s, top_s))
        case _:
            assert_never(options.jitter)
