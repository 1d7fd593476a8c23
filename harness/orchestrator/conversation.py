"""
What a chat does next, as a pure function of what happened so far.

A :class:`Conversation` is a frozen value; each thing that happens returns another one.
:func:`next_move` says what follows from it:

    asking ──completion with tool calls──▶ calling ──all that run have run──▶ waiting
      ▲  │                                    │                                  │
      │  └──completion with text──▶ answered  └────────every call answered───────┤
      └──────────────────────────────────────────────────────────────────────────┘

It is written to the store as JSON after each step, so that another process can go on.
"""

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import orjson

from harness.errors import LimitExceededError, UpstreamProtocolError
from harness.ids import ToolCallId
from harness.upstream import Completion, ToolCall

NAME_CHARS_MAX: Final = 128
"""No tool's name is longer; what a model makes up may be."""

_USABLE_ID: Final = re.compile(r"[A-Za-z0-9_.:-]{1,128}", re.ASCII)

Message = Mapping[str, Any]
"""A message in the shape of the wire."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedCall:
    """
    A tool call that the model asked for and that has no answer yet.
    """

    call_id: str
    """The model's name for it, unique within its turn."""

    execution_id: ToolCallId
    """Our name for its execution, unique in the store; usually the same."""

    name: str
    arguments: str
    """Text as the model wrote it."""

    deferred: bool = False
    """Whether it was dispatched and its result comes by webhook."""

    @property
    def shown_name(self) -> str:
        """
        The name at a length that fits events and rows: an unknown one may have any.
        """
        return self.name[:NAME_CHARS_MAX]


@dataclass(frozen=True, slots=True, kw_only=True)
class FinishedCall:
    """
    A tool call with its answer.
    """

    call: PlannedCall
    ok: bool
    result: Any
    """The JSON result, or what the model is told about the failure."""

    def to_body(self) -> dict[str, Any]:
        """
        Return the call as the caller is told about it.
        """
        try:
            arguments = orjson.loads(self.call.arguments or "{}")
        except orjson.JSONDecodeError:
            arguments = self.call.arguments
        return {"name": self.call.name, "arguments": arguments, "result": self.result}


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversation:
    """
    A chat as far as it has come.
    """

    messages: tuple[Message, ...]
    turns: int = 0
    """Requests to the model that were answered."""

    open_calls: tuple[PlannedCall, ...] = ()
    """The tool calls of the last turn, until every one of them is answered."""

    finished: tuple[FinishedCall, ...] = ()
    """All answered tool calls, those of the open turn included."""

    answer: str | None = None

    def unanswered(self) -> tuple[PlannedCall, ...]:
        """
        Return the open calls that have no answer yet, in the model's order.
        """
        answered = {finished.call.execution_id for finished in self.finished}
        return tuple(
            call for call in self.open_calls if call.execution_id not in answered
        )


