"""
Messages are neither lost nor invented, keep their identity, and stop when told to.
"""

import itertools
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from typing import Any, Final

from harness.judging.entities import Delivery, Record
from harness.judging.ruling import Finding, Ruling, finding, rule, skipped
from harness.judging.timeline import Timeline
from harness.judging.webhooks import fates_of
from harness.scenario import Promise, WebhookPromise

_GONE = 410
_APPLIED: Final = "applied"
_DEFAULT_TIMEOUT_S: Final = 10.0
_JITTER_MAX: Final = 0.2
"""A schedule may move each of its delays by so much."""

_DUE_US: Final = 1_000
"""A store may keep its times in whole milliseconds."""

_NOT_PROMISED = "no webhooks are promised"


def no_message_is_lost(timeline: Timeline, promise: Promise) -> Ruling:
    """
    20: enqueued = delivered + dead + pending; nothing is lost, nothing invented.
    """
    name = "20 no webhook is lost"
    if promise.webhook is None:
        return skipped(name, _NOT_PROMISED)
    fates = fates_of(timeline, promise)
    broken = list(fates.lost)
    committed = {
        fact for record in fates.enqueued.values() if (fact := _fact_of(record))
    }
    # What a killed service had not yet said is unknown, not false.
    if timeline.of("webhook_enqueued") and not timeline.interruptions_us:
        for message_id, deliveries in fates.received.items():
            # Under another id than its own it is not invented: see the next invariant.
            is_told = any(_fact_of(each.record) in committed for each in deliveries)
            if message_id not in fates.enqueued and not is_told:
                message = f"message {message_id} was sent and never committed"
                broken.append(finding(message, [each.seq for each in deliveries]))
    figures = {
        "enqueued": len(fates.enqueued or fates.received),
        "delivered": len(fates.delivered),
        "dead": len(fates.dead),
        "pending": len(fates.pending),
        "lost": len(fates.lost),
    }
    return rule(
        name,
        judged=fates.owed,
        broken=broken,
        figures=figures,
        nothing="no webhook was owed",
    )


def messages_keep_their_identity(timeline: Timeline, promise: Promise) -> Ruling:
    """
    21: one fact has one id, one id one body and one effect, and each signature verifies.
    """
    name = "21 messages keep their identity"
    if promise.webhook is None:
        return skipped(name, _NOT_PROMISED)
    bodies: dict[str, Delivery] = {}
    ids: dict[Any, Delivery] = {}
    asked = Counter(
        tool_call.get("tool_call_id")
        for attempt in timeline.attempts
        for tool_call in attempt.tool_calls
    )
    broken: list[Finding] = []
    for delivery in timeline.deliveries:
        if delivery.record.get("verified") is False:
            reason = delivery.record.get("reason") or "it does not verify"
            message = f"a delivery's signature was refused: {reason}"
            broken.append(finding(message, [delivery.seq]))
        if delivery.message_id is None:
            continue
        first = bodies.setdefault(delivery.message_id, delivery)
        if first.record.get("body_sha256") != delivery.record.get("body_sha256"):
            message = f"message {delivery.message_id} came with another body"
            broken.append(finding(message, [delivery.seq, first.seq]))
        fact = _fact_of(delivery.record)
        if fact is None or asked[delivery.record.get("tool_call_id")] > 1:
            # A script may give several calls one id.
            continue
        told = ids.setdefault((delivery.endpoint, fact), delivery)
        if told.message_id != delivery.message_id:
            message = (
                f"{delivery.event_type} came as message {delivery.message_id}, and "
                f"before as {told.message_id}"
            )
            broken.append(finding(message, [delivery.seq, told.seq]))
    broken += _applied_twice(timeline)
    return rule(
        name,
        judged=len(timeline.deliveries) + len(timeline.of("webhook_accepted")),
        broken=broken,
        nothing="no webhook was received",
    )


def _applied_twice(timeline: Timeline) -> Iterator[Finding]:
    """
    Yield what the service says it applied although it had applied it before.
    """
    applied: dict[str, Record] = {}
    for record in timeline.of("webhook_accepted"):
        if record.get("outcome") != _APPLIED:
            continue
        message_id = str(record["message_id"])
        first = applied.setdefault(message_id, record)
        if first is not record:
            message = f"message {message_id} had a second effect"
            yield finding(message, [int(record["seq"]), int(first["seq"])])


def deliveries_end(timeline: Timeline, promise: Promise) -> Ruling:
    """
    22: deliveries follow their schedule, one attempt at a time, until a 2xx or 410.
    """
    name = "22 deliveries end"
    if promise.webhook is None:
        return skipped(name, _NOT_PROMISED)
    attempts_max = promise.webhook.attempts_max
    gave_up = _attempts_that_failed_for_the_service(timeline)
    redelivered = {
        str(record["message_id"]) for record in timeline.of("webhook_redelivered")
    }
    by_message: dict[tuple[str, str], list[Delivery]] = defaultdict(list)
    for delivery in timeline.deliveries:
        if delivery.message_id is not None:
            key = (delivery.endpoint, delivery.message_id)
            by_message[key].append(delivery)
    broken: list[Finding] = []
    for (_, message_id), deliveries in by_message.items():
        if message_id in redelivered:
            continue
        ended: Delivery | None = None
        for number, delivery in enumerate(deliveries, start=1):
            if ended is not None and not timeline.is_interrupted(
                ended.time_us - 1, delivery.time_us
            ):
                message = f"message {message_id} came again after {ended.status}"
                broken.append(finding(message, [delivery.seq, ended.seq]))
            was_heard = (message_id, number) not in gave_up
            is_gone = delivery.status == _GONE
            if (delivery.is_acknowledged or is_gone) and was_heard:
                ended = ended or delivery
        is_counted = attempts_max is not None and not timeline.interruptions_us
        if is_counted and len(deliveries) > (attempts_max or 0):
            extra = deliveries[attempts_max or 0]
            message = (
                f"message {message_id} came {len(deliveries)} times; "
                f"{attempts_max} attempts are promised"
            )
            broken.append(finding(message, [extra.seq]))
        broken += _at_once(timeline, promise.webhook, deliveries, gave_up)
    broken += _off_schedule(timeline, promise.webhook)
    return rule(
        name,
        judged=len(by_message),
        broken=broken,
        nothing="no webhook was received",
    )


