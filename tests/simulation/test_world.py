"""
Mock and service as hosts: crashes at every point, and what a simulated run refuses.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import pytest

from harness.bench import Kill, RunOptions, RunResult, read_records
from harness.errors import EscapeError, UsageError
from harness.scenario import Scenario, parse, parse_document
from harness.simulation import Crash, VirtualWorld, VirtualWorldOptions, run_scenario

Record = Mapping[str, Any]

SCENARIO: Final = """
scenario: orders
title: A few chats with a tool, a deferred tool and webhooks.
seed: 3
upstream:
  script:
    - match: {last_message: {role: user, contains: refund}}
      reply: {tool_calls: [{name: approve_refund, arguments: {order_id: ORD-20260115-00042}}]}
    - match: {last_message: {role: user, contains: order}}
      reply: {tool_calls: [{name: query_order, arguments: {order_id: ORD-20260115-00042}}]}
    - match: {last_message: {role: tool}}
      reply: {text: "That is done."}
tools:
  query_order: {result: {status: shipped}, latency: 20ms}
  approve_refund: {deferred: true, resolve_after: 300ms, result: {decision: approved}}
workload:
  - arrivals: 4/s
    for: 5s
    send:
      - {message: "where is my order?", mode: async}
      - {message: "a refund, please", mode: async}
