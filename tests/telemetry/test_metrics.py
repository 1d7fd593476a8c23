"""
Metrics are counted from events.
"""

from harness.bus import EventBus
from harness.clock import LoopClock
from harness.events import (
    AttemptEnded,
    ChatAnswered,
    ChatFailed,
    CircuitChanged,
    ServiceStopping,
    WebhookDead,
)
from harness.ids import MessageId
from harness.telemetry import Metrics


def _attempt(operation: str) -> AttemptEnded:
    return AttemptEnded(
        operation=operation,
        attempt_number=1,
        outcome="success",
        reason="ok",
        duration_s=0.2,
    )


def test_events_become_figures() -> None:
    """
    What was published on the bus stands in the text that Prometheus reads.
    """
    bus = EventBus(clock=LoopClock())
    metrics = Metrics()

    with bus.listening(metrics.hear):
        bus.publish(ChatAnswered(mode="sync", turns=2, tool_calls=1, duration_s=0.3))
        bus.publish(
            ChatFailed(mode="sync", reason="deadline", status=504, duration_s=9)
        )
        bus.publish(
            CircuitChanged(
                circuit="upstream/gpt-4o",
                from_state="closed",
                to_state="open",
                reason="failure_threshold",
                generation=2,
            )
        )
        bus.publish(
            WebhookDead(
                message_id=MessageId("msg_1"),
                endpoint="default",
                attempt_number=3,
                reason="attempts_max",
            )
        )
        bus.publish(ServiceStopping(reason="signal"))

    text = metrics.render().decode()
    assert 'harness_chats_total{mode="sync",outcome="answered"} 1.0' in text
    assert 'harness_chats_total{mode="sync",outcome="deadline"} 1.0' in text
    assert 'harness_circuit_state{circuit="upstream/gpt-4o"} 2.0' in text
    assert 'harness_webhooks_total{endpoint="default",outcome="dead"} 1.0' in text
    assert 'harness_chat_duration_seconds_bucket{le="0.5",mode="sync"} 1.0' in text


def test_label_values_are_bounded() -> None:
    """
    However many models callers name, the table of figures does not grow for ever.
    """
    metrics = Metrics(label_values_max=2)

    for number in range(10):
        metrics.count(_attempt(f"model-{number}"))

    text = metrics.render().decode()
    assert text.count("harness_attempts_total{") == 3
    counted = 'operation="other",outcome="success",reason="ok"} 8.0'
    assert f"harness_attempts_total{{{counted}" in text
    assert 'harness_attempt_duration_seconds_count{operation="other"} 8.0' in text


def test_store_rows_are_shown() -> None:
    """
    What the store holds is a figure per kind of row.
    """
    metrics = Metrics()

    metrics.show_store({"dead_letters": 4})

    assert 'harness_store_rows{kind="dead_letters"} 4.0' in metrics.render().decode()
