"""
Faults on the Responses API: every one of the catalogue, plain and streamed.
"""

import logging
from typing import Any

import orjson
import pytest

from mock_server import LoopClock
from mock_server.faults import Level, Target, faults_of
from mock_server.testing import Ending, MockInTest, RawAnswer, mock_in_test

pytestmark = pytest.mark.virtual_time

REPLY = """
  script:
    - match: {last_message: {role: user, contains: call}}
      reply: {tool_calls: [{name: f, arguments: {city: Paris}, id: call_1}]}
    - reply: {text: "one two three four"}
"""
TOOLS: list[dict[str, Any]] = [
    {
        "type": "function",
        "name": "f",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}},
            "required": ["city"],
        },
    }
]
NAMES = [fault.name for fault in faults_of(Target.UPSTREAM)]
ELSEWHERE = {
    # Nobody can connect at all.
    *(f.name for f in faults_of(Target.UPSTREAM) if f.level is Level.LISTENER),
    # It never ends, and in virtual time it takes none.
    "endless_body",
}


def script_of(*faults: str) -> str:
    """
    Return a script with these faults.
    """
    return f"upstream:\n  faults: [{', '.join(faults)}]{REPLY}"


def names_of(answer: RawAnswer) -> list[str]:
    """
    Return the names of the events that came whole.
    """
    return [name.removeprefix("response.") for name, _ in answer.named_events]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("given", ["hello", "call"])
@pytest.mark.parametrize("name", sorted(set(NAMES) - ELSEWHERE))
async def test_every_fault_is_told_and_breaks_only_the_answer(
    name: str,
    given: str,
    clock: LoopClock,
    caplog: pytest.LogCaptureFixture,
    *,
    stream: bool,
) -> None:
    """
    No fault makes the mock itself fail, and after it the mock answers as before.
    """
    caplog.set_level(logging.ERROR)
    script = script_of(f"{{fault: {name}, times: 1}}")
    async with mock_in_test(script, clock=clock) as mock:
        hit = await mock.respond(given, stream=stream, tools=TOOLS, wait_s=100)
        await clock.sleep(1)
        ended = mock.of("upstream_request_ended")
        for _ in range(2):
            # One that fits no such answer may still be waiting for its only time.
            spared = await mock.respond("hello", tools=TOOLS, wait_s=100)

    assert b"mock_error" not in hit.raw
    assert caplog.records == []
    assert ended[0]["faults"] in ([], [name])
    assert spared.status == 200


async def hit_by(
    clock: LoopClock, fault: str, *, given: str = "hello", stream: bool
) -> tuple[RawAnswer, MockInTest]:
    """
    Return what a fault leaves of an answer.
    """
    async with mock_in_test(script_of(fault), clock=clock) as mock:
        answer = await mock.respond(given, stream=stream, tools=TOOLS, wait_s=100)
        await clock.sleep(0)
    return answer, mock


async def test_disconnect_lets_the_first_events_arrive(clock: LoopClock) -> None:
    """
    What was sent before the cut has arrived; nothing follows.
    """
    fault = "{fault: disconnect, after_events: 5}"
    answer, mock = await hit_by(clock, fault, stream=True)

    assert names_of(answer) == [
        "created",
        "in_progress",
        "output_item.added",
        "content_part.added",
        "output_text.delta",
    ]
    assert not answer.is_whole
    assert mock.of("upstream_request_ended")[0]["outcome"] == "cut"


async def test_reset_in_the_middle(clock: LoopClock) -> None:
    """
    A cut may be a reset.
    """
    fault = "{fault: disconnect, after_events: 5, how: reset}"
    answer, _ = await hit_by(clock, fault, stream=True)

    assert answer.ending is Ending.RESET


@pytest.mark.parametrize("given", ["hello", "call"])
async def test_truncated_stream_ends_cleanly(given: str, clock: LoopClock) -> None:
    """
    A truncated stream has half of its pieces, no end and no error.
    """
    whole, _ = await hit_by(
        clock, "{fault: stall, duration: 1s}", given=given, stream=True
    )
    answer, _ = await hit_by(clock, "{fault: truncate}", given=given, stream=True)

    assert answer.is_whole
    deltas = [sum(n.endswith(".delta") for n in names_of(a)) for a in (answer, whole)]
    assert deltas[0] == deltas[1] // 2
    assert names_of(answer)[-1].endswith(".delta")
    assert names_of(whole)[-1] == "completed"


async def test_truncated_plain_response(clock: LoopClock) -> None:
    """
    A truncated response is half of its JSON, under a length that fits.
    """
    answer, _ = await hit_by(clock, "{fault: truncate}", stream=False)

    assert answer.is_whole
    with pytest.raises(orjson.JSONDecodeError):
        orjson.loads(answer.body)


