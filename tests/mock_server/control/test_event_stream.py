"""
The events as a stream.
"""

import asyncio

import orjson
import pytest

from mock_server import Limits, LoopClock, MockOptions
from mock_server.testing import Ending, mock_in_test

pytestmark = pytest.mark.virtual_time

SCRIPT = 'upstream: {script: [{reply: {text: "one"}}]}'


async def test_streams_events(clock: LoopClock) -> None:
    """
    A reader gets every event from the moment it subscribed, one each.
    """
    async with mock_in_test(SCRIPT, clock=clock) as mock, asyncio.TaskGroup() as tasks:
        reading = tasks.create_task(
            mock.send("GET", "/_mock/events", wait_s=50), name="read events"
        )
        await clock.sleep(1)
        await mock.chat()
        stream = await reading

    assert stream.headers["content-type"] == "text/event-stream"
    comment, *events = stream.events
    assert comment == b": subscribed"
    assert [orjson.loads(event) for event in events] == [
        orjson.loads(orjson.dumps(record)) for record in mock.records
    ]
    kinds = [orjson.loads(event)["kind"] for event in events]
    assert kinds == [
        "scenario_started",
        "upstream_request_received",
        "upstream_request_ended",
    ]


async def test_readers_end_with_the_mock(clock: LoopClock) -> None:
    """
    A reader of events does not keep the mock from stopping.
    """
    async with asyncio.TaskGroup() as tasks:
        async with mock_in_test(SCRIPT, clock=clock) as mock:
            reading = tasks.create_task(
                mock.send("GET", "/_mock/events"), name="read events"
            )
            await clock.sleep(1)
        stream = await reading

    assert stream.ending is Ending.CLOSED
    assert stream.is_whole


async def test_has_so_many_readers(clock: LoopClock) -> None:
    """
    One reader too many is refused, and a place is free once one leaves.
    """
    options = MockOptions(port=0, limits=Limits(subscribers_max=1))
    async with (
        mock_in_test(SCRIPT, options, clock=clock) as mock,
        asyncio.TaskGroup() as tasks,
    ):
        tasks.create_task(mock.send("GET", "/_mock/events", wait_s=10))
        await clock.sleep(1)
        refused = await mock.send("GET", "/_mock/events")
        await clock.sleep(20)
        taken = await mock.send("GET", "/_mock/events", wait_s=1)

    assert refused.status == 503
    assert taken.status == 200
