"""
The faults in which another answer comes, plain and streamed, pinned on their bytes.
"""

import gzip
import zlib
from collections.abc import Callable
from typing import Any

import pytest

from mock_server import LoopClock
from mock_server.testing import Ending, RawAnswer, mock_in_test

pytestmark = pytest.mark.virtual_time

Check = Callable[[RawAnswer, bool], None]


def _error(answer: RawAnswer) -> dict[str, Any]:
    assert answer.is_whole
    assert answer.headers["content-type"] == "application/json"
    error = answer.json["error"]
    assert {"message", "type", "param", "code"} <= set(error)
    return dict(error)


def _refused(status: int, param: str | None, code: str | None, words: str) -> Check:
    def check(answer: RawAnswer, stream: bool) -> None:  # noqa: FBT001 - a parameter of the matrix
        del stream
        assert answer.status == status
        error = _error(answer)
        assert (error["param"], error["code"]) == (param, code)
        assert words in error["message"]

    return check


def _is_filtered(answer: RawAnswer, stream: bool) -> None:  # noqa: FBT001 - a parameter of the matrix
    assert answer.status == 200
    assert answer.is_whole
    assert answer.body.count(b'"finish_reason":"content_filter"') == 1
    assert b"three" not in answer.body
    assert answer.body.endswith(b"data: [DONE]\n\n") is stream


def _is_loop(answer: RawAnswer, stream: bool) -> None:  # noqa: FBT001 - a parameter of the matrix
    del stream
    assert answer.head.startswith(b"HTTP/1.1 307 Temporary Redirect\r\n")
    assert answer.headers["location"] == "/v1/chat/completions"
    assert answer.framed == b""


def _is_elsewhere(answer: RawAnswer, stream: bool) -> None:  # noqa: FBT001 - a parameter of the matrix
    del stream
    assert answer.headers["location"] == "/elsewhere/v1/chat/completions"


def _is_error_in_200(answer: RawAnswer, stream: bool) -> None:  # noqa: FBT001 - a parameter of the matrix
    assert answer.status == 200
    assert answer.is_whole
    if stream:
        assert answer.headers["content-type"].startswith("text/event-stream")
        assert len(answer.events) == 1
        assert answer.events[0].startswith(b'{"error":{"message":')
    else:
        assert answer.body.startswith(b'{"error":{"message":')


def _has_type(answer: RawAnswer, stream: bool) -> None:  # noqa: FBT001 - a parameter of the matrix
    assert answer.head.lower().count(b"content-type") == 1
    assert answer.headers["content-type"] == "text/plain"
    assert answer.body.startswith(b"data: {" if stream else b"{")
    assert answer.is_whole


def _is_too_long(answer: RawAnswer, stream: bool) -> None:  # noqa: FBT001 - a parameter of the matrix
    assert "transfer-encoding" not in answer.headers
    assert int(answer.headers["content-length"]) == len(answer.framed) + 10
    assert answer.framed.endswith(b"[DONE]\n\n" if stream else b"}")
    assert answer.ending is Ending.CLOSED


def _is_too_short(answer: RawAnswer, stream: bool) -> None:  # noqa: FBT001 - a parameter of the matrix
    del stream
    assert int(answer.headers["content-length"]) == len(answer.framed) - 7
    assert answer.ending is Ending.CLOSED


def _is_not_gzip(answer: RawAnswer, stream: bool) -> None:  # noqa: FBT001 - a parameter of the matrix
    assert answer.headers["content-encoding"] == "gzip"
    assert answer.body.startswith(b"data: {" if stream else b"{")


def _is_torn_gzip(answer: RawAnswer, stream: bool) -> None:  # noqa: FBT001 - a parameter of the matrix
    assert answer.is_whole
    unpacker = zlib.decompressobj(wbits=31)
    start = unpacker.decompress(answer.body)
    assert start.startswith(b"data: {" if stream else b'{"id"')
    assert not unpacker.eof


def _is_spoiled_gzip(answer: RawAnswer, stream: bool) -> None:  # noqa: FBT001 - a parameter of the matrix
    del stream
    assert answer.is_whole
    with pytest.raises((gzip.BadGzipFile, zlib.error)):
        gzip.decompress(answer.body)


