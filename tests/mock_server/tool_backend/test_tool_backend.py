"""
The tools that the service calls.
"""

import pytest

from mock_server import LoopClock
from mock_server.testing import Ending, mock_in_test

pytestmark = pytest.mark.virtual_time

SCRIPT = """
tools:
  get_weather: {result: {city: "{{ arguments.city }}", temperature: 22}}
  flaky:
    script:
      - match: {execution: 1}
        status: 503
        error: {code: busy, message: Later.}
      - match: {arguments: {a.b: 1}}
        result: matched
    result: default
  failing: {error: {code: broken, message: Nothing works.}}
  approve: {deferred: true, result: {approved: true}}
  broken: {result: "{{ arguments.missing.deeper }}"}
"""


async def test_answers_from_the_script(clock: LoopClock) -> None:
    """
    The result is the script's, its templates filled in from the arguments.
    """
    async with mock_in_test(SCRIPT, clock=clock) as mock:
        answer = await mock.send(
            "POST",
            "/tools/get_weather",
            {"city": "Rome"},
            headers={"idempotency-key": "call_1"},
        )
        [executed] = mock.of("tool_executed")

    assert (answer.status, answer.json) == (200, {"city": "Rome", "temperature": 22})
    assert executed["tool"] == "get_weather"
    assert executed["tool_call_id"] == "call_1"
    assert executed["arguments"] == {"city": "Rome"}
    assert executed["execution_number"] == 1
    assert (executed["deferred"], executed["outcome"]) == (False, "complete")


async def test_counts_executions_under_one_key(clock: LoopClock) -> None:
    """
    A call that comes again runs again, and the second run is called the second.
    """
    async with mock_in_test(SCRIPT, clock=clock) as mock:
        for key in ("call_1", "call_1", "call_2"):
            await mock.send(
                "POST",
                "/tools/get_weather",
                {"city": "Rome"},
                headers={"idempotency-key": key},
            )
        executed = mock.of("tool_executed")

    assert [record["execution_number"] for record in executed] == [1, 2, 1]


async def test_answers_by_execution_and_arguments(clock: LoopClock) -> None:
    """
    The first rule that matches the execution and the arguments answers.
    """
    async with mock_in_test(SCRIPT, clock=clock) as mock:
        headers = {"idempotency-key": "call_1"}
        answers = [
            await mock.send("POST", "/tools/flaky", body, headers=headers)
            for body in ({}, {"a": {"b": 1}}, {"a": 1})
        ]

    assert [answer.status for answer in answers] == [503, 200, 200]
    assert [answer.json for answer in answers] == [
        {"error": {"code": "busy", "message": "Later."}},
        "matched",
        "default",
    ]


async def test_a_failing_tool_says_why(clock: LoopClock) -> None:
    """
    A scripted error is a 500 with its code and message; the tool ran.
    """
    async with mock_in_test(SCRIPT, clock=clock) as mock:
        answer = await mock.send("POST", "/tools/failing", {})

        assert len(mock.of("tool_executed")) == 1

    assert answer.status == 500
    assert answer.json["error"] == {"code": "broken", "message": "Nothing works."}


async def test_a_deferred_tool_is_accepted(clock: LoopClock) -> None:
    """
    A deferred tool answers 202 at once.
    """
    async with mock_in_test(SCRIPT, clock=clock) as mock:
        answer = await mock.send(
            "POST", "/tools/approve", {}, headers={"idempotency-key": "call_1"}
        )
        [executed] = mock.of("tool_executed")

    assert answer.status == 202
    assert answer.json == {"status": "accepted", "call_id": "call_1"}
    assert executed["deferred"] is True


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "code"),
    [
        ("POST", "/tools/unheard_of", b"{}", 404, "unknown_tool"),
        ("POST", "/tools/", b"{}", 404, "unknown_tool"),
        ("POST", "/tools/get_weather", b"[1]", 400, "invalid_arguments"),
        ("POST", "/tools/get_weather", b"{", 400, "invalid_arguments"),
        ("POST", "/tools/get_weather", b"", 400, "invalid_arguments"),
        ("GET", "/tools/get_weather", b"", 405, "method_not_allowed"),
        ("POST", "/tools/broken", b"{}", 500, "script_error"),
    ],
)
async def test_refuses_without_running(
    method: str, path: str, body: bytes, status: int, code: str, clock: LoopClock
) -> None:
    """
    What cannot be run is refused with its reason, and told as refused.
    """
    async with mock_in_test(SCRIPT, clock=clock) as mock:
        answer = await mock.send(method, path, body)

        assert mock.of("tool_executed") == []
        assert len(mock.of("tool_refused")) == 1

    assert answer.status == status
    assert answer.json["error"]["code"] == code


