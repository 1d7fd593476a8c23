"""
A response: what it is made of, and the object that stands for it on the wire.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from mock_server.encoding import to_json_bytes
from mock_server.wire.errors import ApiError
from mock_server.wire.headers import JSON_CONTENT, Header
from mock_server.wire.plan import Chunk, End, Head, Pace, Plan
from mock_server.wire.reply import Usage
from mock_server.wire.responses.output import INCOMPLETE_REASONS
from mock_server.wire.responses.request import Item, ResponsesRequest

_FAILED_CODE = "server_error"


class Status(StrEnum):
    """
    How far a response has come.
    """

    QUEUED = "queued"
    IN_PROGRESS = "in_progress"
    COMPLETED = "completed"
    INCOMPLETE = "incomplete"
    FAILED = "failed"
    CANCELLED = "cancelled"


UNFINISHED = frozenset({Status.QUEUED, Status.IN_PROGRESS})


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """
    A response as it will be when it is finished.
    """

    id: str
    """``resp_`` and 48 hex digits."""

    request: ResponsesRequest
    created_s: int
    """Unix time."""

    output: tuple[Item, ...] = ()
    usage: Usage | None = None
    reasoning_tokens: int = 0
    finish_reason: str | None = None
    """Why the model stopped, in the words of a chat."""

    error: ApiError | None = None
    """Why it failed, if it does."""

    @property
    def final_status(self) -> Status:
        """
        How it ends, unless it is cancelled.
        """
        if self.error is not None:
            return Status.FAILED
        if self.finish_reason in INCOMPLETE_REASONS:
            return Status.INCOMPLETE
        return Status.COMPLETED

    def value(
        self, status: Status | None = None, *, completed_s: int | None = None
    ) -> dict[str, Any]:
        """
        Return the object with all its keys.

        Args:
            status: As it is to appear; by default finished.
            completed_s: When it was completed; by default when it was created.
        """
        status = status or self.final_status
        is_whole = status is self.final_status
        given = self.request.fields
        done_s = self.created_s if completed_s is None else completed_s
        value: dict[str, Any] = {
            "id": self.id,
            "object": "response",
            "created_at": self.created_s,
            "status": status,
            "background": self.request.is_background,
        }
        if status is Status.COMPLETED:
            value["billing"] = {"payer": "developer"}
        reason = INCOMPLETE_REASONS.get(self.finish_reason)
        is_incomplete = status is Status.INCOMPLETE
        value |= {
            "completed_at": done_s if status is Status.COMPLETED else None,
            "error": self._error() if status is Status.FAILED else None,
            "frequency_penalty": 0.0,
            "incomplete_details": {"reason": reason} if is_incomplete else None,
            "instructions": given.get("instructions"),
            "max_output_tokens": given.get("max_output_tokens"),
            "max_tool_calls": given.get("max_tool_calls"),
            "model": self.request.model,
            "output": list(self.output) if is_whole else [],
            **_echo(self.request),
            "usage": self._usage() if is_whole else None,
            "user": given.get("user"),
            "metadata": given.get("metadata", {}),
        }
        if self.request.conversation_id is not None:
            value["conversation"] = {"id": self.request.conversation_id}
        return value

    def _error(self) -> dict[str, Any]:
        code, message = None, ""
        if self.error is not None:
            code, message = self.error.code, self.error.message
        return {"code": code or _FAILED_CODE, "message": message}

    def _usage(self) -> dict[str, Any] | None:
        usage = self.usage
        if usage is None:
            return None
        return {
            "input_tokens": usage.prompt_tokens,
            "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
            "output_tokens": usage.completion_tokens,
            "output_tokens_details": {"reasoning_tokens": self.reasoning_tokens},
            "total_tokens": usage.prompt_tokens + usage.completion_tokens,
        }


def _echo(request: ResponsesRequest) -> Mapping[str, Any]:
    """
    Return the fields that say what was asked, with what holds when it was not.
    """
    given = request.fields
    text = given.get("text") or {}
    tier = given.get("service_tier", "auto")
    return {
        "parallel_tool_calls": given.get("parallel_tool_calls", True),
        "presence_penalty": 0.0,
        "previous_response_id": request.previous_response_id,
        "prompt_cache_key": given.get("prompt_cache_key"),
        "prompt_cache_retention": given.get("prompt_cache_retention"),
        "reasoning": {"effort": None, "summary": None, **given.get("reasoning", {})},
        "safety_identifier": given.get("safety_identifier"),
        "service_tier": "default" if tier == "auto" else tier,
        "store": request.is_stored,
        "temperature": given.get("temperature", 1.0),
        "text": {
            "format": request.text_format,
            "verbosity": text.get("verbosity") or "medium",
        },
        "tool_choice": given.get("tool_choice", "auto"),
        "tools": [_tool(tool) for tool in given.get("tools", ())],
        "top_logprobs": given.get("top_logprobs", 0),
        "top_p": given.get("top_p", 1.0),
        "truncation": given.get("truncation", "disabled"),
    }


def _tool(tool: Item) -> Item:
    if tool.get("type") != "function":
        return tool
    return {"description": None, "parameters": None, **tool, "strict": _strict(tool)}


def _strict(tool: Item) -> bool:
    return tool.get("strict") is not False


def value_plan(
    value: Mapping[str, Any], headers: tuple[Header, ...], *, pace: Pace = Pace.NONE
) -> Plan:
    """
    Return a plain answer that holds a value.

    Args:
        value: The body.
        headers: Besides those of the body.
        pace: What comes before it.
    """
    body = to_json_bytes(value)
    head = Head(200, (JSON_CONTENT, ("content-length", str(len(body))), *headers))
    return (head, Chunk(body, pace), End())
