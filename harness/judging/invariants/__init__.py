"""
What holds in every run, named or not.

Each invariant is a pure function over the timeline; the numbers are those by which
they are spoken of. What can be seen from the mock's side is judged for any service,
what only the service can say is judged where it speaks.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

from harness.judging.invariants.amplification import amplification_is_bounded
from harness.judging.invariants.calls import (
    arrivals_end_once,
    success_needs_an_answer,
    truncated_is_no_success,
)
from harness.judging.invariants.circuit_causes import (
    circuits_open_for_cause,
    stale_outcomes_change_nothing,
)
from harness.judging.invariants.circuits import (
    nothing_starts_while_open,
    open_lasts,
    probes_within_bounds,
    transitions_are_legal,
)
from harness.judging.invariants.drains import all_drains
from harness.judging.invariants.endpoints import dead_endpoints_delay_no_others
from harness.judging.invariants.gaps import gaps_fit_the_backoff
from harness.judging.invariants.refusals import refusals_are_immediate
from harness.judging.invariants.restarts import acknowledged_work_stays
from harness.judging.invariants.tools import (
    every_tool_call_is_answered,
    one_effect_per_tool_call,
)
from harness.judging.invariants.upstream import (
    attempts_are_bounded,
    one_key_per_operation,
    permanent_is_not_retried,
    rate_is_kept,
    retry_after_is_kept,
)
from harness.judging.invariants.webhooks import (
    deliveries_end,
    messages_keep_their_identity,
    no_message_is_lost,
)
from harness.judging.ruling import Ruling
from harness.judging.timeline import Timeline
from harness.scenario import Promise

Invariant = Callable[[Timeline, Promise], Ruling]

INVARIANTS: Final[Mapping[int, Invariant]] = MappingProxyType(
    {
        1: arrivals_end_once,
        2: success_needs_an_answer,
        3: truncated_is_no_success,
        4: attempts_are_bounded,
        5: permanent_is_not_retried,
        6: retry_after_is_kept,
        7: gaps_fit_the_backoff,
        8: amplification_is_bounded,
        9: one_key_per_operation,
        10: one_effect_per_tool_call,
        11: every_tool_call_is_answered,
        12: transitions_are_legal,
        13: nothing_starts_while_open,
        14: circuits_open_for_cause,
        15: open_lasts,
        16: probes_within_bounds,
        17: stale_outcomes_change_nothing,
        18: refusals_are_immediate,
        19: rate_is_kept,
        20: no_message_is_lost,
        21: messages_keep_their_identity,
        22: deliveries_end,
        23: dead_endpoints_delay_no_others,
        24: acknowledged_work_stays,
        25: all_drains,
    }
)
"""The invariants that are judged, by number."""


def judge_invariants(timeline: Timeline, promise: Promise) -> tuple[Ruling, ...]:
    """
    Return what became of every invariant.
    """
    return tuple(invariant(timeline, promise) for invariant in INVARIANTS.values())


__all__ = ["INVARIANTS", "Invariant", "judge_invariants"]
