"""
Every invariant holds on a good log, breaks on a planted bug, and else says nothing.
"""

from collections.abc import Callable
from typing import Any

import pytest

from harness.judging import INVARIANTS, Status, Timeline, judge_invariants
from harness.scenario import Promise

Plant = Callable[[Any], Any]

BUGS: dict[str, tuple[int, Plant]] = {}
"""What goes wrong, which invariant must say so, and how it looks in the log."""


def _bug(number: int) -> Callable[[Plant], Plant]:
    def keep(plant: Plant) -> Plant:
        BUGS[plant.__name__.strip("_")] = (number, plant)
        return plant

    return keep


def _good_chat(log: Any, name: str = "good", at_s: float = 1.0) -> None:
    """
    Write a chat of two turns with one tool and one webhook, all as it should be.
    """
    tool_call = {
        "tool_call_id": f"tc-{name}",
        "name": "get_weather",
        "arguments": '{"city": "Paris"}',
    }
    log.call(name, at_s, end_s=at_s + 0.5, answer="22 °C")
    log.attempt(
        name,
        at_s + 0.01,
        end_s=at_s + 0.05,
        tool_calls=[tool_call],
        received={"idempotency_key": f"{name}-1"},
    )
    log.add(
        at_s + 0.1,
        "mock",
        "tool_executed",
        tool="get_weather",
        tool_call_id=f"tc-{name}",
        execution_number=1,
        status=200,
        trace_id=name,
    )
    log.attempt(
        name,
        at_s + 0.2,
        end_s=at_s + 0.3,
        turn=2,
        received={
            "idempotency_key": f"{name}-2",
            "tool_results": [{"tool_call_id": f"tc-{name}", "content": "{}"}],
        },
    )
    message = {"message_id": f"msg-{name}", "tool_call_id": f"tc-{name}"}
    log.add(at_s + 0.15, "service", "webhook_enqueued", endpoint="default", **message)
    log.webhook(f"msg-{name}", at_s + 0.4, trace_id=name, tool_call_id=f"tc-{name}")


@_bug(1)
def _call_that_never_ends(log: Any) -> None:
    log.call("open", 1.0)


@_bug(1)
def _call_that_ends_twice(log: Any) -> None:
    log.call("twice", 1.0, end_s=1.2)
    log.attempt("twice", 1.05, end_s=1.1)
    log.add(
        1.3, "caller", "call_ended", call_id="twice", outcome="failed", trace_id="twice"
    )


@_bug(2)
def _success_from_errors(log: Any) -> None:
    log.call("lie", 1.0, end_s=1.2)
    log.attempt("lie", 1.05, end_s=1.1, status=503)


@_bug(2)
def _success_from_nothing(log: Any) -> None:
    _good_chat(log, "good")
    log.call("lie", 2.0, end_s=2.2)


@_bug(3)
def _truncated_stream_accepted(log: Any) -> None:
    log.call("cut", 1.0, end_s=1.2)
    log.attempt("cut", 1.05, end_s=1.1, answer_valid=False, faults=["truncate"])


@_bug(4)
def _one_attempt_too_many(log: Any) -> None:
    log.call("many", 1.0, end_s=2.0, outcome="failed", status=502)
    for number in range(1, 4):
        at_s = 1.0 + number * 0.2
        log.attempt("many", at_s, end_s=at_s + 0.01, status=500, number=number)


@_bug(4)
def _retry_after_the_deadline(log: Any) -> None:
    log.call("late", 1.0, end_s=23.0, outcome="failed", status=502)
    log.attempt("late", 1.1, end_s=1.2, status=500)
    log.attempt("late", 22.5, end_s=22.6, status=500, number=2)


@_bug(5)
def _retry_on_400(log: Any) -> None:
    log.call("bad", 1.0, end_s=2.0, outcome="failed", status=502)
    log.attempt("bad", 1.1, end_s=1.11, status=400)
    log.attempt("bad", 1.3, end_s=1.31, status=400, number=2)


