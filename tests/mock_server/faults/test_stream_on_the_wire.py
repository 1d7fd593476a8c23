"""
The faults of a stream, pinned on their bytes, and what they do to a plain answer.
"""

from collections.abc import Callable
from typing import Any

import orjson
import pytest

from mock_server import LoopClock
from mock_server.faults import CATALOGUE
from mock_server.testing import Ending, RawAnswer, mock_in_test

pytestmark = pytest.mark.virtual_time
BOTH = pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])
Values = Callable[[RawAnswer], list[dict[str, Any]]]


def _contents(values: list[dict[str, Any]]) -> list[str]:
    return [
        choice["delta"]["content"]
        for value in values
        for choice in value["choices"]
        if choice["delta"].get("content")
    ]


def _finishes(values: list[dict[str, Any]]) -> list[str]:
    reasons = [choice["finish_reason"] for v in values for choice in v["choices"]]
    return [reason for reason in reasons if reason]


async def test_leaves_out_the_end_marker(asker: Any, values_of: Values) -> None:
    """
    All is there but ``[DONE]``, and the framing says that nothing is missing.
    """
    answer = await asker.text("{fault: missing_done}", stream=True)

    assert answer.is_whole
    assert b"[DONE]" not in answer.body
    assert _finishes(values_of(answer)) == ["stop"]


async def test_leaves_out_the_finish(asker: Any, values_of: Values) -> None:
    """
    ``[DONE]`` comes, and nobody said why the model stopped.
    """
    answer = await asker.text("{fault: done_without_finish}", stream=True)

    assert answer.is_whole
    assert answer.events[-1] == b"[DONE]"
    assert _finishes(values_of(answer)) == []
    assert "".join(_contents(values_of(answer))) == "one two three four"


@BOTH
async def test_stalls_with_comments(asker: Any, stream: bool) -> None:  # noqa: FBT001 - a parameter of the matrix
    """
    For 30 s a comment comes every 5 s; before a body it is a blank.
    """
    answer = await asker.text("{fault: stall_with_comments}", stream=stream)

    assert answer.is_whole
    if stream:
        comment = b": keep-alive"
        # The sixth comment comes as the pause ends.
        assert [chunk.strip() for chunk in answer.chunks].count(comment) == 6
        assert answer.chunks[1].strip() == comment
        assert answer.last_byte_s == 35.0
    else:
        assert answer.body.startswith(b"      {")
        assert answer.json["choices"]
        assert answer.last_byte_s == 31.0


@BOTH
async def test_comments_for_ever(asker: Any, stream: bool) -> None:  # noqa: FBT001 - a parameter of the matrix
    """
    A stall without an end keeps the connection alive with nothing but comments.
    """
    fault = "{fault: stall_with_comments, duration: null, interval: 10s}"
    answer = await asker.text(fault, stream=stream, wait_s=96)

    assert answer.ending is Ending.STILL_OPEN
    assert answer.chunks[-9:] == [b": keep-alive\n\n" if stream else b" "] * 9


async def test_fails_in_the_middle(asker: Any) -> None:
    """
    After two events the error comes in the API's shape, and the stream is over.
    """
    answer = await asker.text("{fault: error_event}", stream=True)

    assert answer.is_whole
    assert len(answer.events) == 3
    error = orjson.loads(answer.events[-1])["error"]
    assert set(error) == {"message", "type", "param", "code"}


async def test_sends_an_event_twice(asker: Any) -> None:
    """
    The third event comes again, byte for byte.
    """
    answer = await asker.text("{fault: duplicate_event}", stream=True)

    assert answer.events[2] == answer.events[3]
    assert len(set(answer.events)) == len(answer.events) - 1


async def test_loses_an_event(asker: Any, values_of: Values) -> None:
    """
    The third event is the one that is missing.
    """
    answer = await asker.text("{fault: drop_event}", stream=True)

    assert _contents(values_of(answer)) == ["one", " three", " four"]


async def test_exchanges_two_events(asker: Any, values_of: Values) -> None:
    """
    The third event comes after the fourth.
    """
    answer = await asker.text("{fault: reorder_events}", stream=True)

    assert _contents(values_of(answer)) == ["one", " three", " two", " four"]
    assert answer.events[-1] == b"[DONE]"


@pytest.mark.parametrize("event", [1, 100])
async def test_a_place_beyond_the_end_is_the_last(asker: Any, event: int) -> None:
    """
    Whatever event is named, one is hit, and the end marker stays the last.
    """
    for name in ("duplicate_event", "drop_event", "reorder_events"):
        answer = await asker.text(f"{{fault: {name}, event: {event}}}", stream=True)

        assert answer.is_whole
        assert answer.events[-1] == b"[DONE]"
        assert asker.applied == [name]


