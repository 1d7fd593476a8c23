"""
A file becomes a scenario, or a list of mistakes with their places.
"""

import json
from pathlib import Path

import pytest

from harness.errors import UsageError
from harness.scenario import (
    DocumentError,
    find,
    lint,
    load,
    load_settings,
    parse,
    parse_document,
    scenario_names,
    schema_text,
)

SHIPPED = (
    "deferred-tool",
    "demo",
    "flaky-webhooks",
    "misbehaving-tools",
    "rate-limited",
    "slow-upstream",
    "upstream-outage",
)
ROOT = Path(__file__).resolve().parents[2]

GOOD = """\
scenario: sample
title: A sample.
workload:
  - {arrivals: 10/s, for: 5s, send: {message: hello}}
"""


def _mistakes(text: str) -> list[str]:
    with pytest.raises(DocumentError) as raised:
        parse(parse_document(text, file="x.yaml"))
    return [str(mistake) for mistake in raised.value.mistakes]


@pytest.mark.parametrize(
    ("line", "mistake"),
    [
        ("sead: 7", "x.yaml:5:1: sead: unknown key; did you mean 'seed'?"),
        (
            "upstream: {faults: [{fault: status, status: 503, from: 10}]}",
            (
                "x.yaml:5:50: upstream.faults[0].from: 10 is no duration: "
                "write a number and a unit, like 250ms, 30s, 5m, 2h"
            ),
        ),
        (
            "service: {breaker: {failure_treshold: 5}}",
            (
                "x.yaml:5:21: service.breaker.failure_treshold: unknown key; "
                "did you mean 'failure_threshold'?"
            ),
        ),
        (
            "promise: {braker: null}",
            "x.yaml:5:11: promise.braker: unknown key; did you mean 'breaker'?",
        ),
        (
            "expect: [{circuit upstream: [closed, {repeat: [opne]}]}]",
            (
                "x.yaml:5:48: expect[0].circuit upstream[1].repeat[0]: input should be "
                "'closed', 'open', 'half_open', 'isolated', 'disabled' or 'observing'; "
                "did you mean 'open'?"
            ),
        ),
        (
            "expect: [{metric: upstream.atempts, is: 0}]",
            (
                "x.yaml:5:11: expect[0].metric: unknown metric; "
                "did you mean 'upstream.attempts'?"
            ),
        ),
        (
            "expect: [{metric: upstream.attempts, while: circuit upstream is opn, is: 0}]",
            (
                "x.yaml:5:38: expect[0].while: 'opn' is no state of a circuit; "
                "did you mean 'open'?"
            ),
        ),
        (
            "expect: [{metric: chat.success_ratio, at_least: 99s}]",
            (
                "x.yaml:5:39: expect[0].at_least: chat.success_ratio is a ratio: "
                "write a number without a unit"
            ),
        ),
        (
            "expect: [{metric: chat.latency.p99, at_most: 800}]",
            (
                "x.yaml:5:37: expect[0].at_most: chat.latency.p99 is a duration: "
                "write it with a unit, like 800ms"
            ),
        ),
        (
            "expect: [{metric: webhooks.lost}]",
            "x.yaml:5:10: expect[0]: one of is, at_least, at_most must be given",
        ),
        (
            "expect: [{sometimes: circuit_changd}]",
            (
                "x.yaml:5:11: expect[0].sometimes: unknown kind of event; "
                "did you mean 'circuit_changed'?"
            ),
        ),
        (
            "expect: [{metric: webhooks.lost, is: 0, from: 9s, to: 5s}]",
            "x.yaml:5:10: expect[0]: to is not after from",
        ),
    ],
)
def test_a_mistake_has_its_place_and_the_nearest_word(line: str, mistake: str) -> None:
    """
    Every mistake names file, line, column, path, and the right word if one is near.
    """
    assert _mistakes(GOOD + line) == [mistake]


@pytest.mark.parametrize(
    ("phase", "mistake"),
    [
        (
            "{arivals: 1/s, for: 5s, send: {message: hi}}",
            "x.yaml:4:6: workload[0].arivals: unknown key; did you mean 'arrivals'?",
        ),
        (
            "{arrivals: 1, for: 5s, send: {message: hi}}",
            (
                "x.yaml:4:6: workload[0].arrivals: 1 is no rate: "
                "write a number per unit, like 40/s or 600/min"
            ),
        ),
        (
            "{arrivals: 1/s, for: 5s, shape: ramp, send: {message: hi}}",
            "x.yaml:4:5: workload[0]: the shape ramp needs to",
        ),
        (
            "{arrivals: 1/s, for: 5s, mode: asink, send: {message: hi}}",
            (
                "x.yaml:4:30: workload[0].mode: input should be 'sync', 'async' or "
                "'stream'; did you mean 'async'?"
            ),
        ),
        (
            "{users: 5, think: 1s, for: 5s, send: {message: hi}}",
            (
                "x.yaml:4:5: workload[0]: closed users with think time are driven by "
                "Locust alone (locust -f loadtests/locustfile.py); give arrivals, "
                "like 10/s"
            ),
        ),
    ],
)
def test_a_mistake_in_the_workload_has_its_place(phase: str, mistake: str) -> None:
    """
    A phase says what is wrong with it; closed users are refused with the reason.
    """
    assert mistake in _mistakes(f"scenario: s\ntitle: t\nworkload:\n  - {phase}\n")