@_bug(5)
def _retry_on_quota(log: Any) -> None:
    log.call("bad", 1.0, end_s=2.0, outcome="failed", status=502)
    log.attempt("bad", 1.1, end_s=1.11, status=429, faults=["quota_exhausted"])
    log.attempt("bad", 1.3, end_s=1.31, number=2)


@_bug(6)
def _retry_after_ignored(log: Any) -> None:
    log.call("hasty", 1.0, end_s=3.0)
    log.attempt("hasty", 1.1, end_s=1.11, status=429, retry_after_s=1.0)
    log.attempt("hasty", 1.4, end_s=1.5, number=2)


@_bug(6)
def _retry_although_the_wait_is_above_the_cap(log: Any) -> None:
    log.call("patient", 1.0, end_s=19.0)
    log.attempt("patient", 1.1, end_s=1.2, status=429, retry_after_s=17.0)
    log.attempt("patient", 18.5, end_s=18.6, number=2)


@_bug(7)
def _no_jitter(log: Any) -> None:
    for index in range(14):
        log.call(f"c{index}", index, end_s=index + 0.7)
        log.attempt(f"c{index}", index + 0.1, end_s=index + 0.11, status=429)
        log.attempt(f"c{index}", index + 0.61, end_s=index + 0.65, number=2)


@_bug(7)
def _delays_beyond_the_backoff(log: Any) -> None:
    log.ended("slow", 1.0, "backpressure")
    log.add(1.0, "service", "retry_scheduled", attempt_number=1, delay_s=1.6)


@_bug(7)
def _retry_before_its_delay_is_over(log: Any) -> None:
    retry = {"attempt_number": 1, "operation": "chat_completion", "trace_id": "hasty"}
    log.ended("hasty", 1.0, "backpressure")
    log.add(1.0, "service", "retry_scheduled", delay_s=0.4, **retry)
    log.ended("hasty", 1.2, "success")


@_bug(8)
def _retries_without_a_budget(log: Any) -> None:
    for index in range(30):
        at_s = 1.0 + index * 0.2
        log.call(f"c{index}", at_s, end_s=at_s + 1.5)
        log.attempt(f"c{index}", at_s, end_s=at_s + 0.01, status=429)
        late_s = at_s + 0.1 + index / 50
        log.attempt(f"c{index}", late_s, end_s=late_s + 0.01, number=2)


@_bug(9)
def _new_key_per_attempt(log: Any) -> None:
    log.call("keys", 1.0, end_s=3.0)
    log.attempt("keys", 1.1, end_s=1.11, status=500, received={"idempotency_key": "a"})
    log.attempt("keys", 1.4, end_s=1.5, number=2, received={"idempotency_key": "b"})


@_bug(9)
def _key_from_a_hash_of_the_prompt(log: Any) -> None:
    for name in ("one", "two"):
        log.call(name, 1.0, end_s=3.0)
        log.attempt(name, 1.1, end_s=1.2, received={"idempotency_key": "same"})


@_bug(10)
def _tool_run_twice(log: Any) -> None:
    _good_chat(log)
    log.add(
        1.6,
        "mock",
        "tool_executed",
        tool="get_weather",
        tool_call_id="tc-good",
        execution_number=2,
        status=200,
        trace_id="good",
    )


@_bug(10)
def _tool_run_twice_after_a_crash_between_effect_and_record(log: Any) -> None:
    _good_chat(log)
    tool = {"tool": "get_weather", "trace_id": "good", "status": 200}
    log.add(1.12, "caller", "service_killed")
    log.add(1.16, "caller", "service_restarted")
    log.add(1.18, "mock", "tool_executed", tool_call_id="tc-good", **tool)


