"""
Retries wait as declared, and not all alike.

A service that speaks is judged by the delays it plans, another one by the gaps that
the mock sees: these hold waits for permits too, and lack what a breaker refused.
"""

import math
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, Final

from harness.judging.causality import Health, health_of
from harness.judging.circuits import circuits_of
from harness.judging.invariants.upstream import followed, operations_of
from harness.judging.ruling import Finding, Ruling, finding, rule, skipped
from harness.judging.timeline import Timeline
from harness.scenario import Promise, UpstreamPromise

ERROR_PROBABILITY: Final = 1e-6
"""So seldom a service whose delays are spread is blamed for delays that are alike."""

_WINDOW_SHARE: Final = 0.05
_DENSEST: Final = 0.25
"""
A twentieth of the envelope holds at most so many of the delays of any usual jitter:
full 0.05, equal 0.1, a fifth either way 0.125, a quarter downwards 0.2.
"""

_GROWTH_MAX: Final = 3.0
"""Decorrelated jitter may triple a delay; all others at most double it."""

_MANY: Final = 12
"""Fewer delays than these show nothing."""

_ASKED_EXTRA_S: Final = 1.0
_ASKED_EXTRA_SHARE: Final = 0.25


@dataclass(frozen=True, slots=True, kw_only=True)
class _Delay:
    """
    A wait before a retry.
    """

    retry_number: int
    delay_s: float
    events: tuple[int | None, ...]
    is_whole: bool = True
    """Whether it was seen whatever its length: only then it tells of the spread."""


def gaps_fit_the_backoff(timeline: Timeline, promise: Promise) -> Ruling:
    """
    7: gaps lie inside the declared backoff, and over many calls they are spread.
    """
    name = "7 gaps fit the backoff"
    upstream = promise.upstream
    if upstream is None or upstream.backoff_base is None:
        return skipped(name, "no backoff is promised")
    broken: list[Finding] = []
    if timeline.of("attempt_started"):
        planned = list(_backoffs(timeline, promise))
        broken += _beyond_envelope(planned, upstream)
        broken += _cut_short(timeline)
    else:
        planned = list(_gaps(timeline, promise))
        broken += _mostly_beyond_envelope(timeline, planned, promise)
    broken += _alike(planned, upstream)
    figures: dict[str, Any] = {"delays": len(planned)}
    if len(planned) < _MANY:
        figures["spread"] = f"unknown below {_MANY} delays"
    figures["error_probability"] = ERROR_PROBABILITY
    return rule(
        name,
        judged=len(planned),
        broken=broken,
        figures=figures,
        nothing="no retry waited for its backoff",
    )


def _backoffs(timeline: Timeline, promise: Promise) -> Iterator[_Delay]:
    """
    Yield the delays that the service planned by its own rule.
    """
    by_trace = {call.trace_id: call for call in timeline.calls}
    total_s = promise.upstream.total_timeout if promise.upstream else None
    open_us = [
        (span.from_us, span.to_us)
        for circuit in circuits_of(timeline).values()
        for span in circuit.of("open")
    ]
    for record in timeline.of("retry_scheduled"):
        time_us = int(record["time_us"])
        is_blocked = any(
            from_us <= time_us and (to_us is None or time_us < to_us)
            for from_us, to_us in open_us
        )
        if record.get("asked_s") is not None or is_blocked:
            continue
        call = by_trace.get(record.get("trace_id"))
        number = int(record["attempt_number"])
        ends_us = None
        if call is not None and call.started_us is not None and total_s is not None:
            ends_us = call.started_us + total_s * 1e6
        longest_us = _envelope_s(promise.upstream, number, _GROWTH_MAX) * 1e6
        yield _Delay(
            retry_number=number,
            delay_s=float(record["delay_s"]),
            events=(int(record["seq"]),),
            is_whole=ends_us is None or time_us + longest_us < ends_us,
        )


def _gaps(timeline: Timeline, promise: Promise) -> Iterator[_Delay]:
    """
    Yield the gaps that the mock saw after failures that asked for no wait.
    """
    upstream = promise.upstream
    timeout_s = upstream.attempt_timeout if upstream else None
    failures_us = sorted(
        attempt.ended_us
        for attempt in timeline.attempts
        if attempt.ended_us is not None
        and health_of(timeline, attempt, attempt_timeout_s=timeout_s) is Health.FAILURE
    )
    numbers = {
        attempt.request_id: number
        for attempts in operations_of(timeline).values()
        for number, attempt in enumerate(attempts, start=1)
    }
    for attempt, following in followed(timeline):
        ended_us = attempt.ended_us
        if following is None or ended_us is None:
            continue
        if (attempt.ended or {}).get("retry_after_s") is not None:
            continue
        number = numbers[attempt.request_id]
        around_us = int(_envelope_s(upstream, number, _GROWTH_MAX) * 1e6)
        nearby = bisect_left(failures_us, ended_us + around_us) - bisect_left(
            failures_us, ended_us - around_us
        )
        # Where a circuit may open meanwhile, only short gaps are ever seen.
        has_room = promise.breaker is None or nearby < promise.breaker.failure_threshold
        yield _Delay(
            retry_number=number,
            delay_s=(following.received_us - ended_us) / 1e6,
            events=(following.seq, attempt.ended_seq),
            is_whole=has_room,
        )


