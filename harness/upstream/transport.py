"""
What aiohttp raises, in the words of our own errors, and nothing secret in them.
"""

import ssl
from typing import Final

import aiohttp

from harness.errors import (
    UpstreamConnectionError,
    UpstreamError,
    UpstreamProtocolError,
    UpstreamStatusError,
    UsageError,
)
from harness.upstream.model import Breakage

TRANSPORT_ERRORS: Final = (aiohttp.ClientError, OSError)
"""Everything that sending and reading raise on their own account."""

_HIDDEN: Final = "[hidden]"


def explain(error: Exception) -> UpstreamError | UsageError:
    """
    Return our error for one of :data:`TRANSPORT_ERRORS`.

    The cause is kept where it says more; an aiohttp error that shows the headers of
    the request, and the key with them, is not.
    """
    match error:
        case aiohttp.InvalidURL():
            return UsageError("the address of the model API cannot be used")
        case aiohttp.ClientResponseError(message=message):
            return UpstreamProtocolError(reason=Breakage.NOT_HTTP, detail=message[:200])
        case _:
            explained = UpstreamConnectionError(
                reason=_reason(error), detail=type(error).__name__
            )
            explained.__cause__ = error
            return explained


def without_secret(error: UpstreamError, secret: str) -> UpstreamError:
    """
    Return an error in which nobody quotes a secret back to us.
    """
    if not secret or secret not in f"{error} {vars(error)}":
        return error
    match error:
        case UpstreamStatusError():
            return UpstreamStatusError(
                status=error.status,
                error_type=_hide(error.error_type, secret),
                code=_hide(error.code, secret),
                message=_hide(error.message, secret) or "",
                retry_after_s=error.retry_after_s,
                should_retry=error.should_retry,
                request_id=_hide(error.request_id, secret),
            )
        case UpstreamProtocolError():
            return UpstreamProtocolError(reason=error.reason, detail=_HIDDEN)
        case _:
            return UpstreamConnectionError(reason="other", detail=_HIDDEN)


def _hide(text: str | None, secret: str) -> str | None:
    return None if text is None else text.replace(secret, _HIDDEN)


def _reason(error: Exception) -> str:
    match error:
        case aiohttp.ClientConnectorDNSError():
            return "dns"
        case (
            aiohttp.ClientSSLError()
            | aiohttp.ServerFingerprintMismatch()
            | ssl.SSLError()
        ):
            return "tls"
        case aiohttp.ClientConnectorError(os_error=ConnectionRefusedError()):
            return "refused"
        case aiohttp.ServerDisconnectedError():
            return "closed"
        case aiohttp.ClientPayloadError():
            return "reset" if _was_reset(error) else "closed"
        case _:
            return "reset" if _was_reset(error) else "other"


def _was_reset(error: BaseException | None) -> bool:
    for _depth in range(4):
        if error is None:
            return False
        if isinstance(error, ConnectionResetError | BrokenPipeError):
            return True
        os_error = getattr(error, "os_error", None)
        error = os_error if isinstance(os_error, OSError) else error.__cause__
    return False