def test_all_mistakes_are_told_at_once() -> None:
    """
    One mistake does not hide another.
    """
    text = GOOD.replace("scenario: sample", "scenario: Not a Name") + (
        "sead: 1\nservice: {brake: 1}\nexpect: [{metrc: x}]\n"
    )

    places = [mistake.split(": ")[0] for mistake in _mistakes(text)]

    assert places[0] == "x.yaml:1:1"
    assert {"x.yaml:5:1", "x.yaml:6:11", "x.yaml:7:11"} <= set(places)


@pytest.mark.parametrize("text", ["", "- a\n- b\n", "just text"])
def test_what_is_no_mapping_is_no_scenario(text: str) -> None:
    """
    A file that holds something else is refused with its place.
    """
    (mistake,) = _mistakes(text)

    assert mistake.startswith("x.yaml:1:1: a scenario is a mapping")


def test_an_endless_loop_is_found_before_anything_is_started() -> None:
    """
    What the mock would refuse at its start is a mistake of the scenario.
    """
    text = """
scenario: loop
title: The model calls the same tool for ever.
upstream:
  script:
    - match: {any_message: {contains: weather}}
      reply: {tool_calls: [{name: get_weather, arguments: {city: Paris}}]}
workload:
  - {arrivals: 1/s, for: 5s, send: {message: "weather?"}}
"""
    with pytest.raises(DocumentError, match=r"loop\.yaml:6:7: upstream\.script\[0\]"):
        parse(parse_document(text, file="loop.yaml"))


def test_the_shipped_scenarios_are_found_by_name() -> None:
    """
    Each of them loads, and lint finds nothing.
    """
    assert set(SHIPPED) <= set(scenario_names())
    for name in SHIPPED:
        scenario = load(name)
        assert scenario.scenario == name
        assert lint(scenario) == ()


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_scenario_begins_with_what_it_shows(name: str) -> None:
    """
    The first line of the file is a sentence about it.
    """
    assert find(name).read_text(encoding="utf-8").startswith("# Shows ")


def test_the_demo_is_short() -> None:
    """
    Its workload leaves room for starting and draining within 90 s.
    """
    assert load("demo").duration_s <= 75


def test_an_unknown_name_is_told_the_nearest() -> None:
    """
    A misspelt name is a usage error with a suggestion.
    """
    with pytest.raises(UsageError, match="did you mean 'upstream-outage'"):
        load("upstream-outtage")


def test_a_file_that_is_missing_has_its_name_in_the_error() -> None:
    """
    A path is taken as a path.
    """
    with pytest.raises(DocumentError, match=r"nowhere/x\.yaml:1:1: cannot be read"):
        load("nowhere/x.yaml")


def test_the_committed_schema_is_current() -> None:
    """
    The JSON Schema beside the scenarios is what the models say.
    """
    committed = (ROOT / "scenarios" / "scenario.schema.json").read_text("utf-8")

    assert committed == schema_text(), "write schema_text() to that file"
    assert json.loads(committed)["required"] == ["scenario", "title", "workload"]


def test_settings_come_from_a_file_or_a_scenario(tmp_path: Path) -> None:
    """
    ``service`` of a scenario is what a file of settings holds by itself.
    """
    alone = tmp_path / "settings.yaml"
    alone.write_text("breaker: {break_duration: 2s}\n")
    inside = tmp_path / "scenario.yaml"
    inside.write_text(GOOD + "service: {breaker: {break_duration: 2s}}\n")
    empty = tmp_path / "empty.yaml"
    empty.write_text("# nothing\n")

    assert load_settings(alone) == load_settings(inside)
    assert load_settings(alone).breaker.break_duration == 2.0
    assert load_settings(empty).breaker.break_duration == 30.0


def test_settings_have_mistakes_with_places_too(tmp_path: Path) -> None:
    """
    A wrong setting names its line and the nearest right word.
    """
    file = tmp_path / "settings.yaml"
    file.write_text("breaker:\n  break_durasion: 2s\n")

    with pytest.raises(DocumentError, match=r"2:3: .*did you mean 'break_duration'"):
        load_settings(file)
