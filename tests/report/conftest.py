"""
A small recorded run, made by hand.
"""

from typing import Any

import pytest

Records = list[dict[str, Any]]


def _calls() -> Records:
    records: Records = []
    for number in range(120):
        at_us = number * 250_000
        is_down = 10_000_000 <= at_us < 20_000_000
        call = f"call-{number:06d}"
        trace = f"{number + 1:032x}"
        outcome = "refused" if is_down else "answered"
        records += [
            {"time_us": at_us, "host": "caller", "kind": "call_offered", "call_id": call,
             "trace_id": trace, "intended_us": at_us, "mode": "sync"},
            {"time_us": at_us + 5_000, "host": "mock", "kind": "upstream_request_received",
             "request_id": f"req_{number}", "trace_id": trace, "surface": "chat_completions"},
            {"time_us": at_us + 60_000, "host": "mock", "kind": "upstream_request_ended",
             "request_id": f"req_{number}", "trace_id": trace, "outcome": "complete",
             "status": 503 if is_down else 200},
            {"time_us": at_us + 80_000 + number * 100, "host": "caller", "kind": "call_ended",
             "call_id": call, "trace_id": trace, "outcome": outcome, "intended_us": at_us,
             "latency_us": 80_000 + number * 100, "status": 503 if is_down else 200},
            {"time_us": at_us + 90_000, "host": "mock", "kind": "webhook_received",
             "status": 500 if number % 9 == 0 else 200, "message_id": f"msg_{number}"},
        ]  # fmt: skip
        if is_down:
            records.append(
                {
                    "time_us": at_us + 6_000,
                    "host": "mock",
                    "kind": "fault_applied",
                    "fault": "status",
                    "surface": "upstream",
                    "request_id": f"req_{number}",
                }
            )
    return records


def _circuit_changes() -> Records:
    changes = [
        (11.0, "closed", "open", "failure_threshold"),
        (16.0, "open", "half_open", "break_elapsed"),
        (16.1, "half_open", "open", "probe_failed"),
        (21.1, "open", "half_open", "break_elapsed"),
        (21.9, "half_open", "closed", "probes_succeeded"),
    ]
    return [
        {"time_us": round(at_s * 1e6), "host": "service", "kind": "circuit_changed",
         "circuit": "upstream/gpt-4o", "from": old, "to": new, "reason": reason}
        for at_s, old, new, reason in changes
    ]  # fmt: skip


@pytest.fixture
def records() -> Records:
    """
    An event log of 30 s with an outage from 10 s to 20 s.
    """
    merged = sorted(_calls() + _circuit_changes(), key=lambda record: record["time_us"])
    return [record | {"seq": seq} for seq, record in enumerate(merged, start=1)]


@pytest.fixture
def summary() -> dict[str, Any]:
    """
    A verdict with an entry of each status.
    """
    return {
        "scenario": "upstream-outage",
        "title": "The upstream fails for 10 s.",
        "verdict": "failed",
        "counts": {"passed": 1, "failed": 1, "inconclusive": 1, "skipped": 1},
        "seed": 7,
        "mode": "live",
        "command": "harness run upstream-outage --seed 7",
        "environment": {"python": "3.11", "cores": 2},
        "versions": {"aiohttp": "3.14"},
        "hashes": {"schedule": "0123456789abcdef"},
        "calls": {"answered": 80, "refused": 40},
        "planned_faults": [
            {"target": "upstream", "fault": "status", "from_s": 10.0, "to_s": 20.0},
            {"target": "webhook_endpoint", "fault": "delay", "from_s": 0.0, "to_s": None},
        ],
        "expectations": [
            {"id": "metric webhooks.lost", "status": "passed", "figures": {"webhooks.lost": 0},
             "findings": []},
            {"id": "metric upstream.attempts <while> open", "status": "failed",
             "figures": {"upstream.attempts": 3},
             "findings": [{"message": "an attempt while the circuit was open", "events": [240, 241]}]},
        ],
        "invariants": [
            {"id": "3 truncated", "status": "inconclusive", "figures": {}, "findings": []},
            {"id": "4 attempts", "status": "skipped", "figures": {}, "findings": []},
        ],
        "checks": [],
    }  # fmt: skip
