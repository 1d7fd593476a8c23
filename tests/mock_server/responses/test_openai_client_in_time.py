"""
Background responses over time, as the official client sees them.

Work takes time and the client polls: on the real clock a busy machine misses a state
that lasts a few milliseconds, here every moment is exact.
"""

from collections.abc import AsyncIterator

import openai
import pytest

from mock_server import LoopClock
from mock_server.testing import mock_in_test

pytestmark = pytest.mark.virtual_time

# In the queue for 1 s, then 2 s until the item begins and 0.5 s for each of its pieces.
SCRIPT = """
upstream:
  background: {queue: 1s}
  latency: {time_to_first_token: 2s, inter_token: 500ms}
  script: [{reply: {text: "one two three four"}}]
"""
POLL_S = 0.25


@pytest.fixture
async def client(clock: LoopClock) -> AsyncIterator[openai.AsyncOpenAI]:
    """
    Give the official client of a mock, with its strict validation of responses on.
    """
    async with (
        mock_in_test(SCRIPT, clock=clock) as mock,
        openai.AsyncOpenAI(
            base_url=mock.running.base_url,
            api_key="sk-good",
            max_retries=0,
            _strict_response_validation=True,
        ) as client,
    ):
        yield client


async def test_background_is_polled(
    client: openai.AsyncOpenAI, clock: LoopClock
) -> None:
    """
    Work is queued, in progress and completed, each from its moment on.
    """
    started_s = clock.monotonic()
    response = await client.responses.create(
        model="gpt-4o", input="slow", background=True
    )
    seen = [(response.status, 0.0)]
    while response.status in {"queued", "in_progress"}:
        await clock.sleep(POLL_S)
        response = await client.responses.retrieve(response.id)
        if response.status != seen[-1][0]:
            seen.append((response.status, clock.monotonic() - started_s))

    assert seen == [
        ("queued", 0.0),
        ("in_progress", pytest.approx(1.0, abs=POLL_S / 2)),
        ("completed", pytest.approx(5.0, abs=POLL_S / 2)),
    ]
    assert response.output_text == "one two three four"


@pytest.mark.parametrize("wait_s", [0.5, 2.0])
async def test_background_is_cancelled(
    client: openai.AsyncOpenAI, clock: LoopClock, wait_s: float
) -> None:
    """
    Work that is queued or under way ends when it is cancelled, and stays so.
    """
    response = await client.responses.create(
        model="gpt-4o", input="slow", background=True
    )
    await clock.sleep(wait_s)
    cancelled = await client.responses.cancel(response.id)
    await clock.sleep(10)
    later = await client.responses.retrieve(response.id)

    assert (cancelled.status, later.status) == ("cancelled", "cancelled")
    assert later.output_text == ""


async def test_what_is_finished_cannot_be_cancelled(
    client: openai.AsyncOpenAI, clock: LoopClock
) -> None:
    """
    Cancelling comes too late and returns the response as it is.
    """
    response = await client.responses.create(
        model="gpt-4o", input="slow", background=True
    )
    await clock.sleep(10)
    cancelled = await client.responses.cancel(response.id)

    assert cancelled.status == "completed"
    assert cancelled.output_text == "one two three four"
