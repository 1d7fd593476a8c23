import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from harness.clock import LoopClock
from harness.errors import (
    LimitExceededError,
    UpstreamConnectionError,
    UpstreamError,
    UpstreamProtocolError,
    UpstreamStatusError,
)
from harness.events import AttemptEnded, RetryGaveUp
from harness.testing import Recorder
from harness.upstream import Breakage, ChatRequest, Completion, UpstreamClient

pytestmark = pytest.mark.virtual_time

REQUEST = ChatRequest(model="gpt-4o", messages=[{"role": "user", "content": "hi"}])
DONE = b"data: [DONE]\n\n"

Chunks = Callable[..., bytes]


class Listener:
    """
    Keeps what it was told.
    """

    def __init__(self) -> None:
        self.texts: list[str] = []

    async def __call__(self, text: str) -> None:
        """
        Keep a text.
        """
        self.texts.append(text)


async def stream(client: UpstreamClient, listener: Any = None) -> Completion:
    """
    Return a streamed answer.
    """
    return await client.complete(REQUEST, on_delta=listener or Listener())


async def test_streams(upstream: Any, client: UpstreamClient, chunk_of: Chunks) -> None:
    """
    Each piece of text is passed on when it comes; the whole is the answer.
    """
    data = chunk_of("Hel") + chunk_of("lo €") + chunk_of(finish_reason="stop") + DONE
    upstream.will_stream(*[data[n : n + 7] for n in range(0, len(data), 7)])
    listener = Listener()

    completion = await stream(client, listener)

    assert completion.text == "Hello €"
    assert listener.texts == ["Hel", "lo €"]
    seen = upstream.seen[0]
    assert seen.body["stream"] is True
    assert seen.body["stream_options"] == {"include_usage": True}
    assert seen.headers["accept"] == "text/event-stream"


async def test_passes_on_at_once(
    upstream: Any, client: UpstreamClient, chunk_of: Chunks, clock: LoopClock
) -> None:
    """
    No piece waits for the next one.
    """
    upstream.will_stream(
        chunk_of("a"), chunk_of("b"), chunk_of(finish_reason="stop"), delay_s=2.0
    )
    started_s = clock.monotonic()
    times: list[float] = []

    async def listen(_text: str) -> None:
        times.append(round(clock.monotonic() - started_s, 3))

    await stream(client, listen)

    assert times == [2.0, 4.0]


async def test_needs_no_done(
    upstream: Any, client: UpstreamClient, chunk_of: Chunks
) -> None:
    """
    A stream that said why it stopped is whole without its last line.
    """
    upstream.will_stream(chunk_of("Hello") + chunk_of(finish_reason="stop"))

    assert (await stream(client)).text == "Hello"


@pytest.mark.parametrize("end", ["hang", "close", "reset"])
async def test_ends_at_done(
    upstream: Any,
    client: UpstreamClient,
    chunk_of: Chunks,
    clock: LoopClock,
    end: str,
) -> None:
    """
    Whatever happens behind the last line neither delays nor spoils the answer.
    """
    upstream.will_stream(chunk_of("Hello", "stop"), DONE, end=end, delay_s=0.01)
    started_s = clock.monotonic()

    assert (await stream(client)).text == "Hello"
    assert clock.monotonic() - started_s < 0.2
    await upstream.seen[0].gone.wait()


@pytest.mark.parametrize("end", ["end", "close", "reset"])
async def test_retries_before_first_text(
    upstream: Any, client: UpstreamClient, chunk_of: Chunks, end: str
) -> None:
    """
    A stream that breaks before any text reached the caller is asked for again.
    """
    upstream.will_stream(chunk_of(""), delay_s=0.01, end=end)
    upstream.will_stream(chunk_of("Hello"), chunk_of(finish_reason="stop"), DONE)
    listener = Listener()

    completion = await stream(client, listener)

    assert (completion.text, listener.texts) == ("Hello", ["Hello"])
    assert len(upstream.seen) == 2


@pytest.mark.parametrize(
    ("end", "error"),
    [
        ("end", UpstreamProtocolError),
        ("close", UpstreamConnectionError),
        ("reset", UpstreamConnectionError),
    ],
)
async def test_does_not_repeat_text(
    upstream: Any,
    client: UpstreamClient,
    chunk_of: Chunks,
    recorder: Recorder,
    end: str,
    error: type[UpstreamError],
) -> None:
    """
    Once text has reached the caller, a broken stream fails the call.
    """
    upstream.will_stream(chunk_of("Hel"), delay_s=0.01, end=end)
    listener = Listener()

    with pytest.raises(error):
        await stream(client, listener)

    assert listener.texts == ["Hel"]
    assert len(upstream.seen) == 1
    assert recorder.of(AttemptEnded)[0].outcome == "failure"
    assert recorder.of(RetryGaveUp)[0].reason == "committed"


async def test_refuses_cut_after_finish(
    upstream: Any, client: UpstreamClient, chunk_of: Chunks
) -> None:
    """
    A connection that breaks before the stream ended is no clean end.
    """
    upstream.will_stream(chunk_of("Hello", "stop"), delay_s=0.01, end="close")

    with pytest.raises(UpstreamConnectionError):
        await stream(client)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", Breakage.EMPTY_BODY),
        (b"<!doctype html><p>bad gateway\n\n</p>", Breakage.HTML),
        (b'{"choices": [{"message": {"content": "x"}}]}', Breakage.NOT_A_STREAM),
        (b'{"choices"', Breakage.MALFORMED_JSON),
        (b"upstream connect error", Breakage.TRUNCATED),
        (b": only a comment\n\n", Breakage.TRUNCATED),
        (DONE, Breakage.TRUNCATED),
        (b"data: {\n\n", Breakage.MALFORMED_JSON),
        (b"x" * 100_001, Breakage.TOO_LARGE),
        (b": ping\n\n" * 20_000, Breakage.TOO_LARGE),
    ],
)
@pytest.mark.parametrize("content_type", ["text/event-stream", "application/json"])
async def test_rejects_broken(
    upstream: Any,
    client: UpstreamClient,
    body: bytes,
    content_type: str,
    reason: Breakage,
) -> None:
    """
    What is no stream, or a broken one, never becomes a success.
    """
    upstream.will_answer(body, content_type=content_type)

    with pytest.raises(UpstreamProtocolError) as caught:
        await stream(client)

    assert caught.value.reason == reason


