"""
Every fault of an answering surface, plain and streamed, pinned on the bytes it sends.
"""

import re
from collections.abc import Callable
from pathlib import Path

import orjson
import pytest

from mock_server import LoopClock
from mock_server.faults import CATALOGUE, Target
from mock_server.testing import Ending, RawAnswer, mock_in_test

pytestmark = pytest.mark.virtual_time

SCRIPT = """
upstream:
  script: [{reply: {text: "one two three four"}}]
  latency: {time_to_first_token: 1s, inter_token: 1s}
  faults: [%s]
"""
TOOL_SCRIPT = """
upstream:
  script:
    - match: {turn: 1}
      reply: {tool_calls: [{name: get_weather, arguments: {city: Paris}}]}
  faults: [%s]
"""
TOOLS = [
    {"type": "function", "function": {"name": "get_weather", "parameters": {}}},
]


async def _ask(clock: LoopClock, fault: str, *, stream: bool) -> RawAnswer:
    async with mock_in_test(SCRIPT % fault, clock=clock) as mock:
        return await mock.chat(stream=stream, wait_s=1000)


def _error_of(answer: RawAnswer) -> dict[str, object]:
    assert answer.is_whole
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-request-id"].startswith("req_")
    error = answer.json["error"]
    assert set(error) == {"message", "type", "param", "code"}
    return dict(error)


def _is_status_503(answer: RawAnswer, *, stream: bool) -> None:
    del stream
    assert answer.head.startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
    assert _error_of(answer)["type"] == "server_error"


def _is_rate_limited(answer: RawAnswer, *, stream: bool) -> None:
    del stream
    assert answer.status == 429
    assert answer.headers["retry-after"] == "1"
    assert _error_of(answer)["code"] == "rate_limit_exceeded"


def _is_quota_exhausted(answer: RawAnswer, *, stream: bool) -> None:
    del stream
    assert answer.status == 429
    assert "retry-after" not in answer.headers
    error = _error_of(answer)
    assert (error["type"], error["code"]) == ("insufficient_quota",) * 2


def _is_html(answer: RawAnswer, *, stream: bool) -> None:
    del stream
    assert answer.status == 502
    assert answer.headers["content-type"] == "text/html; charset=UTF-8"
    assert answer.body.startswith(b"<html>")


def _is_empty(answer: RawAnswer, *, stream: bool) -> None:
    assert answer.status == 200
    assert answer.is_whole
    assert answer.framed == (b"0\r\n\r\n" if stream else b"")


def _is_redirect(answer: RawAnswer, *, stream: bool) -> None:
    del stream
    assert answer.status == 307
    assert answer.headers["location"].startswith("http://169.254.169.254/")


def _is_silence(answer: RawAnswer, *, stream: bool) -> None:
    del stream
    assert (answer.raw, answer.ending) == (b"", Ending.STILL_OPEN)


def _is_reset(answer: RawAnswer, *, stream: bool) -> None:
    del stream
    assert (answer.raw, answer.ending) == (b"", Ending.RESET)


def _is_closed(answer: RawAnswer, *, stream: bool) -> None:
    del stream
    assert (answer.raw, answer.ending) == (b"", Ending.CLOSED)


def _is_late(answer: RawAnswer, *, stream: bool) -> None:
    # 1 s of the fault, then 1 s to the first token.
    assert answer.first_byte_s == 2.0
    assert answer.is_whole
    assert answer.last_byte_s == (6.0 if stream else 2.0)


def _is_cut(answer: RawAnswer, *, stream: bool) -> None:
    assert answer.status == 200
    assert answer.ending is Ending.CLOSED
    assert not answer.is_whole
    if stream:
        assert len(answer.events) == 1
        assert orjson.loads(answer.events[0])["choices"][0]["delta"]["role"]
    else:
        assert len(answer.framed) == int(answer.headers["content-length"]) // 2


def _is_truncated(answer: RawAnswer, *, stream: bool) -> None:
    assert answer.status == 200
    assert answer.is_whole
    assert b"[DONE]" not in answer.body
    if stream:
        deltas = [orjson.loads(event)["choices"][0] for event in answer.events]
        assert [delta["delta"].get("content") for delta in deltas] == [
            "",
            "one",
            " two",
        ]
        assert {delta["finish_reason"] for delta in deltas} == {None}
    else:
        with pytest.raises(orjson.JSONDecodeError):
            _ = answer.json


