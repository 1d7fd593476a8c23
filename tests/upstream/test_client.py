import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from aiohttp import web

from harness.clock import LoopClock
from harness.errors import (
    AttemptTimeoutError,
    CircuitOpenError,
    DeadlineExceededError,
    UpstreamConnectionError,
    UpstreamError,
    UpstreamProtocolError,
    UpstreamStatusError,
)
from harness.events import AttemptEnded, RetryScheduled, trace_scope
from harness.ids import ToolCallId, TraceId
from harness.resilience import Deadline, Pipelines
from harness.testing import Recorder
from harness.upstream import (
    Breakage,
    ChatRequest,
    FinishReason,
    SubmittedOutput,
    UpstreamClient,
)

pytestmark = pytest.mark.virtual_time

REQUEST = ChatRequest(model="gpt-4o", messages=[{"role": "user", "content": "hi"}])
TRACE = TraceId("0af7651916cd43dd8448eb211c80319c")


async def ask(client: UpstreamClient, **others: Any) -> str | None:
    """
    Return the text of an answer.
    """
    return (await client.complete(REQUEST, **others)).text


async def test_asks(upstream: Any, client: UpstreamClient, api_key: str) -> None:
    """
    A request is one POST with the key, and its answer a completion.
    """
    upstream.will_say("Hello")

    completion = await client.complete(REQUEST)

    assert (completion.text, completion.finish_reason) == ("Hello", FinishReason.STOP)
    seen = upstream.seen[0]
    assert seen.path == "/v1/chat/completions"
    assert seen.body == {"model": "gpt-4o", "messages": list(REQUEST.messages)}
    assert seen.headers["authorization"] == f"Bearer {api_key}"
    assert seen.headers["content-type"] == "application/json"
    assert "traceparent" not in seen.headers


async def test_names_attempts(upstream: Any, client: UpstreamClient) -> None:
    """
    All attempts of a call carry its key and its trace; each has a span of its own.
    """
    upstream.will_answer(b"", status=500)
    upstream.will_say("Hello")

    with trace_scope(TRACE):
        await ask(client)
    await ask(client)

    first, second, other = (seen.headers for seen in upstream.seen)
    assert first["idempotency-key"] == second["idempotency-key"]
    assert first["idempotency-key"] != other["idempotency-key"]
    assert first["traceparent"].startswith(f"00-{TRACE}-")
    assert first["traceparent"].endswith("-01")
    assert first["traceparent"] != second["traceparent"]


async def test_sends_deadline(
    upstream: Any, client: UpstreamClient, clock: LoopClock
) -> None:
    """
    The peer is told how many milliseconds are left.
    """
    upstream.will_say("Hello")

    await ask(client, deadline=Deadline.after(clock, 2.5))

    assert 2000 < int(upstream.seen[0].headers["x-deadline-ms"]) <= 2500


@pytest.mark.parametrize("status", [408, 409, 429, 500, 502, 503, 504, 529])
async def test_retries_transient(
    upstream: Any, client: UpstreamClient, status: int
) -> None:
    """
    What may pass is asked for again.
    """
    upstream.will_answer(b"<html>sorry", status=status)
    upstream.will_say("Hello")

    assert await ask(client) == "Hello"
    assert len(upstream.seen) == 2


@pytest.mark.parametrize(
    ("status", "code"),
    [
        *[(status, "") for status in (302, 400, 401, 403, 404, 422, 501, 505)],
        (429, "insufficient_quota"),
    ],
)
async def test_spares_permanent(
    upstream: Any, client: UpstreamClient, status: int, code: str
) -> None:
    """
    What will not pass is asked once, and the error says what it was.
    """
    body = f'{{"error": {{"message": "no", "type": "t", "param": null, "code": "{code}"}}}}'
    upstream.will_answer(body.encode(), status=status, x_request_id="req_1")

    with pytest.raises(UpstreamStatusError) as caught:
        await ask(client)

    error = caught.value
    assert len(upstream.seen) == 1
    assert (error.status, error.message, error.code) == (status, "no", code)
    assert error.request_id == "req_1"


@pytest.mark.parametrize(
    ("headers", "delay_s"),
    [
        ({"retry_after": "7"}, 7.0),
        ({"retry_after_ms": "6500", "retry_after": "60"}, 6.5),
    ],
)
async def test_honours_retry_after(
    upstream: Any, client: UpstreamClient, headers: dict[str, str], delay_s: float
) -> None:
    """
    No attempt comes before the peer wants it.
    """
    upstream.will_answer(b"", status=429, **headers)
    upstream.will_say("Hello")

    await ask(client)

    first, second = upstream.seen
    assert second.at_s - first.at_s >= delay_s


