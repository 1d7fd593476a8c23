"""
Says what is wrong with the order of the strategies in a pipeline.

Another order than the right one is allowed. It is never silent.
"""

import itertools
from collections.abc import Sequence
from typing import Final

from harness.resilience.strategy import Strategy, StrategyKind

_RANKS: Final = {
    StrategyKind.FALLBACK: 0,
    StrategyKind.RETRY: 1,
    StrategyKind.HEDGING: 1,
    StrategyKind.CIRCUIT_BREAKER: 2,
    StrategyKind.ADAPTIVE_LIMITER: 3,
    StrategyKind.BULKHEAD: 3,
    StrategyKind.RATE_LIMITER: 4,
}

_REASONS: Final = {
    StrategyKind.FALLBACK: "strategies outside of it never see what really happened",
    StrategyKind.RETRY: (
        "what is outside of it sees one outcome per call and not one per attempt: a "
        "threshold of 5 then means 5 exhausted calls"
    ),
    StrategyKind.HEDGING: (
        "what is outside of it takes one permit for several attempts"
    ),
    StrategyKind.CIRCUIT_BREAKER: (
        "an open circuit then takes permits for calls that are not made, and a refusal "
        "waits in a queue first"
    ),
    StrategyKind.ADAPTIVE_LIMITER: (
        "a call that waits for its turn at the rate limiter does not need a slot, but "
        "one that holds a turn and waits for a slot wastes it"
    ),
    StrategyKind.BULKHEAD: (
        "a turn at the rate limiter is used up while the call waits for a slot"
    ),
    StrategyKind.RATE_LIMITER: "it is the last permit before the call",
}


class PipelineOrderWarning(UserWarning):
    """
    The strategies of a pipeline stand in an order that does not do what it seems to.
    """


def lint_order(strategies: Sequence[Strategy]) -> list[str]:
    """
    Return a sentence for each strategy that stands inside one it belongs outside of.
    """
    complaints = []
    for outer, inner in itertools.pairwise(strategies):
        if _RANKS[inner.kind] < _RANKS[outer.kind]:
            complaints.append(
                f"{inner.kind} belongs outside of {outer.kind}: {_REASONS[inner.kind]}"
            )
        elif inner.kind is outer.kind:
            complaints.append(
                f"{inner.kind} stands twice: attempts or permits multiply"
            )
    return complaints
