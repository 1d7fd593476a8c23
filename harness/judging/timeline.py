"""
One timeline of a run: who asked, what reached the outside, what came back.

The records of three hosts are joined by trace id, else by the tag of the message, else
by the ids of tool calls and callbacks. A service that says nothing of itself leaves
gaps, not errors.
"""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any, Final

from harness.judging.entities import (
    Attempt,
    Call,
    Delivery,
    Execution,
    Record,
    is_by_hand,
)
from harness.judging.slack import Slack

_NONE: Final[Sequence[Record]] = ()


class Timeline:
    """
    A run's records, joined.

    Attributes:
        calls: All arrivals, in the order in which they were offered.
        attempts: All requests to the model API, in the order of their receipt.
        executions: All requests to tools.
        deliveries: All webhooks that the endpoints received.
        slack: What bounds are given to, for clocks that are not one.
    """

    def __init__(self, records: Iterable[Record], *, mode: str | None = None) -> None:
        self.records: tuple[Record, ...] = tuple(records)
        self._of_kind: dict[str, list[Record]] = defaultdict(list)
        for record in self.records:
            self._of_kind[str(record.get("kind"))].append(record)
        self.mode = mode or str(self._first("run_started").get("mode") or "live")
        self.slack = Slack.virtual() if self.mode == "virtual" else Slack.live()
        self.calls: tuple[Call, ...] = tuple(self._read_calls())
        self._by_trace = {call.trace_id: call for call in self.calls if call.trace_id}
        self._by_tag = {call.tag: call for call in self.calls if call.tag}
        self._by_callback = {
            call.callback_id: call for call in self.calls if call.callback_id
        }
        self.attempts: tuple[Attempt, ...] = tuple(self._read_attempts())
        self._by_tool_call = {
            str(tool_call.get("tool_call_id")): attempt.call
            for attempt in self.attempts
            if attempt.call is not None
            for tool_call in attempt.tool_calls
        }
        self.executions: tuple[Execution, ...] = tuple(self._read_executions())
        self.deliveries: tuple[Delivery, ...] = tuple(self._read_deliveries())
        self._starts_us = sorted(
            call.started_us for call in self.calls if call.started_us is not None
        )

    @classmethod
    def from_records(cls, records: Iterable[Record]) -> "Timeline":
        """
        Return the timeline of an event log, in the order of the log.
        """
        return cls(records)

    def in_mode(self, mode: str) -> "Timeline":
        """
        Return the same records as a run in ``live`` or ``virtual`` time.
        """
        return self if mode == self.mode else Timeline(self.records, mode=mode)

    def of(self, kind: str) -> Sequence[Record]:
        """
        Return the records of a kind, in their order.
        """
        return self._of_kind.get(kind, _NONE)

    @cached_property
    def speaks(self) -> bool:
        """
        Whether the service under test says what it does.
        """
        return any(record.get("host") == "service" for record in self.records)

    @cached_property
    def end_us(self) -> int:
        """
        When the last record was written.
        """
        return max((int(each["time_us"]) for each in self.records), default=0)

    @property
    def end_reason(self) -> str | None:
        """
        ``finished``, ``interrupted``, or None for a log that breaks off.
        """
        ended = self.of("run_ended")
        return str(ended[-1].get("reason")) if ended else None

    @cached_property
    def interruptions_us(self) -> tuple[int, ...]:
        """
        When the service was killed, ended or came back: what it knew is then open.
        """
        kinds = ("service_killed", "service_exited", "service_restarted")
        return tuple(
            sorted(int(record["time_us"]) for kind in kinds for record in self.of(kind))
        )

    @cached_property
    def joins(self) -> bool:
        """
        Whether requests to the model API could be joined to calls at all.
        """
        return any(attempt.call is not None for attempt in self.attempts)

    def is_interrupted(self, from_us: int, to_us: int) -> bool:
        """
        Say whether the service was killed, down or restarted in between.

        What it did around its kill, and what its successor did before the bench knew
        that it was up, belongs to no certain one of the two.
        """
        return any(
            began_us <= to_us and from_us <= ended_us
            for began_us, ended_us in self._interrupted_us
        )

    @cached_property
    def _interrupted_us(self) -> tuple[tuple[int, int], ...]:
        moments = tuple((time_us, time_us) for time_us in self.interruptions_us)
        return moments + self._downtimes_us

    def is_disturbed(self, from_us: int, to_us: int) -> bool:
        """
        Say whether, in between, circuits did what no rule of theirs asks for.

        The service was killed or restarted, or somebody set a circuit by hand.
        """
        return self.is_interrupted(from_us, to_us) or any(
            from_us <= time_us <= to_us for time_us in self._interventions_us
        )

    @cached_property
    def _interventions_us(self) -> tuple[int, ...]:
        return tuple(
            int(record["time_us"])
            for record in self.of("circuit_changed")
            if is_by_hand(record)
        )

    def was_cut_off(self, call: Call) -> bool:
        """
        Say whether the bench itself kept a call from its answer, by a kill.

        A call that was accepted before is the service's to finish, kill or not.
        """
        if call.outcome == "answered" or call.accepted_us is not None:
            return False
        from_us = call.started_us or call.intended_us
        to_us = self.end_us if call.ended_us is None else call.ended_us
        return any(
            from_us <= back_us and killed_us <= to_us
            for killed_us, back_us in self._downtimes_us
        )

    @cached_property
    def _downtimes_us(self) -> tuple[tuple[int, int], ...]:
        restarts = [int(each["time_us"]) for each in self.of("service_restarted")]
        return tuple(
            (
                int(kill["time_us"]),
                min(
                    (us for us in restarts if us > kill["time_us"]), default=self.end_us
                ),
            )
            for kill in self.of("service_killed")
        )

    def calls_started(self, from_us: int, to_us: int) -> int:
        """
        Return how many calls were started in between.
        """
        first = bisect_left(self._starts_us, from_us)
        return bisect_left(self._starts_us, to_us) - first

    def _first(self, kind: str) -> Record:
        records = self._of_kind.get(kind)
        return records[0] if records else {}

    def _read_calls(self) -> Iterable[Call]:
        calls: dict[str, Call] = {}
        for record in self.of("call_offered"):
            call = Call(
                call_id=str(record["call_id"]),
                trace_id=record.get("trace_id"),
                tag=record.get("tag"),
                mode=str(record.get("mode") or "sync"),
                intended_us=int(record.get("intended_us") or record["time_us"]),
                offered_seq=int(record["seq"]),
            )
            calls[call.call_id] = call
        for record in self.of("call_started"):
            if call_ := calls.get(str(record["call_id"])):
                call_.started_us = int(record["time_us"])
        for record in self.of("call_accepted"):
            if call_ := calls.get(str(record["call_id"])):
                call_.accepted_us = int(record["time_us"])
                call_.callback_id = record.get("callback_id")
        for record in self.of("call_dropped"):
            if call_ := calls.get(str(record["call_id"])):
                call_.dropped_seq = int(record["seq"])
        for record in self.of("call_ended"):
            if call_ := calls.get(str(record["call_id"])):
                call_.endings.append(record)
        return calls.values()

    def _read_attempts(self) -> Iterable[Attempt]:
        attempts: dict[str, Attempt] = {}
        for record in self.of("upstream_request_received"):
            call = self._call_of(record)
            attempt = Attempt(
                request_id=str(record["request_id"]),
                seq=int(record["seq"]),
                received_us=int(record["time_us"]),
                received=record,
                call=call,
            )
            attempts[attempt.request_id] = attempt
            if call is not None:
                call.attempts.append(attempt)
        for record in self.of("upstream_request_ended"):
            if known := attempts.get(str(record["request_id"])):
                known.ended = record
        return attempts.values()

    def _read_executions(self) -> Iterable[Execution]:
        for record in self.of("tool_executed"):
            call = self._call_of(record)
            execution = Execution(
                seq=int(record["seq"]),
                time_us=int(record["time_us"]),
                record=record,
                call=call,
            )
            if call is not None:
                call.executions.append(execution)
            yield execution

    def _read_deliveries(self) -> Iterable[Delivery]:
        for record in self.of("webhook_received"):
            call = self._call_of(record)
            delivery = Delivery(
                seq=int(record["seq"]),
                time_us=int(record["time_us"]),
                record=record,
                call=call,
            )
            if call is not None:
                call.deliveries.append(delivery)
            yield delivery

    def _call_of(self, record: Record) -> Call | None:
        joins: list[tuple[Mapping[Any, Call | None], Any]] = [
            (self._by_trace, record.get("trace_id")),
            (self._by_tag, record.get("tag")),
            (self._by_callback, record.get("callback_id")),
            (getattr(self, "_by_tool_call", {}), record.get("tool_call_id")),
        ]
        for known, key in joins:
            if key is not None and (call := known.get(key)) is not None:
                return call
        return None
