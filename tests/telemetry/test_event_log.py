"""
The event log keeps every event, also of a process that dies.
"""

import json
from pathlib import Path

import pytest

from harness.bus import EventBus
from harness.clock import LoopClock
from harness.events import CircuitChanged, ServiceStopping, trace_scope
from harness.ids import TraceId
from harness.telemetry import EventLog


def test_each_event_is_a_line_before_publish_returns(tmp_path: Path) -> None:
    """
    An event stands in the file, keys sorted, as soon as it was published.
    """
    bus = EventBus(clock=LoopClock(wall_epoch_s=0))
    file = tmp_path / "deep" / "raw.jsonl"

    with EventLog(file, bus=bus) as log, trace_scope(TraceId("a" * 32)):
        bus.publish(ServiceStopping(reason="signal"))
        line = file.read_text(encoding="utf-8")

    record = json.loads(line)
    assert list(record) == sorted(record)
    assert record.pop("at_us") > 0
    assert record == {
        "host": "service",
        "kind": "service_stopping",
        "reason": "signal",
        "trace_id": "a" * 32,
    }
    assert log.lost_events == 0


def test_goes_on_where_the_last_process_ended(tmp_path: Path) -> None:
    """
    A restarted process appends to the log of the one before.
    """
    for reason in ("first", "second"):
        bus = EventBus(clock=LoopClock())
        with EventLog(tmp_path / "raw.jsonl", bus=bus):
            bus.publish(ServiceStopping(reason=reason))

    lines = (tmp_path / "raw.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["reason"] for line in lines] == ["first", "second"]


def test_states_carry_the_names_of_the_log(tmp_path: Path) -> None:
    """
    A circuit's states are written as ``from`` and ``to``.
    """
    bus = EventBus(clock=LoopClock())
    with EventLog(tmp_path / "raw.jsonl", bus=bus):
        bus.publish(
            CircuitChanged(
                circuit="upstream/gpt-4o",
                from_state="closed",
                to_state="open",
                reason="failure_threshold",
                generation=2,
            )
        )

    record = json.loads((tmp_path / "raw.jsonl").read_text(encoding="utf-8"))
    assert (record["from"], record["to"]) == ("closed", "open")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_counts_what_the_disk_refused() -> None:
    """
    Events that could not be written are counted and harm nobody.
    """
    bus = EventBus(clock=LoopClock())
    with EventLog(Path("/dev/full"), bus=bus) as log:
        bus.publish(ServiceStopping(reason="signal"))

    assert log.lost_events == 1
    assert bus.failed_listeners == 0


def test_listens_no_longer_when_closed(tmp_path: Path) -> None:
    """
    After its end the log writes nothing any more.
    """
    bus = EventBus(clock=LoopClock())
    with EventLog(tmp_path / "raw.jsonl", bus=bus):
        pass
    bus.publish(ServiceStopping(reason="late"))

    assert (tmp_path / "raw.jsonl").read_bytes() == b""
    assert bus.failed_listeners == 0
