"""
One endpoint's trouble is not another's.
"""

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterator, Sequence
from statistics import median
from typing import Final

from harness.judging.entities import Delivery
from harness.judging.ruling import Finding, Ruling, finding, rule, skipped
from harness.judging.timeline import Timeline
from harness.scenario import Promise

_DEFAULT_TIMEOUT_S: Final = 10.0
_DELAYED_S_MAX: Final = 1.0
_DELAYED_SHARE: Final = 0.5
"""Of the timeout of an attempt: waiting behind a dead endpoint takes longer."""

_FIRST_ATTEMPTS_MIN: Final = 5
"""With fewer of them real time shows nothing."""


def dead_endpoints_delay_no_others(timeline: Timeline, promise: Promise) -> Ruling:
    """
    23: while an endpoint fails, messages to the others leave as soon as ever.
    """
    name = "23 a dead endpoint delays no other"
    if promise.webhook is None:
        return skipped(name, "no webhooks are promised")
    by_endpoint: dict[str, list[Delivery]] = defaultdict(list)
    for delivery in timeline.deliveries:
        by_endpoint[delivery.endpoint].append(delivery)
    timeout_s = promise.webhook.timeout or _DEFAULT_TIMEOUT_S
    bound_us = timeline.slack.at_most_us(
        min(_DELAYED_S_MAX, timeout_s * _DELAYED_SHARE)
    )
    waits = list(_waits(timeline, by_endpoint, timeout_s))
    late = [each for each in waits if each[0] > bound_us]
    if timeline.slack.fixed_us and (
        len(waits) < _FIRST_ATTEMPTS_MIN
        or median(waited_us for waited_us, _ in waits) <= bound_us
    ):
        late = []
    return rule(
        name,
        judged=len(waits),
        broken=[each for _, each in late],
        nothing="no endpoint failed while another one was well",
    )


def _waits(
    timeline: Timeline, by_endpoint: dict[str, list[Delivery]], timeout_s: float
) -> Iterator[tuple[int, Finding]]:
    """
    Yield how long first attempts waited, and what to say if that was long.

    Those to an endpoint that was well, while another one was in trouble.
    """
    first: dict[tuple[str, str], Delivery] = {}
    for each in timeline.deliveries:
        if each.message_id is not None:
            first.setdefault((each.endpoint, each.message_id), each)
    troubles = {
        name: [each for each in deliveries if not each.is_acknowledged]
        for name, deliveries in by_endpoint.items()
    }
    for record in timeline.of("webhook_enqueued"):
        endpoint = str(record.get("endpoint") or "default")
        delivery = first.get((endpoint, str(record["message_id"])))
        enqueued_us = int(record["time_us"])
        if delivery is None:
            continue
        came_us = _came_us(delivery)
        around_us = enqueued_us - round(timeout_s * 1e6)
        if _happened(troubles[endpoint], around_us, came_us) or timeline.is_interrupted(
            around_us, came_us
        ):
            continue
        trouble = next(
            (
                found
                for name, failed in troubles.items()
                if name != endpoint
                and (found := _happened(failed, around_us, came_us)) is not None
            ),
            None,
        )
        if trouble is not None:
            waited_us = came_us - enqueued_us
            message = (
                f"message {record['message_id']} waited {waited_us / 1e6:.3f} s for its "
                f"first attempt while endpoint {trouble.endpoint} failed"
            )
            events = [delivery.seq, int(record["seq"]), trouble.seq]
            yield waited_us, finding(message, events)


def _came_us(delivery: Delivery) -> int:
    """
    Return when an attempt came in; its record is of its end.
    """
    return delivery.time_us - int(delivery.record.get("actual_us") or 0)


def _happened(
    deliveries: Sequence[Delivery], from_us: int, to_us: int
) -> Delivery | None:
    first = bisect_left(deliveries, from_us, key=lambda each: each.time_us)
    last = bisect_right(deliveries, to_us, key=_came_us)
    return deliveries[first] if first < last else None