@BOTH
async def test_numbers_wrongly(asker: Any, values_of: Values, stream: bool) -> None:  # noqa: FBT001 - a parameter of the matrix
    """
    The choices begin with 7.
    """
    answer = await asker.text("{fault: wrong_index}", stream=stream)

    values = values_of(answer) if stream else [answer.json]
    assert {choice["index"] for v in values for choice in v["choices"]} == {7}


async def test_numbers_calls_wrongly(asker: Any, values_of: Values) -> None:
    """
    The pieces of a call have the wrong number; their choice has the right one.
    """
    fault = "{fault: wrong_index, form: negative}"
    answer = await asker.call(fault, stream=True)

    indexes = {
        call["index"]
        for value in values_of(answer)
        for choice in value["choices"]
        for call in choice["delta"].get("tool_calls", ())
    }
    assert indexes == {-1}


async def test_leaves_out_the_index(asker: Any) -> None:
    """
    No piece of a call says which call it belongs to.
    """
    answer = await asker.call("{fault: missing_index}", stream=True)

    pieces = [event for event in answer.events if b'"tool_calls":[' in event]
    assert len(pieces) > 1
    assert not any(b'"tool_calls":[{"index"' in event for event in pieces)
    assert all(b'"index":0' not in event.split(b"tool_calls")[1] for event in pieces)


async def test_changes_the_id(asker: Any, values_of: Values) -> None:
    """
    Each event has an id of its own.
    """
    answer = await asker.text("{fault: changing_id}", stream=True)

    ids = [value["id"] for value in values_of(answer)]
    assert len(set(ids)) == len(ids)
    assert len({name.rpartition("-")[0] for name in ids}) == 1


@BOTH
async def test_sends_every_byte_alone(asker: Any, stream: bool) -> None:  # noqa: FBT001 - a parameter of the matrix
    """
    Each byte leaves in a write of its own, and together they are the answer.
    """
    whole = await asker.text("", stream=stream)
    answer = await asker.text("{fault: split}", stream=stream, wait_s=10_000)

    assert len(answer.body) == len(whole.body)
    assert answer.is_whole
    if stream:
        assert {len(chunk) for chunk in answer.chunks[:-1]} == {1}
    # The gaps show that they were written one by one.
    latency_s = 5 if stream else 1
    assert answer.last_byte_s == pytest.approx(latency_s + len(answer.body) * 0.001)


@BOTH
async def test_splits_inside_characters(
    clock: LoopClock,
    stream: bool,  # noqa: FBT001 - a parameter of the matrix
) -> None:
    """
    A character of three bytes arrives in three pieces; what has none is cut in half.
    """
    script = """
    upstream:
      script: [{reply: {text: "5 €"}}]
      faults: [{fault: split, where: characters}]
    """
    async with mock_in_test(script, clock=clock) as mock:
        answer = await mock.chat(stream=stream)

    assert answer.is_whole
    if stream:
        [place] = [n for n, c in enumerate(answer.chunks) if c.endswith(b"\xe2")]
        assert answer.chunks[place + 1] == b"\x82"
        assert answer.chunks[place + 2].startswith(b"\xac")
        assert answer.events[-1] == b"[DONE]"
    else:
        # Two gaps of a millisecond between three pieces, and one before the first.
        assert answer.last_byte_s == pytest.approx(0.003)
        assert answer.json["choices"][0]["message"]["content"] == "5 €"


FRAMINGS: dict[str, Callable[[bytes], bool]] = {
    "crlf": lambda body: body.count(b"\r\n\r\n") == 7 and b"}\n" not in body,
    "cr": lambda body: body.count(b"\r\r") == 7 and b"\n" not in body,
    "bom": lambda body: body.startswith(b"\xef\xbb\xbfdata: "),
    "comments": lambda body: body.count(b": a comment\ndata: ") == 7,
    "no_space": lambda body: b"data: " not in body and body.count(b"data:{") == 6,
    "data_lines": lambda body: body.count(b"\ndata: ") > 6 + 6,
    "retry_lines": lambda body: body.count(b"retry: 1000\ndata: ") == 7,
    "empty_event": lambda body: body.startswith(b"event: ping\n\ndata: "),
}


