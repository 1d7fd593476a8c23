"""
What the client tells its pipeline, and what the pipeline does with it.
"""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from aiohttp import web

from harness.bus import EventBus
from harness.clock import LoopClock
from harness.errors import UpstreamConnectionError
from harness.events import AttemptEnded, AttemptStarted, HedgeStarted
from harness.randomness import Randomness
from harness.resilience import (
    HedgingOptions,
    PipelineOptions,
    Pipelines,
    RateLimiterOptions,
)
from harness.testing import Recorder
from harness.upstream import ChatRequest, UpstreamClient, classify

pytestmark = pytest.mark.virtual_time

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]

REQUEST = ChatRequest(model="gpt-4o", messages=[{"role": "user", "content": "hi"}])
TOOL = {"type": "function", "function": {"name": "f", "parameters": {}}}


@pytest.fixture
def pipeline_options() -> PipelineOptions:
    """
    Return limits on requests and on tokens, and hedging after a few calls.
    """
    return PipelineOptions(
        hedging=HedgingOptions(samples_min=3, delay_min_s=1.0),
        rate_limiter=RateLimiterOptions(
            rate_per_s=10, burst=100, token_rate_per_s=100, token_burst=1000
        ),
    )


async def test_less_is_asked_when_the_peer_has_less_left(
    upstream: Any, client: UpstreamClient, clock: LoopClock
) -> None:
    """
    The headers of a good answer hold the next call back; no 429 is needed for that.
    """
    upstream.will_answer(
        b'{"choices": [{"message": {"content": "a"}, "finish_reason": "stop"}]}',
        x_ratelimit_limit_requests="10",
        x_ratelimit_remaining_requests="0",
        x_ratelimit_reset_requests="1m20s",
    )
    await client.complete(REQUEST)
    started_s = clock.monotonic()

    await client.complete(REQUEST)

    assert upstream.seen[1].at_s - started_s == pytest.approx(8.0, abs=0.01)


async def test_tokens_of_a_request_are_limited(
    upstream: Any, client: UpstreamClient, clock: LoopClock
) -> None:
    """
    What may be answered counts as well as what is asked.
    """
    upstream.will_say("hello")
    request = ChatRequest(
        model="gpt-4o", messages=REQUEST.messages, completion_tokens_max=600
    )
    await client.complete(request)
    started_s = clock.monotonic()

    await client.complete(request)

    # 1200 tokens and a few of the questions, less the burst of 1000, at 100/s.
    assert clock.monotonic() - started_s == pytest.approx(2.5, abs=0.3)


@pytest.mark.parametrize(
    ("tools", "stream", "hedges"),
    [((), False, 1), ((TOOL,), False, 0), ((), True, 0)],
    ids=["plain", "tools", "stream"],
)
async def test_only_plain_calls_are_hedged(
    upstream: Any,
    client: UpstreamClient,
    recorder: Recorder,
    chunk_of: Any,
    *,
    tools: tuple[Any, ...],
    stream: bool,
    hedges: int,
) -> None:
    """
    A second attempt runs beside a slow one, unless tools or a listener are involved.
    """
    for _ in range(3):
        upstream.will_say("hello")
    for _ in range(3):
        await client.complete(REQUEST)

    quick: Answer = upstream.answers[0]

    async def slow(request: web.Request) -> web.StreamResponse:
        await upstream.clock.sleep(5)
        if stream:
            body = chunk_of("hello", "stop") + b"data: [DONE]\n\n"
            return web.Response(body=body, content_type="text/event-stream")
        return await quick(request)

    upstream.answers[:] = [slow, quick] if hedges else [slow]

    heard = []

    async def listen(text: str) -> None:
        heard.append(text)

    request = ChatRequest(model="gpt-4o", messages=REQUEST.messages, tools=tools)
    answer = await client.complete(request, on_delta=listen if stream else None)

    assert answer.text == "hello"
    assert heard == (["hello"] if stream else [])
    assert len(recorder.of(HedgeStarted)) == hedges
    assert len(upstream.seen) == 4 + hedges


@pytest.mark.parametrize("end", ["close", "reset"])
async def test_nothing_below_retries(
    upstream: Any, client: UpstreamClient, recorder: Recorder, end: str
) -> None:
    """
    Each request that reaches the peer is told, also where a kept connection breaks.
    """
    upstream.will_say("hello")
    await client.complete(REQUEST)
    upstream.answers.clear()
    upstream.will_break(end)
    upstream.will_break(end)
    upstream.will_say("again")

    await client.complete(REQUEST)

    assert len(upstream.seen) == len(recorder.of(AttemptStarted)) == 4
    assert [ended.attempt_number for ended in recorder.of(AttemptEnded)] == [1, 1, 2, 3]


async def test_one_attempt_is_one_request_without_retries(
    upstream: Any,
    clock: LoopClock,
    bus: EventBus,
    randomness: Randomness,
    client: UpstreamClient,
) -> None:
    """
    With retries off a dropped connection is asked once; the library adds nothing.
    """
    client._pipelines = Pipelines(
        clock=clock,
        randomness=randomness,
        bus=bus,
        options_for=lambda _name: PipelineOptions(retry=None),
        classify=classify,
    )
    upstream.will_say("hello")
    await client.complete(REQUEST)
    upstream.answers.clear()
    upstream.will_break("close")

    with pytest.raises(UpstreamConnectionError):
        await client.complete(REQUEST)

    assert len(upstream.seen) == 2
