"""
Situations that seeds are explored for: each is recognised, and summed over the seeds.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import pytest

from harness.scenario import KINDS
from harness.simulation import Exploration, SeedOutcome
from harness.simulation import coverage as situations
from harness.simulation.coverage import SITUATIONS, Coverage
from harness.simulation.explore import coverage_table

Step = tuple[str, Mapping[str, Any]]

KILLED: Final[Step] = ("service_killed", {})
MESSAGE: Final = {"message_id": "msg"}
RECEIVED: Final[Step] = ("webhook_received", {**MESSAGE, "status": 200})

STORIES: Final[dict[str, Sequence[Step]]] = {
    "a circuit opened": [("circuit_changed", {"from": "closed", "to": "open"})],
    "a circuit probed": [("circuit_changed", {"from": "open", "to": "half_open"})],
    "a circuit closed after probes": [
        ("circuit_changed", {"from": "half_open", "to": "closed"})
    ],
    "a circuit opened again after a probe": [
        ("circuit_changed", {"from": "half_open", "to": "open"})
    ],
    "a probe failed": [("probe_ended", {"outcome": "failure"})],
    "a probe was cancelled": [("probe_ended", {"outcome": "ignored"})],
    situations.WAIT_ABOVE_CAP: [("retry_gave_up", {"reason": "retry_after_max"})],
    situations.CUT_ARGUMENTS: [
        ("upstream_request_ended", {"outcome": "cut", "tool_calls": [{"name": "t"}]})
    ],
    situations.DUPLICATE: [RECEIVED, RECEIVED],
    situations.DUPLICATE_RESULT: [
        ("webhook_accepted", {**MESSAGE, "outcome": "duplicate"})
    ],
    situations.REDELIVERED: [("webhook_redelivered", MESSAGE)],
    situations.KEY_AGAIN: [
        ("upstream_request_received", {"idempotency_key": "key"}),
        KILLED,
        ("upstream_request_received", {"idempotency_key": "key"}),
    ],
    situations.BEFORE_SEND: [("webhook_enqueued", MESSAGE), KILLED],
    situations.BEFORE_REPLY: [("webhook_attempt_started", MESSAGE), KILLED],
    situations.BEFORE_RECORD: [RECEIVED, KILLED],
    situations.BEFORE_ACKNOWLEDGEMENT: [
        ("webhook_accepted", {**MESSAGE, "outcome": "applied"}),
        KILLED,
    ],
}


def watched(story: Sequence[Step]) -> set[str]:
    """
    Return the situations that a story is in.
    """
    coverage = Coverage()
    for kind, facts in story:
        assert kind in KINDS
        coverage.note({"kind": kind, **facts})
    return coverage.reached


def test_every_situation_has_a_story() -> None:
    """
    Nothing is looked for of which no test says how it looks.
    """
    assert set(STORIES) == set(SITUATIONS)


@pytest.mark.parametrize("situation", SITUATIONS)
def test_a_situation_is_recognised(situation: str) -> None:
    """
    Each story is in its own situation and in no other.
    """
    assert watched(STORIES[situation]) == {situation}


def test_a_delivery_that_has_ended_is_not_cut_short() -> None:
    """
    A crash after everything was recorded and acknowledged is none of these situations.
    """
    story: list[Step] = [
        ("webhook_enqueued", MESSAGE),
        ("webhook_attempt_started", MESSAGE),
        RECEIVED,
        ("webhook_attempt_ended", MESSAGE),
        ("webhook_delivered", MESSAGE),
        ("webhook_accepted", {"message_id": "in", "outcome": "applied"}),
        ("webhook_emitted", {"message_id": "in", "status": 200}),
        KILLED,
    ]

    assert watched(story) == set()


def test_situations_are_summed_over_the_seeds() -> None:
    """
    The table says how many seeds were in a situation, the first, and what never came.
    """
    exploration = Exploration()
    for seed in (9, 4):
        outcome = SeedOutcome(
            seed=seed, verdict="passed", reached=frozenset({"a probe failed"})
        )
        exploration.add(outcome)

    lines = [line.split(maxsplit=2) for line in coverage_table(exploration)]

    assert ["2", "4", "a probe failed"] in lines
    assert ["-", "never", "a circuit opened"] in lines
    assert len(lines) == len(SITUATIONS) + 1
