"""
A run's folder, made by hand.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

Records = list[dict[str, Any]]


def _of_calls() -> Iterator[dict[str, Any]]:
    for number in range(120):
        at_us = number * 250_000
        call = {"call_id": f"call-{number:06d}", "trace_id": f"{number + 1:032x}"}
        is_down = 40 <= number < 80
        yield {"time_us": at_us, "host": "caller", "kind": "call_offered", **call}
        yield {"time_us": at_us + 1, "host": "caller", "kind": "call_started", **call}
        yield {
            "time_us": at_us + 80_000,
            "host": "caller",
            "kind": "call_ended",
            "intended_us": at_us,
            "latency_us": 80_000 + number * 100,
            **call,
            "outcome": "refused" if is_down else "answered",
        }
        yield {"time_us": at_us + 85_000, "host": "service", "kind": "webhook_enqueued"}
        status = 500 if number % 9 == 0 else 200
        yield {
            "time_us": at_us + 90_000,
            "host": "mock",
            "kind": "webhook_received",
            "status": status,
        }
        if status == 200:
            yield {
                "time_us": at_us + 91_000,
                "host": "service",
                "kind": "webhook_delivered",
            }
        if is_down:
            yield {
                "time_us": at_us + 6_000,
                "host": "mock",
                "kind": "fault_applied",
                "fault": "status",
                "surface": "upstream",
            }


def _of_circuits() -> Iterator[dict[str, Any]]:
    for at_s, before, after, reason in (
        (11.0, "closed", "open", "failure_threshold"),
        (16.0, "open", "half_open", "break_elapsed"),
        (16.1, "half_open", "open", "probe_failed"),
        (21.1, "open", "half_open", "break_elapsed"),
        (21.9, "half_open", "closed", "probes_succeeded"),
    ):
        yield {
            "time_us": round(at_s * 1e6),
            "host": "service",
            "kind": "circuit_changed",
            "circuit": "upstream/gpt-4o",
            "from": before,
            "to": after,
            "reason": reason,
        }


@pytest.fixture
def records() -> Records:
    """
    An event log of 30 s with an outage from 10 s to 20 s.
    """
    merged = sorted([*_of_calls(), *_of_circuits()], key=lambda each: each["time_us"])
    return [record | {"seq": seq} for seq, record in enumerate(merged, start=1)]


@pytest.fixture
def run_dir(tmp_path: Path, records: Records) -> Path:
    """
    The folder of a run that goes on.
    """
    (tmp_path / "events.jsonl").write_bytes(
        b"".join(orjson.dumps(record) + b"\n" for record in records)
    )
    (tmp_path / "run.json").write_bytes(
        orjson.dumps(
            {"scenario": "upstream-outage", "mode": "live", "seed": 7, "duration_s": 40}
        )
    )
    return tmp_path
