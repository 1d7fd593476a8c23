"""
Chunks in, a completion out, no I/O.

An answer counts only if it is whole: the model said why it stopped, the calls are
numbered as the contract says and each has one id and one name. Everything else is an
error with a fixed reason, so that a broken answer never becomes a success.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Final

from harness.errors import UpstreamProtocolError
from harness.ids import ToolCallId
from harness.upstream.model import (
    Breakage,
    Completion,
    FinishReason,
    ToolCall,
    Usage,
)
from harness.upstream.wire import (
    WireChunkChoice,
    WireDelta,
    WireToolCallDelta,
    decode_chunk,
    status_error,
)

DONE: Final = "[DONE]"
"""What ends a stream; its absence is no mistake, as every client takes it."""

TOOL_CALLS_MAX = 128
"""Calls in one answer; more are taken for a runaway model."""


@dataclass(slots=True)
class _OpenCall:
    id: str
    name: str
    arguments: list[str] = field(default_factory=list)


class CompletionAssembler:
    """
    Puts the chunks of one stream together.

    Attributes:
        is_done: The stream has said that nothing follows.
    """

    def __init__(self) -> None:
        self.is_done = False
        self._id: str | None = None
        self._text: list[str] = []
        self._refusal: list[str] = []
        self._calls: list[_OpenCall] = []
        self._finish_reason: str | None = None
        self._usage: Any = None
        self._model: str | None = None

    def add(self, data: str) -> str:
        """
        Take the data of an event and return the text it adds to the answer, or "".

        Raises:
            UpstreamProtocolError: The chunk breaks the contract.
            UpstreamStatusError: The stream reports an error; its status is 200.
        """
        if self.is_done:
            return ""
        if data.startswith(DONE):
            self.is_done = True
            return ""
        chunk = decode_chunk(data)
        if chunk.error is not None:
            raise status_error(chunk.error, status=200)
        self._take_id(chunk.id)
        self._usage = chunk.usage or self._usage
        self._model = chunk.model or self._model
        return "".join([self._take_choice(choice) for choice in chunk.choices or ()])

    def finish(self) -> Completion:
        """
        Return the answer; the stream has ended.

        Raises:
            UpstreamProtocolError: It is not whole.
        """
        return finish_completion(
            text="".join(self._text) or None,
            refusal="".join(self._refusal) or None,
            calls=[
                ToolCall(
                    id=ToolCallId(call.id),
                    name=call.name,
                    arguments="".join(call.arguments),
                )
                for call in self._calls
            ],
            finish_reason=self._finish_reason,
            usage=self._usage,
            model=self._model,
        )

    def _take_id(self, answer_id: str | None) -> None:
        # Some servers send chunks of their own, before the answer has an id.
        if not answer_id:
            return
        if self._id not in {None, answer_id}:
            raise UpstreamProtocolError(
                reason=Breakage.ANSWER_CHANGED,
                detail=f"{answer_id:.80} after {self._id:.80}",
            )
        self._id = answer_id

    def _take_choice(self, choice: WireChunkChoice) -> str:
        if choice.index != 0:
            raise UpstreamProtocolError(
                reason=Breakage.WRONG_SHAPE, detail="more than the one choice asked for"
            )
        delta = choice.delta or WireDelta()
        says = bool(delta.content or delta.refusal or delta.tool_calls)
        if says and self._finish_reason is not None:
            raise UpstreamProtocolError(reason=Breakage.OUTPUT_AFTER_FINISH)
        for part in delta.tool_calls or ():
            self._take_part(part)
        if delta.refusal:
            self._refusal.append(delta.refusal)
        if delta.content:
            self._text.append(delta.content)
        self._finish_reason = self._finish_reason or choice.finish_reason
        return delta.content or ""

    def _take_part(self, part: WireToolCallDelta) -> None:
        function = part.function
        name = (function.name if function else None) or ""
        if part.index == len(self._calls):
            call = _OpenCall(*_check_names(part.id, name, part.type))
            self._calls.append(call)
        elif part.index is not None and 0 <= part.index < len(self._calls):
            call = self._calls[part.index]
            # Some servers repeat the id and the name in every delta.
            if (part.id or call.id) != call.id or (name or call.name) != call.name:
                raise UpstreamProtocolError(
                    reason=Breakage.TOOL_CALL_CHANGED, detail=f"index {part.index}"
                )
        else:
            raise UpstreamProtocolError(
                reason=Breakage.TOOL_CALL_INDEX,
                detail=f"{part.index} after {len(self._calls)} calls",
            )
        if len(self._calls) > TOOL_CALLS_MAX:
            raise UpstreamProtocolError(reason=Breakage.TOO_MANY_TOOL_CALLS)
        if function and function.arguments:
            call.arguments.append(function.arguments)


def open_call(
    call_id: str | None, name: str | None, kind: str | None, arguments: str
) -> ToolCall:
    """
    Return a call of a plain answer.

    Raises:
        UpstreamProtocolError: It has no id or no function.
    """
    checked_id, checked_name = _check_names(call_id, name, kind)
    return ToolCall(id=ToolCallId(checked_id), name=checked_name, arguments=arguments)


def finish_completion(
    *,
    text: str | None,
    refusal: str | None,
    calls: Sequence[ToolCall],
    finish_reason: str | None,
    usage: Any,
    model: str | None,
) -> Completion:
    """
    Return the completion if the answer is whole; the one rule for both forms.

    Raises:
        UpstreamProtocolError: It is not whole.
    """
    if finish_reason is None:
        raise UpstreamProtocolError(
            reason=Breakage.TRUNCATED, detail="it ended without a finish_reason"
        )
    try:
        reason = FinishReason(finish_reason)
    except ValueError:
        raise UpstreamProtocolError(
            reason=Breakage.UNKNOWN_FINISH_REASON, detail=finish_reason[:40]
        ) from None
    if len(calls) > TOOL_CALLS_MAX:
        raise UpstreamProtocolError(reason=Breakage.TOO_MANY_TOOL_CALLS)
    if len({call.id for call in calls}) < len(calls):
        raise UpstreamProtocolError(reason=Breakage.TOOL_CALL_REPEATED)
    if reason is FinishReason.TOOL_CALLS and not calls:
        raise UpstreamProtocolError(reason=Breakage.TOOL_CALLS_MISSING)
    if reason is FinishReason.LENGTH and calls and not calls[-1].arguments:
        # No arguments stand for none; here they were still to come.
        raise UpstreamProtocolError(
            reason=Breakage.TRUNCATED, detail="it ended before a call's arguments"
        )
    says = (text or "").strip() or (refusal or "").strip() or calls
    if reason is FinishReason.STOP and not says:
        raise UpstreamProtocolError(reason=Breakage.EMPTY_ANSWER)
    return Completion(
        text=text,
        tool_calls=tuple(calls),
        finish_reason=reason,
        refusal=refusal,
        usage=_usage(usage),
        model=model,
    )


def _check_names(
    call_id: str | None, name: str | None, kind: str | None
) -> tuple[str, str]:
    if not call_id or not name or kind not in {None, "function"}:
        raise UpstreamProtocolError(
            reason=Breakage.TOOL_CALL_UNNAMED,
            detail=f"id {call_id!r:.80}, name {name!r:.80}, type {kind!r:.40}",
        )
    return call_id, name


def _usage(usage: Any) -> Usage | None:
    if not isinstance(usage, dict):
        return None
    counts = {
        field.name: value
        for field in fields(Usage)
        if type(value := usage.get(field.name)) is int
    }
    # Counts that cannot be are worse than none: somebody will add them up.
    return Usage(**counts) if all(count >= 0 for count in counts.values()) else None
