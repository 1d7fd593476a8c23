"""
Attempts are few, spaced as asked, and one thing each.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any, Final

from harness.judging.entities import Attempt
from harness.judging.invariants.waits import untrue_waits
from harness.judging.ruling import Finding, Ruling, finding, rule, skipped
from harness.judging.slack import TRANSIT_US
from harness.judging.timeline import Timeline
from harness.scenario import Promise

_RETRYABLE: Final = frozenset({408, 409, 425, 429})
_PERMANENT_SERVER_ERRORS: Final = frozenset({501, 505})
_QUOTA_FAULTS: Final = frozenset({"quota_exhausted"})
_CLIENT_ERRORS: Final = range(400, 500)
_TOO_MANY: Final = 429


def operations_of(timeline: Timeline) -> Mapping[Any, list[Attempt]]:
    """
    Return the attempts of every request to the model that can be told apart.
    """
    operations: dict[Any, list[Attempt]] = defaultdict(list)
    for attempt in timeline.attempts:
        if not attempt.is_ambiguous and attempt.received.get("body_sha256"):
            operations[attempt.operation].append(attempt)
    return operations


def attempts_are_bounded(timeline: Timeline, promise: Promise) -> Ruling:
    """
    4: attempts are at most as many as promised, and none comes after the deadline.
    """
    name = "4 attempts are bounded"
    upstream = promise.upstream
    if upstream is None or upstream.attempts_max is None:
        return skipped(name, "no number of attempts is promised")
    operations = operations_of(timeline)
    broken: list[Finding] = []
    most = 0
    judged = 0
    for attempts in operations.values():
        first, last = attempts[0], attempts[-1]
        if timeline.is_interrupted(first.received_us, last.received_us):
            # A restarted service may ask again what it cannot know it has asked.
            continue
        judged += 1
        most = max(most, len(attempts))
        if len(attempts) > upstream.attempts_max:
            extra = attempts[upstream.attempts_max]
            message = (
                f"attempt {extra.request_id} is number {len(attempts)} at most of one "
                f"request; {upstream.attempts_max} are promised"
            )
            broken.append(
                finding(message, [extra.seq, *(each.seq for each in attempts)])
            )
            continue
        if upstream.total_timeout is None:
            continue
        limit_us = timeline.slack.at_most_us(upstream.total_timeout) + TRANSIT_US
        late = [
            each for each in attempts if each.received_us > first.received_us + limit_us
        ]
        if late:
            message = f"attempt {late[0].request_id} came after the total timeout"
            broken.append(finding(message, [late[0].seq, first.seq]))
    return rule(
        name,
        judged=judged,
        broken=broken,
        figures={"most": most},
        nothing="nothing reached the model API",
    )


def permanent_is_not_retried(timeline: Timeline, promise: Promise) -> Ruling:
    """
    5: what is permanent is asked once.
    """
    del promise
    judged = 0
    broken: list[Finding] = []
    for attempt, following in followed(timeline):
        if not _is_permanent(attempt):
            continue
        judged += 1
        if following is not None:
            message = (
                f"attempt {following.request_id} repeats {attempt.request_id}, which "
                f"was answered {attempt.status}: that is permanent"
            )
            broken.append(finding(message, [following.seq, attempt.ended_seq]))
    return rule(
        "5 nothing permanent is retried",
        judged=judged,
        broken=broken,
        nothing="nothing was answered with a permanent error",
    )


def retry_after_is_kept(timeline: Timeline, promise: Promise) -> Ruling:
    """
    6: no attempt comes before what ``Retry-After`` asked for is over.

    Who asks for more than is promised to be waited is not asked again.
    """
    cap_s = None if promise.upstream is None else promise.upstream.retry_after_max
    judged = 0
    broken: list[Finding] = []
    shortest_s: float | None = None
    for attempt, following in followed(timeline):
        asked_s = (attempt.ended or {}).get("retry_after_s")
        if not asked_s or attempt.ended_us is None:
            continue
        # A date is whole seconds, so that what it asks for may be one less.
        least_s = timeline.slack.at_least_us(float(asked_s)) / 1e6 - 1.0
        is_beyond = cap_s is not None and least_s > cap_s
        judged += is_beyond or following is not None
        if following is None:
            continue
        if is_beyond:
            message = (
                f"attempt {following.request_id} was made although a wait of "
                f"{float(asked_s):g} s was asked for; above {cap_s:g} s a call gives up"
            )
            broken.append(finding(message, [following.seq, attempt.ended_seq]))
            continue
        # The asked time runs from the answer; the mock's end of it is a little later.
        waited_us = following.received_us - attempt.ended_us
        shortest_s = min(waited_us / 1e6, shortest_s or float("inf"))
        if waited_us < timeline.slack.at_least_us(float(asked_s)):
            message = (
                f"attempt {following.request_id} came after {waited_us / 1e6:.3f} s; "
                f"{float(asked_s):g} s were asked for"
            )
            broken.append(finding(message, [following.seq, attempt.ended_seq]))
    return rule(
        "6 Retry-After is kept",
        judged=judged,
        broken=broken,
        figures={} if shortest_s is None else {"shortest_wait_s": shortest_s},
        nothing="no attempt followed one that asked for a wait",
    )


def one_key_per_operation(timeline: Timeline, promise: Promise) -> Ruling:
    """
    9: one request to the model has one idempotency key, and no other has it.
    """
    del promise
    broken: list[Finding] = []
    judged = 0
    owners: dict[str, Attempt] = {}
    keys: dict[Any, tuple[str | None, Attempt]] = {}
    for operation, attempts in operations_of(timeline).items():
        for attempt in attempts:
            key = attempt.received.get("idempotency_key")
            first_key, first = keys.setdefault(operation, (key, attempt))
            was_restarted = timeline.is_interrupted(
                first.received_us, attempt.received_us
            )
            if key != first_key and not was_restarted:
                message = f"attempt {attempt.request_id} has another key than its first"
                broken.append(finding(message, [attempt.seq, first.seq]))
            if key is None:
                continue
            judged += 1
            owner = owners.setdefault(key, attempt)
            if owner.operation != operation:
                message = f"attempt {attempt.request_id} has the key of another request"
                broken.append(finding(message, [attempt.seq, owner.seq]))
    return rule(
        "9 one request, one key",
        judged=judged,
        broken=broken,
        nothing="no idempotency keys were sent",
    )


def rate_is_kept(timeline: Timeline, promise: Promise) -> Ruling:
    """
    19: never more than rate and burst allow, in any window; what we ask to wait is true.
    """
    name = "19 rate and burst are kept"
    limit = promise.rate_limit
    told, untrue = untrue_waits(timeline, promise)
    if limit is None:
        nothing = "no rate limit is promised, and nobody was asked to wait"
        return rule(name, judged=told, broken=untrue, nothing=nothing)
    by_model: dict[str, list[Attempt]] = defaultdict(list)
    for attempt in timeline.attempts:
        by_model[attempt.model].append(attempt)
    broken: list[Finding] = []
    fullest = 0.0
    for attempts in by_model.values():
        level, at_us = 0.0, 0
        for attempt in attempts:
            elapsed_s = (attempt.received_us - at_us) / 1e6
            level = max(0.0, level - elapsed_s * limit.rate) + 1.0
            at_us = attempt.received_us
            fullest = max(fullest, level)
            if level > _allowed(timeline, limit.rate, limit.burst):
                message = (
                    f"attempt {attempt.request_id} is more than {limit.rate:g}/s and "
                    f"a burst of {limit.burst} allow"
                )
                broken.append(finding(message, [attempt.seq]))
                level = 0.0
        if timeline.interruptions_us and broken:
            # A restarted service starts with a full bucket: nothing is proved.
            broken.clear()
    return rule(
        name,
        judged=len(timeline.attempts) + told,
        broken=broken + untrue,
        figures={"fullest": round(fullest, 1)},
        nothing="nothing reached the model API",
    )


def _allowed(timeline: Timeline, rate: float, burst: int) -> float:
    """
    Return the level that a bucket may reach, as far off as arrivals may be bunched.

    Requests that left one after the other may arrive together: read late by a busy
    machine, or held up on the way by a simulated one.
    """
    return burst * (1 + timeline.slack.share) + rate * _BUNCHED_S + 1.0


_BUNCHED_S: Final = 0.5


def _is_permanent(attempt: Attempt) -> bool:
    status = attempt.status
    if status is None or attempt.outcome != "complete":
        return False
    if status == _TOO_MANY:
        return bool(_QUOTA_FAULTS.intersection(attempt.faults))
    if status in _CLIENT_ERRORS:
        return status not in _RETRYABLE
    return status in _PERMANENT_SERVER_ERRORS


def followed(timeline: Timeline) -> Iterator[tuple[Attempt, Attempt | None]]:
    """
    Yield every attempt with the next one of its request that came after its end.
    """
    for attempts in operations_of(timeline).values():
        for index, attempt in enumerate(attempts):
            if attempt.ended_us is None:
                continue
            following = next(
                (
                    each
                    for each in attempts[index + 1 :]
                    if each.received_us >= (attempt.ended_us or 0)
                ),
                None,
            )
            if following is not None and timeline.is_interrupted(
                attempt.received_us, following.received_us
            ):
                following = None
            yield attempt, following