"""


def scenario() -> Scenario:
    """
    Return the scenario of these tests.
    """
    return parse(parse_document(SCENARIO, file="orders.yaml"))


def records_of(run_dir: Path, *kinds: str) -> list[dict[str, Any]]:
    """
    Return the records of some kinds from a run's event log.
    """
    records = read_records(run_dir / "events.jsonl")
    return [record for record in records if record["kind"] in kinds]


def statuses(result: RunResult, group: str) -> dict[str, str]:
    """
    Return what became of each entry of a verdict.
    """
    return {entry["id"]: entry["status"] for entry in result.summary[group]}


def of(host: str, kind: str, **fields: object) -> Callable[[Record], bool]:
    """
    Return what recognises a record.
    """
    wanted = {"host": host, "kind": kind, **fields}
    return lambda record: all(
        record.get(name) == value for name, value in wanted.items()
    )


POINTS: Final = {
    "before send": of("service", "webhook_enqueued"),
    "between send and reply": of("mock", "webhook_received"),
    "between reply and record": of("service", "webhook_attempt_ended"),
    "between record and acknowledgement": of("service", "webhook_accepted"),
    "after the record": of("service", "webhook_delivered"),
    "when a chat was accepted": of("service", "chat_received"),
    "between a tool's effect and its record": of("mock", "tool_executed"),
}


@pytest.mark.parametrize("point", POINTS)
def test_a_crash_loses_nothing_and_doubles_nothing(point: str, tmp_path: Path) -> None:
    """
    Wherever the power fails, what was accepted ends, and each effect comes once.
    """
    crashes = [
        Crash(at=POINTS[point], from_s=from_s, down_s=0.7) for from_s in (0.5, 2.0, 3.5)
    ]
    result = run_scenario(
        scenario(), RunOptions(run_dir=tmp_path), crashes=crashes, writes_report=False
    )

    assert len(records_of(tmp_path, "service_killed")) == 3
    assert len(records_of(tmp_path, "service_restarted")) == 3
    assert "failed" not in statuses(result, "invariants").values()
    assert result.summary["verdict"] in {"passed", "inconclusive"}
    # Whoever was told 202 got the answer, over every crash.
    accepted = {record["call_id"] for record in records_of(tmp_path, "call_accepted")}
    ended = {
        record["call_id"]: record["outcome"]
        for record in records_of(tmp_path, "call_ended")
    }
    assert len(accepted) >= 5
    assert {ended[call_id] for call_id in accepted} == {"answered"}
    # Every webhook that was written has come, under one id per result; what was sent
    # again carries the id of what it repeats.
    committed = Counter(
        record["message_id"] for record in records_of(tmp_path, "webhook_enqueued")
    )
    bodies: dict[str, set[str]] = {}
    for record in records_of(tmp_path, "webhook_received"):
        assert record["verified"]
        bodies.setdefault(record["message_id"], set()).add(record["body_sha256"])
    assert set(committed) <= set(bodies)
    assert all(len(found) == 1 for found in bodies.values())
    # No tool ran twice for one call.
    executed = Counter(
        record["tool_call_id"] for record in records_of(tmp_path, "tool_executed")
    )
    assert set(executed.values()) == {1}


def test_a_crash_comes_before_anything_else_happens(tmp_path: Path) -> None:
    """
    The dead life says nothing after the record at which its power failed.
    """
    crash = Crash(at=of("service", "webhook_enqueued"), down_s=1.5)
    run_scenario(
        scenario(), RunOptions(run_dir=tmp_path), crashes=[crash], writes_report=False
    )

    records = read_records(tmp_path / "events.jsonl")
    kinds = [record["kind"] for record in records]
    killed = kinds.index("service_killed")
    started = kinds.index("service_started", killed)
    assert kinds[killed - 1] == "webhook_enqueued"
    assert {record["host"] for record in records[killed + 1 : started]} <= {
        "caller",
        "mock",
    }
    down_us = records[started]["time_us"] - records[killed]["time_us"]
    assert down_us >= 1_500_000
    # The disk at the crash is kept beside the one that lived on.
    assert (tmp_path / "data.life-1").is_dir()


def test_a_crash_during_the_start_is_followed_by_another_start(tmp_path: Path) -> None:
    """
    A service that dies before it is ready comes back all the same.
    """
    crashes = [
        Crash(at=of("service", "webhook_enqueued"), down_s=0.5),
        Crash(at=of("service", "service_started"), down_s=0.5),
    ]
    result = run_scenario(
        scenario(), RunOptions(run_dir=tmp_path), crashes=crashes, writes_report=False
    )

    assert len(records_of(tmp_path, "service_killed")) == 2
    assert len(records_of(tmp_path, "service_started")) == 3
    assert len(records_of(tmp_path, "service_restarted")) == 1
    assert "failed" not in statuses(result, "invariants").values()


def test_kills_at_a_time_work_as_in_real_time(tmp_path: Path) -> None:
    """
    A kill that is planned by the clock comes at its time, and the service comes back.
    """
    options = RunOptions(run_dir=tmp_path, kills=[Kill(at_s=2.0, down_s=1.0)])
    result = run_scenario(scenario(), options, writes_report=False)

    [killed] = records_of(tmp_path, "service_killed")
    assert killed["time_us"] == 2_000_000
    assert len(records_of(tmp_path, "service_started")) == 2
    assert result.summary["completed"]


def test_time_is_virtual_and_exact(tmp_path: Path) -> None:
    """
    Every call starts at its intended microsecond, and the log is in order.
    """
    run_scenario(scenario(), RunOptions(run_dir=tmp_path), writes_report=False)

    records = read_records(tmp_path / "events.jsonl")
    times = [record["time_us"] for record in records]
    assert times == sorted(times)
    assert [record["seq"] for record in records] == list(range(1, len(records) + 1))
    offered = records_of(tmp_path, "call_offered")
    assert all(abs(each["time_us"] - each["intended_us"]) <= 1 for each in offered)
    assert {each["lag_us"] for each in records_of(tmp_path, "call_started")} == {0}


def test_nothing_of_the_machine_is_in_the_log(tmp_path: Path) -> None:
    """
    Where the run lies cannot be read from its event log.
    """
    run_scenario(scenario(), RunOptions(run_dir=tmp_path), writes_report=False)

    assert str(tmp_path).encode() not in (tmp_path / "events.jsonl").read_bytes()


@pytest.mark.parametrize(
    "real",
    [
        {"target_url": "http://127.0.0.1:8000"},
        {"command": "my-service"},
        {"mock_port": 4010},
    ],
)
def test_refuses_what_is_real(real: dict[str, Any], tmp_path: Path) -> None:
    """
    A service or a port of the real world is refused, with what to do instead.
    """
    with pytest.raises(UsageError, match="leave out --virtual"):
        run_scenario(scenario(), RunOptions(run_dir=tmp_path, **real))


def test_refuses_the_disk_of_another_run(tmp_path: Path) -> None:
    """
    A folder is used once: what an earlier run left would change this one.
    """
    run_scenario(scenario(), RunOptions(run_dir=tmp_path), writes_report=False)

    with pytest.raises(UsageError, match="give another folder"):
        run_scenario(scenario(), RunOptions(run_dir=tmp_path), writes_report=False)


async def test_refuses_a_loop_whose_time_is_real(tmp_path: Path) -> None:
    """
    A virtual world on a real loop would wait for ever, so it is not made at all.
    """
    options = VirtualWorldOptions(scenario=scenario(), seed=1, run_dir=tmp_path)
    with pytest.raises(EscapeError, match="run_virtual"):
        VirtualWorld(options)
