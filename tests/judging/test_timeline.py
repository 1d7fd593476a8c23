"""
Records of three hosts become one timeline.
"""

from typing import Any

import pytest

from harness.judging import Timeline, admitted_after_us, find_circuit, follows, spans_of
from harness.scenario import Repeat


def test_attempts_join_by_trace_or_by_tag(log: Any) -> None:
    """
    A service that forwards no trace is joined by the tag of the message.
    """
    log.call("traced", 1.0, end_s=2.0)
    log.attempt("traced", 1.1, end_s=1.2)
    log.add(
        1.0, "caller", "call_offered", call_id="t", tag="k7f3", intended_us=1_000_000
    )
    log.attempt(None, 1.3, end_s=1.4, received={"tag": "k7f3"})
    log.attempt(None, 1.5, end_s=1.6)

    timeline = Timeline(log.records())

    joined = [each.call.call_id if each.call else None for each in timeline.attempts]
    assert joined == ["traced", "t", None]


def test_tools_and_webhooks_join_by_their_ids(log: Any) -> None:
    """
    What carries neither trace nor tag is joined by the tool call or the callback.
    """
    log.call("c", 1.0, end_s=3.0, mode="async")
    log.add(1.05, "caller", "call_accepted", call_id="c", callback_id="cb", status=202)
    calls = [{"tool_call_id": "tc", "name": "t", "arguments": "{}"}]
    log.attempt("c", 1.1, end_s=1.2, tool_calls=calls)
    log.add(1.3, "mock", "tool_executed", tool="t", tool_call_id="tc", status=200)
    log.webhook("m1", 1.4, tool_call_id="tc")
    log.webhook("m2", 1.5, callback_id="cb", event_type="chat.completed")

    call = Timeline(log.records()).calls[0]

    assert [each.tool for each in call.executions] == ["t"]
    assert [each.message_id for each in call.deliveries] == ["m1", "m2"]


def test_admission_follows_what_it_must_follow(log: Any) -> None:
    """
    An attempt was admitted after its call, its earlier turn, its tools, its last try.
    """
    log.call("c", 1.0, end_s=9.0)
    calls = [{"tool_call_id": "tc", "name": "t", "arguments": "{}"}]
    log.attempt("c", 1.1, end_s=1.2, tool_calls=calls)
    log.add(
        1.5,
        "mock",
        "tool_executed",
        tool="t",
        tool_call_id="tc",
        trace_id="c",
        status=200,
    )
    results = {"tool_results": [{"tool_call_id": "tc", "content": "1"}]}
    log.attempt("c", 2.0, end_s=2.1, turn=2, status=503, received=results)
    log.attempt("c", 3.0, end_s=3.1, turn=2, number=2, received=results)

    bounds = [admitted_after_us(each) for each in Timeline(log.records()).attempts]

    assert bounds == [1_000_000, 1_500_000, 2_100_000]


def test_outcomes_are_noticed_by_what_follows(log: Any) -> None:
    """
    The next attempt, or the caller's answer, shows that an outcome was noticed.
    """
    log.call("c", 1.0, end_s=4.0, outcome="failed", status=502)
    log.attempt("c", 1.1, end_s=1.2, status=503)
    log.attempt("c", 2.0, end_s=2.1, status=503, number=2)

    spans = spans_of(Timeline(log.records()))

    assert [span.noticed_by_us for span in spans] == [2_000_000, 4_000_000]


def test_what_the_service_says_is_closer(log: Any) -> None:
    """
    A service that tells when an attempt ended is believed.
    """
    log.call("c", 1.0, end_s=4.0, outcome="failed", status=502)
    attempt = log.attempt("c", 1.1, end_s=1.2, status=503)
    log.add(1.25, "service", "attempt_ended", request_id=attempt["request_id"])

    (span,) = spans_of(Timeline(log.records()))

    assert span.noticed_by_us == 1_250_000


def test_a_black_box_leaves_gaps_and_no_errors(log: Any) -> None:
    """
    Records with the least that a mock must say are enough for a timeline.
    """
    log.add(1.0, "mock", "upstream_request_received", request_id="r")
    log.add(1.1, "mock", "tool_executed")
    log.add(1.2, "mock", "webhook_received")
    log.add(1.3, "mock", "something_else_altogether")

    timeline = Timeline(log.records())

    assert not timeline.speaks
    assert not timeline.joins
    assert find_circuit(timeline, "upstream").path == ["closed"]
    assert len(spans_of(timeline)) == 1


_LOOP = Repeat(repeat=["open", "half_open"])


@pytest.mark.parametrize(
    ("states", "path", "expected"),
    [
        ("c", ["closed"], True),
        ("co", ["closed"], False),
        ("cohc", ["closed", _LOOP, "closed"], True),
        ("cohohc", ["closed", _LOOP, "closed"], True),
        ("cc", ["closed", _LOOP, "closed"], False),
        ("coc", ["closed", _LOOP, "closed"], False),
        ("coh", ["closed", _LOOP, "closed"], False),
        ("coh", ["closed", _LOOP, "open", "half_open"], False),
        ("cohoh", ["closed", _LOOP, "open", "half_open"], True),
        ("", [], True),
    ],
)
def test_paths_are_exact_but_for_repetitions(
    states: str,
    path: list[Any],
    expected: bool,  # noqa: FBT001 - a column of the table
) -> None:
    """
    A repetition comes at least once and may come often; all else is exact.
    """
    words = {"c": "closed", "o": "open", "h": "half_open"}

    assert follows([words[letter] for letter in states], path) is expected
