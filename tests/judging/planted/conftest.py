"""
Runs the reference service with a bug planted in it, and says what the judge found.
"""

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from harness.bench import RunOptions, read_records
from harness.judging import INVARIANTS, Ruling, Status, Timeline, judge_invariants
from harness.scenario import Scenario
from harness.simulation import Crash, run_scenario

Record = Mapping[str, Any]
Plant = Callable[[], None]


@dataclass(frozen=True, slots=True)
class Found:
    """
    What the invariants said of a run.
    """

    records: Sequence[Record]
    rulings: Mapping[int, Ruling]

    @property
    def failed(self) -> set[int]:
        """
        The invariants that do not hold.
        """
        return {
            number
            for number, ruling in self.rulings.items()
            if ruling.status is Status.FAILED
        }

    def witness(self, number: int) -> Record:
        """
        Return the first event that breaks an invariant.
        """
        return self.witnesses(number)[0]

    def witnesses(self, number: int) -> list[Record]:
        """
        Return the event that breaks an invariant, of each finding.
        """
        by_seq = {record["seq"]: record for record in self.records}
        findings = self.rulings[number].findings
        return [by_seq[finding.events[0]] for finding in findings]

    def of(self, kind: str) -> list[Record]:
        """
        Return the records of a kind.
        """
        return [record for record in self.records if record["kind"] == kind]


Hunt = Callable[..., Found]

_BASE: Mapping[str, Any] = {
    "scenario": "planted",
    "title": "A small service day.",
    "seed": 5,
    "upstream": {
        "script": [
            {
                "match": {"tool_result": {"value": {"status": "error"}}},
                "reply": {"text": "Sorry."},
            },
            {"match": {"last_message": {"role": "tool"}}, "reply": {"text": "Done."}},
            {
                "match": {"last_message": {"role": "user", "contains": "both"}},
                "reply": {
                    "tool_calls": [
                        {"name": "get_weather", "arguments": {"city": "Rome"}},
                        {
                            "name": "query_order",
                            "arguments": {"order_id": "ORD-20260115-00042"},
                        },
                    ]
                },
            },
            {
                "match": {"last_message": {"role": "user", "contains": "weather"}},
                "reply": {
                    "tool_calls": [
                        {"name": "get_weather", "arguments": {"city": "Rome"}}
                    ]
                },
            },
            {
                "match": {"last_message": {"role": "user", "contains": "refund"}},
                "reply": {
                    "tool_calls": [
                        {
                            "name": "approve_refund",
                            "arguments": {"order_id": "ORD-20260115-00042"},
                        }
                    ]
                },
            },
            {"reply": {"text": "Hello, nice to meet you."}},
        ],
        "latency": {"time_to_first_token": "20ms", "inter_token": "1ms"},
    },
    "tools": {
        "get_weather": {"result": {"temperature": 22}, "latency": "10ms"},
        "query_order": {"result": {"status": "shipped"}, "latency": "10ms"},
        "approve_refund": {
            "deferred": True,
            "resolve_after": "300ms",
            "result": {"decision": "approved"},
        },
    },
    "workload": [{"arrivals": "5/s", "for": "8s", "send": {"message": "hello"}}],
}


def _merged(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in changes.items():
        known = merged.get(key)
        both = isinstance(known, Mapping) and isinstance(value, Mapping)
        merged[key] = _merged(known or {}, value) if both else copy.deepcopy(value)
    return merged


@pytest.fixture
def hunt(tmp_path: Path) -> Hunt:
    """
    Runs a scenario twice, without the bug and with it, and returns what was found.

    Without the bug nothing may be found: the scenario itself is no fault of a service.
    """

    def run(scenario: Scenario, name: str, crashes: Sequence[Crash]) -> Found:
        run_dir = tmp_path / name
        run_dir.mkdir()
        run_scenario(
            scenario,
            RunOptions(run_dir=run_dir),
            crashes=crashes,
            writes_report=False,
        )
        records = read_records(run_dir / "events.jsonl")
        rulings = judge_invariants(Timeline(records), scenario.promised())
        return Found(records, dict(zip(INVARIANTS, rulings, strict=True)))

    def search(
        changes: Mapping[str, Any], plant: Plant, *, crashes: Sequence[Crash] = ()
    ) -> Found:
        scenario = Scenario.model_validate(_merged(_BASE, changes))
        sound = run(scenario, "sound", crashes)
        blamed = {number: sound.rulings[number].findings for number in sound.failed}
        assert blamed == {}
        plant()
        return run(scenario, "planted", crashes)

    return search