@_bug(10)
def _tool_run_under_another_key_after_a_crash(log: Any) -> None:
    _good_chat(log)
    tool = {"tool": "get_weather", "trace_id": "good", "status": 200}
    for record in log.records():
        if record["kind"] == "tool_executed":
            record["arguments"] = {"city": "Paris"}
    log.add(1.12, "caller", "service_killed")
    log.add(1.16, "caller", "service_restarted")
    arguments = {"arguments": {"city": "Paris"}, "tool_call_id": "tc-again"}
    log.add(1.18, "mock", "tool_executed", **arguments, **tool)


@_bug(10)
def _tool_run_with_broken_arguments(log: Any) -> None:
    log.call("broken", 1.0, end_s=1.2)
    tool_call = {"tool_call_id": "tc-b", "name": "get_weather", "arguments": '{"city'}
    log.attempt("broken", 1.01, end_s=1.05, tool_calls=[tool_call])
    log.add(
        1.1,
        "mock",
        "tool_executed",
        tool="get_weather",
        tool_call_id="tc-b",
        status=200,
        trace_id="broken",
    )


@_bug(11)
def _tool_call_without_answer(log: Any) -> None:
    log.call("gap", 1.0, end_s=1.5)
    calls = [{"tool_call_id": each, "name": "t", "arguments": "{}"} for each in "ab"]
    log.attempt("gap", 1.01, end_s=1.05, tool_calls=calls)
    log.attempt(
        "gap",
        1.2,
        end_s=1.3,
        turn=2,
        received={"tool_results": [{"tool_call_id": "a", "content": "1"}]},
    )
    log.webhook("msg-a", 1.4, tool_call_id="a")


@_bug(11)
def _results_out_of_order(log: Any) -> None:
    log.call("swap", 1.0, end_s=1.5)
    calls = [{"tool_call_id": each, "name": "t", "arguments": "{}"} for each in "ab"]
    log.attempt("swap", 1.01, end_s=1.05, tool_calls=calls)
    results = [{"tool_call_id": each, "content": "1"} for each in "ba"]
    log.attempt("swap", 1.2, end_s=1.3, turn=2, received={"tool_results": results})
    for each in "ab":
        log.webhook(f"msg-{each}", 1.4, tool_call_id=each)


@_bug(12)
def _late_success_closes(log: Any) -> None:
    log.circuit(1.0, "closed", "open")
    log.circuit(4.0, "open", "closed")


@_bug(13)
def _attempt_while_open(log: Any) -> None:
    log.circuit(1.0, "closed", "open")
    log.call("new", 1.5, end_s=1.8)
    log.attempt("new", 1.6, end_s=1.7)
    log.circuit(3.5, "open", "half_open")


@_bug(14)
def _refusals_counted_as_failures(log: Any) -> None:
    log.ended("only", 1.0, "failure")
    log.circuit(1.0, "closed", "open", reason="consecutive_failures", generation=2)


@_bug(14)
def _threshold_passed_over(log: Any) -> None:
    for index in range(5):
        at_s = 1.0 + index
        log.attempt(f"c{index}", at_s - 0.04, end_s=at_s - 0.01, status=503)
        log.ended(f"c{index}", at_s, "failure")


@_bug(14)
def _opened_again_although_no_probe_failed(log: Any) -> None:
    for index in range(3):
        log.ended(f"c{index}", 1.0 + index * 0.1, "failure")
    log.circuit(1.2, "closed", "open", reason="consecutive_failures", generation=2)
    log.circuit(3.3, "open", "half_open", generation=3)
    log.circuit(3.4, "half_open", "open", reason="probe_failed", generation=4)


@_bug(15)
def _break_restarted_by_refused_calls(log: Any) -> None:
    log.circuit(1.0, "closed", "open")
    for index in range(6):
        log.add(
            1.5 + index * 0.5,
            "service",
            "operation_rejected",
            strategy="circuit_breaker",
            circuit="upstream/gpt-4o",
            retry_after_s=2.0,
        )
    log.circuit(6.1, "open", "half_open")


