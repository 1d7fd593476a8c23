"""
Every kind of expectation holds, fails, and is inconclusive where nothing tested it.
"""

from collections.abc import Callable
from typing import Any

import pytest
from pydantic import TypeAdapter

from harness.judging import (
    Figures,
    Ruling,
    Status,
    Timeline,
    breaker_evidence,
    judge_expectation,
)
from harness.scenario import Expectation, Promise

_EXPECTATION: TypeAdapter[Any] = TypeAdapter(Expectation)


def _judge(
    log: Any, values: dict[str, Any], promise: Promise, **options: Any
) -> Ruling:
    timeline = Timeline(log.records(), mode=options.get("mode"))
    return judge_expectation(
        _EXPECTATION.validate_python(values),
        timeline,
        figures=Figures(timeline, promise=promise, warmup_s=options.get("warmup_s", 0)),
        breaker=breaker_evidence(timeline, promise),
    )


def _calls(log: Any, *, answered: int, failed: int = 0, latency_s: float = 0.1) -> None:
    for index in range(answered + failed):
        at_s = 1.0 + index * 0.01
        is_good = index < answered
        log.call(
            f"c{index}",
            at_s,
            end_s=at_s + latency_s,
            outcome="answered" if is_good else "failed",
            status=200 if is_good else 502,
        )


def _ten_good_calls(log: Any) -> None:
    _calls(log, answered=10)


def _half_of_ten_fail(log: Any) -> None:
    _calls(log, answered=5, failed=5)


def _nothing(_log: Any) -> None:
    pass


def _speaks(log: Any) -> None:
    log.add(0.0, "service", "service_started", version="1", store="sqlite")


def _opened_and_closed(log: Any) -> None:
    log.circuit(2.0, "closed", "open")
    log.circuit(4.0, "open", "half_open")
    log.circuit(4.2, "half_open", "open")
    log.circuit(6.2, "open", "half_open")
    log.circuit(6.4, "half_open", "closed")


def _still_open(log: Any) -> None:
    log.circuit(2.0, "closed", "open")


def _kept_silent_while_open(log: Any) -> None:
    _opened_and_closed(log)
    log.call("early", 1.9, end_s=2.3)
    # Admitted before it opened, however late it comes.
    log.attempt("early", 2.1, end_s=2.2)


def _asked_while_open(log: Any) -> None:
    _opened_and_closed(log)
    log.call("new", 2.5, end_s=2.8)
    log.attempt("new", 2.6, end_s=2.7)


def _owed_and_delivered(log: Any) -> None:
    log.add(1.0, "service", "webhook_enqueued", message_id="m", endpoint="default")
    log.webhook("m", 1.1, status=500)
    log.webhook("m", 1.5, number=2)


def _owed_and_lost(log: Any) -> None:
    log.add(1.0, "service", "webhook_enqueued", message_id="m", endpoint="default")


def _delivered_twice(log: Any) -> None:
    _owed_and_delivered(log)
    log.webhook("m", 1.9, number=3)


def _dead(log: Any) -> None:
    log.add(1.0, "service", "webhook_enqueued", message_id="m", endpoint="default")
    log.add(2.0, "service", "webhook_dead", message_id="m", endpoint="default")


def _run_tool(log: Any, times: int) -> None:
    for number in range(times):
        log.add(1.0 + number, "mock", "tool_executed", tool="t", tool_call_id="tc")


def _tool_once(log: Any) -> None:
    _run_tool(log, 1)


def _tool_twice(log: Any) -> None:
    _run_tool(log, 2)


def _one_retry(log: Any) -> None:
    log.call("c", 1.0, end_s=2.0)
    log.attempt("c", 1.1, end_s=1.2, status=500)
    log.attempt("c", 1.4, end_s=1.5, number=2)


def _two_retries(log: Any) -> None:
    _one_retry(log)
    log.attempt("c", 1.7, end_s=1.8, number=3)


def _fault_then_open(log: Any) -> None:
    log.add(1.5, "mock", "fault_applied", fault="status", surface="upstream")
    _opened_and_closed(log)


def _slow_to_open(log: Any) -> None:
    log.add(0.1, "mock", "fault_applied", fault="status", surface="upstream")
    log.circuit(9.0, "closed", "open")


_PATH = {"circuit upstream": ["closed", {"repeat": ["open", "half_open"]}, "closed"]}
_WHILE_OPEN = {
    "metric": "upstream.attempts",
    "while": "circuit upstream is open",
    "is": 0,
}
_FOLLOWED = {
    "within": "1s",
    "after": "webhook_enqueued",
    "then": {"event": "webhook_received", "where": {"status": 200}},
}
_TIME_TO_OPEN = {"metric": "circuit upstream.time_to_open", "at_most": "1s"}

