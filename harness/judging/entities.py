"""
What the timeline is made of: calls, attempts, executions, deliveries.

Each is a view of the records that speak of it. Times are microseconds of scenario
time; ``seq`` is the number of the record.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

Record = Mapping[str, Any]

_OK: Final = 200
_SUCCESS: Final = range(200, 300)


@dataclass(slots=True, kw_only=True)
class Call:
    """
    One arrival and what became of it, as the caller saw it.
    """

    call_id: str
    trace_id: str | None
    tag: str | None
    mode: str
    intended_us: int
    offered_seq: int
    started_us: int | None = None
    accepted_us: int | None = None
    callback_id: str | None = None
    dropped_seq: int | None = None
    endings: list[Record] = field(default_factory=list)
    attempts: list["Attempt"] = field(default_factory=list)
    executions: list["Execution"] = field(default_factory=list)
    deliveries: list["Delivery"] = field(default_factory=list)

    @property
    def ending(self) -> Record | None:
        """
        The first record of its end.
        """
        return self.endings[0] if self.endings else None

    @property
    def outcome(self) -> str | None:
        """
        ``answered``, ``failed``, ``refused``, ``unknown``, ``dropped``; None if open.
        """
        if self.dropped_seq is not None:
            return "dropped"
        return None if self.ending is None else str(self.ending.get("outcome"))

    @property
    def ended_us(self) -> int | None:
        """
        When the caller had its answer.
        """
        return None if self.ending is None else int(self.ending["time_us"])

    @property
    def ended_seq(self) -> int | None:
        """
        The record of its end.
        """
        return None if self.ending is None else int(self.ending["seq"])


@dataclass(slots=True, kw_only=True)
class Attempt:
    """
    One request to the model API, as the mock saw it.
    """

    request_id: str
    seq: int
    received_us: int
    received: Record
    ended: Record | None = None
    call: Call | None = None

    @property
    def model(self) -> str:
        """
        The model that was asked.
        """
        return str(self.received.get("model") or "")

    @property
    def turn(self) -> int:
        """
        The round with the model within its conversation, from 1.
        """
        return int(self.received.get("turn") or 1)

    @property
    def attempt_number(self) -> int:
        """
        The nth identical body in its conversation and turn, from 1.
        """
        return int(self.received.get("attempt_number") or 1)

    @property
    def is_ambiguous(self) -> bool:
        """
        Whether it cannot be told apart from another conversation's.
        """
        return bool(self.received.get("ambiguous"))

    @property
    def operation(self) -> tuple[Any, ...]:
        """
        What all attempts of one request to the model have in common.
        """
        received = self.received
        return (
            received.get("world"),
            received.get("conversation") or received.get("trace_id"),
            self.turn,
            received.get("body_sha256"),
        )

    @property
    def ended_us(self) -> int | None:
        """
        When the mock was done with it.
        """
        return None if self.ended is None else int(self.ended["time_us"])

    @property
    def ended_seq(self) -> int | None:
        """
        The record of its end.
        """
        return None if self.ended is None else int(self.ended["seq"])

    @property
    def status(self) -> int | None:
        """
        The status that was sent, if one was.
        """
        return None if self.ended is None else self.ended.get("status")

    @property
    def outcome(self) -> str | None:
        """
        ``complete``, ``cut``, ``reset``, ``closed``, ``abandoned`` or ``hung``.
        """
        return None if self.ended is None else self.ended.get("outcome")

    @property
    def faults(self) -> Sequence[str]:
        """
        The faults that hit it.
        """
        return () if self.ended is None else self.ended.get("faults") or ()

    @property
    def is_whole(self) -> bool:
        """
        Whether a complete answer went out that means what it should.
        """
        return (
            self.status == _OK
            and self.outcome == "complete"
            and bool((self.ended or {}).get("answer_valid", True))
        )

    @property
    def tool_calls(self) -> Sequence[Record]:
        """
        The tool calls of its answer.
        """
        return () if self.ended is None else self.ended.get("tool_calls") or ()


@dataclass(slots=True, kw_only=True)
class Execution:
    """
    One run of a tool, as the tool backend saw it, whatever became of its answer.
    """

    seq: int
    time_us: int
    record: Record
    call: Call | None = None

    @property
    def tool(self) -> str:
        """
        The tool's name.
        """
        return str(self.record.get("tool") or "")

    @property
    def tool_call_id(self) -> str | None:
        """
        The id under which it was asked for.
        """
        return self.record.get("tool_call_id")


@dataclass(slots=True, kw_only=True)
class Delivery:
    """
    One attempt to deliver a webhook, as the endpoint saw it.
    """

    seq: int
    time_us: int
    record: Record
    call: Call | None = None

    @property
    def message_id(self) -> str | None:
        """
        The message.
        """
        return self.record.get("message_id")

    @property
    def endpoint(self) -> str:
        """
        The endpoint that received it.
        """
        return str(self.record.get("endpoint") or "default")

    @property
    def event_type(self) -> str:
        """
        What it is about, like ``function_call.completed``.
        """
        return str(self.record.get("event_type") or "")

    @property
    def status(self) -> int | None:
        """
        What was answered.
        """
        return self.record.get("status")

    @property
    def is_acknowledged(self) -> bool:
        """
        Whether a 2xx went out whole.
        """
        return self.status in _SUCCESS and self.record.get("outcome") in {
            None,
            "complete",
        }


def is_json_object(text: Any) -> bool:
    """
    Say whether a tool call's arguments are a JSON object.
    """
    if isinstance(text, Mapping):
        return True
    try:
        return isinstance(json.loads(text), dict)
    except (TypeError, ValueError, RecursionError):
        return False


def is_by_hand(change: Record) -> bool:
    """
    Say whether somebody set a circuit to its state, and no rule of its own.
    """
    reason = str(change.get("reason") or "")
    return reason == "reset" or reason.endswith("_by_hand")
