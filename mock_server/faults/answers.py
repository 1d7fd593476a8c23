"""
Faults in which another answer comes than the scripted one.
"""

import json
from typing import Any, ClassVar

from pydantic import Field

from mock_server.faults.fault import (
    ANSWERING,
    Fault,
    FaultContext,
    Target,
    answer_instead,
    head_of,
)
from mock_server.faults.retry_after import RetryAfterForm, SaysWhen
from mock_server.units import Duration
from mock_server.wire import End, Plan

_OVERLOADED = (
    "The server is currently overloaded with other requests. Sorry about that! "
    "You can retry your request, or contact us through our help center if the "
    "error persists."
)
_SERVER_FAILED = (
    "The server had an error while processing your request. Sorry about that! "
    "You can retry your request, or contact us through our help center if you keep "
    "seeing this error."
)
_UPSTREAM_ERRORS = {
    400: ("invalid_request_error", None, "The request could not be processed."),
    401: ("invalid_request_error", "invalid_api_key", "Incorrect API key provided."),
    403: (
        "invalid_request_error",
        "unsupported_country_region_territory",
        "Country, region, or territory not supported",
    ),
    404: ("invalid_request_error", None, "The requested resource was not found."),
    429: (
        "requests",
        "rate_limit_exceeded",
        "Rate limit reached on requests per min (RPM). Please try again later.",
    ),
    503: ("server_error", None, _OVERLOADED),
    529: ("server_error", None, _OVERLOADED),
}
_SERVER_ERROR = ("server_error", None, _SERVER_FAILED)
_CLIENT_ERROR = ("invalid_request_error", None, "The request was not accepted.")
_FIRST_ERROR = 400
_FIRST_SERVER_ERROR = 500


def error_plan(
    plan: Plan,
    context: FaultContext,
    status: int,
    *,
    error_type: str | None = None,
    code: str | None = None,
    message: str | None = None,
    param: str | None = None,
    headers: tuple[tuple[str, str], ...] = (),
) -> Plan:
    """
    Return an error answer in the shape of the surface that is hit.
    """
    known = _SERVER_ERROR if status >= _FIRST_SERVER_ERROR else _CLIENT_ERROR
    known_type, known_code, known_message = _UPSTREAM_ERRORS.get(status, known)
    text = message or known_message
    error: dict[str, Any]
    if context.target is Target.UPSTREAM:
        error = {
            "message": text,
            "type": error_type or known_type,
            "param": param,
            "code": code or (known_code if error_type is None else None),
        }
    else:
        error = {"code": code or f"status_{status}", "message": text}
    body = json.dumps({"error": error}, indent=2).encode()
    return answer_instead(
        plan, status, body, content_type="application/json", headers=headers
    )


class Status(SaysWhen):
    """
    Answers with a status and an error body in the surface's own shape.

    A status below 400 comes with an empty body.
    """

    name: ClassVar[str] = "status"
    targets: ClassVar[frozenset[Target]] = ANSWERING
    prevents_effect: ClassVar[bool] = True
    breaks_answer: ClassVar[bool] = True

    status: int = Field(default=503, ge=200, le=599)
    message: str | None = None
    """By default what the real API says with that status."""

    type: str | None = None
    """``error.type``; by default as the status implies."""

    code: str | None = None
    """``error.code``; by default as the status implies."""

    headers: dict[str, str] = Field(default_factory=dict)
    """Further headers."""

    def on_plan(self, plan: Plan, context: FaultContext) -> Plan:
        """
        Return the error answer.
        """
        headers = self.retry_headers(context.wall_s) + tuple(self.headers.items())
        if self.status < _FIRST_ERROR:
            return answer_instead(
                plan, self.status, b"", content_type="text/plain", headers=headers
            )
        return error_plan(
            plan,
            context,
            self.status,
            error_type=self.type,
            code=self.code,
            message=self.message,
            headers=headers,
        )


class RateLimited(SaysWhen):
    """
    Answers 429 ``rate_limit_exceeded``, with a wait in any form.
    """

    name: ClassVar[str] = "rate_limited"
    targets: ClassVar[frozenset[Target]] = ANSWERING
    prevents_effect: ClassVar[bool] = True
    breaks_answer: ClassVar[bool] = True

    retry_after: Duration | None = 1.0
    """How long the caller is asked to wait; null says nothing."""

    def on_plan(self, plan: Plan, context: FaultContext) -> Plan:
        """
        Return the 429.
        """
        headers = self.retry_headers(context.wall_s)
        if context.target is Target.UPSTREAM:
            headers += (
                ("x-ratelimit-limit-requests", "10000"),
                ("x-ratelimit-remaining-requests", "0"),
                ("x-ratelimit-reset-requests", f"{self.retry_after or 1:g}s"),
            )
        return error_plan(plan, context, 429, headers=headers)