@pytest.mark.parametrize(
    ("fragments", "reason"),
    [
        ([b"<!doc", b"type html>", b"<p>bad gateway"], Breakage.HTML),
        ([b": ping\n\n" * 5000] * 3, Breakage.TOO_LARGE),
    ],
)
async def test_rejects_broken_pieces(
    upstream: Any,
    client: UpstreamClient,
    fragments: list[bytes],
    reason: Breakage,
) -> None:
    """
    What comes in pieces is counted and looked at as a whole.
    """
    upstream.will_stream(*fragments, delay_s=0.01)

    with pytest.raises(UpstreamProtocolError) as caught:
        await stream(client)

    assert caught.value.reason == reason


async def test_reuses_connections(
    upstream: Any, client: UpstreamClient, chunk_of: Chunks
) -> None:
    """
    A stream that ends behind its last line leaves its connection for the next call.
    """
    upstream.will_stream(chunk_of("Hello", "stop"), DONE, delay_s=0.01)
    ports: set[int] = set()
    answer = upstream.answers.pop()

    async def noted(request: Any) -> Any:
        ports.add(request.transport.get_extra_info("peername")[1])
        return await answer(request)

    upstream.answers.append(noted)

    for _ in range(3):
        await stream(client)

    assert len(ports) == 1


async def test_ignores_content_type(
    upstream: Any, client: UpstreamClient, chunk_of: Chunks
) -> None:
    """
    A stream under a wrong content type is a stream, as for every client.
    """
    upstream.will_answer(chunk_of("Hello", "stop"), content_type="application/json")

    assert (await stream(client)).text == "Hello"


@pytest.mark.parametrize("within", [True, False])
async def test_raises_reported_error(
    upstream: Any, client: UpstreamClient, chunk_of: Chunks, *, within: bool
) -> None:
    """
    An error in the stream, or in its place, is raised with its words.
    """
    report = b'{"error": {"message": "no", "code": "insufficient_quota"}}'
    event = b"data: " + report + b"\n\n"
    upstream.will_answer(chunk_of("") + event if within else report)

    with pytest.raises(UpstreamStatusError) as caught:
        await stream(client)

    assert (caught.value.status, caught.value.code) == (200, "insufficient_quota")
    assert len(upstream.seen) == 1


@pytest.mark.parametrize(
    "raised", [ConnectionResetError("caller left"), ValueError("bug"), TimeoutError()]
)
async def test_blames_nobody_for_listener(
    upstream: Any,
    client: UpstreamClient,
    chunk_of: Chunks,
    recorder: Recorder,
    raised: Exception,
) -> None:
    """
    What the listener raises ends the call as it is, and says nothing of the upstream.
    """
    upstream.will_stream(*[chunk_of("x")] * 1000, delay_s=0.1)

    async def listen(_text: str) -> None:
        raise raised

    with pytest.raises(type(raised)) as caught:
        await stream(client, listen)

    assert caught.value is raised
    assert recorder.of(AttemptEnded)[0].outcome == "ignored"
    await upstream.seen[0].gone.wait()
    assert len(upstream.seen) == 1


@pytest.mark.parametrize("each_s", [3600.0, 4.0])
async def test_blames_slow_listener(
    upstream: Any,
    client: UpstreamClient,
    chunk_of: Chunks,
    recorder: Recorder,
    clock: LoopClock,
    each_s: float,
) -> None:
    """
    A caller that does not take its text in time is not taken for a slow upstream.
    """
    upstream.will_stream(*[chunk_of("x")] * 1000)

    async def listen(_text: str) -> None:
        await clock.sleep(each_s)

    with pytest.raises(LimitExceededError, match="listener_timeout_s is 15"):
        await stream(client, listen)

    assert recorder.of(AttemptEnded)[0].outcome == "ignored"
    await upstream.seen[0].gone.wait()


async def test_notes_facts(
    upstream: Any, client: UpstreamClient, chunk_of: Chunks, recorder: Recorder
) -> None:
    """
    Status and request id of the answer stand in the attempt's event.
    """
    upstream.will_answer(
        chunk_of("x", "stop"), content_type="text/event-stream", x_request_id="req_1"
    )

    await stream(client)

    ended = recorder.of(AttemptEnded)[0]
    assert (ended.status, ended.request_id, ended.reason) == (200, "req_1", "ok")


async def test_cancels_upstream(
    upstream: Any, client: UpstreamClient, chunk_of: Chunks
) -> None:
    """
    A caller that leaves in the middle of a stream closes the connection.
    """
    upstream.will_stream(*[chunk_of("x")] * 1000, delay_s=0.1)
    told = asyncio.Event()

    async def listen(_text: str) -> None:
        told.set()

    async with asyncio.TaskGroup() as tasks:
        streaming = tasks.create_task(stream(client, listen))
        await told.wait()
        streaming.cancel()

    await upstream.seen[0].gone.wait()
    assert streaming.cancelled()