async def test_malformed_event(clock: LoopClock) -> None:
    """
    One event's JSON is broken, all others are whole.
    """
    fault = "{fault: malformed_event, event: 3}"
    answer, _ = await hit_by(clock, fault, stream=True)

    events = [event for event in answer.body.split(b"\n\n") if event]
    broken = [
        number
        for number, event in enumerate(events, start=1)
        if not is_json(event.partition(b"\ndata: ")[2])
    ]
    assert broken == [3]
    assert events[2].startswith(b"event: response.output_item.added\n")


def is_json(data: bytes) -> bool:
    """
    Say whether bytes are JSON.
    """
    try:
        orjson.loads(data)
    except orjson.JSONDecodeError:
        return False
    return True


@pytest.mark.parametrize("stream", [False, True])
async def test_broken_arguments_are_what_is_stored(
    clock: LoopClock, *, stream: bool
) -> None:
    """
    The model said what the fault made of it: so the chain and the journal hold it.
    """
    script = script_of("{fault: arguments, kind: trailing_comma}")
    async with mock_in_test(script, clock=clock) as mock:
        answer = await mock.respond("call", stream=stream, tools=TOOLS)
        value = answer.named_events[-1][1]["response"] if stream else answer.json
        found = await mock.send(
            "GET",
            f"/v1/responses/{value['id']}",
            headers={"authorization": "Bearer sk-test"},
        )
        [ended] = mock.of("upstream_request_ended")

    [call] = value["output"]
    assert not is_json(call["arguments"].encode())
    assert found.json["output"] == [call]
    assert ended["tool_calls"][0]["arguments"] == call["arguments"]


@pytest.mark.parametrize("stream", [False, True])
async def test_status_keeps_the_response_from_being(
    clock: LoopClock, *, stream: bool
) -> None:
    """
    What is refused is neither stored nor worked off.
    """
    script = script_of("{fault: status, status: 503, times: 1}")
    async with mock_in_test(script, clock=clock) as mock:
        refused = await mock.respond("hello", stream=stream, background=True)
        held = mock.running.mock.health()["holds"]
        again = await mock.respond("hello", stream=stream, background=True)

    assert (refused.status, again.status) == (503, 200)
    assert refused.headers["content-type"] == "application/json"
    assert held["responses"] == 0


async def test_cut_stream_of_background_work_goes_on(clock: LoopClock) -> None:
    """
    A fault that cuts a background stream leaves the work itself alone.
    """
    fault = "{fault: disconnect, after_events: 4, times: 1}"
    async with mock_in_test(script_of(fault), clock=clock) as mock:
        cut = await mock.respond("hello", stream=True, background=True)
        first = cut.named_events[0][1]["response"]["id"]
        resumed = await mock.send(
            "GET",
            f"/v1/responses/{first}?stream=true&starting_after=3",
            headers={"authorization": "Bearer sk-test"},
        )

    assert len(cut.named_events) == 4
    numbers = [value["sequence_number"] for _, value in resumed.named_events]
    assert numbers == list(range(4, numbers[-1] + 1))
    assert names_of(resumed)[-1] == "completed"


async def test_resumed_streams_have_faults_too(clock: LoopClock) -> None:
    """
    A fault for streams hits a stream that is resumed.
    """
    async with mock_in_test(script_of(), clock=clock) as mock:
        answer = await mock.respond("hello", stream=True, background=True)
        path = f"/v1/responses/{answer.named_events[0][1]['response']['id']}"
        headers = {"authorization": "Bearer sk-test"}
        fault = {"fault": "disconnect", "after_events": 2, "target": "upstream"}
        added = await mock.send("POST", "/_mock/faults", fault)
        resumed = await mock.send("GET", f"{path}?stream=true", headers=headers)

    assert added.status in {200, 201}
    assert len(resumed.named_events) == 2
    assert not resumed.is_whole


async def test_rates_hit_both_apis_alike(clock: LoopClock) -> None:
    """
    Chance falls for a conversation and a turn, not for the way they are asked.
    """
    fault = "{fault: status, status: 500, injection_rate: 0.5}"
    async with mock_in_test(script_of(fault), clock=clock) as mock:
        hits = []
        for number in range(40):
            trace = f"{number + 1:032x}"
            headers = {"traceparent": f"00-{trace}-00f067aa0ba902b7-01"}
            answer = await mock.respond("hello", headers=headers)
            hits.append(answer.status == 500)

    assert 8 < sum(hits) < 32
    async with mock_in_test(script_of(fault), clock=clock) as mock:
        again = []
        for number in reversed(range(40)):
            trace = f"{number + 1:032x}"
            headers = {"traceparent": f"00-{trace}-00f067aa0ba902b7-01"}
            answer = await mock.respond("hello", headers=headers)
            again.append(answer.status == 500)
    assert again[::-1] == hits