def _at_once(
    timeline: Timeline,
    webhook: WebhookPromise,
    deliveries: Sequence[Delivery],
    gave_up: set[tuple[str, int]],
) -> Iterator[Finding]:
    """
    Yield the attempts that came while another one of their delivery was under way.
    """
    within_us = timeline.slack.at_least_us(webhook.timeout or _DEFAULT_TIMEOUT_S)
    came = sorted(
        (each.time_us - int(each.record.get("actual_us") or 0), each.seq, each)
        for each in deliveries
    )
    for (from_us, _, one), (came_us, _, other) in itertools.pairwise(came):
        number = int(one.record.get("attempt_number") or 0)
        was_given_up = (
            one.record.get("outcome") not in {None, "complete"}
            or (str(one.message_id), number) in gave_up
            or came_us - from_us >= within_us
        )
        is_under_way = came_us + timeline.slack.fixed_us < one.time_us
        if is_under_way and not was_given_up:
            message = f"two attempts of message {one.message_id} were under way at once"
            yield finding(message, [other.seq, one.seq])


def _off_schedule(timeline: Timeline, webhook: WebhookPromise) -> Iterator[Finding]:
    """
    Yield the attempts that began before the last one had ended, or before they were due.
    """
    kinds = (
        "webhook_attempt_started",
        "webhook_attempt_ended",
        "webhook_retry_scheduled",
        "webhook_redelivered",
    )
    records = [record for kind in kinds for record in timeline.of(kind)]
    records.sort(key=lambda each: int(each["seq"]))
    latest: dict[tuple[str, str], Record] = {}
    ended_us: dict[tuple[str, str], int] = {}
    for record in records:
        key = (str(record.get("endpoint")), str(record["message_id"]))
        before = latest.get(key)
        latest[key] = record
        if record["kind"] == "webhook_attempt_ended":
            ended_us[key] = int(record["time_us"])
        if record["kind"] == "webhook_retry_scheduled":
            yield from _short_delay(webhook, record)
        if before is None or record["kind"] != "webhook_attempt_started":
            continue
        before_us, time_us = int(before["time_us"]), int(record["time_us"])
        if timeline.is_interrupted(before_us, time_us):
            continue
        events = [int(record["seq"]), int(before["seq"])]
        if before["kind"] == "webhook_attempt_started":
            message = f"two attempts of message {key[1]} were under way at once"
            yield finding(message, events)
        elif before["kind"] == "webhook_retry_scheduled":
            delay_s = float(before.get("delay_s") or 0.0)
            # A delay counts from the attempt's end; that another one will follow is
            # said once it is committed, which a busy disk holds up.
            waited_us = time_us - ended_us.get(key, before_us)
            if waited_us < timeline.slack.at_least_us(delay_s) - _DUE_US:
                message = (
                    f"message {key[1]} was due in {delay_s:.3f} s and sent after "
                    f"{waited_us / 1e6:.3f} s"
                )
                yield finding(message, events)


def _short_delay(webhook: WebhookPromise, record: Record) -> Iterator[Finding]:
    """
    Yield a delay that is shorter than the declared schedule has it.
    """
    if webhook.backoff_base is None:
        return
    number = int(record.get("attempt_number") or 1)
    declared_s = webhook.backoff_base * 2.0 ** (number - 1)
    if webhook.backoff_max is not None:
        declared_s = min(declared_s, webhook.backoff_max)
    delay_s = float(record.get("delay_s") or 0.0)
    if delay_s < declared_s * (1 - _JITTER_MAX) - 1e-6:
        message = (
            f"message {record['message_id']} waits {delay_s:.3f} s after attempt "
            f"{number}; the schedule says {declared_s:g} s"
        )
        yield finding(message, [int(record["seq"])])


def _fact_of(record: Record) -> tuple[str, str, str] | None:
    """
    Return what a message tells of; None if that cannot be told.
    """
    id_ = record.get("tool_call_id") or record.get("callback_id")
    if id_ is None:
        return None
    return str(record.get("event_type")), str(record.get("trace_id")), str(id_)


def _attempts_that_failed_for_the_service(timeline: Timeline) -> set[tuple[str, int]]:
    """
    Return the attempts whose acknowledgement the service says it did not hear.

    An answer may be out when its reader has given up.
    """
    return {
        (str(record["message_id"]), int(record["attempt_number"]))
        for record in timeline.of("webhook_attempt_ended")
        if record.get("outcome") == "failure"
    }