@pytest.mark.parametrize("form", FRAMINGS)
async def test_frames_otherwise(asker: Any, form: str) -> None:
    """
    The same events stand on the wire in the other form.
    """
    answer = await asker.text(f"{{fault: framing, form: {form}}}", stream=True)

    assert answer.is_whole
    assert FRAMINGS[form](answer.body)
    assert answer.body.count(b'"object":"chat.completion.chunk"') == 6
    assert b" three" in answer.body


async def test_packs_all_events_into_one_packet(asker: Any) -> None:
    """
    The whole stream leaves in one write, at the time of its first token.
    """
    answer = await asker.text("{fault: framing, form: packed}", stream=True)

    assert len(answer.chunks) == 2
    assert len(answer.events) == 7
    assert answer.last_byte_s == 1.0


@BOTH
async def test_sends_a_giant(asker: Any, stream: bool) -> None:  # noqa: FBT001 - a parameter of the matrix
    """
    One event, or the body, is larger than two million bytes and still JSON.
    """
    answer = await asker.text("{fault: giant_event}", stream=stream)

    assert answer.is_whole
    pieces = answer.events if stream else [answer.body]
    large = [piece for piece in pieces if len(piece) > 2_000_000]
    assert len(large) == 1
    assert orjson.loads(large[0])["choices"]


async def test_sends_thousands_of_nothings(asker: Any, values_of: Values) -> None:
    """
    Five thousand empty events come before the first word, and then all words.
    """
    answer = await asker.text("{fault: empty_deltas}", stream=True)

    values = values_of(answer)
    empty = [v for v in values if v["choices"][0]["delta"] == {}]
    # The finish is one of them.
    assert len(empty) == 5001
    assert "".join(_contents(values)) == "one two three four"


async def test_names_the_tool_late(asker: Any, values_of: Values) -> None:
    """
    The name comes with the last piece of the arguments, once.
    """
    answer = await asker.call("{fault: late_tool_name}", stream=True)

    calls = [
        call
        for value in values_of(answer)
        for call in value["choices"][0]["delta"].get("tool_calls", ())
    ]
    named = [n for n, call in enumerate(calls) if "name" in call["function"]]
    assert named == [len(calls) - 1]
    assert calls[-1]["function"]["name"] == "get_weather"
    assert calls[0]["id"].startswith("call_")


async def test_names_the_tool_in_halves(asker: Any, values_of: Values) -> None:
    """
    Two events hold one half of the name each.
    """
    answer = await asker.call("{fault: split_tool_name}", stream=True)

    names = [
        call["function"]["name"]
        for value in values_of(answer)
        for call in value["choices"][0]["delta"].get("tool_calls", ())
        if "name" in call["function"]
    ]
    assert names == ["get_we", "ather"]


USAGE = {"stream_options": {"include_usage": True}}


@BOTH
@pytest.mark.parametrize("form", ["missing", "null", "negative"])
async def test_miscounts(
    asker: Any,
    values_of: Values,
    form: str,
    stream: bool,  # noqa: FBT001 - a parameter of the matrix
) -> None:
    """
    The counts are missing, null or below zero.
    """
    more = USAGE if stream else {}
    fault = f"{{fault: usage, form: {form}}}"
    answer = await asker.text(fault, stream=stream, **more)

    values = values_of(answer) if stream else [answer.json]
    counts = [value["usage"] for value in values if "usage" in value]
    if form == "negative":
        assert counts[-1]["total_tokens"] < 0
    else:
        assert set(counts) <= {None}
    if form == "missing" and not stream:
        assert b'"usage"' not in answer.body


async def test_counts_early(asker: Any, values_of: Values) -> None:
    """
    The counts come before the first piece; a plain answer is spared.
    """
    fault = "{fault: usage, form: early}"
    answer = await asker.text(fault, stream=True, **USAGE)

    assert values_of(answer)[0]["usage"]["total_tokens"] > 0

    plain = await asker.text(fault, stream=False)

    assert plain.json["usage"]["total_tokens"] > 0
    assert asker.applied == []


STREAMS_ONLY = sorted(name for name, fault in CATALOGUE.items() if fault.streams_only)


@pytest.mark.parametrize("name", STREAMS_ONLY)
async def test_spares_plain_answers(asker: Any, name: str) -> None:
    """
    A fault that needs events neither hits nor counts a plain answer, and says why.
    """
    answer = await asker.call(f"{{fault: {name}, times: 1}}", stream=False)

    assert answer.json["choices"][0]["message"]["tool_calls"]
    assert asker.applied == []
    assert len(CATALOGUE[name].streams_only) > 10
