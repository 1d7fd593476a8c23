"""
Limits of an API key: they refill continuously, and what they say is true.
"""

import asyncio
from typing import Any

import pytest

from mock_server.quotas import Bucket, go_duration, window_of
from mock_server.testing import MockInTest, RawAnswer, mock_in_test

virtual = pytest.mark.virtual_time

ROOM = "x-ratelimit-"


def room(answer: RawAnswer) -> dict[str, str]:
    """
    Return what an answer says of the limits.
    """
    return {
        name.removeprefix(ROOM): value
        for name, value in answer.headers.items()
        if name.startswith(ROOM)
    }


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"),
        (0.008, "8ms"),
        (0.12, "120ms"),
        (0.0001, "1ms"),
        (1, "1s"),
        (1.5, "1.5s"),
        (59.999, "59.999s"),
        (60, "1m0s"),
        (360, "6m0s"),
        (3600, "1h0m0s"),
        (3723, "1h2m3s"),
        (86_400, "24h0m0s"),
    ],
)
def test_durations_are_written_as_go_does(seconds: float, text: str) -> None:
    """
    Durations in headers have the API's odd form.
    """
    assert go_duration(seconds) == text


def test_a_bucket_refills_to_its_capacity_and_no_further() -> None:
    """
    What is spent comes back at the rate, and an unused account does not grow.
    """
    bucket = Bucket(rate_per_s=2.0, capacity=10, level=0.0, updated_s=100.0)
    levels = []
    for now_s in (100.5, 102.0, 1000.0):
        bucket.refill(now_s)
        levels.append(bucket.level)

    assert levels == [1.0, 4.0, 10.0]
    assert bucket.wait_s(14) == 2.0


@virtual
async def test_requests_are_limited_and_told() -> None:
    """
    The third request of two per minute is refused, and let in when it is told to come.
    """
    async with mock_in_test("upstream: {quotas: {requests: 2/min}}") as mock:
        first, second, third = [await mock.chat(f"{number}") for number in range(3)]
        wait_s = int(third.headers["retry-after-ms"]) / 1000
        await mock.clock.sleep(wait_s - 0.01)
        early = await mock.chat("early")
        await mock.clock.sleep(0.011)
        late = await mock.chat("late")

    assert [a.status for a in (first, second, third, early, late)] == [
        200,
        200,
        429,
        429,
        200,
    ]
    assert room(first) == {
        "limit-requests": "2",
        "remaining-requests": "1",
        "reset-requests": "30s",
    }
    assert room(second)["reset-requests"] == "1m0s"
    assert third.headers["retry-after"] == "30"
    error = third.json["error"]
    assert error["type"] == "requests"
    assert error["code"] == "rate_limit_exceeded"
    assert (
        "on requests per min (RPM): Limit 2, Used 2, Requested 1. Please try again in"
        in error["message"]
    )


@virtual
async def test_tokens_are_limited() -> None:
    """
    A request costs its prompt and what it may be answered, whatever is answered.
    """
    script = "upstream: {quotas: {tokens: 600/min}}"
    async with mock_in_test(script) as mock:
        first = await mock.chat("x" * 400, max_tokens=193)
        left = int(room(first)["remaining-tokens"])
        second = await mock.chat("x" * 400, max_tokens=300)
        await mock.clock.sleep(int(second.headers["retry-after-ms"]) / 1000)
        third = await mock.chat("x" * 400, max_tokens=300)
        large = await mock.chat("x" * 4000)

    assert left == 600 - 100 - 7 - 193
    assert (second.status, third.status) == (429, 200)
    assert second.json["error"]["type"] == "tokens"
    assert (
        "(TPM): Limit 600, Used 300, Requested 407." in second.json["error"]["message"]
    )
    assert large.status == 429
    assert "retry-after" not in large.headers
    assert large.json["error"]["message"].startswith("Request too large for gpt-4o")


@virtual
async def test_concurrent_requests_are_limited() -> None:
    """
    As many are answered at once as allowed; one that ends makes room.
    """
    script = """
    upstream: {quotas: {concurrency: 2}, latency: {time_to_first_token: 5s}}
    """
    async with mock_in_test(script) as mock, asyncio.TaskGroup() as tasks:
        started = [tasks.create_task(mock.chat(f"{number}")) for number in range(3)]
        await asyncio.wait(started)
        later = await mock.chat("later")

    statuses = sorted(task.result().status or 0 for task in started)
    assert statuses == [200, 200, 429]
    assert later.status == 200


@virtual
async def test_a_client_that_leaves_gives_its_slot_back() -> None:
    """
    An answer that nobody reads any more does not hold its slot.
    """
    script = """
    upstream: {quotas: {concurrency: 1}, latency: {time_to_first_token: 1h}}
    """
    async with mock_in_test(script) as mock:
        for _ in range(3):
            answer = await mock.chat("x", wait_s=1)
            assert answer.status is None
            await mock.clock.sleep(1)
        ended = mock.of("upstream_request_ended")

    assert [record["outcome"] for record in ended] == ["abandoned"] * 3