@pytest.mark.parametrize(
    ("status", "should_retry", "attempts"), [(500, "false", 1), (400, "true", 2)]
)
async def test_honours_should_retry(
    upstream: Any,
    client: UpstreamClient,
    status: int,
    should_retry: str,
    attempts: int,
) -> None:
    """
    The peer's own word on retrying overrides the table.
    """
    upstream.will_answer(b"", status=status, x_should_retry=should_retry)
    upstream.will_answer(b"", status=404)

    with pytest.raises(UpstreamStatusError):
        await ask(client)

    assert len(upstream.seen) == attempts


@pytest.mark.parametrize(
    ("body", "content_type", "reason"),
    [
        (b"", "application/json", Breakage.EMPTY_BODY),
        (b"<html>gateway", "text/html", Breakage.HTML),
        (b'{"choices": [{"index": 0', "application/json", Breakage.MALFORMED_JSON),
        (b'{"choices": []}', "application/json", Breakage.NO_CHOICES),
        (b" " * 100_001, "application/json", Breakage.TOO_LARGE),
    ],
)
async def test_rejects_broken(
    upstream: Any,
    client: UpstreamClient,
    recorder: Recorder,
    body: bytes,
    content_type: str,
    reason: Breakage,
) -> None:
    """
    A broken answer with status 200 never becomes a success, and counts as a failure.
    """
    upstream.will_answer(body, content_type=content_type)

    with pytest.raises(UpstreamProtocolError) as caught:
        await ask(client)

    assert caught.value.reason == reason
    assert {event.outcome for event in recorder.of(AttemptEnded)} == {"failure"}
    # A larger answer would be as large again.
    assert len(upstream.seen) == (1 if reason is Breakage.TOO_LARGE else 3)


@pytest.mark.parametrize(
    ("end", "reasons"), [("close", {"closed"}), ("reset", {"reset", "closed"})]
)
async def test_retries_lost_connection(
    upstream: Any,
    client: UpstreamClient,
    recorder: Recorder,
    end: str,
    reasons: set[str],
) -> None:
    """
    A connection that ends without an answer, or within one, is tried again.
    """
    upstream.will_break(end)
    upstream.will_stream(b'{"choices"', end=end, content_type="application/json")
    upstream.will_say("Hello")

    assert await ask(client) == "Hello"
    assert {event.reason for event in recorder.of(RetryScheduled)} <= reasons


async def test_reports_refused_connection(
    client_of: Callable[[str], UpstreamClient],
) -> None:
    """
    Where nobody listens, the error says so.
    """
    with pytest.raises(UpstreamConnectionError) as caught:
        await ask(client_of("http://127.0.0.1:1/v1"))

    assert caught.value.reason == "refused"


async def test_bounds_hang(
    upstream: Any, client: UpstreamClient, clock: LoopClock
) -> None:
    """
    An upstream that does not answer is left at the deadline, and sees that it was.
    """
    upstream.will_break("hang")
    started_s = clock.monotonic()

    with pytest.raises((AttemptTimeoutError, DeadlineExceededError)):
        await ask(client, deadline=Deadline.after(clock, 45.0))

    assert clock.monotonic() - started_s <= 45.0
    for seen in upstream.seen:
        await seen.gone.wait()


async def test_bounds_drip(
    upstream: Any, client: UpstreamClient, clock: LoopClock
) -> None:
    """
    A body that comes a byte at a time has no more time than any other.
    """
    upstream.will_stream(*[b" "] * 1000, delay_s=1.0, content_type="application/json")
    started_s = clock.monotonic()

    with pytest.raises((AttemptTimeoutError, DeadlineExceededError)):
        await ask(client, deadline=Deadline.after(clock, 20.0))

    assert clock.monotonic() - started_s <= 20.0


async def test_does_not_wait_for_error_body(
    upstream: Any, client: UpstreamClient, clock: LoopClock
) -> None:
    """
    An error whose body does not end is known by its head.
    """

    async def answer(request: Any) -> Any:
        response = web.StreamResponse(status=404)
        await response.prepare(request)
        await clock.sleep(3600.0)
        return response

    upstream.answers.append(answer)
    started_s = clock.monotonic()

    with pytest.raises(UpstreamStatusError) as caught:
        await ask(client)

    assert caught.value.status == 404
    assert clock.monotonic() - started_s == pytest.approx(1.0)