def _is_stalled(answer: RawAnswer, *, stream: bool) -> None:
    assert answer.is_whole
    if stream:
        assert answer.events[-1] == b"[DONE]"
        # One event at 1 s, then 30 s, then four pieces at 1 s each.
        assert (answer.first_byte_s, answer.last_byte_s) == (1.0, 35.0)
    else:
        # The headers come at once, and the body's own second after the pause.
        assert (answer.first_byte_s, answer.last_byte_s) == (0.0, 31.0)
        assert answer.json["choices"]


def _is_malformed(answer: RawAnswer, *, stream: bool) -> None:
    assert answer.is_whole
    if not stream:
        assert answer.body.startswith(b'{"id" "chatcmpl-')
        return
    broken = [event for event in answer.events if event.startswith(b'{"id" "')]
    assert [answer.events.index(event) for event in broken] == [1]
    assert answer.events[-1] == b"[DONE]"


def _is_not_json(answer: RawAnswer, *, stream: bool) -> None:
    del stream
    assert answer.status == 200
    assert answer.is_whole
    assert answer.body == b"OK, done!"


Check = Callable[..., None]
PINNED: dict[str, Check] = {
    "status": _is_status_503,
    "rate_limited": _is_rate_limited,
    "quota_exhausted": _is_quota_exhausted,
    "html_page": _is_html,
    "empty_body": _is_empty,
    "redirect_to": _is_redirect,
    "black_hole": _is_silence,
    "reset_before_headers": _is_reset,
    "close_before_headers": _is_closed,
    "slow_headers": _is_late,
    "disconnect": _is_cut,
    "truncate": _is_truncated,
    "stall": _is_stalled,
    "malformed_event": _is_malformed,
    "not_json": _is_not_json,
}


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])
@pytest.mark.parametrize("name", PINNED)
async def test_sends_these_bytes(name: str, stream: bool, clock: LoopClock) -> None:  # noqa: FBT001 - a parameter of the matrix
    """
    A fault does on the wire what the catalogue says, plain and streamed.
    """
    async with mock_in_test(SCRIPT % f"{{fault: {name}}}", clock=clock) as mock:
        answer = await mock.chat(stream=stream, wait_s=1000)
        [applied] = mock.of("fault_applied")

    assert (applied["fault"], applied["surface"]) == (name, Target.UPSTREAM)
    PINNED[name](answer, stream=stream)


def test_pins_every_fault() -> None:
    """
    No fault of an answering surface is without a test of its bytes.
    """
    tests = "".join(
        file.read_text(encoding="utf-8")
        for file in sorted(Path(__file__).parent.glob("*_on_the_wire.py"))
    )

    unpinned = [
        name
        for name, fault in CATALOGUE.items()
        if Target.WEBHOOK_EMITTER not in fault.targets
        and not re.search(rf"[ \"]{name}[,}}\"]", tests)
    ]
    assert unpinned == []


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])
async def test_breaks_arguments_in_the_stream_too(
    stream: bool,  # noqa: FBT001 - a parameter of the matrix
    clock: LoopClock,
) -> None:
    """
    Broken arguments arrive as they were broken, in one piece or in many.
    """
    fault = "{fault: arguments, kind: trailing_comma}"
    async with mock_in_test(TOOL_SCRIPT % fault, clock=clock) as mock:
        answer = await mock.chat(stream=stream, tools=TOOLS)
        [ended] = mock.of("upstream_request_ended")

    assert _arguments_of(answer, stream=stream) == '{"city":"Paris",}'
    assert ended["tool_calls"][0]["arguments"] == '{"city":"Paris",}'
    assert ended["answer_valid"] is True