@_bug(15)
def _break_too_short(log: Any) -> None:
    log.circuit(1.0, "closed", "open")
    log.circuit(1.5, "open", "half_open")


@_bug(16)
def _unlimited_probes(log: Any) -> None:
    for index in range(4):
        log.add(
            2.0 + index * 0.01,
            "service",
            "probe_started",
            circuit="upstream/gpt-4o",
            generation=2,
            probes=index + 1,
        )


@_bug(16)
def _probe_slot_leaked(log: Any) -> None:
    log.call("probe", 1.0, end_s=2.0, outcome="failed", status=504)
    log.add(
        1.0,
        "service",
        "probe_started",
        trace_id="probe",
        circuit="upstream/gpt-4o",
        generation=3,
        probes=1,
    )


@_bug(17)
def _late_success_counts_as_a_probe(log: Any) -> None:
    log.add(
        0.5,
        "service",
        "attempt_started",
        trace_id="late",
        operation="chat_completion",
        attempt_number=1,
    )
    for index in range(3):
        log.ended(f"c{index}", 1.0 + index * 0.1, "failure")
    log.circuit(1.2, "closed", "open", reason="consecutive_failures", generation=2)
    log.circuit(3.3, "open", "half_open", generation=3)
    log.add(
        3.4,
        "service",
        "attempt_ended",
        trace_id="late",
        operation="chat_completion",
        attempt_number=1,
        outcome="success",
    )
    log.circuit(3.4, "half_open", "closed", reason="probes_succeeded", generation=4)


def _refuse(log: Any, at_s: float, **fields: Any) -> None:
    values = {"trace_id": "r", "strategy": "circuit_breaker", "retry_after_s": 2.0}
    log.add(at_s, "service", "operation_rejected", **values | fields)


@_bug(18)
def _retried_while_open(log: Any) -> None:
    for at_s in (1.0, 1.5, 2.0):
        _refuse(log, at_s)
    log.add(2.0, "service", "chat_failed", trace_id="r", status=503)


@_bug(18)
def _refusal_that_says_it_failed(log: Any) -> None:
    _refuse(log, 1.0)
    log.add(1.0, "service", "chat_failed", trace_id="r", status=502)


@_bug(18)
def _refusals_that_take_their_time(log: Any) -> None:
    for index in range(6):
        _refuse(log, 1.0 + index, trace_id=f"r{index}")
        log.add(1.9 + index, "service", "chat_failed", trace_id=f"r{index}", status=503)


@_bug(19)
def _limiter_reset_at_the_windows_edge(log: Any) -> None:
    for index in range(60):
        log.call(f"c{index}", 1.0, end_s=3.0)
        log.attempt(f"c{index}", 1.5 + index * 0.001, end_s=2.0)


@_bug(19)
def _told_to_wait_for_too_short_a_time(log: Any) -> None:
    log.circuit(1.0, "closed", "open")
    for at_s in (1.2, 2.5):
        _refuse(
            log,
            at_s,
            trace_id=f"r{at_s}",
            circuit="upstream/gpt-4o",
            retry_after_s=0.5,
        )
    log.circuit(3.0, "open", "half_open")


@_bug(19)
def _told_to_wait_for_too_long(log: Any) -> None:
    log.circuit(1.0, "closed", "open")
    _refuse(log, 2.0, circuit="upstream/gpt-4o", retry_after_s=2.0)
    log.circuit(3.0, "open", "half_open")


@_bug(20)
def _acknowledged_before_the_durable_write(log: Any) -> None:
    log.add(1.0, "service", "webhook_enqueued", message_id="lost", endpoint="default")


@_bug(20)
def _tool_call_that_nobody_is_told_of(log: Any) -> None:
    log.call("silent", 1.0, end_s=1.5)
    results = [{"tool_call_id": "tc", "content": "1"}]
    log.attempt("silent", 1.2, end_s=1.3, received={"tool_results": results})


@_bug(20)
def _message_from_nowhere(log: Any) -> None:
    _good_chat(log)
    log.webhook("invented", 2.0)


