"""
Faults in which the API refuses for a reason of its own.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, ClassVar, Literal

import orjson

from mock_server.faults.answers import error_plan
from mock_server.faults.fault import (
    ANSWERING,
    Fault,
    FaultContext,
    Target,
    answer_instead,
    head_of,
)
from mock_server.faults.retry_after import SaysWhen
from mock_server.faults.sse import choices_in, edit_answer, messages_in
from mock_server.wire import Chunk, End, Head, Plan

_UPSTREAM = frozenset({Target.UPSTREAM})
_RESPONSES = "responses"


class ApiFault(Fault):
    """
    Base of the faults that only the model API has.
    """

    targets: ClassVar[frozenset[Target]] = _UPSTREAM
    breaks_answer: ClassVar[bool] = True


class ModelApiFault(ApiFault):
    """
    Base of the errors of a model: requests that ask none are spared.
    """

    def fits(self, reply: Any, context: FaultContext) -> bool:
        """
        Say whether a model is asked.
        """
        return bool(context.asked.model) and super().fits(reply, context)


class ContextLengthExceeded(ModelApiFault):
    """
    Answers 400 ``context_length_exceeded``: the prompt does not fit.

    Requests that name no model are spared.
    """

    name: ClassVar[str] = "context_length_exceeded"

    limit: int = 8192
    """The context window that the message names."""

    def on_plan(self, plan: Plan, context: FaultContext) -> Plan:
        """
        Return the 400.
        """
        if context.surface == _RESPONSES:
            message = (
                "Your input exceeds the context window of this model. Please adjust "
                "your input and try again."
            )
            return error_plan(
                plan,
                context,
                400,
                code="context_length_exceeded",
                message=message,
                param="input",
            )
        message = (
            f"This model's maximum context length is {self.limit} tokens. However, "
            f"your messages resulted in {self.limit + 35} tokens. Please reduce the "
            "length of the messages."
        )
        return error_plan(
            plan,
            context,
            400,
            code="context_length_exceeded",
            message=message,
            param="messages",
        )


class ModelNotFound(ModelApiFault):
    """
    Answers that the model does not exist, or that the account may not use it.

    Requests that name no model are spared.
    """

    name: ClassVar[str] = "model_not_found"

    def on_plan(self, plan: Plan, context: FaultContext) -> Plan:
        """
        Return the 404, or the 400 of the other API.
        """
        model = context.asked.model
        code = "model_not_found"
        if context.surface == _RESPONSES:
            message = f"The requested model '{model}' does not exist."
            return error_plan(
                plan, context, 400, code=code, message=message, param="model"
            )
        message = f"The model `{model}` does not exist or you do not have access to it."
        return error_plan(plan, context, 404, code=code, message=message)


class InvalidApiKey(ApiFault):
    """
    Answers 401 ``invalid_api_key``, as after a rotation of keys.
    """

    name: ClassVar[str] = "invalid_api_key"

    def on_plan(self, plan: Plan, context: FaultContext) -> Plan:
        """
        Return the 401, which shows nothing of the key.
        """
        message = (
            "Incorrect API key provided: sk-*****. You can find your API key at "
            "https://platform.openai.com/account/api-keys."
        )
        return error_plan(plan, context, 401, code="invalid_api_key", message=message)


class ServerOverloaded(SaysWhen):
    """
    Answers 503: the API has more to do than it can.
    """

    name: ClassVar[str] = "server_overloaded"
    targets: ClassVar[frozenset[Target]] = _UPSTREAM
    breaks_answer: ClassVar[bool] = True

    form: Literal["classic", "recent"] = "classic"
    """``recent`` carries the code ``server_is_overloaded``."""

    def on_plan(self, plan: Plan, context: FaultContext) -> Plan:
        """
        Return the 503.
        """
        headers = self.retry_headers(context.wall_s)
        if self.form == "classic":
            return error_plan(plan, context, 503, headers=headers)
        return error_plan(
            plan,
            context,
            503,
            error_type="server_error",
            code="server_is_overloaded",
            message="Our servers are currently overloaded. Please try again later.",
            headers=headers,
        )


class ContentFiltered(ApiFault):
    """
    The answer is filtered: 200 with ``content_filter``, or Azure's 400.
    """

    name: ClassVar[str] = "content_filtered"

    form: Literal["finish_reason", "azure"] = "finish_reason"
    """How the filter shows."""

    def on_plan(self, plan: Plan, context: FaultContext) -> Plan:
        """
        Return the answer without its text, or the refusal.
        """
        if self.form == "finish_reason":
            return edit_answer(plan, _filter, stream=context.stream)
        message = (
            "The response was filtered due to the prompt triggering Azure OpenAI's "
            "content management policy. Please modify your prompt and retry."
        )
        error = {
            "message": message,
            "type": None,
            "param": "prompt",
            "code": "content_filter",
            "status": 400,
            "innererror": {
                "code": "ResponsibleAIPolicyViolation",
                "content_filter_result": {
                    "hate": {"filtered": False, "severity": "safe"},
                    "violence": {"filtered": True, "severity": "medium"},
                },
            },
        }
        body = orjson.dumps({"error": error})
        return answer_instead(plan, 400, body, content_type="application/json")


def _filter(value: dict[str, Any]) -> None:
    for choice in choices_in(value):
        if choice.get("finish_reason") is not None:
            choice["finish_reason"] = "content_filter"
    for message in messages_in(value):
        message.pop("tool_calls", None)
        if message.get("content"):
            message["content"] = ""
    response = value.get("response", value)
    if isinstance(response, dict) and response.get("status") == "completed":
        response["status"] = "incomplete"
        response["incomplete_details"] = {"reason": "content_filter"}
        if value.get("type") == "response.completed":
            value["type"] = "response.incomplete"
    if isinstance(value.get("delta"), str):
        value["delta"] = ""


class Redirect(Fault):
    """
    Answers 307, to another path of the same host or round in circles.
    """

    name: ClassVar[str] = "redirect"
    targets: ClassVar[frozenset[Target]] = ANSWERING
    prevents_effect: ClassVar[bool] = True
    breaks_answer: ClassVar[bool] = True

    where: Literal["elsewhere", "loop"] = "loop"
    """``loop`` points to what was asked for."""

    def on_plan(self, plan: Plan, context: FaultContext) -> Plan:
        """
        Return the redirect.
        """
        prefix = "/v1" if context.target is Target.UPSTREAM else ""
        own = prefix + context.path
        location = own if self.where == "loop" else f"/elsewhere{own}"
        return answer_instead(
            plan, 307, b"", content_type="text/plain", headers=(("location", location),)
        )


class ErrorIn200(ApiFault):
    """
    Says 200 and sends an error, as gateways do.
    """

    name: ClassVar[str] = "error_in_200"
    plain: ClassVar[str] = "the error is the body; of a stream it is the only event"

    def on_plan(self, plan: Plan, context: FaultContext) -> Plan:
        """
        Return the error under a status of success.
        """
        envelope = orjson.dumps({"error": server_error()})
        if not context.stream:
            return answer_instead(plan, 200, envelope, content_type="application/json")
        head = head_of(plan)
        headers = head.headers if head else ()
        event = b"data: " + envelope + b"\n\n"
        return (Head(200, headers), Chunk(event), End())


class RateLimitForm(StrEnum):
    """
    How the headers lie.
    """

    ROOM_ON_429 = "room_on_429"
    """429 ``rate_limit_exceeded`` with requests and tokens left."""

    RESET_IN_PAST = "reset_in_past"
    """429 whose limits were reset before it was sent."""

    NONE_LEFT = "none_left"
    """The answer comes, with nothing left at all."""

    GARBAGE = "garbage"
    """The answer comes, with words for numbers."""

    ABSENT = "absent"
    """The answer comes without any of them."""


_LIES: Mapping[RateLimitForm, tuple[str, str]] = {
    RateLimitForm.ROOM_ON_429: ("9999", "1s"),
    RateLimitForm.RESET_IN_PAST: ("0", "-5s"),
    RateLimitForm.NONE_LEFT: ("0", "6m0s"),
    RateLimitForm.GARBAGE: ("plenty", "soon"),
}


class RateLimitHeaders(Fault):
    """
    Sends ``x-ratelimit-*`` headers that do not tell the truth.
    """

    name: ClassVar[str] = "rate_limit_headers"
    targets: ClassVar[frozenset[Target]] = _UPSTREAM

    form: RateLimitForm = RateLimitForm.ROOM_ON_429
    """What is wrong with them."""

    def on_plan(self, plan: Plan, context: FaultContext) -> Plan:
        """
        Return the answer with other headers.
        """
        if self.form in {RateLimitForm.ROOM_ON_429, RateLimitForm.RESET_IN_PAST}:
            return error_plan(plan, context, 429, headers=_lie(self.form))
        return tuple(
            Head(step.status, (*_without_limits(step), *_lie(self.form)))
            if isinstance(step, Head)
            else step
            for step in plan
        )


def _without_limits(head: Head) -> tuple[tuple[str, str], ...]:
    return tuple(
        (name, value)
        for name, value in head.headers
        if not name.lower().startswith("x-ratelimit-")
    )


def _lie(form: RateLimitForm) -> tuple[tuple[str, str], ...]:
    if form not in _LIES:
        return ()
    remaining, reset = _LIES[form]
    return tuple(
        (f"x-ratelimit-{what}-{unit}", value)
        for unit in ("requests", "tokens")
        for what, value in (
            ("limit", "10000"),
            ("remaining", remaining),
            ("reset", reset),
        )
    )


def server_error() -> dict[str, Any]:
    """
    Return what the API says when it fails while it answers.
    """
    return {
        "message": (
            "The server had an error while processing your request. Sorry about that!"
        ),
        "type": "server_error",
        "param": None,
        "code": "server_error",
    }