def _arguments_of(answer: RawAnswer, *, stream: bool) -> str:
    if not stream:
        [call] = answer.json["choices"][0]["message"]["tool_calls"]
        return str(call["function"]["arguments"])
    deltas = [
        orjson.loads(event)["choices"][0]["delta"] for event in answer.events[:-1]
    ]
    return "".join(
        call["function"]["arguments"]
        for delta in deltas
        for call in delta.get("tool_calls", [])
    )


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])
async def test_calls_an_unknown_tool(
    stream: bool,  # noqa: FBT001 - a parameter of the matrix
    clock: LoopClock,
) -> None:
    """
    The first call names a tool that was not offered.
    """
    async with mock_in_test(TOOL_SCRIPT % "{fault: unknown_tool}", clock=clock) as mock:
        answer = await mock.chat(stream=stream, tools=TOOLS)

    assert b'"no_such_tool"' in answer.body
    assert b"get_weather" not in answer.body


async def test_spares_replies_without_calls(clock: LoopClock) -> None:
    """
    A fault of tool calls is not counted where there is no call.
    """
    script = SCRIPT % "{fault: arguments, times: 1}"
    async with mock_in_test(script, clock=clock) as mock:
        answer = await mock.chat()

        assert answer.status == 200
        assert mock.of("fault_applied") == []


@pytest.mark.parametrize(
    ("fault", "received"),
    [
        ("{fault: disconnect, after_events: 3}", 3),
        ("{fault: disconnect, after_events: 0}", 0),
        # 1 s to the first event, 1 s to each further one: three by 3.5 s.
        ("{fault: disconnect, after: 3500ms}", 3),
    ],
)
async def test_what_was_sent_before_a_cut_arrives(
    fault: str, received: int, clock: LoopClock
) -> None:
    """
    A cut stream delivers everything up to the cut.
    """
    answer = await _ask(clock, fault, stream=True)

    assert len(answer.events) == received
    assert answer.ending is Ending.CLOSED
    assert not answer.is_whole


async def test_cuts_by_reset_if_asked(clock: LoopClock) -> None:
    """
    The end of a cut can be a reset.
    """
    answer = await _ask(clock, "{fault: disconnect, how: reset}", stream=True)

    assert answer.ending is Ending.RESET


async def test_stalls_for_ever(clock: LoopClock) -> None:
    """
    A stall without an end leaves the connection open.
    """
    fault = "{fault: stall, duration: null, after_events: 2}"

    answer = await _ask(clock, fault, stream=True)

    assert len(answer.events) == 2
    assert answer.ending is Ending.STILL_OPEN


async def test_later_faults_change_what_earlier_ones_left(clock: LoopClock) -> None:
    """
    Faults compose in their order: a slow error page that is cut.
    """
    faults = "{fault: html_page}, {fault: slow_headers}, {fault: disconnect}"
    async with mock_in_test(SCRIPT % faults, clock=clock) as mock:
        answer = await mock.chat()
        [ended] = mock.of("upstream_request_ended")

    assert answer.first_byte_s == 1.0
    assert answer.status == 502
    assert not answer.is_whole
    assert ended["faults"] == ["html_page", "slow_headers", "disconnect"]
    assert (ended["outcome"], ended["status"]) == ("cut", 502)


@pytest.mark.parametrize(
    ("fault", "outcome", "status", "is_valid"),
    [
        ("{fault: slow_headers}", "complete", 200, True),
        ("{fault: stall}", "complete", 200, True),
        ("{fault: truncate}", "complete", 200, False),
        ("{fault: malformed_event}", "complete", 200, False),
        ("{fault: status, status: 500}", "complete", 500, False),
        ("{fault: disconnect}", "cut", 200, False),
        ("{fault: close_before_headers}", "closed", None, False),
        ("{fault: reset_before_headers}", "reset", None, False),
        ("{fault: black_hole}", "abandoned", None, False),
    ],
)
async def test_says_how_it_ended(
    fault: str,
    outcome: str,
    status: int | None,
    is_valid: bool,  # noqa: FBT001 - a parameter of the matrix
    clock: LoopClock,
) -> None:
    """
    The event of the end tells the outcome, the status sent, and whether it was usable.
    """
    async with mock_in_test(SCRIPT % fault, clock=clock) as mock:
        await mock.chat(stream=True, wait_s=100)
        await clock.sleep(1)
        [ended] = mock.of("upstream_request_ended")

    assert (ended["outcome"], ended["status"]) == (outcome, status)
    assert ended["answer_valid"] is is_valid
