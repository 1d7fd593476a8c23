"""
The body of a request, read whole and within limits.
"""

from contextlib import nullcontext
from typing import Final

from aiohttp import ClientError, web
from aiohttp.http_exceptions import HttpProcessingError

from mock_server.clock import Clock
from mock_server.wire import ApiError

_TOO_LARGE: Final = ApiError("The body is too large.", status=413)
_TOO_SLOW: Final = ApiError("The body did not arrive in time.", status=408)
_BROKEN: Final = ApiError("The body of the request could not be read.")


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
