"""
The body of a request, read whole and within limits.
"""

from contextlib import nullcontext

from aiohttp import ClientError, web
from aiohttp.http_exceptions import HttpProcessingError

from mock_server.clock import Clock
from mock_server.forwarding import REFUSALS, forwarded_body

_TOO_LARGE, _TOO_SLOW, _BROKEN = REFUSALS


async def read_body(
    http: web.BaseRequest, *, bytes_max: int, timeout_s: float, clock: Clock
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
    forwarded = forwarded_body(http)
    if forwarded is not None:
        return forwarded
    content = http.content
    # Mostly it came along with the headers, and a timer costs more than reading it.
    is_here = content.is_eof()
    if is_here and content.total_bytes <= bytes_max and "expect" not in http.headers:
        try:
            return content.read_nowait()
        except (HttpProcessingError, ClientError, web.RequestPayloadError) as error:
            raise _BROKEN from error
    try:
        async with nullcontext() if is_here else clock.timeout(timeout_s):
            if http.headers.get("expect", "").lower() == "100-continue":
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
