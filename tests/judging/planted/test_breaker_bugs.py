"""
Bugs in the circuit breaker, planted in the reference service.
"""

import asyncio
from typing import Any

import pytest

from harness.resilience import (
    Attempt,
    CircuitBreaker,
    CircuitPermit,
    Outcome,
    Retry,
)
from harness.resilience.circuit import Circuit, CircuitRefusal
from harness.resilience.circuit_state import (
    TRANSITIONS,
    CircuitEvent,
    CircuitState,
)
from harness.resilience.retry import RetryIn
from harness.upstream import UpstreamClient

OUTAGE: dict[str, Any] = {
    "upstream": {
        "faults": [{"fault": "status", "status": 503, "from": "2s", "to": "6s"}]
    },
    "service": {
        "breaker": {
            "failure_threshold": 4,
            "break_duration": "1s",
            "probes_max": 2,
            "successes_to_close": 2,
        },
        "upstream": {"backoff_base": "200ms"},
    },
    "workload": [{"arrivals": "8/s", "for": "10s", "send": {"message": "hello"}}],
}


def test_probe_slot_leaked_on_cancel(
    hunt: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    A probe that was cancelled and keeps its slot is found where it began.
    """
    settle_attempt = CircuitBreaker._settle_attempt

    def leak(self: CircuitBreaker, permit: CircuitPermit, attempt: Attempt) -> None:
        classified = attempt.classified
        is_cancelled = classified is None or classified.outcome is Outcome.IGNORED
        if not (permit.is_probe and is_cancelled):
            settle_attempt(self, permit, attempt)

    found = hunt(
        {
            "upstream": {
                "faults": [
                    {"fault": "status", "status": 503, "from": "2s", "to": "4s"},
                    {
                        "fault": "black_hole",
                        "from": "4s",
                        "to": "8s",
                        "injection_rate": 0.8,
                    },
                ]
            },
            "service": {
                "breaker": {"failure_threshold": 4, "break_duration": "1s"},
                "upstream": {
                    "attempt_timeout": "2s",
                    "total_timeout": "2s",
                    "backoff_base": "100ms",
                },
            },
            "workload": [
                {"arrivals": "6/s", "for": "12s", "send": {"message": "hello"}}
            ],
        },
        lambda: monkeypatch.setattr(CircuitBreaker, "_settle_attempt", leak),
    )

    assert found.failed == {16}
    assert found.witness(16)["kind"] == "probe_started"


def test_late_success_closes(hunt: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A success from before the outage that closes a half-open circuit is found.
    """
    settle = Circuit.settle

    def generous(
        self: Circuit,
        permit: CircuitPermit,
        outcome: Outcome,
        now_s: float,
        **rest: Any,
    ) -> None:
        is_late = permit.generation != self.generation and not permit.is_over
        is_good = outcome is Outcome.SUCCESS
        if is_late and is_good and self.state is CircuitState.HALF_OPEN:
            permit.is_over = True
            self.go(CircuitEvent.PROBES_SUCCEEDED, now_s)
            return
        settle(self, permit, outcome, now_s, **rest)

    found = hunt(
        {
            "upstream": {
                "faults": [
                    {"fault": "slow_headers", "delay": "2s", "to": "2s"},
                    {"fault": "status", "status": 503, "from": "2s", "to": "2600ms"},
                    {"fault": "slow_headers", "delay": "2s", "from": "2600ms"},
                ]
            },
            "service": {
                "breaker": {"failure_threshold": 4, "break_duration": "500ms"},
            },
            "workload": [
                {"arrivals": "10/s", "for": "4s", "send": {"message": "hello"}}
            ],
        },
        lambda: monkeypatch.setattr(Circuit, "settle", generous),
    )

    assert found.failed == {17}
    assert found.witness(17)["to"] == "closed"


def test_refusals_counted_as_failures(
    hunt: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    A circuit that opens for what the service itself refused is found as it opens.
    """
    settle_attempt = CircuitBreaker._settle_attempt

    def blame(self: CircuitBreaker, permit: CircuitPermit, attempt: Attempt) -> None:
        if attempt.classified is None:
            self.settle(permit, Outcome.FAILURE)
            return
        settle_attempt(self, permit, attempt)

    found = hunt(
        {
            "service": {
                "breaker": {"failure_threshold": 4, "break_duration": "1s"},
                "rate_limit": {"rate": "4/s", "burst": 2, "wait_max": "0s"},
            },
            "workload": [
                {"arrivals": "20/s", "for": "4s", "send": {"message": "hello"}}
            ],
        },
        lambda: monkeypatch.setattr(CircuitBreaker, "_settle_attempt", blame),
    )

    assert found.failed == {14}
    assert found.witness(14)["to"] == "open"


def test_threshold_passed_over(hunt: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A circuit that does not open when it should is found at the failure it needs.
    """
    found = hunt(
        OUTAGE | {"service": {"breaker": {"failure_threshold": 4}}},
        lambda: monkeypatch.setattr(Circuit, "_learn", lambda *_, **__: None),
    )

    assert found.failed == {14}
    assert found.witness(14)["outcome"] == "failure"


def test_break_restarted_by_refused_calls(
    hunt: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    A break that every refused call begins anew is found at the first refusal too many.
    """
    admit = Circuit.admit

    def begin_again(self: Circuit, now_s: float) -> CircuitPermit | CircuitRefusal:
        answer = admit(self, now_s)
        if isinstance(answer, CircuitRefusal) and self.state is CircuitState.OPEN:
            self.open_until_s = now_s + self.options.break_duration_s
        return answer

    def plant() -> None:
        monkeypatch.setattr(Circuit, "admit", begin_again)
        monkeypatch.setattr(Circuit, "refuse_early", lambda *_: None)

    found = hunt(OUTAGE, plant)

    assert found.failed == {15}
    assert found.witness(15)["kind"] == "operation_rejected"


def test_break_cut_short(hunt: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A break shorter than promised is found where the circuit half-opens.
    """
    begin_break = Circuit._begin_break

    def hurry(self: Circuit, asked_s: float | None) -> float:
        return begin_break(self, asked_s) / 2

    found = hunt(OUTAGE, lambda: monkeypatch.setattr(Circuit, "_begin_break", hurry))

    assert found.failed == {15}
    assert found.witness(15)["to"] == "half_open"


def test_no_half_open_state(hunt: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A circuit that closes without a probe is found at that step.
    """
    step = (CircuitState.OPEN, CircuitEvent.BREAK_ELAPSED)

    found = hunt(
        OUTAGE,
        lambda: monkeypatch.setitem(
            TRANSITIONS,
            step,
            CircuitState.CLOSED,
        ),
    )

    assert found.failed == {12}
    assert found.witness(12)["to"] == "closed"


def test_calls_let_through_while_open(
    hunt: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    An attempt that an open circuit lets through is found when it arrives.
    """
    admit = Circuit.admit

    def wave_through(self: Circuit, now_s: float) -> CircuitPermit | CircuitRefusal:
        answer = admit(self, now_s)
        if isinstance(answer, CircuitRefusal) and self.state is CircuitState.OPEN:
            return CircuitPermit(generation=self.generation, is_probe=False)
        return answer

    def plant() -> None:
        monkeypatch.setattr(Circuit, "admit", wave_through)
        monkeypatch.setattr(Circuit, "refuse_early", lambda *_: None)

    found = hunt(OUTAGE, plant)

    assert 13 in found.failed
    assert found.witness(13)["kind"] == "upstream_request_received"


def test_too_many_probes(hunt: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A half-open circuit that lets everybody probe is found at the first probe too many.
    """
    admit = Circuit.admit

    def crowd(self: Circuit, now_s: float) -> CircuitPermit | CircuitRefusal:
        probes = dict(self.probes)
        self.probes.clear()
        answer = admit(self, now_s)
        self.probes.update(probes)
        return answer

    slow = {"fault": "slow_headers", "delay": "1s", "from": "6s", "to": "9s"}
    outage = {"fault": "status", "status": 503, "from": "2s", "to": "6s"}
    found = hunt(
        OUTAGE | {"upstream": {"faults": [outage, slow]}},
        lambda: monkeypatch.setattr(Circuit, "admit", crowd),
    )

    assert found.failed == {16}
    assert found.witness(16)["kind"] == "probe_started"


def test_open_circuit_tried_again_and_again(
    hunt: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    A refused call that is tried again while the circuit is open is found.
    """

    def insist(*_: Any) -> RetryIn:
        return RetryIn(delay_s=0.3, reason="refused")

    found = hunt(OUTAGE, lambda: monkeypatch.setattr(Retry, "_after_rejection", insist))

    assert found.failed == {18}
    assert found.witness(18)["kind"] == "retry_scheduled"


def test_connection_leaked_in_half_open(
    hunt: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    A connection that outlives the probe it was made for is found.
    """
    exchange = UpstreamClient._exchange
    kept: list[Any] = []

    async def hold(self: UpstreamClient, *words: Any, **rest: Any) -> Any:
        request = asyncio.ensure_future(exchange(self, *words, **rest))  # noqa: TID251 - the bug: nobody owns it
        request.add_done_callback(lambda done: done.cancelled() or done.exception())
        kept.append(request)
        return await asyncio.shield(request)

    found = hunt(
        {
            "upstream": {
                "faults": [
                    {"fault": "status", "status": 503, "from": "2s", "to": "4s"},
                    {"fault": "black_hole", "from": "4s", "to": "6s"},
                ]
            },
            "service": {
                "breaker": {"failure_threshold": 4, "break_duration": "1s"},
                "upstream": {"attempt_timeout": "1s", "backoff_base": "200ms"},
            },
            "workload": [
                {"arrivals": "6/s", "for": "14s", "send": {"message": "hello"}}
            ],
        },
        lambda: monkeypatch.setattr(UpstreamClient, "_exchange", hold),
    )

    assert found.failed == {25}
    witnesses = found.witnesses(25)
    assert "hung" in {each.get("outcome") for each in witnesses}
    assert "service_measured" in {each["kind"] for each in witnesses}
