"""
A log written by hand, record by record.
"""

from typing import Any, Self

import pytest

from harness.scenario import Promise

WEATHER = "sha-weather"


class Log:
    """
    Collects records in any order and gives them out as an event log.
    """

    def __init__(self) -> None:
        self._records: list[dict[str, Any]] = []
        self._requests = 0

    def add(self, at_s: float, host: str, kind: str, **fields: Any) -> dict[str, Any]:
        """
        Add a record and return it; its ``seq`` is known once the log is given out.
        """
        record = {"time_us": round(at_s * 1e6), "host": host, "kind": kind, **fields}
        self._records.append(record)
        return record

    def records(self) -> list[dict[str, Any]]:
        """
        Return the log in the order of time, numbered from 1.
        """
        self._records.sort(key=lambda record: record["time_us"])
        for seq, record in enumerate(self._records, start=1):
            record["seq"] = seq
        return self._records

    def run(
        self, *, end_s: float, mode: str = "live", reason: str = "finished"
    ) -> Self:
        """
        Add the beginning and the end of a run.
        """
        self.add(0.0, "caller", "run_started", scenario="s", seed=1, mode=mode)
        self.add(end_s, "caller", "run_ended", reason=reason)
        return self

    def call(
        self,
        name: str,
        at_s: float,
        *,
        end_s: float | None = None,
        outcome: str = "answered",
        status: int | None = 200,
        mode: str = "sync",
        **fields: Any,
    ) -> str:
        """
        Add a call, its trace being its name; without an end it stays open.
        """
        common = {"call_id": name, "trace_id": name}
        intended_us = round(at_s * 1e6)
        self.add(
            at_s, "caller", "call_offered", intended_us=intended_us, mode=mode, **common
        )
        self.add(at_s, "caller", "call_started", lag_us=0, **common)
        if end_s is not None:
            latency_us = round((end_s - at_s) * 1e6)
            self.add(
                end_s,
                "caller",
                "call_ended",
                intended_us=intended_us,
                outcome=outcome,
                status=status,
                latency_us=latency_us,
                service_us=latency_us,
                **common,
                **fields,
            )
        return name

    def attempt(
        self,
        call: str | None,
        at_s: float,
        *,
        end_s: float | None = None,
        status: int | None = 200,
        outcome: str = "complete",
        number: int = 1,
        turn: int = 1,
        body: str = WEATHER,
        model: str = "gpt-4o",
        received: dict[str, Any] | None = None,
        **ended: Any,
    ) -> dict[str, Any]:
        """
        Add an attempt and return the record of its receipt.
        """
        self._requests += 1
        request_id = f"req_{self._requests}"
        record = self.add(
            at_s,
            "mock",
            "upstream_request_received",
            request_id=request_id,
            trace_id=call,
            conversation=call or request_id,
            turn=turn,
            attempt_number=number,
            model=model,
            body_sha256=f"{body}-{turn}",
            **(received or {}),
        )
        if end_s is not None:
            is_valid = status == 200 and outcome == "complete"
            self.add(
                end_s,
                "mock",
                "upstream_request_ended",
                **{
                    "request_id": request_id,
                    "trace_id": call,
                    "status": status,
                    "outcome": outcome,
                    "answer_valid": is_valid,
                    "faults": [],
                    **ended,
                },
            )
        return record

    def failing_chat(self, name: str, at_s: float) -> str:
        """
        Add a call whose two attempts both fail at once.
        """
        self.call(name, at_s, end_s=at_s + 0.2, outcome="failed", status=502)
        self.attempt(name, at_s + 0.01, end_s=at_s + 0.02, status=503)
        self.attempt(name, at_s + 0.1, end_s=at_s + 0.11, status=503, number=2)
        return name

    def webhook(
        self,
        message_id: str,
        at_s: float,
        *,
        status: int | None = 200,
        outcome: str = "complete",
        number: int = 1,
        body: str = "body",
        **fields: Any,
    ) -> dict[str, Any]:
        """
        Add a delivery that an endpoint received.
        """
        values = {"verified": True, "event_type": "function_call.completed", **fields}
        return self.add(
            at_s,
            "mock",
            "webhook_received",
            endpoint="default",
            message_id=message_id,
            attempt_number=number,
            status=status,
            outcome=outcome,
            body_sha256=body,
            **values,
        )

    def ended(
        self, call: str, at_s: float, outcome: str, **fields: Any
    ) -> dict[str, Any]:
        """
        Add an attempt as the service tells of it, over a moment after it began.
        """
        common = {"operation": "chat_completion", "attempt_number": 1}
        self.add(at_s - 0.05, "service", "attempt_started", trace_id=call, **common)
        return self.add(
            at_s,
            "service",
            "attempt_ended",
            trace_id=call,
            outcome=outcome,
            **common,
            **fields,
        )

    def circuit(
        self, at_s: float, from_: str, to: str, **fields: Any
    ) -> dict[str, Any]:
        """
        Add a transition.
        """
        values = {"circuit": "upstream/gpt-4o", "generation": 0, **fields}
        return self.add(
            at_s, "service", "circuit_changed", **{"from": from_, "to": to, **values}
        )


@pytest.fixture
def log() -> Log:
    """
    An empty log.
    """
    return Log()


@pytest.fixture
def promise() -> Promise:
    """
    What most services promise, with a short break.
    """
    return Promise.model_validate(
        {
            "breaker": {"failure_threshold": 3, "break_duration": "2s"},
            "upstream": {
                "attempts_max": 2,
                "attempt_timeout": "1s",
                "total_timeout": "20s",
                "backoff_base": "500ms",
                "backoff_max": "4s",
                "retry_after_max": "15s",
                "retry_budget": {"share": 0.2, "reserve": "1/s", "window": "10s"},
            },
            "tools": {"pending_timeout": "10s"},
            "rate_limit": {"rate": "10/s", "burst": 5},
            "webhook": {"attempts_max": 3, "timeout": "1s", "backoff_base": "100ms"},
        }
    )
