"""
The simulator does not lie: a live run over loopback does the same things.
"""

import asyncio
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import pytest

from harness.bench import RunOptions, ScenarioRun, live_world, read_records
from harness.clock import LoopClock
from harness.scenario import Scenario, parse, parse_document
from harness.simulation import run_scenario

pytestmark = [pytest.mark.sockets, pytest.mark.live]

SCENARIO: Final = """
scenario: agreement
title: Retries, a broken stream, a tool that fails and one that is deferred, each by its own draw.
seed: 8
upstream:
  script:
    - match: {tool_result: {value: {status: error}}}
      reply: {text: "Sorry."}
    - match: {last_message: {role: user, contains: refund}}
      reply: {tool_calls: [{name: approve_refund, arguments: {order_id: ORD-20260115-00042}}]}
    - match: {last_message: {role: user, contains: order}}
      reply: {tool_calls: [{name: query_order, arguments: {order_id: ORD-20260115-00042}}]}
    - match: {last_message: {role: tool}}
      reply: {text: "That is done."}
  faults:
    - {fault: status, status: 500, injection_rate: 0.2}
    - {fault: rate_limited, retry_after: 1s, injection_rate: 0.1}
tools:
  query_order:
    result: {status: shipped}
    latency: 10ms
    faults: [{fault: status, status: 500, injection_rate: 0.2}]
  approve_refund: {deferred: true, resolve_after: 200ms, result: {decision: approved}}
service:
  breaker: {enabled: false}
  upstream: {attempts_max: 4, backoff_base: 100ms}
workload:
  - arrivals: 8/s
    for: 5s
    send:
      - {message: "where is my order?", weight: 2}
      - {message: "stream me my order", mode: stream}
      - {message: "a refund, please", mode: async}
"""

IN_ORDER: Final = frozenset(
    {
        "call_offered",
        "call_started",
        "upstream_request_received",
        "tool_executed",
        "tool_refused",
        "pending_call_opened",
        "pending_call_resolved",
        "retry_scheduled",
        "chat_answered",
        "call_ended",
    }
)
"""Kinds of one call that cause one another, so that only one order is possible."""

COUNTED: Final = IN_ORDER | {
    "call_accepted",
    "attempt_started",
    "attempt_ended",
    "upstream_request_ended",
    "fault_applied",
    "tool_call_started",
    "tool_call_ended",
    "webhook_enqueued",
    "webhook_delivered",
    "webhook_received",
    "webhook_emitted",
    "webhook_accepted",
}

FACTS: Final = ("status", "outcome", "attempt_number", "turn", "tool", "error_code")


def orders(records: Iterable[Mapping[str, Any]]) -> dict[str, list[tuple[Any, ...]]]:
    """
    Return what happened to each call, in its order, with the facts of each step.
    """
    by_trace: dict[str, list[tuple[Any, ...]]] = {}
    for record in records:
        if record["kind"] in IN_ORDER and record["trace_id"] is not None:
            facts = tuple(record.get(name) for name in FACTS)
            by_trace.setdefault(record["trace_id"], []).append((record["kind"], *facts))
    return by_trace


def counts(records: Iterable[Mapping[str, Any]]) -> Counter[str]:
    """
    Return how often each kind came.
    """
    return Counter(record["kind"] for record in records if record["kind"] in COUNTED)


async def run_live(scenario: Scenario, run_dir: Path) -> None:
    """
    Run a scenario with real processes over loopback.
    """
    clock = LoopClock()
    options = RunOptions(run_dir=run_dir)
    world = live_world(scenario, options, clock=clock)
    await ScenarioRun(scenario, options, world=world, clock=clock).carry_out()


def test_virtual_and_real_time_agree(tmp_path: Path) -> None:
    """
    Each call goes through the same steps in the same order, and as often.
    """
    scenario = parse(parse_document(SCENARIO, file="agreement.yaml"))
    logs = []
    for name in ("virtual", "live"):
        run_dir = tmp_path / name
        run_dir.mkdir()
        if name == "virtual":
            run_scenario(scenario, RunOptions(run_dir=run_dir), writes_report=False)
        else:
            asyncio.run(run_live(scenario, run_dir))
        logs.append(read_records(run_dir / "events.jsonl"))
    virtual, live = logs

    assert counts(virtual) == counts(live)
    simulated, real = orders(virtual), orders(live)
    for trace_id, steps in simulated.items():
        assert steps == real[trace_id]
    assert counts(virtual)["retry_scheduled"] > 3
    assert counts(virtual)["pending_call_resolved"] > 3
