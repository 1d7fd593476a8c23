"""
Faults upon faults: the later one changes what the earlier one left.
"""

from collections.abc import Callable

import orjson
import pytest

from mock_server import LoopClock
from mock_server.faults import CATALOGUE, Target
from mock_server.testing import Ending, MockInTest, RawAnswer, mock_in_test

pytestmark = pytest.mark.virtual_time

REFUSED = """
upstream:
  script: [{reply: {text: "one two three four"}}]
  faults: [{fault: status}, %s]
"""
SCRIPTED = """
upstream:
  script: [{reply: {error: {status: 500}}}]
  faults: [%s]
"""
OF_STREAMS = [
    name
    for name, fault in CATALOGUE.items()
    if fault.streams_only and Target.UPSTREAM in fault.targets
]


def _applied(mock: MockInTest) -> list[str]:
    return [record["fault"] for record in mock.of("fault_applied")]


def _is_half(answer: RawAnswer) -> None:
    assert answer.ending is Ending.CLOSED
    assert len(answer.framed) == int(answer.headers["content-length"]) // 2


def _is_reset(answer: RawAnswer) -> None:
    assert answer.ending is Ending.RESET
    assert len(answer.framed) == int(answer.headers["content-length"]) // 2


def _is_malformed(answer: RawAnswer) -> None:
    assert answer.is_whole
    with pytest.raises(orjson.JSONDecodeError):
        orjson.loads(answer.body)


def _is_late(answer: RawAnswer) -> None:
    assert answer.is_whole
    assert answer.json["error"]["type"] == "server_error"
    assert answer.last_byte_s == 30.0


def _is_padded(answer: RawAnswer) -> None:
    assert answer.body.startswith(b"      {")
    assert answer.json["error"]["type"] == "server_error"


@pytest.mark.parametrize("script", [REFUSED, SCRIPTED], ids=["refused", "scripted"])
@pytest.mark.parametrize(
    ("fault", "check"),
    [
        ("disconnect", _is_half),
        ("reset_in_body", _is_reset),
        ("truncate", _is_malformed),
        ("malformed_event", _is_malformed),
        ("stall", _is_late),
        ("stall_with_comments", _is_padded),
    ],
)
async def test_a_stream_that_is_refused_is_a_plain_answer(
    clock: LoopClock, script: str, fault: str, check: Callable[[RawAnswer], None]
) -> None:
    """
    An error in the place of a stream is hit as one: a cut one is not sent whole.
    """
    async with mock_in_test(script % f"{{fault: {fault}}}", clock=clock) as mock:
        answer = await mock.chat(stream=True)
        applied = _applied(mock)

    assert answer.status in {500, 503}
    assert applied[-1] == fault
    check(answer)


@pytest.mark.parametrize("fault", OF_STREAMS)
async def test_faults_of_streams_spare_what_is_none(
    clock: LoopClock, fault: str
) -> None:
    """
    Where there are no events, a fault of events neither hits nor counts.
    """
    async with mock_in_test(REFUSED % f"{{fault: {fault}}}", clock=clock) as mock:
        refused = await mock.chat(stream=True)
        applied = _applied(mock)
    async with mock_in_test(SCRIPTED % f"{{fault: {fault}}}", clock=clock) as mock:
        scripted = await mock.chat(stream=True)
        applied_to_scripted = _applied(mock)

    assert applied == ["status"]
    assert refused.json["error"]["type"] == "server_error"
    assert applied_to_scripted == []
    assert scripted.json["error"]["type"] == "server_error"
    assert refused.is_whole
    assert scripted.is_whole
