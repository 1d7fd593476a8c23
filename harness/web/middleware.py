"""
What every request passes: its trace, and errors in one shape.
"""

import hmac
import logging
from typing import Final

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from harness.events import trace_scope
from harness.ids import IdMint
from harness.orchestrator import INTERNAL, describe
from harness.telemetry import Redactor, parse_traceparent
from harness.web.answers import RequestError, error_answer
from harness.webhooks import is_loopback

_LOG = logging.getLogger(__name__)
_CODES: Final = {
    404: "not_found",
    405: "method_not_allowed",
    413: "payload_too_large",
    417: "expectation_failed",
}


def trace_middleware(ids: IdMint) -> Middleware:
    """
    Return what lets a request work for the trace of its caller, or for one of its own.
    """

    @web.middleware
    async def trace(request: web.Request, handler: Handler) -> web.StreamResponse:
        trace_id = parse_traceparent(request.headers.get("traceparent"))
        with trace_scope(trace_id or ids.trace_id()):
            return await handler(request)

    return trace


def error_middleware(redactor: Redactor) -> Middleware:
    """
    Return what turns every error into an answer of one shape.
    """

    @web.middleware
    async def errors(request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            return await handler(request)
        except web.HTTPException as error:
            return error_answer(to_refusal(request, error), redactor=redactor)
        except Exception as error:  # noqa: BLE001 - the last line of defence answers 500
            if not isinstance(error, RequestError) and describe(error) is INTERNAL:
                _LOG.error("%s %s failed", request.method, request.path, exc_info=error)
            return error_answer(error, redactor=redactor)

    return errors


def to_refusal(request: web.BaseRequest, error: web.HTTPException) -> RequestError:
    """
    Return what aiohttp refused as a refusal of ours.
    """
    return RequestError(
        status=error.status,
        code=_CODES.get(error.status, "http_error"),
        message=f"{request.method} {request.path[:200]}: {error.reason}",
        headers={
            name: error.headers[name]
            for name in ("Allow", "Connection")
            if name in error.headers
        },
    )


class AdminGuard:
    """
    Lets operators through.

    Bound to loopback no token is needed, but the ``Host`` header must name loopback:
    a web page can make its reader's browser ask a name of its own that resolves here.

    Args:
        bound_host: The address that is listened on.
        token: The admin token; None lets nobody through but on loopback.
    """

    def __init__(self, *, bound_host: str, token: str | None) -> None:
        self._is_loopback = is_loopback(bound_host)
        self._token = token

    def guard(self, handler: Handler) -> Handler:
        """
        Return the handler for operators alone.
        """

        async def guarded(request: web.Request) -> web.StreamResponse:
            self._check(request)
            return await handler(request)

        return guarded

    def _check(self, request: web.Request) -> None:
        if self._holds_token(request):
            return
        if not self._is_loopback:
            if self._token is None:
                raise RequestError(
                    status=403,
                    code="forbidden",
                    message="this needs an admin token, and none is set",
                )
            raise RequestError(
                status=401,
                code="unauthorized",
                message="this needs the admin token as bearer token",
                headers={"WWW-Authenticate": "Bearer"},
            )
        if not is_loopback(_host_of(request)):
            raise RequestError(
                status=403,
                code="forbidden",
                message="the Host header does not name this machine's loopback",
            )

    def _holds_token(self, request: web.Request) -> bool:
        scheme, _, given = request.headers.get("Authorization", "").partition(" ")
        if self._token is None or scheme.lower() != "bearer":
            return False
        # What is no UTF-8 in a header stands there as surrogates.
        shown = given.strip().encode(errors="surrogateescape")
        return hmac.compare_digest(shown, self._token.encode())


def _host_of(request: web.Request) -> str:
    host = request.headers.get("Host", "")
    if host.startswith("["):
        return host.partition("]")[0].strip("[]")
    return host.partition(":")[0]