async def test_names_the_known_tools(clock: LoopClock) -> None:
    """
    An unknown tool is answered with the names of those there are.
    """
    async with mock_in_test(SCRIPT, clock=clock) as mock:
        answer = await mock.send("POST", "/tools/weather", {})

    assert (
        "approve, broken, failing, flaky, get_weather"
        in answer.json["error"]["message"]
    )


@pytest.mark.parametrize(
    ("fault", "kind", "ending"),
    [
        ("status", "tool_refused", Ending.CLOSED),
        ("black_hole", "tool_refused", Ending.STILL_OPEN),
        ("reset_before_headers", "tool_refused", Ending.RESET),
        ("slow", "tool_executed", Ending.CLOSED),
        ("never_answers", "tool_executed", Ending.STILL_OPEN),
        ("lost_reply", "tool_executed", Ending.CLOSED),
        ("lost_reply, how: reset", "tool_executed", Ending.RESET),
        ("not_json", "tool_executed", Ending.CLOSED),
        ("truncate", "tool_executed", Ending.CLOSED),
    ],
)
async def test_a_fault_says_whether_the_tool_ran(
    fault: str, kind: str, ending: Ending, clock: LoopClock
) -> None:
    """
    Some faults keep a tool from running; others lose the answer of one that ran.
    """
    script = f"tools: {{t: {{result: 1, faults: [{{fault: {fault}}}]}}}}"
    async with mock_in_test(script, clock=clock) as mock:
        answer = await mock.send("POST", "/tools/t", {}, wait_s=100)
        await clock.sleep(1)
        told = mock.of("tool_executed", "tool_refused")

    assert answer.ending is ending
    assert [record["kind"] for record in told] == [kind]
    assert told[0]["faults"] == [fault.partition(",")[0]]


async def test_a_lost_reply_runs_again(clock: LoopClock) -> None:
    """
    The classic double charge: it ran, the answer was lost, it is asked again.
    """
    script = "tools: {t: {result: 1, faults: [{fault: lost_reply, attempts: 1}]}}"
    async with mock_in_test(script, clock=clock) as mock:
        headers = {"idempotency-key": "call_1"}
        lost = await mock.send("POST", "/tools/t", {}, headers=headers)
        found = await mock.send("POST", "/tools/t", {}, headers=headers)
        executed = mock.of("tool_executed")

    assert (lost.raw, found.status) == (b"", 200)
    assert [record["execution_number"] for record in executed] == [1, 2]
    assert [record["status"] for record in executed] == [None, 200]


async def test_slow_adds_to_the_latency(clock: LoopClock) -> None:
    """
    A slow tool answers later by the fault's delay.
    """
    script = "tools: {t: {result: 1, latency: 1s, faults: [{fault: slow, delay: 4s}]}}"
    async with mock_in_test(script, clock=clock) as mock:
        answer = await mock.send("POST", "/tools/t", {})

    assert answer.first_byte_s == 5.0


async def test_belongs_to_the_world_of_its_trace(clock: LoopClock) -> None:
    """
    A tool that is called without a key is in the world in which its trace began.
    """
    trace = {"traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"}
    async with mock_in_test(SCRIPT, clock=clock) as mock:
        await mock.chat(headers=trace, api_key="sk-mine")
        await mock.send("POST", "/tools/failing", {}, headers=trace)
        [received] = mock.of("upstream_request_received")
        [executed] = mock.of("tool_executed")

    assert executed["world"] == received["world"]
    assert executed["trace_id"] == "4bf92f3577b34da6a3ce929d0e0e4736"
