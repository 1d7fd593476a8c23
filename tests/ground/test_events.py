"""
Events and the bus that carries them.
"""

from dataclasses import fields, is_dataclass

import pytest

from harness.bus import EventBus
from harness.clock import LoopClock
from harness.events import (
    EVENT_TYPES,
    SEVERITIES,
    CircuitChanged,
    Envelope,
    Event,
    EventsDropped,
    RetryScheduled,
    Severity,
    ToolCallStarted,
    current_trace_id,
    severity_of,
    to_fields,
    trace_scope,
)
from harness.ids import ToolCallId, TraceId

EVENT = ToolCallStarted(tool="get_weather", tool_call_id=ToolCallId("call_1"))


@pytest.fixture
def event_bus() -> EventBus:
    """
    A bus on the real clock.
    """
    return EventBus(clock=LoopClock())


@pytest.mark.parametrize("kind", EVENT_TYPES)
def test_every_event_is_a_frozen_fact(kind: type[Event]) -> None:
    """
    Events are frozen dataclasses with a docstring, and no field holds prose.
    """
    assert is_dataclass(kind)
    assert kind.__dataclass_params__.frozen  # type: ignore[attr-defined]
    assert (kind.__doc__ or "").strip()
    assert not {field.name for field in fields(kind)} & {"message", "msg", "text"}


def test_kinds_are_unique_and_in_snake_case() -> None:
    """
    The kind of an event is the name of its class, and no two share it.
    """
    kinds = [kind.kind for kind in EVENT_TYPES]

    assert len(kinds) == len(set(kinds))
    assert RetryScheduled.kind == "retry_scheduled"


def test_severities_name_events_only() -> None:
    """
    Every entry of the table is an event; what is not listed is information.
    """
    assert set(SEVERITIES) <= set(EVENT_TYPES)
    assert severity_of(EventsDropped(listener="x", dropped_events=1)) is Severity.ERROR
    changed = CircuitChanged(
        circuit="c", from_state="closed", to_state="open", reason="r", generation=1
    )
    assert severity_of(changed) is Severity.WARNING


def test_fields_have_the_names_of_the_event_log() -> None:
    """
    ``from`` and ``to`` are the log's words; what is None is left out.
    """
    changed = CircuitChanged(
        circuit="c", from_state="closed", to_state="open", reason="r", generation=1
    )

    assert to_fields(changed) == {
        "kind": "circuit_changed",
        "circuit": "c",
        "from": "closed",
        "to": "open",
        "reason": "r",
        "generation": 1,
        "failures": 0,
    }


def test_a_direct_listener_sees_every_event_before_publish_returns(
    event_bus: EventBus,
) -> None:
    """
    Events come numbered without holes, with the trace they belong to.
    """
    seen: list[Envelope] = []
    with event_bus.listening(seen.append), trace_scope(TraceId("ab" * 16)):
        event_bus.publish(EVENT)
        event_bus.publish(EVENT)
    event_bus.publish(EVENT)

    assert [envelope.number for envelope in seen] == [1, 2]
    assert {envelope.trace_id for envelope in seen} == {"ab" * 16}
    assert current_trace_id() is None


def test_a_listener_that_raises_harms_nobody(event_bus: EventBus) -> None:
    """
    Its error is counted; the publisher and the other listeners go on.
    """
    seen: list[Envelope] = []

    def broken(_envelope: Envelope) -> None:
        raise RuntimeError

    with event_bus.listening(broken), event_bus.listening(seen.append):
        event_bus.publish(EVENT)

    assert len(seen) == 1
    assert event_bus.failed_listeners == 1


async def test_a_slow_listener_loses_its_own_events_and_they_are_counted(
    event_bus: EventBus,
) -> None:
    """
    A full queue drops what comes, says how many, and keeps what it has.
    """
    with event_bus.subscribed("slow", events_max=2) as subscription:
        for _ in range(5):
            event_bus.publish(EVENT)
        subscription.close()
        taken = [envelope.number async for envelope in subscription]

    assert taken == [1, 2]
    assert subscription.dropped_events == 3


async def test_leaving_a_subscription_publishes_what_it_lost(
    event_bus: EventBus,
) -> None:
    """
    The loss is itself an event, so that it stands in the log.
    """
    seen: list[Event] = []
    with (
        event_bus.listening(lambda envelope: seen.append(envelope.event)),
        event_bus.subscribed("slow", events_max=1),
    ):
        event_bus.publish(EVENT)
        event_bus.publish(EVENT)

    assert seen[-1] == EventsDropped(listener="slow", dropped_events=1)
