"""
A verdict as it is printed.
"""

from pathlib import Path
from typing import Any

from harness.bench import RunResult, verdict_lines


def entry(id_: str, status: str, *messages: str) -> dict[str, Any]:
    """
    Return an entry of a summary.
    """
    findings = [{"message": message, "events": [1]} for message in messages]
    return {"id": id_, "status": status, "figures": {}, "findings": findings}


def lines_of(*last_lines: str, **summary: Any) -> list[str]:
    """
    Return what is printed of a summary.
    """
    whole = {"verdict": "failed", "counts": {"passed": 1, "failed": 2}, **summary}
    result = RunResult(
        summary=whole, report_file=Path("runs/x/report.html"), last_lines=last_lines
    )
    return verdict_lines(result)


def test_the_first_breach_of_each_rule_is_printed() -> None:
    """
    The promise comes first, one rule does not crowd out another, the end is the report.
    """
    lines = lines_of(
        checks=[entry("breaker.opens", "failed", "attempt 9 came", "attempt 10 came")],
        expectations=[
            entry("webhooks.lost is 0", "inconclusive", "no webhook was owed"),
            entry("circuit upstream", "failed", "it stayed closed"),
            entry("chat.failed is 0", "passed"),
        ],
    )

    assert lines == [
        "  failed: breaker.opens",
        "    attempt 9 came (and 1 more)",
        "  failed: circuit upstream",
        "    it stayed closed",
        "  inconclusive: webhooks.lost is 0",
        "    no webhook was owed",
        "verdict: failed (1 passed, 2 failed)",
        "report: runs/x/report.html",
    ]


def test_many_breaches_leave_room_for_the_verdict() -> None:
    """
    What does not fit a screen is counted.
    """
    lines = lines_of(
        invariants=[entry(f"{number} rule", "failed", "no") for number in range(20)]
    )

    assert "  … and 12 more in the report" in lines
    assert len(lines) < 24


def test_an_invalid_run_gives_its_reason_and_nothing_else() -> None:
    """
    What is undecided because nothing ran is not listed; the last output is.
    """
    lines = lines_of(
        "Traceback",
        "KeyError: 'PORT'",
        verdict="invalid",
        reason="service ended with exit code 1 before it was ready",
        expectations=[entry("circuit upstream", "inconclusive", "nothing was seen")],
    )

    assert lines[:3] == [
        "  service ended with exit code 1 before it was ready",
        "  | Traceback",
        "  | KeyError: 'PORT'",
    ]
    assert not any("circuit upstream" in line for line in lines)
    assert lines[-2].startswith("verdict: invalid")


def test_a_failure_on_a_busy_machine_is_told_with_it() -> None:
    """
    Somebody who sees a bound on time broken is told what else was going on.
    """
    slow = [entry("chat.latency.p95 at most 1s", "failed", "it was 3 s")]

    assert any("machine was busy" in line for line in lines_of(load_per_core=2.0))
    assert not any("busy" in line for line in lines_of(expectations=slow))