CASES: list[tuple[dict[str, Any], Any, Any, Any]] = [
    # expectation, a log where it holds, one where it fails, one that cannot tell
    (_PATH, _opened_and_closed, _still_open, _nothing),
    (_PATH, _opened_and_closed, _still_open, _speaks),
    (_WHILE_OPEN, _kept_silent_while_open, _asked_while_open, _speaks),
    (
        {"metric": "chat.success_ratio", "at_least": 0.99},
        _ten_good_calls,
        _half_of_ten_fail,
        _nothing,
    ),
    ({"metric": "chat.failed", "is": 0}, _ten_good_calls, _half_of_ten_fail, _nothing),
    (
        {"metric": "chat.goodput", "limits": {"latency": "1s"}, "at_least": 0.9},
        _ten_good_calls,
        _half_of_ten_fail,
        _nothing,
    ),
    (
        {"metric": "upstream.attempts_per_call", "at_most": 2},
        _one_retry,
        _two_retries,
        _nothing,
    ),
    (
        {"metric": "upstream.amplification", "at_most": 2},
        _one_retry,
        _two_retries,
        _nothing,
    ),
    ({"metric": "tools.duplicates", "is": 0}, _tool_once, _tool_twice, _nothing),
    (
        {"metric": "webhooks.lost", "is": 0},
        _owed_and_delivered,
        _owed_and_lost,
        _nothing,
    ),
    (
        {"metric": "webhooks.duplicates", "is": 0},
        _owed_and_delivered,
        _delivered_twice,
        _nothing,
    ),
    ({"metric": "webhooks.dead", "is": 0}, _owed_and_delivered, _dead, _nothing),
    (_TIME_TO_OPEN, _fault_then_open, _slow_to_open, _speaks),
    (
        {"metric": "circuit upstream.opens", "is": 2},
        _opened_and_closed,
        _still_open,
        _nothing,
    ),
    ({"sometimes": "webhook_received"}, _owed_and_delivered, None, _nothing),
    ({"never": "webhook_dead"}, _owed_and_delivered, _dead, _nothing),
    (
        {"count": {"event": "webhook_received", "where": {"status": 500}}, "is": 1},
        _owed_and_delivered,
        _dead,
        None,
    ),
    (_FOLLOWED, _owed_and_delivered, _owed_and_lost, _speaks),
    (
        {"lasts": "circuit upstream is open", "at_least": "2s"},
        _opened_and_closed,
        None,
        _speaks,
    ),
    (
        {"lasts": "circuit upstream is half_open", "at_most": "150ms"},
        None,
        None,
        _still_open,
    ),
]


def _outcomes() -> list[Any]:
    return [
        pytest.param(values, situation, status, id=f"{index}-{status}")
        for index, (values, *situations) in enumerate(CASES)
        for situation, status in zip(
            situations,
            (Status.PASSED, Status.FAILED, Status.INCONCLUSIVE),
            strict=True,
        )
        if situation is not None
    ]


@pytest.mark.parametrize(("values", "situation", "status"), _outcomes())
def test_an_expectation_holds_fails_or_cannot_tell(
    values: dict[str, Any],
    situation: Callable[[Any], None],
    status: Status,
    log: Any,
    promise: Promise,
) -> None:
    """
    What was not exercised has not passed, and what failed shows where.
    """
    situation(log)
    log.run(end_s=30.0)

    ruling = _judge(log, values, promise)

    assert ruling.status is status
    if status is not Status.PASSED:
        assert ruling.findings[0].message


def test_a_percentile_needs_its_samples(log: Any, promise: Promise) -> None:
    """
    A p99 over 999 calls says nothing; over 1,000 it does.
    """
    values = {"metric": "chat.latency.p99", "at_most": "200ms"}
    _calls(log, answered=999)
    log.run(end_s=30.0)
    assert _judge(log, values, promise).status is Status.INCONCLUSIVE

    log.call("last", 11.0, end_s=11.1)

    assert _judge(log, values, promise).status is Status.PASSED


def test_a_dropped_call_is_infinitely_late(log: Any, promise: Promise) -> None:
    """
    What could not be sent counts against every percentile.
    """
    _calls(log, answered=19)
    log.add(5.0, "caller", "call_offered", call_id="d", intended_us=5_000_000)
    log.add(5.0, "caller", "call_dropped", call_id="d", reason="in_flight_max")
    log.run(end_s=30.0)
    values = {"metric": "chat.latency.p50", "at_most": "200ms"}

    assert _judge(log, values, promise).status is Status.PASSED

    timeline = Timeline(log.records())
    figures = Figures(timeline, promise=promise)
    worst = _EXPECTATION.validate_python(
        {"metric": "chat.latency.p99", "at_most": "1s"}
    )
    assert figures.of(worst).value == float("inf")


