"""
The body of a request, read whole and within limits.
"""

from contextlib import nullcontext
from typing import Final

from aiohttp import ClientError, web
from aiohttp.http_exceptions import HttpProcessingError
from multidict import istr

from mock_server.clock import Clock
from mock_server.forwarding import REFUSALS, ForwardedBody
from mock_server.http_request import HttpRequest

_TOO_LARGE, _TOO_SLOW, _BROKEN = REFUSALS
_EXPECT: Final = istr("expect")


def body_at_hand(http: HttpRequest, bytes_max: int) -> bytes | None:
    """
    Return the body if it is here whole, as it mostly is; None if it has to be read.

    A timer, and a coroutine to wait in, cost more than reading it.

    Raises:
        ApiError: It is broken.
    """
    content: object = http.content
    if type(content) is ForwardedBody:
        return content.take()
    stream = http.content
    if not stream.is_eof() or stream.total_bytes > bytes_max or _EXPECT in http.headers:
        return None
    try:
        return stream.read_nowait()
    except (HttpProcessingError, ClientError, web.RequestPayloadError) as error:
        raise _BROKEN from error


async def read_body(
    http: HttpRequest, *, bytes_max: int, timeout_s: float, clock: Clock
) -> bytes:
    """
    Return the body as it was sent.

    Args:
        http: The request.
        bytes_max: What it has at most.
        timeout_s: When it must be whole.
        clock: Measures that.

    Raises:
        ApiError: It is too large, too slow, or broken.
    """
    body = body_at_hand(http, bytes_max)
    if body is not None:
        return body
    content = http.content
    try:
        # A timer needs a task, and what is here whole is answered outside of one.
        async with nullcontext() if content.is_eof() else clock.timeout(timeout_s):
            if http.headers.get(_EXPECT, "").lower() == "100-continue":
                await http.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            pieces = []
            left = bytes_max
            while piece := await content.readany():
                left -= len(piece)
                if left < 0:
                    raise _TOO_LARGE
                pieces.append(piece)
            return b"".join(pieces)
    except TimeoutError as error:
        raise _TOO_SLOW from error
    except (HttpProcessingError, ClientError, web.RequestPayloadError) as error:
        raise _BROKEN from error