@_bug(21)
def _signature_over_reserialised_json(log: Any) -> None:
    log.webhook("msg", 1.0, verified=False, reason="no signature matches")


@_bug(21)
def _other_body_under_one_id(log: Any) -> None:
    log.webhook("msg", 1.0, status=500)
    log.webhook("msg", 1.5, number=2, body="other")


@_bug(21)
def _duplicate_has_a_second_effect(log: Any) -> None:
    for at_s in (1.0, 1.5):
        log.add(
            at_s, "service", "webhook_accepted", message_id="msg", outcome="applied"
        )


@_bug(22)
def _sent_again_after_success(log: Any) -> None:
    log.webhook("msg", 1.0)
    log.webhook("msg", 1.5, number=2)


@_bug(22)
def _sent_again_after_gone(log: Any) -> None:
    log.webhook("msg", 1.0, status=410)
    log.webhook("msg", 1.5, number=2, status=410)
    log.add(1.6, "service", "webhook_dead", message_id="msg", endpoint="default")


@_bug(22)
def _more_deliveries_than_promised(log: Any) -> None:
    for number in range(1, 5):
        log.webhook("msg", number * 1.0, number=number, status=500)
    log.add(5.0, "service", "webhook_dead", message_id="msg", endpoint="default")


@_bug(21)
def _sent_again_under_another_id(log: Any) -> None:
    fact = {"tool_call_id": "tc", "trace_id": "t"}
    log.add(0.9, "service", "webhook_enqueued", message_id="msg-1", **fact)
    log.records()[0]["event_type"] = "function_call.completed"
    log.webhook("msg-1", 1.0, status=500, **fact)
    log.webhook("msg-2", 1.5, **fact)
    log.add(1.6, "service", "webhook_delivered", message_id="msg-1")


@_bug(22)
def _two_workers_on_one_delivery(log: Any) -> None:
    log.webhook("msg", 1.8, status=500, actual_us=800_000)
    log.webhook("msg", 1.9, number=2, actual_us=800_000)


@_bug(22)
def _delivery_before_it_is_due(log: Any) -> None:
    delivery = {"message_id": "msg", "endpoint": "default"}
    log.webhook("msg", 1.0, status=500)
    log.webhook("msg", 1.3, number=2)
    log.add(0.9, "service", "webhook_enqueued", **delivery)
    log.add(
        1.0,
        "service",
        "webhook_retry_scheduled",
        attempt_number=1,
        delay_s=0.8,
        **delivery,
    )
    log.add(1.3, "service", "webhook_attempt_started", attempt_number=2, **delivery)


@_bug(22)
def _schedule_shorter_than_declared(log: Any) -> None:
    log.webhook("msg", 1.0, status=500)
    log.webhook("msg", 1.3, number=2)
    log.add(0.9, "service", "webhook_enqueued", message_id="msg")
    log.add(
        1.0,
        "service",
        "webhook_retry_scheduled",
        message_id="msg",
        attempt_number=1,
        delay_s=0.05,
    )


@_bug(23)
def _waiting_behind_a_dead_endpoint(log: Any) -> None:
    for index in range(6):
        at_s = 1.0 + index * 2
        for name, late_s, status in (("dead", 0.9, None), ("well", 0.95, 200)):
            message = {"message_id": f"{name}-{index}", "endpoint": name}
            log.add(at_s, "service", "webhook_enqueued", **message)
            record = log.webhook(message["message_id"], at_s + late_s, status=status)
            record["endpoint"] = name
            if status is None:
                log.add(at_s + 1.0, "service", "webhook_dead", **message)


@_bug(24)
def _accepted_and_forgotten(log: Any) -> None:
    log.call("async", 1.0, end_s=4.0, outcome="failed", status=404, mode="async")
    log.add(1.1, "caller", "call_accepted", call_id="async", callback_id="cb")
    log.add(2.0, "caller", "service_killed")
    log.add(3.0, "caller", "service_restarted")
    log.webhook("msg", 3.5, event_type="chat.failed", callback_id="cb")


