"""
What became of the webhooks that a service owes.

A message is owed once the service has committed it, and for every finished tool call
and every asynchronous chat that has ended. It is delivered when an endpoint
acknowledged it, dead when the service gave it up and said so, pending while another
attempt may still come, and else it is lost.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from harness.judging.entities import Delivery, Record
from harness.judging.ruling import Finding, finding
from harness.judging.timeline import Timeline
from harness.scenario import Promise, WebhookPromise

_DEFAULT_ATTEMPTS: Final = 3
_DEFAULT_TIMEOUT_S: Final = 10.0
_DEFAULT_BACKOFF_S: Final = 1.0
_PENDING_GRACE_US: Final = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Fates:
    """
    What became of every message.
    """

    enqueued: Mapping[str, Record]
    """What the service said it committed, by message id."""

    received: Mapping[str, list[Delivery]]
    """What endpoints received, by message id."""

    delivered: frozenset[str]
    dead: frozenset[str]
    pending: frozenset[str]
    lost: tuple[Finding, ...]
    owed: int
    """Messages that were enqueued, received, or owed for a finished call."""


def fates_of(timeline: Timeline, promise: Promise) -> Fates:
    """
    Return what became of every message of a run.
    """
    webhook = promise.webhook or WebhookPromise()
    received: dict[str, list[Delivery]] = defaultdict(list)
    for delivery in timeline.deliveries:
        if delivery.message_id is not None:
            received[delivery.message_id].append(delivery)
    enqueued = {
        str(record["message_id"]): record for record in timeline.of("webhook_enqueued")
    }
    delivered = {
        message_id
        for message_id, deliveries in received.items()
        if any(delivery.is_acknowledged for delivery in deliveries)
    }
    # What no endpoint ever saw is not delivered, whatever the service says.
    delivered |= _ids(timeline, "webhook_delivered") & set(received)
    dead = _ids(timeline, "webhook_dead") - delivered
    open_ = (set(enqueued) | set(received)) - delivered - dead
    pending = {
        message_id
        for message_id in open_
        if _may_come(
            timeline, webhook, message_id, enqueued, received.get(message_id, [])
        )
    }
    lost = [
        finding(
            f"message {message_id} was neither acknowledged nor given up",
            [
                _seq(enqueued.get(message_id)),
                *(delivery.seq for delivery in received.get(message_id, [])),
            ],
        )
        for message_id in sorted(open_ - pending)
    ]
    owed_calls = list(_owed_for_calls(timeline, promise, enqueued))
    lost += [each for each in owed_calls if each is not None]
    return Fates(
        enqueued=enqueued,
        received=received,
        delivered=frozenset(delivered),
        dead=frozenset(dead),
        pending=frozenset(pending),
        lost=tuple(lost),
        owed=len(set(enqueued) | set(received)) + len(owed_calls),
    )


def patience_us(webhook: WebhookPromise) -> int:
    """
    Return how long a message may take from its commit to its last attempt.
    """
    attempts = webhook.attempts_max or _DEFAULT_ATTEMPTS
    timeout_s = webhook.timeout or _DEFAULT_TIMEOUT_S
    backoff_s = webhook.backoff_base or _DEFAULT_BACKOFF_S
    longest_s = webhook.backoff_max or float("inf")
    delays_s = (min(backoff_s * 2.0**n, longest_s) for n in range(attempts - 1))
    return round((attempts * timeout_s + sum(delays_s)) * 1.25e6) + _PENDING_GRACE_US


def _ids(timeline: Timeline, kind: str) -> set[str]:
    return {str(record["message_id"]) for record in timeline.of(kind)}


def _seq(record: Record | None) -> int | None:
    return None if record is None else int(record["seq"])


def _may_come(
    timeline: Timeline,
    webhook: WebhookPromise,
    message_id: str,
    enqueued: Mapping[str, Record],
    deliveries: list[Delivery],
) -> bool:
    """
    Say whether another attempt may still be due when the log ends.
    """
    record = enqueued.get(message_id)
    first_us = min(
        [delivery.time_us for delivery in deliveries]
        + ([] if record is None else [int(record["time_us"])]),
    )
    interruptions_us = [each for each in timeline.interruptions_us if each > first_us]
    # A restarted service starts its schedule where the store says.
    since_us = max([first_us, *interruptions_us])
    if timeline.end_us < since_us + patience_us(webhook):
        return True
    planned = [
        int(each["time_us"]) + round(float(each.get("delay_s") or 0) * 1e6)
        for each in timeline.of("webhook_retry_scheduled")
        if each.get("message_id") == message_id
    ]
    return max(planned, default=-1) > timeline.end_us - _PENDING_GRACE_US


def _owed_for_calls(
    timeline: Timeline, promise: Promise, enqueued: Mapping[str, Record]
) -> Iterator[Finding | None]:
    """
    Yield, for every call that ended, None if a message tells of it, else the loss.
    """
    if promise.webhook is None:
        return
    due_us = timeline.end_us - patience_us(promise.webhook)
    told = {record.get("tool_call_id") for record in enqueued.values()}
    told |= {each.record.get("tool_call_id") for each in timeline.deliveries}
    seen: set[Any] = set()
    told_chats = {record.get("callback_id") for record in enqueued.values()}
    told_chats |= {each.record.get("callback_id") for each in timeline.deliveries}
    for attempt in timeline.attempts:
        call = attempt.call
        if call is None or call.outcome != "answered" or attempt.received_us > due_us:
            continue
        for result in attempt.received.get("tool_results") or ():
            tool_call_id = result.get("tool_call_id")
            if tool_call_id in seen:
                continue
            seen.add(tool_call_id)
            if tool_call_id in told:
                yield None
            else:
                yield finding(
                    f"tool call {tool_call_id} has ended and no message tells of it",
                    [attempt.seq, call.ended_seq],
                )
    for call in timeline.calls:
        ended_us = call.ended_us
        if call.callback_id is None or ended_us is None or ended_us > due_us:
            continue
        if call.outcome not in {"answered", "failed"}:
            continue
        yield (
            None
            if call.callback_id in told_chats
            else finding(
                f"asynchronous chat {call.callback_id} has ended and no message tells of it",
                [call.ended_seq],
            )
        )
