"""
What a scenario promises, how it is linted, and how it is shortened.
"""

from typing import Any

import pytest

from harness.errors import UsageError
from harness.scenario import (
    METRICS,
    MetricExpectation,
    Promise,
    Scenario,
    Unit,
    find_metric,
    lint,
    load,
    planned_faults,
    promise_of_settings,
    shorten,
)
from harness.settings import ServiceSettings

OUTAGE = {"fault": "status", "status": 503, "from": "10s", "to": "20s"}


def _scenario(**changes: Any) -> Scenario:
    values = {
        "scenario": "s",
        "title": "t",
        "workload": [{"arrivals": "10/s", "for": "30s", "send": {"message": "hi"}}],
        "expect": [{"metric": "chat.success_ratio", "at_least": 0.5}],
    }
    return Scenario.model_validate(values | changes)


def test_the_promise_is_what_the_settings_say() -> None:
    """
    A part that nobody names has the values of the settings.
    """
    scenario = _scenario(
        service={
            "breaker": {"break_duration": "7s"},
            "rate_limit": {"enabled": False},
            "upstream": {"retry_enabled": False},
        }
    )

    promise = scenario.promised()

    assert promise.breaker is not None
    assert promise.breaker.break_duration == 7.0
    assert promise.rate_limit is None
    assert promise.upstream is not None
    assert promise.upstream.attempts_max == 1
    assert promise.named == frozenset()


def test_a_named_promise_stays_when_the_strategy_is_off() -> None:
    """
    What is promised is judged, whatever the settings switch off.
    """
    scenario = _scenario(
        service={"breaker": {"enabled": False, "failure_threshold": 9}},
        promise={"breaker": {"break_duration": "3s"}},
    )

    promise = scenario.promised()

    assert promise.breaker is not None
    assert promise.breaker.break_duration == 3.0
    assert promise.breaker.failure_threshold == 9
    assert "breaker" in promise.named


def test_a_part_that_is_null_is_not_promised() -> None:
    """
    Null takes a part away, even if the settings have it.
    """
    promise = promise_of_settings(
        ServiceSettings(), named=Promise.model_validate({"breaker": None})
    )

    assert promise.breaker is None
    assert promise.webhook is not None


def test_the_mock_is_told_its_part_alone() -> None:
    """
    The mock's document holds its four surfaces as they were written.
    """
    scenario = _scenario(
        upstream={"faults": [OUTAGE]}, tools={"t": {"result": 1}}, service={}
    )

    assert scenario.mock_document() == {
        "upstream": {"faults": [OUTAGE]},
        "tools": {"t": {"result": 1}},
    }


def test_faults_are_found_wherever_they_stand() -> None:
    """
    Surfaces, rules, tools and named endpoints can all have faults.
    """
    fault = {"fault": "status", "status": 500}
    scenario = _scenario(
        upstream={
            "faults": [OUTAGE],
            "script": [{"reply": {"text": "x"}, "faults": [fault]}],
        },
        tools={"t": {"faults": [fault]}},
        webhook_endpoint={"faults": [fault], "endpoints": {"e": {"faults": [fault]}}},
        webhook_emitter={"faults": [{"fault": "duplicate"}]},
    )

    assert [fault.path for fault in planned_faults(scenario)] == [
        ("upstream", "faults", 0),
        ("upstream", "script", 0, "faults", 0),
        ("tools", "t", "faults", 0),
        ("webhook_endpoint", "faults", 0),
        ("webhook_endpoint", "endpoints", "e", "faults", 0),
        ("webhook_emitter", "faults", 0),
    ]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {
                "webhook_endpoint": {"faults": [{"fault": "status", "status": 500}]},
                "expect": [{"metric": "load.dropped", "is": 0}],
            },
            "no expectation observes status",
        ),
        (
            {
                "upstream": {"faults": [OUTAGE]},
                "expect": [{"circuit upstream": ["closed"]}],
            },
            "an outage, and no expectation says what becomes of the calls",
        ),
        (
            {"upstream": {"faults": [OUTAGE | {"from": "40s", "to": "50s"}]}},
            "status begins at 40s, after the last arrival at 30s",
        ),
        (
            {"expect": [{"metric": "chat.latency.p99", "at_most": "1s"}]},
            "p99 needs 1000 samples, and about 300 arrivals fall in its window",
        ),
        (
            {"expect": [{"metric": "chat.failed", "is": 0, "from": "31s"}]},
            "begins at 31s, after the last arrival at 30s",
        ),
        ({"expect": []}, "nothing is expected besides the invariants"),
    ],
)
def test_lint_finds_what_is_probably_not_meant(
    changes: dict[str, Any], message: str
) -> None:
    """
    A valid scenario can still be a mistake.
    """
    assert [finding.message for finding in lint(_scenario(**changes))] == [message]


def test_a_shortened_scenario_keeps_its_proportions() -> None:
    """
    Phases, fault windows, expectations and the break shrink together; rates do not.
    """
    short = shorten(load("upstream-outage"), 0.2)

    (fault, _) = planned_faults(short)
    assert short.duration_s == pytest.approx(14.0)
    assert (fault.from_s, fault.to_s) == pytest.approx((2.0, 6.0))
    assert short.service.breaker.break_duration == pytest.approx(1.0)
    breaker = short.promised().breaker
    assert breaker is not None
    assert breaker.break_duration == pytest.approx(1.0)
    assert short.phases[0].arrivals == load("upstream-outage").phases[0].arrivals
    windows = [getattr(each, "from_s", None) for each in short.expect]
    assert 8.0 in windows


def test_a_shortened_percentile_is_one_that_can_be_told() -> None:
    """
    A p95 that lost its samples becomes the highest percentile that has enough.
    """
    short = shorten(load("upstream-outage"), 0.2)

    metrics = [
        each.metric for each in short.expect if isinstance(each, MetricExpectation)
    ]
    assert "chat.latency.p95" not in metrics
    assert "chat.latency.p75" in metrics
    assert [finding for finding in lint(short) if finding.severity == "error"] == []


@pytest.mark.parametrize("factor", [0.0, -1.0, 1.5])
def test_a_factor_that_shortens_nothing_is_refused(factor: float) -> None:
    """
    Only factors above 0 and up to 1 shorten.
    """
    with pytest.raises(UsageError):
        shorten(load("demo"), factor)


def test_shortening_leaves_the_original_alone() -> None:
    """
    The scenario that is shortened stays what it was.
    """
    scenario = load("demo")
    before = scenario.model_dump_json()

    shorten(scenario, 0.1)

    assert scenario.model_dump_json() == before


def test_metrics_are_a_closed_list() -> None:
    """
    Percentiles and circuits are filled in; all else is known by its name or not at all.
    """
    p999 = find_metric("chat.latency.p99.9")
    assert p999 is not None
    assert (p999.percentile, p999.samples_min) == (99.9, 10_000)
    opens = find_metric("circuit upstream/gpt-4o.opens")
    assert opens is not None
    assert (opens.circuit, opens.unit) == ("upstream/gpt-4o", Unit.COUNT)
    for name in ("chat.latency", "chat.latency.p0", "circuit x.y", "chat.latency.pN"):
        assert find_metric(name) is None
    assert all(meaning for _, meaning in METRICS.values())