async def test_cancels_upstream(upstream: Any, client: UpstreamClient) -> None:
    """
    A caller that gives up closes the connection: the upstream sees it at once.
    """
    upstream.will_break("hang")

    async with asyncio.TaskGroup() as tasks:
        asking = tasks.create_task(ask(client))
        await upstream.was_asked.wait()
        asking.cancel()

    await upstream.seen[0].gone.wait()
    assert asking.cancelled()
    assert len(upstream.seen) == 1


async def test_reuses_connections(upstream: Any, client: UpstreamClient) -> None:
    """
    Whole answers leave their connection for the next call.
    """
    ports: set[int] = set()
    upstream.will_say("Hello")
    say = upstream.answers.pop()

    async def answer(request: Any) -> Any:
        ports.add(request.transport.get_extra_info("peername")[1])
        return await say(request)

    upstream.answers.append(answer)

    for _ in range(3):
        await ask(client)

    assert len(ports) == 1


@pytest.mark.parametrize("status", [400, 500])
async def test_hides_key(
    upstream: Any, client: UpstreamClient, api_key: str, status: int
) -> None:
    """
    A peer that quotes our key back does not get it into any error.
    """
    body = f'{{"error": {{"message": "bad key {api_key}", "code": "{api_key}"}}}}'
    upstream.will_answer(body.encode(), status=status, x_request_id=api_key)

    with pytest.raises(UpstreamStatusError) as caught:
        await ask(client)

    error: BaseException | None = caught.value
    while error is not None:
        assert api_key not in f"{error} {error!r} {vars(error)}"
        error = error.__cause__ or error.__context__
    assert api_key not in repr(client._options)


async def test_hides_key_in_transport_errors(
    client_of: Callable[[str], UpstreamClient], api_key: str, clock: LoopClock
) -> None:
    """
    What is no HTTP is an error without the headers that were sent.
    """

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)
        writer.write(b"SSH-2.0-OpenSSH_9.6\r\n\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        client = client_of(f"http://127.0.0.1:{port}/v1")
        with pytest.raises(UpstreamError) as caught:
            await ask(client, deadline=Deadline.after(clock, 0.4))

    error: BaseException | None = caught.value
    assert isinstance(error, UpstreamProtocolError)
    assert error.reason == Breakage.NOT_HTTP
    while error is not None:
        assert api_key not in f"{error} {error!r} {vars(error)}"
        error = error.__cause__ or error.__context__


async def test_opens_circuit_of_model(
    upstream: Any, client: UpstreamClient, pipelines: Pipelines
) -> None:
    """
    Each model has its own circuit; what fails for one leaves the others alone.
    """
    upstream.will_answer(b"", status=500)
    for _ in range(2):
        with pytest.raises((UpstreamStatusError, CircuitOpenError)):
            await ask(client)
    seen = len(upstream.seen)

    with pytest.raises(CircuitOpenError):
        await ask(client)

    assert len(upstream.seen) == seen
    upstream.answers.clear()
    upstream.will_say("Hello")
    other = ChatRequest(model="gpt-4o-mini", messages=REQUEST.messages)
    assert (await client.complete(other)).text == "Hello"
    assert {circuit.name for circuit in pipelines.circuits()} == {
        "upstream/gpt-4o",
        "upstream/gpt-4o-mini",
    }


async def test_submits_tool_output(upstream: Any, client: UpstreamClient) -> None:
    """
    A run is given its output; a retry names the same submission.
    """
    upstream.will_answer(b"", status=503)
    upstream.will_answer(b'{"id": "run_1", "status": "completed"}')

    submitted = await client.submit_tool_output(
        "run_1", ToolCallId("call_a"), '{"x":1}'
    )

    assert submitted == SubmittedOutput(run_id="run_1", status="completed")
    assert [seen.path for seen in upstream.seen] == ["/v1/runs/submit-tool-outputs"] * 2
    assert upstream.seen[1].body == {
        "run_id": "run_1",
        "tool_call_id": "call_a",
        "output": '{"x":1}',
    }
    assert {seen.headers["idempotency-key"] for seen in upstream.seen} == {
        "run_1/call_a"
    }