@virtual
async def test_every_key_has_its_own_account() -> None:
    """
    One key's requests cost another nothing, and models may have accounts of their own.
    """
    script = """
    upstream:
      quotas: {requests: 1/min, models: {"gpt-5*": {requests: 2/min}}}
    """
    async with mock_in_test(script) as mock:
        answers = [
            await mock.chat("a"),
            await mock.chat("b"),
            await mock.chat("c", model="gpt-5"),
            await mock.chat("d", model="gpt-5-mini"),
            await mock.chat("e", model="gpt-5"),
            await mock.chat("f", api_key="sk-other"),
        ]

    assert [a.status for a in answers] == [200, 429, 200, 200, 429, 200]


@virtual
@pytest.mark.parametrize("stream", [False, True])
async def test_errors_and_streams_tell_too(*, stream: bool) -> None:
    """
    Refused requests cost one, and every answer says what is left.
    """
    script = """
    upstream: {quotas: {requests: 10/min}, script: [{reply: {error: {status: 500}}}]}
    """
    async with mock_in_test(script) as mock:
        failed = await mock.chat("a", stream=stream)
        invalid = await mock.chat("b", stream=stream, temperature=9)

    assert (failed.status, room(failed)["remaining-requests"]) == (500, "9")
    assert (invalid.status, room(invalid)["remaining-requests"]) == (400, "8")


@virtual
async def test_a_refused_request_does_not_move_the_script() -> None:
    """
    What a quota refused is answered by the same reply of the sequence later.
    """
    script = """
    upstream:
      quotas: {requests: 60/min, period: 1s}
      script: [{reply: [{text: one}, {text: two}, {text: three}]}]
    """
    async with mock_in_test(script) as mock:
        trace = {"traceparent": f"00-{1:032x}-00f067aa0ba902b7-01"}
        texts = []
        for _ in range(3):
            answer = await mock.chat("x", headers=trace)
            while answer.status == 429:
                await mock.clock.sleep(int(answer.headers["retry-after-ms"]) / 1000)
                answer = await mock.chat("x", headers=trace)
            texts.append(answer.json["choices"][0]["message"]["content"])
        received = mock.of("upstream_request_received")

    assert texts == ["one", "two", "three"]
    assert [r["quota"] for r in received if "quota" in r] == ["requests"] * 2


@virtual
async def test_accounts_are_new_after_a_reset() -> None:
    """
    A reset fills every account.
    """
    async with mock_in_test("upstream: {quotas: {requests: 1/min}}") as mock:
        await mock.chat("a")
        refused = await mock.chat("b")
        await mock.send("POST", "/_mock/reset")
        allowed = await mock.chat("c")

    assert (refused.status, allowed.status) == (429, 200)


@virtual
async def test_without_quotas_there_is_room_to_spare() -> None:
    """
    The headers of an account without limits are always the same.
    """
    async with mock_in_test() as mock:
        rooms = [room(await mock.chat(f"{number}")) for number in range(2)]

    assert rooms[0] == rooms[1]
    assert rooms[0]["limit-requests"] == "10000"


@pytest.mark.parametrize(
    ("model", "tokens"),
    [
        ("gpt-4", 8192),
        ("gpt-4-0613", 8192),
        ("gpt-4o-mini", 128_000),
        ("gpt-4.1-nano", 1_047_576),
        ("mine", 100),
        ("mine-2", 200),
        ("of nobody", None),
    ],
)
def test_windows(model: str, tokens: int | None) -> None:
    """
    A model's own window counts before a pattern's, a script's before a known one.
    """
    assert window_of(model, {"mine*": 200, "mine": 100}) == tokens


async def _ask(mock: MockInTest, size: int, **more: Any) -> RawAnswer:
    return await mock.chat("x" * size, model="small", **more)


@virtual
async def test_a_context_window_counts() -> None:
    """
    A chat that the model cannot hold is refused in the API's words.
    """
    script = "upstream: {quotas: {context_windows: {small: 100}}}"
    async with mock_in_test(script) as mock:
        fits = await _ask(mock, 4 * 93)
        over = await _ask(mock, 4 * 94)
        with_reply = await _ask(mock, 4 * 90, max_tokens=4)
        stream = await _ask(mock, 4 * 94, stream=True)

    assert fits.status == 200
    assert over.json["error"] == {
        "message": "This model's maximum context length is 100 tokens. However, your "
        "messages resulted in 101 tokens. Please reduce the length of the messages.",
        "type": "invalid_request_error",
        "param": "messages",
        "code": "context_length_exceeded",
    }
    assert (
        "(97 in the messages, 4 in the completion)"
        in with_reply.json["error"]["message"]
    )
    assert (stream.status, stream.headers["content-type"]) == (400, "application/json")