def _is_flooded(answer: RawAnswer, stream: bool) -> None:  # noqa: FBT001 - a parameter of the matrix
    del stream
    assert answer.head.count(b"\r\nx-flood-") == 500
    assert answer.headers["x-flood-499"] == "x" * 100
    assert answer.is_whole


def _has_no_id(answer: RawAnswer, stream: bool) -> None:  # noqa: FBT001 - a parameter of the matrix
    del stream
    assert b"x-request-id:" not in answer.head
    assert answer.is_whole


def _has_two_ids(answer: RawAnswer, stream: bool) -> None:  # noqa: FBT001 - a parameter of the matrix
    del stream
    lines = [
        line
        for line in answer.head.split(b"\r\n")
        if line.startswith(b"x-request-id: req_")
    ]
    assert len(set(lines)) == 2


def _has_limits(status: int, remaining: str, reset: str) -> Check:
    def check(answer: RawAnswer, stream: bool) -> None:  # noqa: FBT001 - a parameter of the matrix
        del stream
        assert answer.status == status
        assert answer.head.count(b"x-ratelimit-remaining-requests") == 1
        assert answer.headers["x-ratelimit-remaining-requests"] == remaining
        assert answer.headers["x-ratelimit-reset-tokens"] == reset

    return check


def _has_no_limits(answer: RawAnswer, stream: bool) -> None:  # noqa: FBT001 - a parameter of the matrix
    del stream
    assert answer.status == 200
    assert b"x-ratelimit" not in answer.head


PINNED: dict[str, Check] = {
    "fault: context_length_exceeded": _refused(
        400, "messages", "context_length_exceeded", "resulted in 8227 tokens"
    ),
    "fault: model_not_found": _refused(
        404, None, "model_not_found", "The model `gpt-4o` does not exist"
    ),
    "fault: invalid_api_key": _refused(
        401, None, "invalid_api_key", "Incorrect API key provided: sk-*****"
    ),
    "fault: server_overloaded": _refused(503, None, None, "currently overloaded"),
    "fault: server_overloaded, form: recent": _refused(
        503, None, "server_is_overloaded", "Please try again later"
    ),
    "fault: status, status: 529": _refused(529, None, None, "overloaded"),
    "fault: content_filtered": _is_filtered,
    "fault: content_filtered, form: azure": _refused(
        400, "prompt", "content_filter", "content management policy"
    ),
    "fault: redirect": _is_loop,
    "fault: redirect, where: elsewhere": _is_elsewhere,
    "fault: error_in_200": _is_error_in_200,
    "fault: wrong_content_type": _has_type,
    "fault: content_length": _is_too_long,
    "fault: content_length, form: too_short, off_by: 7": _is_too_short,
    "fault: bad_gzip": _is_not_gzip,
    "fault: bad_gzip, form: truncated": _is_torn_gzip,
    "fault: bad_gzip, form: bad_checksum": _is_spoiled_gzip,
    "fault: header_flood": _is_flooded,
    "fault: request_id": _has_no_id,
    "fault: request_id, form: doubled": _has_two_ids,
    "fault: rate_limit_headers": _has_limits(429, "9999", "1s"),
    "fault: rate_limit_headers, form: reset_in_past": _has_limits(429, "0", "-5s"),
    "fault: rate_limit_headers, form: none_left": _has_limits(200, "0", "6m0s"),
    "fault: rate_limit_headers, form: garbage": _has_limits(200, "plenty", "soon"),
    "fault: rate_limit_headers, form: absent": _has_no_limits,
}
SCRIPT = """
upstream:
  script: [{reply: {text: "one two three four"}}]
  faults: [{%s}]
"""


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])
@pytest.mark.parametrize("fault", PINNED)
async def test_sends_these_bytes(
    fault: str,
    stream: bool,  # noqa: FBT001 - a parameter of the matrix
    clock: LoopClock,
) -> None:
    """
    A fault of the answer does on the wire what the catalogue says, in both forms.
    """
    async with mock_in_test(SCRIPT % fault, clock=clock) as mock:
        answer = await mock.chat(stream=stream)
        applied = mock.of("fault_applied")

    assert [f"fault: {record['fault']}" for record in applied] == [
        fault.split(",", maxsplit=1)[0]
    ]
    PINNED[fault](answer, stream)