def _beyond_envelope(
    delays: Sequence[_Delay], upstream: UpstreamPromise
) -> Iterator[Finding]:
    for each in delays:
        longest_s = _envelope_s(upstream, each.retry_number, _GROWTH_MAX)
        if each.delay_s > longest_s + 1e-6:
            message = (
                f"retry {each.retry_number} waits {each.delay_s:.3f} s; the declared "
                f"backoff allows {longest_s:g} s"
            )
            yield finding(message, each.events)


def _mostly_beyond_envelope(
    timeline: Timeline, delays: Sequence[_Delay], promise: Promise
) -> Iterator[Finding]:
    """
    Yield the longest gap if most are too long, and no limiter can be the cause.
    """
    upstream = promise.upstream
    if promise.rate_limit is not None or upstream is None or len(delays) < _MANY:
        return
    too_long = [
        each
        for each in delays
        if each.delay_s * 1e6
        > timeline.slack.at_most_us(
            _envelope_s(upstream, each.retry_number, _GROWTH_MAX)
        )
    ]
    if len(too_long) > len(delays) / 2:
        message = f"{len(too_long)} of {len(delays)} gaps exceed the declared backoff"
        yield finding(message, too_long[0].events)


def _cut_short(timeline: Timeline) -> Iterator[Finding]:
    """
    Yield the attempts that came before the delay which the service had planned.
    """
    planned: dict[tuple[Any, Any], Mapping[str, Any]] = {}
    records = [*timeline.of("retry_scheduled"), *timeline.of("attempt_started")]
    for record in sorted(records, key=lambda each: int(each["seq"])):
        key = (record.get("trace_id"), record.get("operation"))
        if record["kind"] == "retry_scheduled":
            planned[key] = record
            continue
        plan = planned.pop(key, None)
        if plan is None or record.get("trace_id") is None:
            continue
        planned_us, started_us = int(plan["time_us"]), int(record["time_us"])
        waited_us = started_us - planned_us
        if timeline.is_interrupted(planned_us, started_us):
            continue
        if waited_us < timeline.slack.at_least_us(float(plan["delay_s"])):
            message = (
                f"a retry was planned in {float(plan['delay_s']):.3f} s and made after "
                f"{waited_us / 1e6:.3f} s"
            )
            yield finding(message, [int(record["seq"]), int(plan["seq"])])


def _alike(delays: Sequence[_Delay], upstream: UpstreamPromise) -> Iterator[Finding]:
    """
    Yield, for each retry, the delays that are too many too close together.
    """
    by_number: dict[int, list[_Delay]] = defaultdict(list)
    for each in delays:
        if each.is_whole:
            by_number[each.retry_number].append(each)
    for number, group in sorted(by_number.items()):
        width_s = _WINDOW_SHARE * _envelope_s(upstream, number, 2.0)
        group.sort(key=lambda each: each.delay_s)
        ends_s = [each.delay_s for each in group]
        crowds = [
            (bisect_left(ends_s, each.delay_s + width_s) - index, index)
            for index, each in enumerate(group)
        ]
        most, first = max(crowds)
        if most >= _crowd_min(len(group)):
            message = (
                f"{most} of {len(group)} delays before retry {number} lie within "
                f"{width_s:g} s of each other: they have no jitter"
            )
            events = [each.events[0] for each in group[first : first + most]]
            yield finding(message, sorted(event for event in events if event))


def _crowd_min(samples: int) -> int:
    """
    Return how many samples in one window no spread delays have.

    More than there are samples, if nothing can be told.
    """
    tails = accumulate(
        math.comb(samples - 1, hits)
        * _DENSEST**hits
        * (1 - _DENSEST) ** (samples - 1 - hits)
        for hits in reversed(range(samples))
    )
    for hits, tail in zip(reversed(range(samples)), tails, strict=True):
        if samples * tail > ERROR_PROBABILITY:
            # The window begins with a sample; this many others are too likely.
            return hits + 2
    return 1


def _envelope_s(
    upstream: UpstreamPromise | None, retry_number: int, growth: float
) -> float:
    if upstream is None or upstream.backoff_base is None:
        return 0.0
    longest_s = upstream.backoff_max or math.inf
    # The first delay of decorrelated jitter may be grown already.
    exponent = retry_number if growth > 2 else retry_number - 1  # noqa: PLR2004 - doubling
    return min(longest_s, upstream.backoff_base * growth**exponent)