class QuotaExhausted(Fault):
    """
    Answers 429 ``insufficient_quota``, which waiting does not cure.
    """

    name: ClassVar[str] = "quota_exhausted"
    targets: ClassVar[frozenset[Target]] = frozenset({Target.UPSTREAM})
    breaks_answer: ClassVar[bool] = True

    def on_plan(self, plan: Plan, context: FaultContext) -> Plan:
        """
        Return the 429, without any wait.
        """
        return error_plan(
            plan,
            context,
            429,
            error_type="insufficient_quota",
            code="insufficient_quota",
            message=(
                "You exceeded your current quota, please check your plan and billing "
                "details. For more information on this error, read the docs: "
                "https://platform.openai.com/docs/guides/error-codes/api-errors."
            ),
        )


class HtmlPage(Fault):
    """
    Answers with the error page of a gateway instead of JSON.
    """

    name: ClassVar[str] = "html_page"
    targets: ClassVar[frozenset[Target]] = ANSWERING
    prevents_effect: ClassVar[bool] = True
    breaks_answer: ClassVar[bool] = True

    status: int = Field(default=502, ge=200, le=599)
    """200 gives a page that looks like success."""

    def on_plan(self, plan: Plan, context: FaultContext) -> Plan:
        """
        Return the page.
        """
        del context
        title = {502: "502 Bad Gateway", 504: "504 Gateway Time-out"}.get(
            self.status, f"{self.status} Error"
        )
        page = (
            f"<html>\r\n<head><title>{title}</title></head>\r\n<body>\r\n"
            f"<center><h1>{title}</h1></center>\r\n<hr><center>cloudflare</center>\r\n"
            "</body>\r\n</html>\r\n"
        )
        return answer_instead(
            plan, self.status, page.encode(), content_type="text/html; charset=UTF-8"
        )


class EmptyBody(Fault):
    """
    Answers with the right status and headers and a body of no bytes.
    """

    name: ClassVar[str] = "empty_body"
    targets: ClassVar[frozenset[Target]] = ANSWERING
    breaks_answer: ClassVar[bool] = True
    plain: ClassVar[str] = "`content-length: 0`; a stream ends before its first event"

    def on_plan(self, plan: Plan, context: FaultContext) -> Plan:
        """
        Return the answer without its body.
        """
        head = head_of(plan)
        if head is None:
            return plan
        if context.stream:
            return (head, End())
        types = [value for name, value in head.headers if name == "content-type"]
        content_type = types[0] if types else "application/json"
        return answer_instead(plan, head.status, b"", content_type=content_type)


class Gone(Fault):
    """
    Answers 410: the endpoint wants nothing more, ever.
    """

    name: ClassVar[str] = "gone"
    targets: ClassVar[frozenset[Target]] = frozenset({Target.WEBHOOK_ENDPOINT})
    breaks_answer: ClassVar[bool] = True

    def on_plan(self, plan: Plan, context: FaultContext) -> Plan:
        """
        Return the 410.
        """
        return error_plan(plan, context, 410, message="The endpoint is gone.")


class RedirectTo(Fault):
    """
    Answers with a redirect, by default to an address that must never be dialled.
    """

    name: ClassVar[str] = "redirect_to"
    targets: ClassVar[frozenset[Target]] = ANSWERING
    prevents_effect: ClassVar[bool] = True
    breaks_answer: ClassVar[bool] = True

    location: str = "http://169.254.169.254/latest/meta-data/"
    """Any URL or path."""

    status: int = Field(default=307, ge=300, le=308)

    def on_plan(self, plan: Plan, context: FaultContext) -> Plan:
        """
        Return the redirect.
        """
        del context
        return answer_instead(
            plan,
            self.status,
            b"",
            content_type="text/plain",
            headers=(("location", self.location),),
        )


__all__ = [
    "EmptyBody",
    "Gone",
    "HtmlPage",
    "QuotaExhausted",
    "RateLimited",
    "RedirectTo",
    "RetryAfterForm",
    "Status",
    "error_plan",
]