@_bug(24)
def _end_that_changes(log: Any) -> None:
    log.webhook("msg-1", 1.0, event_type="chat.completed", callback_id="cb")
    log.webhook("msg-2", 2.0, event_type="chat.failed", callback_id="cb")


@_bug(24)
def _acknowledged_before_the_write(log: Any) -> None:
    log.call("refund", 1.0, end_s=13.0)
    log.attempt("refund", 12.1, end_s=12.2)
    tool_call = {"tool_call_id": "tc", "trace_id": "refund"}
    log.add(1.2, "mock", "tool_executed", tool="approve_refund", **tool_call)
    log.add(
        1.5,
        "mock",
        "webhook_emitted",
        event_type="function_call.completed",
        status=200,
        faults=[],
        **tool_call,
    )
    log.add(1.5, "caller", "service_killed")
    log.add(2.0, "caller", "service_restarted")
    log.webhook("msg", 12.0, event_type="function_call.failed", **tool_call)


@_bug(25)
def _connection_leaked(log: Any) -> None:
    log.call("probe", 1.0, end_s=2.1, outcome="failed", status=504)
    log.attempt("probe", 1.05, end_s=28.0, status=None, outcome="abandoned")


@_bug(25)
def _tasks_and_connections_that_stay(log: Any) -> None:
    for at_s, phase, held in ((0.1, "start", 5), (29.0, "end", 7)):
        log.add(
            at_s,
            "caller",
            "service_measured",
            phase=phase,
            tasks=held,
            connections=held,
            more_tasks=["sweep", "sweep"] if held > 5 else [],
        )
    log.call("one", 1.0, end_s=1.2)
    log.attempt("one", 1.05, end_s=1.1)


@_bug(25)
def _circuit_that_never_closes(log: Any) -> None:
    log.circuit(1.0, "closed", "open")
    log.circuit(3.5, "open", "half_open")
    for index in range(8):
        _refuse(
            log,
            5.0 + index * 3,
            trace_id=f"r{index}",
            circuit="upstream/gpt-4o",
        )


@_bug(25)
def _call_that_takes_for_ever(log: Any) -> None:
    log.call("slow", 1.0, end_s=29.0, outcome="failed", status=504)


@pytest.mark.parametrize("bug", sorted(BUGS))
def test_a_planted_bug_breaks_its_invariant(
    bug: str, log: Any, promise: Promise
) -> None:
    """
    Each bug is found by its invariant and by no other, with the event that shows it.
    """
    number, plant = BUGS[bug]
    plant(log)
    log.run(end_s=30.0)

    rulings = dict(
        zip(INVARIANTS, judge_invariants(Timeline(log.records()), promise), strict=True)
    )

    failed = {key for key, each in rulings.items() if each.status is Status.FAILED}
    assert failed == {number}
    evidence = rulings[number].findings[0]
    assert evidence.message
    assert evidence.events


def test_every_invariant_has_a_planted_bug() -> None:
    """
    No invariant is without a log that breaks it.
    """
    assert {number for number, _ in BUGS.values()} == set(INVARIANTS)


