"""
Messages are neither lost nor invented, keep their identity, and stop when told to.
"""

from collections import defaultdict

from harness.judging.entities import Delivery
from harness.judging.ruling import Finding, Ruling, finding, rule, skipped
from harness.judging.timeline import Timeline
from harness.judging.webhooks import fates_of
from harness.scenario import Promise

_GONE = 410
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
    # What a killed service had not yet said is unknown, not false.
    if timeline.of("webhook_enqueued") and not timeline.interruptions_us:
        for message_id, deliveries in fates.received.items():
            if message_id not in fates.enqueued:
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
    21: one id has one body, and each attempt's signature verifies.
    """
    name = "21 messages keep their identity"
    if promise.webhook is None:
        return skipped(name, _NOT_PROMISED)
    bodies: dict[str, Delivery] = {}
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
    return rule(
        name,
        judged=len(timeline.deliveries),
        broken=broken,
        nothing="no webhook was received",
    )


def deliveries_end(timeline: Timeline, promise: Promise) -> Ruling:
    """
    22: a 2xx or 410 ends a delivery, and there are no more attempts than promised.
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
    return rule(
        name,
        judged=len(by_message),
        broken=broken,
        nothing="no webhook was received",
    )


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
