"""
One HTTP exchange with an endpoint, and what it came to.

The head of the answer decides. Its body is read only so far that the connection can
be used again, and whatever is wrong with it changes nothing.
"""

import errno
from collections.abc import Mapping
from typing import Final

import aiohttp

from harness.clock import Clock
from harness.resilience import parse_retry_after
from harness.webhooks.schedule import Answer

ANSWER_BYTES_MAX: Final = 64 * 1024
"""More of an answer is not read; the connection is closed instead."""

_CHUNK_BYTES: Final = 8192
_RESET: Final = frozenset(
    {errno.ECONNRESET, errno.EPIPE, errno.ECONNABORTED, errno.ESHUTDOWN}
)
_DIAL_REASONS: Final = {
    errno.EACCES: "egress_denied",
    errno.ECONNREFUSED: "refused",
    errno.ETIMEDOUT: "timeout",
    **dict.fromkeys(_RESET, "reset"),
}
_REASONS: Final = (
    (TimeoutError, "timeout"),
    (aiohttp.ClientSSLError, "tls"),
    (aiohttp.ClientConnectorCertificateError, "tls"),
    (aiohttp.ClientConnectorError, "unreachable"),
    (aiohttp.ServerDisconnectedError, "closed"),
    (aiohttp.ClientResponseError, "protocol"),
    (aiohttp.ClientPayloadError, "protocol"),
    (ValueError, "invalid_url"),
    (Exception, "connection"),
)
"""The first kind that an error is of names it."""


async def exchange(
    session: aiohttp.ClientSession,
    url: str,
    *,
    headers: Mapping[str, str],
    body: bytes,
    timeout_s: float,
    clock: Clock,
) -> Answer:
    """
    Post a body and return what came of it; only cancellation is raised.

    Redirects are not followed, and nothing is inflated.

    Args:
        session: Its connector guards what is dialled.
        url: The endpoint.
        headers: Sent as they are.
        body: Sent as it is.
        timeout_s: For everything, from the look-up to the end of the answer.
        clock: Measures it.
    """
    answer: Answer | None = None
    try:
        async with (
            clock.timeout(timeout_s),
            session.post(
                url,
                data=body,
                headers=headers,
                allow_redirects=False,
                auto_decompress=False,
                timeout=aiohttp.ClientTimeout(total=None, ceil_threshold=float("inf")),
            ) as response,
        ):
            answer = _answer_of(response, clock.wall())
            await _skim(response)
    except (OSError, aiohttp.ClientError, ValueError) as error:
        # TimeoutError is an OSError; a URL that cannot be parsed is a ValueError.
        return answer or Answer(reason=reason_of(error))
    return answer


def _answer_of(response: aiohttp.ClientResponse, wall_s: float) -> Answer:
    asked = parse_retry_after(response.headers, wall_s)
    answer = Answer(
        reason=f"status_{response.status}",
        status=response.status,
        retry_after_s=None if asked is None else asked.delay_s,
    )
    if answer.is_success:
        return Answer(reason="ok", status=response.status)
    return answer


async def _skim(response: aiohttp.ClientResponse) -> None:
    read_bytes = 0
    while read_bytes < ANSWER_BYTES_MAX:
        chunk = await response.content.read(_CHUNK_BYTES)
        if not chunk:
            return
        read_bytes += len(chunk)
    response.close()


def reason_of(error: Exception) -> str:
    """
    Return why no answer came, in one of a few fixed words.
    """
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return "dns"
    if isinstance(error, aiohttp.ClientConnectorError):
        # Where several addresses of a name failed, the first error's number is left.
        number = error.os_error.errno or 0
        return _DIAL_REASONS.get(number, _reason_of_kind(error))
    if isinstance(error, OSError) and error.errno in _RESET:
        return "reset"
    return _reason_of_kind(error)


def _reason_of_kind(error: Exception) -> str:
    return next(word for kind, word in _REASONS if isinstance(error, kind))
