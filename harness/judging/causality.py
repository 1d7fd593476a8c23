"""
What must have come before what, whatever the clocks and queues in between did.

The mock sees a request when it arrives and an answer when it leaves. When the service
admitted the one and noticed the other can only be bounded: by what must have happened
before, and by what cannot have happened without it. Rules that use these bounds never
blame a service for being slow.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto
from http import HTTPStatus
from typing import Final

from harness.judging.entities import Attempt
from harness.judging.timeline import Timeline

NEVER_US: Final = 2**62
"""Later than anything: nothing shows that it was noticed."""

_NEUTRAL_SERVER_ERRORS: Final = frozenset({501, 505, 529})
_CALL_TIMED_OUT: Final = 504
_FIRST_CLIENT_ERROR: Final = 400
_FIRST_SERVER_ERROR: Final = 500


class Health(Enum):
    """
    What an attempt told the service about the model API's health.
    """

    SUCCESS = auto()
    FAILURE = auto()
    NEUTRAL = auto()
    """Certainly neither: a client's error, a rate limit, a call that was given up."""

    UNKNOWN = auto()
    """It may have been taken for any."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """
    The bounds of an attempt inside the service.
    """

    attempt: Attempt
    health: Health
    admitted_after_us: int | None
    """The service cannot have decided on it earlier; None if nothing bounds it."""

    noticed_by_us: int
    """The service had noticed its outcome by then."""


def spans_of(
    timeline: Timeline, *, attempt_timeout_s: float | None = None
) -> tuple[Span, ...]:
    """
    Return the bounds of every attempt, in the order of receipt.

    Args:
        timeline: The run.
        attempt_timeout_s: What the service promises; an attempt that it gave up after
            that time has failed, one that it gave up earlier tells nothing.
    """
    noticed = _noticed_by_request(timeline)
    return tuple(
        Span(
            attempt=attempt,
            health=health_of(timeline, attempt, attempt_timeout_s=attempt_timeout_s),
            admitted_after_us=admitted_after_us(attempt),
            noticed_by_us=_noticed_by_us(attempt, noticed),
        )
        for attempt in timeline.attempts
    )


def health_of(
    timeline: Timeline, attempt: Attempt, *, attempt_timeout_s: float | None
) -> Health:
    """
    Return what an attempt told about the model API.
    """
    status = attempt.status
    if attempt.ended is None:
        return Health.NEUTRAL
    if status is None:
        if attempt.outcome in {"reset", "closed", "cut"}:
            return Health.FAILURE
        return _health_of_silence(timeline, attempt, attempt_timeout_s)
    if status < _FIRST_CLIENT_ERROR:
        return Health.SUCCESS if attempt.is_whole else Health.UNKNOWN
    if attempt.outcome == "abandoned" or status in _NEUTRAL_SERVER_ERRORS:
        return Health.NEUTRAL
    is_failure = status >= _FIRST_SERVER_ERROR or status == HTTPStatus.REQUEST_TIMEOUT
    return Health.FAILURE if is_failure else Health.NEUTRAL


def _health_of_silence(
    timeline: Timeline, attempt: Attempt, attempt_timeout_s: float | None
) -> Health:
    """
    Judge an attempt to which nothing was answered, until somebody gave up.
    """
    if attempt_timeout_s is None or attempt.ended_us is None:
        return Health.NEUTRAL
    lasted_us = attempt.ended_us - attempt.received_us
    has_caller = attempt.call is not None and (
        attempt.call.ended_us is None or attempt.call.ended_us > attempt.ended_us
    )
    is_long = lasted_us >= timeline.slack.at_least_us(attempt_timeout_s)
    return Health.FAILURE if is_long and has_caller else Health.NEUTRAL


def admitted_after_us(attempt: Attempt) -> int | None:
    """
    Return a time before which the service cannot have decided on this attempt.

    It follows the caller's request, the answers that its transcript holds, the tools
    that it reports on, and the attempts that it repeats.
    """
    call = attempt.call
    if call is None or call.started_us is None or attempt.is_ambiguous:
        return None
    bound_us = call.started_us
    results = {
        str(result.get("tool_call_id"))
        for result in attempt.received.get("tool_results") or ()
    }
    for other in call.attempts:
        ended_us = other.ended_us
        if ended_us is None or ended_us > attempt.received_us or other is attempt:
            continue
        is_earlier_turn = other.turn < attempt.turn and other.is_whole
        is_repeated = (
            other.operation == attempt.operation
            and other.attempt_number < attempt.attempt_number
        )
        if is_earlier_turn or is_repeated:
            bound_us = max(bound_us, ended_us)
    for execution in call.executions:
        is_before = execution.time_us <= attempt.received_us
        if is_before and execution.tool_call_id in results:
            bound_us = max(bound_us, execution.time_us)
    return bound_us


def _noticed_by_request(timeline: Timeline) -> Mapping[str, int]:
    """
    Return when the service itself said that an attempt had ended.
    """
    return {
        str(record["request_id"]): int(record["time_us"])
        for record in timeline.of("attempt_ended")
        if record.get("request_id")
    }


def _noticed_by_us(attempt: Attempt, noticed: Mapping[str, int]) -> int:
    if attempt.request_id in noticed:
        return noticed[attempt.request_id]
    ended_us, call = attempt.ended_us, attempt.call
    if ended_us is None or call is None:
        return NEVER_US
    times = [
        other.received_us
        for other in call.attempts
        if other.received_us > ended_us and other.turn >= attempt.turn
    ]
    times += [each.time_us for each in call.executions if each.time_us > ended_us]
    times += [
        each.time_us
        for each in call.deliveries
        if each.time_us > ended_us and each.event_type.startswith("chat.")
    ]
    ending = call.ending
    if ending is not None and int(ending["time_us"]) > ended_us:
        # A caller who was told 504, or nothing, may have been told so by a clock.
        status = ending.get("status")
        if status is not None and status != _CALL_TIMED_OUT:
            times.append(int(ending["time_us"]))
    return min(times, default=NEVER_US)
