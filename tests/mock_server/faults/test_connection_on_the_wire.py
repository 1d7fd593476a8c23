"""
The faults of the connection, plain and streamed, pinned on bytes, times and endings.
"""

import zlib
from typing import Any

import pytest

from mock_server import LoopClock
from mock_server.testing import Ending, MockInTest, mock_in_test

pytestmark = pytest.mark.virtual_time
BOTH = pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])


@BOTH
async def test_resets_at_an_event_or_in_the_middle(asker: Any, stream: bool) -> None:  # noqa: FBT001 - a parameter of the matrix
    """
    What came before the reset has arrived, and then there is a real reset.
    """
    answer = await asker.text("{fault: reset_in_body}", stream=stream)

    assert answer.ending is Ending.RESET
    assert answer.status == 200
    assert not answer.is_whole
    if stream:
        assert len(answer.events) == 2
    else:
        assert len(answer.framed) == int(answer.headers["content-length"]) // 2


@BOTH
@pytest.mark.parametrize("byte", [0, 1, 137])
@pytest.mark.parametrize(
    ("fault", "ending"),
    [("reset_in_body", Ending.RESET), ("cut_at_byte", Ending.CLOSED)],
)
async def test_ends_at_an_exact_byte(
    asker: Any,
    fault: str,
    ending: Ending,
    byte: int,
    stream: bool,  # noqa: FBT001 - a parameter of the matrix
) -> None:
    """
    So many bytes of the body come and no more, in the middle of an event if need be.
    """
    whole = await asker.text("", stream=stream)
    answer = await asker.text(f"{{fault: {fault}, byte: {byte}}}", stream=stream)

    assert answer.status == 200
    assert answer.ending is ending
    assert len(answer.body) == byte
    # The ids are the seed's: but for the time stamp both answers are the same.
    assert answer.body[:40] == whole.body[: min(byte, 40)]
    assert not answer.is_whole


@BOTH
async def test_drips(asker: Any, stream: bool) -> None:  # noqa: FBT001 - a parameter of the matrix
    """
    Seven bytes come every half second, and in the end all of them.
    """
    fault = "{fault: drip, piece_bytes: 7, interval: 500ms}"
    answer = await asker.text(fault, stream=stream, wait_s=100_000)

    assert answer.is_whole
    bytes_ = len(answer.body)
    if stream:
        pieces = [len(chunk) for chunk in answer.chunks]
        assert max(pieces) == 7
        assert answer.events[-1] == b"[DONE]"
    else:
        # And one second to the first token.
        assert answer.last_byte_s == pytest.approx(1 + 0.5 * -(-bytes_ // 7))


@BOTH
async def test_keeps_to_a_bandwidth(asker: Any, stream: bool) -> None:  # noqa: FBT001 - a parameter of the matrix
    """
    The body takes as long as its bytes take at that speed.
    """
    fault = "{fault: bandwidth, bytes_per_s: 50, piece_bytes: 10}"
    answer = await asker.text(fault, stream=stream, wait_s=100_000)

    latency_s = 5 if stream else 1
    assert answer.is_whole
    assert answer.last_byte_s == pytest.approx(len(answer.body) / 50 + latency_s)


@BOTH
async def test_never_ends(asker: Any, stream: bool) -> None:  # noqa: FBT001 - a parameter of the matrix
    """
    An endless body goes on until the client leaves, and the mock notices that it left.
    """
    fault = "{fault: endless_body, piece_bytes: 100, interval: 1s}"
    answer = await asker.text(fault, stream=stream, wait_s=10.5)

    assert answer.ending is Ending.STILL_OPEN
    assert answer.headers["transfer-encoding"] == "chunked"
    assert answer.body == b"x" * 1000
    [ended] = [r for r in asker.records if r["kind"] == "upstream_request_ended"]
    assert ended["outcome"] == "abandoned"


@BOTH
async def test_sends_a_bomb(asker: Any, stream: bool) -> None:  # noqa: FBT001 - a parameter of the matrix
    """
    Few bytes unpack to as many as were asked for.
    """
    fault = "{fault: gzip_bomb, unpacked_mebibytes: 8}"
    answer = await asker.text(fault, stream=stream)

    assert answer.headers["content-encoding"] == "gzip"
    assert answer.is_whole
    assert len(answer.body) < 16_384
    unpacker = zlib.decompressobj(wbits=31)
    assert len(unpacker.decompress(answer.body)) == 8 * 1024 * 1024
    assert unpacker.eof


@BOTH
@pytest.mark.parametrize(
    ("how", "status", "ending"),
    [
        ("status", 503, Ending.CLOSED),
        ("close", None, Ending.CLOSED),
        ("reset", None, Ending.RESET),
    ],
)
async def test_is_down_for_a_while(
    clock: LoopClock,
    how: str,
    status: int | None,
    ending: Ending,
    stream: bool,  # noqa: FBT001 - a parameter of the matrix
) -> None:
    """
    The outage begins with the first request and is over when its time is.
    """
    script = f"upstream: {{faults: [{{fault: down_for, duration: 10s, how: {how}}}]}}"
    async with mock_in_test(script, clock=clock) as mock:
        await clock.sleep(100)
        first = await mock.chat("a", stream=stream)
        await clock.sleep(9.9)
        during = await mock.chat("b", stream=stream)
        await clock.sleep(0.2)
        after = await mock.chat("c", stream=stream)

    assert [first.status, during.status, after.status] == [status, status, 200]
    assert first.ending is ending


async def _ask_twice(mock: MockInTest, *, stream: bool) -> bytes:
    body = b'{"model":"gpt-4o","messages":[{"role":"user","content":"hi"}],"stream":%b}'
    data = body % (b"true" if stream else b"false")
    one = (
        b"POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1\r\n"
        b"authorization: Bearer sk-test\r\ncontent-length: %d\r\n\r\n%b"
    ) % (len(data), data)
    return (await mock.send_bytes(one + one, wait_s=10)).raw


@BOTH
async def test_closes_a_kept_connection_under_the_next_request(
    clock: LoopClock,
    stream: bool,  # noqa: FBT001 - a parameter of the matrix
) -> None:
    """
    The first request on a connection is answered, the second one meets its end.
    """
    script = "upstream: {faults: [{fault: stale_keep_alive}]}"
    async with mock_in_test(script, clock=clock) as mock:
        raw = await _ask_twice(mock, stream=stream)
        applied = mock.of("fault_applied")
        ended = mock.of("upstream_request_ended")

    assert raw.count(b"HTTP/1.1 200 OK\r\n") == 1
    assert raw.endswith(b"0\r\n\r\n" if stream else b"}")
    assert len(applied) == 1
    assert [record["outcome"] for record in ended] == ["complete", "closed"]


async def test_spares_new_connections(asker: Any) -> None:
    """
    A connection that was never used cannot be stale.
    """
    answer = await asker.text("{fault: stale_keep_alive}", stream=False)

    assert answer.is_whole
    assert asker.applied == []
