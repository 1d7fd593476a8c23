"""
How records are published.
"""

import json
from pathlib import Path

import pytest

from mock_server import Limits, LoopClock
from mock_server.events import Events, Subscription, TooManySubscribersError


def test_every_line_is_written_at_once(tmp_path: Path) -> None:
    """
    A record is in the file before publishing returns: a kill loses nothing.
    """
    file = tmp_path / "events.jsonl"
    events = Events(clock=LoopClock(), log_file=file)

    events.publish("first", trace_id="t", number=1)
    line = file.read_text()
    events.publish("second")

    assert line.endswith("\n")
    record = json.loads(line)
    assert (record["kind"], record["host"], record["trace_id"]) == (
        "first",
        "mock",
        "t",
    )
    assert isinstance(record["at_us"], int)
    assert list(record) == sorted(record)
    assert len(file.read_text().splitlines()) == 2
    events.close()


def test_appends_to_what_is_there(tmp_path: Path) -> None:
    """
    A log that is there is continued, never truncated.
    """
    file = tmp_path / "events.jsonl"
    file.write_text("kept\n")
    events = Events(clock=LoopClock(), log_file=file)

    events.publish("first")
    events.close()

    assert file.read_text().startswith("kept\n{")


def test_a_slow_reader_loses_and_is_counted() -> None:
    """
    Beyond its bound a reader's queue drops, and the count outlives the reader.
    """
    events = Events(clock=LoopClock(), limits=Limits(subscriber_events_max=2))
    with events.subscribed():
        for _ in range(5):
            events.publish("something")

        assert events.dropped == 3
    assert events.dropped == 3


def test_has_so_many_readers() -> None:
    """
    The number of readers is bounded.
    """
    events = Events(clock=LoopClock(), limits=Limits(subscribers_max=1))

    with (
        events.subscribed(),
        pytest.raises(TooManySubscribersError),
        events.subscribed(),
    ):
        pytest.fail("there was room for a second reader")


@pytest.mark.virtual_time
async def test_a_closed_queue_is_read_to_its_end() -> None:
    """
    A reader gets what was queued before the end, and then ends.
    """
    subscription = Subscription(10)
    subscription.put_nowait({"kind": "a"})
    subscription.close()

    assert [record async for record in subscription] == [{"kind": "a"}]
