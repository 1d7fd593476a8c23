"""
The matrix: what every fault leaves of an answer, plain and streamed, on the raw bytes.

Each answer is told by how it differs from the same answer without the fault, so that
the matrix says what a fault does and nothing else. It stands in ``matrix.txt``; where a
fault is meant to do something else, the failing test prints the line to put there.
"""

from dataclasses import dataclass
from difflib import SequenceMatcher
from itertools import product
from pathlib import Path
from typing import Any, Final

import pytest

from mock_server import LoopClock, MockOptions
from mock_server.faults import Target, faults_of
from mock_server.testing import Ending, MockInTest, RawAnswer, mock_in_test

pytestmark = pytest.mark.virtual_time

SCRIPT: Final = """
upstream:
  script:
    - match: {last_message: {contains: call}}
      reply: {tool_calls: [{name: get_weather, arguments: {city: Paris}}]}
    - reply: {text: "one two three four"}
  faults: [%s]
"""
TOOL: Final = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    },
}
SMALL: Final = {
    # The same faults at a size that costs nothing.
    "endless_body": "piece_bytes: 10, interval: 100s",
    "gzip_bomb": "unpacked_mebibytes: 1",
    "empty_deltas": "deltas: 10",
    "giant_event": "padding_bytes: 1000",
    "header_flood": "headers: 10",
    "drip": "piece_bytes: 64",
}
MATRIX: Final = Path(__file__).with_name("matrix.txt")
WORDS: Final = ("text", "call")
FORMS: Final = ("plain", "streamed")
BEGIN_S: Final = 1_700_000_000.0
WAIT_S: Final = 1000.0
NAMES: Final = [fault.name for fault in faults_of(Target.UPSTREAM)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """
    An answer, and whether a fault has hit it.
    """

    answer: RawAnswer
    is_hit: bool


Answers = dict[tuple[str, str], Seen | None]


async def ask(mock: MockInTest, word: str, form: str) -> Seen | None:
    """
    Return the answer; None if nobody could connect.
    """
    stream = form == "streamed"
    more: dict[str, Any] = {"stream_options": {"include_usage": True}} if stream else {}
    mock.records.clear()
    try:
        answer = await mock.chat(
            word, stream=stream, tools=[TOOL], wait_s=WAIT_S, **more
        )
    except ConnectionRefusedError:
        return None
    return Seen(answer=answer, is_hit=bool(mock.of("fault_applied")))


async def answers_under(clock: LoopClock, fault: str) -> Answers:
    """
    Return all answers; each is asked for at the same moment in every run.
    """
    options = MockOptions(port=0, control_port=0)
    same = LoopClock(BEGIN_S - clock.monotonic())
    answers: Answers = {}
    async with mock_in_test(SCRIPT % fault, options, clock=same) as mock:
        for number, (word, form) in enumerate(product(WORDS, FORMS)):
            await same.sleep(BEGIN_S + number * 2 * WAIT_S - same.wall())
            answers[word, form] = await ask(mock, word, form)
    return answers


def told(answer: RawAnswer, healthy: RawAnswer, form: str) -> str:
    """
    Return how an answer differs from the one without the fault.
    """
    if not answer.raw:
        return f"no byte, {answer.ending}"
    parts = [str(answer.status), answer.ending]
    if not answer.is_whole:
        parts.append("not whole")
    parts += _headers(answer, healthy)
    if form == "streamed" and answer.events and answer.status == healthy.status:
        lines = answer.body.replace(b"\r\n", b"\n")
        parts.append("CRLF" if lines != answer.body else "")
        parts.append(_events(_split(lines), healthy.events))
    else:
        parts.append(_body(answer.body, healthy.body))
    if answer.last_byte_s > healthy.last_byte_s and answer.is_whole:
        parts.append(f"{answer.last_byte_s:g} s")
    return ", ".join(part for part in parts if part)


def _headers(answer: RawAnswer, healthy: RawAnswer) -> list[str]:
    mine, usual = answer.headers, healthy.headers
    parts = [
        f"{name} {mine.get(name)}"
        for name in ("content-type", "content-encoding", "location", "retry-after")
        if mine.get(name) != usual.get(name)
    ]
    if "x-request-id" not in mine:
        parts.append("no request id")
    if len(mine) > len(usual) + 5:
        parts.append(f"{len(mine) - len(usual)} more headers")
    length, expected = mine.get("content-length"), str(len(answer.framed))
    if length not in {None, expected} and answer.ending is not Ending.STILL_OPEN:
        parts.append(f"{length} bytes announced, {expected} sent")
    return parts


def _split(body: bytes) -> list[bytes]:
    events = body.split(b"\n\n")
    return [event.removeprefix(b"data: ") for event in events if event]


def _events(events: list[bytes], usual: list[bytes]) -> str:
    counts = {"same": 0, "other": 0, "missing": 0, "more": 0}
    matcher = SequenceMatcher(None, usual, events, autojunk=False)
    for kind, i, j, k, m in matcher.get_opcodes():
        if kind == "equal":
            counts["same"] += j - i
            continue
        replaced = min(j - i, m - k)
        counts["other"] += replaced
        counts["missing"] += j - i - replaced
        counts["more"] += m - k - replaced
    told = [f"{count} {name}" for name, count in counts.items() if count]
    return f"events: {', '.join(told)}"


def _body(body: bytes, usual: bytes) -> str:
    if body == usual:
        return "same body"
    if not body:
        return "no body"
    if usual.startswith(body):
        return f"{len(body)} of {len(usual)} bytes"
    return "body of blanks, then the same" if body.strip() == usual else "other body"


def lines_of(name: str, answers: Answers, healthy: Answers) -> list[str]:
    """
    Return what the matrix says of a fault.
    """
    lines = []
    for key, seen in answers.items():
        usual = healthy[key]
        assert usual is not None
        word, form = key
        if seen is None:
            says = "refused"
        elif seen.is_hit:
            says = told(seen.answer, usual.answer, form)
        else:
            assert seen.answer.raw == usual.answer.raw, name
            says = "spared"
        lines.append(f"{name} | {word} | {form} | {says}")
    return lines


@pytest.mark.parametrize("name", NAMES)
async def test_does_on_the_wire_what_the_matrix_says(
    name: str, clock: LoopClock
) -> None:
    """
    A fault does to a text and to a call, plain and streamed, what stands in the matrix.
    """
    healthy = await answers_under(clock, "")
    small = SMALL.get(name)
    fault = f"{{fault: {name}, {small}}}" if small else f"{{fault: {name}}}"
    lines = lines_of(name, await answers_under(clock, fault), healthy)

    known = MATRIX.read_text(encoding="utf-8").splitlines()
    assert lines == [line for line in known if line.startswith(f"{name} | ")]


def test_the_matrix_holds_every_fault_and_no_other() -> None:
    """
    Each fault has its four lines, in the order of the catalogue.
    """
    known = MATRIX.read_text(encoding="utf-8").splitlines()

    assert [line.split(" | ")[:3] for line in known] == [
        [name, word, form] for name in NAMES for word in WORDS for form in FORMS
    ]