def _good_outage(log: Any, at_s: float) -> None:
    """
    Write an outage of 2 s: open, a refusal, a late outcome, probes, closed.
    """
    circuit = "upstream/gpt-4o"
    late = {"trace_id": "late", "operation": "chat_completion", "attempt_number": 1}
    log.add(at_s - 0.5, "service", "attempt_started", **late)
    for index in range(3):
        log.ended(f"down-{index}", at_s - 0.2 + index * 0.1, "failure")
    log.circuit(at_s, "closed", "open", reason="consecutive_failures", generation=2)
    retry = {"trace_id": "down-1", "operation": "chat_completion", "attempt_number": 1}
    log.add(at_s - 0.05, "service", "retry_scheduled", delay_s=0.3, **retry)
    _refuse(log, at_s + 0.3, circuit=circuit, retry_after_s=1.7, **retry)
    log.add(at_s + 0.3, "service", "chat_failed", trace_id="down-1", status=503)
    log.add(at_s + 0.5, "service", "attempt_ended", outcome="success", **late)
    log.add(
        at_s + 0.5,
        "service",
        "stale_outcome_ignored",
        trace_id="late",
        circuit=circuit,
        generation=1,
        outcome="success",
    )
    log.circuit(at_s + 2, "open", "half_open", reason="break_elapsed", generation=3)
    for index in range(3):
        probe = {
            "trace_id": f"probe-{index}",
            "circuit": circuit,
            "generation": 3,
        }
        began_s = at_s + 2 + index * 0.1
        log.add(began_s, "service", "probe_started", probes=1, **probe)
        log.ended(f"probe-{index}", began_s + 0.06, "success")
        log.add(
            began_s + 0.06,
            "service",
            "probe_ended",
            outcome="success",
            successes=index + 1,
            **probe,
        )
    log.circuit(at_s + 2.26, "half_open", "closed", reason="probes_succeeded")


def _good_delivery_beside_a_dead_endpoint(log: Any, at_s: float) -> None:
    """
    Write two messages, of which one is refused three times and the other is not held up.
    """
    for name in ("dead", "well"):
        message = {"message_id": f"msg-{name}", "endpoint": name}
        log.add(at_s, "service", "webhook_enqueued", **message)
    for number in range(1, 4):
        log.webhook("msg-dead", at_s + number / 5, number=number, status=500)[
            "endpoint"
        ] = "dead"
    log.add(at_s + 0.6, "service", "webhook_dead", message_id="msg-dead")
    log.webhook("msg-well", at_s + 0.21)["endpoint"] = "well"


def test_a_good_run_breaks_none(log: Any, promise: Promise) -> None:
    """
    What is as it should be passes, and what did not happen is skipped.
    """
    for index in range(5):
        _good_chat(log, f"chat-{index}", 1.0 + index)
    log.call("retried", 7.0, end_s=9.5)
    log.attempt("retried", 7.1, end_s=7.2, status=429, retry_after_s=1.0)
    log.attempt("retried", 8.25, end_s=8.3, number=2)
    log.call("refused", 10.0, end_s=10.1, outcome="refused", status=503)
    log.call("cut", 11.0, end_s=11.4, outcome="failed", status=502)
    log.attempt("cut", 11.1, end_s=11.2, outcome="cut")
    log.call("bad", 12.0, end_s=12.4, outcome="failed", status=502)
    log.attempt("bad", 12.1, end_s=12.2, status=400)
    _good_outage(log, 13.0)
    _good_delivery_beside_a_dead_endpoint(log, 17.0)
    log.run(end_s=30.0)

    rulings = judge_invariants(Timeline(log.records()), promise)

    assert [each.id for each in rulings if each.status is not Status.PASSED] == []


def test_an_empty_run_says_nothing(log: Any) -> None:
    """
    Where nothing happened every invariant is skipped with its reason.
    """
    log.run(end_s=1.0)

    rulings = judge_invariants(Timeline(log.records()), Promise())

    assert {each.status for each in rulings} == {Status.SKIPPED}
    assert all(each.findings[0].message for each in rulings)


def test_a_log_that_breaks_off_leaves_calls_open(log: Any) -> None:
    """
    A call without an end in an interrupted run is unknown, not broken.
    """
    log.call("open", 1.0)
    log.run(end_s=2.0, reason="interrupted")

    first = judge_invariants(Timeline(log.records()), Promise())[0]

    assert first.status is Status.INCONCLUSIVE