# What may come next -----------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class AskModel:
    """
    Send the conversation to the model.
    """

    messages: tuple[Message, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class CallTools:
    """
    Run these calls; they do not depend on each other.
    """

    calls: tuple[PlannedCall, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitFor:
    """
    Wait until these deferred calls are resolved.
    """

    calls: tuple[PlannedCall, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """
    Tell the caller.
    """

    text: str
    function_calls: tuple[FinishedCall, ...]


Move = AskModel | CallTools | WaitFor | Answer


def next_move(conversation: Conversation, *, turns_max: int) -> Move:
    """
    Return what the chat does next.

    Raises:
        LimitExceededError: The model was asked ``turns_max`` times and still wants
            tools to be called. They are not: nobody would read their results.
    """
    if conversation.answer is not None:
        return Answer(text=conversation.answer, function_calls=conversation.finished)
    if conversation.turns >= turns_max:
        raise LimitExceededError(limit="turns_max", value=turns_max)
    left = conversation.unanswered()
    if not left:
        return AskModel(messages=conversation.messages)
    if to_run := tuple(call for call in left if not call.deferred):
        return CallTools(calls=to_run)
    return WaitFor(calls=left)


# What may happen --------------------------------------------------------------------


def started(
    *, system_prompt: str, history: Sequence[Message], message: str
) -> Conversation:
    """
    Return the conversation in which a user has just said something.
    """
    system: list[Message] = []
    if system_prompt:
        system.append({"role": "system", "content": system_prompt})
    said = {"role": "user", "content": message}
    return Conversation(messages=(*system, *history, said))


def completed(
    conversation: Conversation, completion: Completion, *, tool_calls_max: int
) -> Conversation:
    """
    Return the conversation after the model answered.

    Raises:
        UpstreamProtocolError: The answer says nothing.
        LimitExceededError: It asks for more tool calls than are allowed in a turn.
    """
    turns = conversation.turns + 1
    if not completion.tool_calls:
        text = completion.text or completion.refusal
        if not text:
            raise UpstreamProtocolError(
                reason="empty_answer",
                detail=f"it stopped for {completion.finish_reason}",
            )
        said = {"role": "assistant", "content": text}
        return replace(
            conversation,
            messages=(*conversation.messages, said),
            turns=turns,
            answer=text,
        )
    if len(completion.tool_calls) > tool_calls_max:
        raise LimitExceededError(limit="tool_calls_max", value=tool_calls_max)
    known = {finished.call.call_id for finished in conversation.finished}
    return replace(
        conversation,
        messages=(*conversation.messages, _assistant_message(completion)),
        turns=turns,
        open_calls=tuple(
            _planned(call, known=known, turn=turns) for call in completion.tool_calls
        ),
    )


def deferred(conversation: Conversation, call: PlannedCall) -> Conversation:
    """
    Return the conversation after a call was dispatched and put off.
    """
    return replace(
        conversation,
        open_calls=_with_call(conversation, replace(call, deferred=True)),
    )


def answered(conversation: Conversation, finished: FinishedCall) -> Conversation:
    """
    Return the conversation after a call has its answer.

    Once the last call of the turn is answered, all answers go to the model, in the
    order in which it asked.

    Raises:
        ValueError: The call is not open.
    """
    if all(call.call_id != finished.call.call_id for call in conversation.unanswered()):
        message = f"tool call {finished.call.call_id!r} is not open"
        raise ValueError(message)
    conversation = replace(
        conversation,
        open_calls=_with_call(conversation, finished.call),
        finished=(*conversation.finished, finished),
    )
    if conversation.unanswered():
        return conversation
    by_id = {item.call.execution_id: item for item in conversation.finished}
    tool_messages = tuple(
        _tool_message(by_id[call.execution_id]) for call in conversation.open_calls
    )
    return replace(
        conversation,
        messages=(*conversation.messages, *tool_messages),
        open_calls=(),
        finished=_in_order(conversation),
    )


def remembered(conversation: Conversation, *, messages_max: int) -> tuple[Message, ...]:
    """
    Return what a session keeps: the last messages, from a user's message on.

    A history that began with a tool's answer or with half a turn would be refused by
    the model API.
    """
    kept = [item for item in conversation.messages if item["role"] != "system"]
    kept = kept[-messages_max:]
    while kept and kept[0]["role"] != "user":
        kept.pop(0)
    return tuple(kept)


# As JSON ----------------------------------------------------------------------------


def to_json(conversation: Conversation) -> str:
    """
    Return the conversation as JSON.
    """
    return orjson.dumps(conversation).decode()


def from_json(text: str) -> Conversation:
    """
    Return the conversation that :func:`to_json` wrote.

    Raises:
        ValueError: It is something else.
    """
    try:
        data = orjson.loads(text)
        return Conversation(
            messages=tuple(data["messages"]),
            turns=data["turns"],
            open_calls=tuple(PlannedCall(**call) for call in data["open_calls"]),
            finished=tuple(
                FinishedCall(
                    call=PlannedCall(**item["call"]),
                    ok=item["ok"],
                    result=item["result"],
                )
                for item in data["finished"]
            ),
            answer=data["answer"],
        )
    except (KeyError, TypeError, ValueError) as error:
        message = f"no conversation: {error!r}"
        raise ValueError(message) from error


def _planned(call: ToolCall, *, known: set[str], turn: int) -> PlannedCall:
    execution_id = call.id
    if not _USABLE_ID.fullmatch(call.id):
        # It goes into headers and bodies of others, which a model must not shape.
        digest = hashlib.sha256(call.id.encode(errors="replace")).hexdigest()
        execution_id = ToolCallId(f"call_{digest[:24]}")
    if call.id in known:
        # A script may give the same id in every turn; each execution needs its own.
        execution_id = ToolCallId(f"{execution_id}-t{turn}")
    return PlannedCall(
        call_id=call.id,
        execution_id=execution_id,
        name=call.name,
        arguments=call.arguments,
    )


def _with_call(
    conversation: Conversation, changed: PlannedCall
) -> tuple[PlannedCall, ...]:
    return tuple(
        changed if call.call_id == changed.call_id else call
        for call in conversation.open_calls
    )


def _in_order(conversation: Conversation) -> tuple[FinishedCall, ...]:
    """
    Put the answers of the open turn, which come as they come, into the model's order.
    """
    order = {call.execution_id: n for n, call in enumerate(conversation.open_calls)}
    earlier = len(conversation.finished) - len(order)
    latest = conversation.finished[earlier:]
    return (
        *conversation.finished[:earlier],
        *sorted(latest, key=lambda item: order[item.call.execution_id]),
    )


def _assistant_message(completion: Completion) -> Message:
    return {
        "role": "assistant",
        "content": completion.text,
        "tool_calls": [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": call.name, "arguments": call.arguments},
            }
            for call in completion.tool_calls
        ],
    }


def _tool_message(finished: FinishedCall) -> Message:
    return {
        "role": "tool",
        "tool_call_id": finished.call.call_id,
        "content": orjson.dumps(finished.result).decode(),
    }