def test_latency_means_nothing_in_virtual_time(log: Any, promise: Promise) -> None:
    """
    A percentile of latency is skipped there.
    """
    _calls(log, answered=30)
    log.run(end_s=30.0)
    values = {"metric": "chat.latency.p50", "at_most": "1ms"}

    assert _judge(log, values, promise, mode="virtual").status is Status.SKIPPED


def test_windows_and_warmup_bound_what_counts(log: Any, promise: Promise) -> None:
    """
    Calls count by their intended start, warm-up only where it is asked for.
    """
    log.call("warm", 0.5, end_s=0.6, outcome="failed", status=502)
    log.call("early", 2.0, end_s=9.0, outcome="failed", status=502)
    log.call("late", 5.0, end_s=5.1)
    log.run(end_s=30.0)
    values = {"metric": "chat.success_ratio", "at_least": 0}

    whole = _judge(log, values, promise, warmup_s=1.0)
    late = _judge(log, values | {"from": "5s"}, promise, warmup_s=1.0)
    warm = _judge(log, values | {"from": "0s", "to": "1s"}, promise, warmup_s=1.0)

    assert (whole.figures["value"], whole.figures["samples"]) == (0.5, 2)
    assert (late.figures["value"], late.figures["samples"]) == (1.0, 1)
    assert (warm.figures["value"], warm.figures["samples"]) == (0.0, 1)


def test_a_kill_is_not_held_against_the_service(log: Any, promise: Promise) -> None:
    """
    Calls that the bench cut off do not count, those that were accepted before do.
    """
    down = {"outcome": "failed", "status": None}
    log.call("before", 1.0, end_s=1.1)
    log.call("in flight", 1.9, end_s=2.0, outcome="unknown", status=None)
    log.add(2.0, "caller", "service_killed")
    log.call("refused", 2.5, end_s=2.5, **down)
    log.add(3.0, "caller", "service_restarted")
    log.call("after", 4.0, end_s=4.1)
    log.run(end_s=30.0)
    values = {"metric": "chat.success_ratio", "is": 1}
    assert _judge(log, values, promise).status is Status.PASSED

    log.call("accepted", 1.5, end_s=9.0, mode="async", **down)
    log.add(1.6, "caller", "call_accepted", call_id="accepted", callback_id="cb")

    ruling = _judge(log, values, promise)
    assert ruling.status is Status.FAILED
    assert ruling.figures["samples"] == 3


def test_a_wrong_path_names_the_first_step_astray(log: Any, promise: Promise) -> None:
    """
    The evidence begins with the transition that no continuation could follow.
    """
    log.circuit(2.0, "closed", "open")
    log.circuit(4.0, "open", "half_open")
    log.circuit(4.1, "half_open", "closed")
    astray = log.circuit(5.0, "closed", "open")
    log.run(end_s=30.0)

    ruling = _judge(
        log, {"circuit upstream": ["closed", "open", "half_open", "closed"]}, promise
    )

    assert ruling.status is Status.FAILED
    assert ruling.findings[0].events[0] == astray["seq"]


def test_a_circuit_with_cause_that_never_opens_fails(
    log: Any, promise: Promise
) -> None:
    """
    A path that needs an opening fails where failures gave cause beyond doubt.
    """
    _speaks(log)
    for index in range(12):
        log.failing_chat(f"bad-{index}", 1.0 + index * 0.1)
    log.run(end_s=30.0)

    assert _judge(log, _PATH, promise).status is Status.FAILED


def test_an_interrupted_circuit_is_inconclusive(log: Any, promise: Promise) -> None:
    """
    A path that a kill cut short is nobody's fault.
    """
    _still_open(log)
    log.add(3.0, "caller", "service_killed")
    log.run(end_s=30.0)

    assert _judge(log, _PATH, promise).status is Status.INCONCLUSIVE


def test_the_aggregate_is_in_the_worst_state_of_its_members(
    log: Any, promise: Promise
) -> None:
    """
    ``upstream`` is open as long as any of its models' circuits is.
    """
    log.circuit(1.0, "closed", "open", circuit="upstream/a")
    log.circuit(2.0, "closed", "open", circuit="upstream/b")
    log.circuit(3.0, "open", "half_open", circuit="upstream/a")
    log.circuit(3.1, "half_open", "closed", circuit="upstream/a")
    log.circuit(4.0, "open", "half_open", circuit="upstream/b")
    log.circuit(4.1, "half_open", "closed", circuit="upstream/b")
    log.run(end_s=30.0)
    path = ["closed", "open", "half_open", "closed"]

    assert _judge(log, {"circuit upstream": path}, promise).status is Status.PASSED
    assert _judge(log, {"circuit upstream/a": path}, promise).status is Status.PASSED