@pytest.mark.parametrize(
    "bug",
    [
        "message_from_nowhere",
        "sent_again_after_success",
        "one_attempt_too_many",
        "limiter_reset_at_the_windows_edge",
    ],
)
def test_a_crash_excuses_what_it_can_cause(
    bug: str, log: Any, promise: Promise
) -> None:
    """
    What a killed service cannot have known or said is not held against it.
    """
    number, plant = BUGS[bug]
    plant(log)
    log.add(1.45, "caller", "service_killed")
    log.add(1.47, "caller", "service_restarted")
    log.run(end_s=60.0)

    rulings = dict(
        zip(INVARIANTS, judge_invariants(Timeline(log.records()), promise), strict=True)
    )

    assert rulings[number].status is not Status.FAILED


def test_a_successor_works_before_the_bench_knows(log: Any, promise: Promise) -> None:
    """
    Failures on both sides of a kill, and before the restart is on record, prove nothing.
    """
    log.ended("dying", 1.001, "failure")
    log.add(1.0, "caller", "service_killed")
    for index in range(2):
        log.ended(f"early-{index}", 2.0 + index / 10, "failure")
    log.add(2.5, "caller", "service_restarted")
    log.ended("late", 3.0, "failure")
    log.circuit(3.0, "closed", "open", reason="consecutive_failures", generation=2)
    log.run(end_s=30.0)

    rulings = judge_invariants(Timeline(log.records()), promise)

    assert [each.id for each in rulings if each.status is Status.FAILED] == []


def test_an_unheard_acknowledgement_may_be_repeated(log: Any, promise: Promise) -> None:
    """
    A delivery that the service says failed may come again, whatever was answered.
    """
    log.webhook("msg", 1.0)
    log.add(
        1.1,
        "service",
        "webhook_attempt_ended",
        message_id="msg",
        endpoint="default",
        attempt_number=1,
        outcome="failure",
        reason="timeout",
    )
    log.add(0.9, "service", "webhook_enqueued", message_id="msg", endpoint="default")
    log.webhook("msg", 1.5, number=2)
    log.run(end_s=30.0)

    rulings = judge_invariants(Timeline(log.records()), promise)

    assert [each.id for each in rulings if each.status is Status.FAILED] == []


@pytest.mark.parametrize(("started_s", "status"), [(1.42, "passed"), (1.30, "failed")])
def test_a_slow_disk_does_not_make_a_delivery_early(
    started_s: float, status: str, log: Any, promise: Promise
) -> None:
    """
    The delay before the next attempt counts from the last one's end, not its commit.
    """
    message = {"message_id": "msg", "endpoint": "default", "attempt_number": 1}
    log.add(1.0, "service", "webhook_attempt_started", **message)
    log.add(1.1, "service", "webhook_attempt_ended", outcome="failure", **message)
    log.add(1.3, "service", "webhook_retry_scheduled", delay_s=0.3, **message)
    log.add(started_s, "service", "webhook_attempt_started", **message)
    log.webhook("msg", 1.05, status=500)
    log.webhook("msg", started_s + 0.05, number=2)
    log.run(end_s=30.0)

    rulings = dict(
        zip(INVARIANTS, judge_invariants(Timeline(log.records()), promise), strict=True)
    )

    assert rulings[22].status.value == status


def test_slack_is_for_real_time_alone(log: Any, promise: Promise) -> None:
    """
    What is a little short of the asked wait passes live and fails in virtual time.
    """
    log.call("hasty", 1.0, end_s=3.0)
    log.attempt("hasty", 1.1, end_s=1.11, status=429, retry_after_s=1.0)
    log.attempt("hasty", 2.06, end_s=2.1, number=2)
    log.run(end_s=5.0)
    timeline = Timeline(log.records())

    live = judge_invariants(timeline.in_mode("live"), promise)
    virtual = judge_invariants(timeline.in_mode("virtual"), promise)

    assert [each.id for each in live if each.status is Status.FAILED] == []
    assert [each.id for each in virtual if each.status is Status.FAILED] == [
        "6 Retry-After is kept"
    ]
