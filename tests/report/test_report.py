"""
What a run came to, as files.
"""

import itertools
import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import orjson
import pytest

from harness.errors import UsageError
from harness.report import (
    Interval,
    busy_line,
    circuit_intervals,
    junit_xml,
    load_run,
    report_html,
    series_of,
    summary_markdown,
    write_report,
)
from harness.report.figure import run_figure
from harness.report.html import figure_text
from harness.report.series import BUCKETS_MAX, bucket_width_s

Records = list[dict[str, Any]]


def test_series_count_every_call_once(records: Records) -> None:
    """
    The buckets of a series add up to the events in the log.
    """
    series = series_of(records)

    assert sum(series.counts["offered"]) == 120
    assert sum(series.counts["answered"]) == 80
    assert sum(series.counts["refused"]) == 40
    assert sum(series.counts["upstream_failures"]) == 40
    assert sum(series.counts["webhooks_failed"]) == 14


def test_circuit_intervals_cover_the_run_without_gaps(records: Records) -> None:
    """
    The states of a circuit follow one another from zero to the end.
    """
    intervals = circuit_intervals(records, end_s=30.0)

    assert [interval.state for interval in intervals] == [
        "closed",
        "open",
        "half_open",
        "open",
        "half_open",
        "closed",
    ]
    assert intervals[0].from_s == 0
    assert intervals[-1].to_s == 30
    for earlier, later in itertools.pairwise(intervals):
        assert earlier.to_s == later.from_s


def test_fault_hits_are_joined_into_one_window(records: Records) -> None:
    """
    Hits that lie close together are one band, from the first to the last.
    """
    [window] = series_of(records).faults

    assert window.name == "upstream: status"
    assert window.from_s == pytest.approx(10.006)
    assert window.to_s == pytest.approx(19.756)


@pytest.mark.parametrize("duration_s", [0.0, 1.0, 60.0, 3600.0, 30 * 86400.0])
def test_a_report_has_a_bounded_number_of_buckets(duration_s: float) -> None:
    """
    However long a run was, its report has at most so many buckets.
    """
    assert duration_s / bucket_width_s(duration_s) <= BUCKETS_MAX


def test_report_names_the_evidence_and_reaches_no_network(
    records: Records, summary: dict[str, Any]
) -> None:
    """
    The page shows the events of a finding, escapes text, and loads nothing.
    """
    page = report_html(summary, records)

    assert "an attempt while the circuit was open" in page
    assert f"{240:>7}" in page
    assert "&lt;while&gt;" in page
    assert not re.search(r"<(script|link|img)[^>]+(src|href)\s*=", page)


def test_what_is_wrong_comes_first(records: Records, summary: dict[str, Any]) -> None:
    """
    Failed entries stand above undecided ones, and both above the picture.
    """
    page = report_html(summary, records)
    failed = page.index("metric upstream.attempts &lt;while&gt; open")
    undecided = page.index("3 truncated")

    assert page.index("What is wrong") < failed < undecided < page.index('id="figure"')


def test_an_invalid_run_is_not_read_as_a_finding(
    records: Records, summary: dict[str, Any]
) -> None:
    """
    Where the bench failed the page gives the reason, and blames nothing on the service.
    """
    page = report_html(
        {**summary, "verdict": "invalid", "reason": "the port was taken"}, records
    )

    assert "the port was taken" in page
    assert "says nothing about the service" in page
    assert "What is wrong" not in page


def test_a_report_says_what_the_verdict_was_made_of(
    records: Records, summary: dict[str, Any]
) -> None:
    """
    Seed, mode, machine, versions, hashes and how busy it was.
    """
    page = report_html({**summary, "load_per_core": 2.5}, records)

    for fact in ("0123456789abcdef", "3.14", "live", "2.5 processes wanted each core"):
        assert fact in page


def test_planned_faults_are_drawn_beside_where_they_hit(records: Records) -> None:
    """
    A planned window is drawn also where nothing reached it; what lasts shades nothing.
    """
    planned = [
        Interval(name="upstream: status", state="planned", from_s=10, to_s=20),
        Interval(name="tools: delay", state="planned", from_s=0, to_s=30),
    ]
    figure = run_figure(series_of(records), planned=planned)
    bars = [each for each in figure["data"] if each["type"] == "bar"]
    shaded = {(each["x0"], each["x1"]) for each in figure["layout"]["shapes"]}

    drawn = [list(each["y"]) for each in bars if "planned" in each["hovertext"]]
    assert drawn == [["upstream: status"], ["tools: delay"]]
    assert shaded == {(10, 20)}


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.99315068, "0.9932"),
        (3, "3"),
        (["closed", "open"], "closed › open"),  # noqa: RUF001 - as expectations are written
        ([22.171452, 26.2], "22.17, 26.2"),
        ({"p50": 1.5}, "p50 1.5"),
        (None, "None"),
    ],
)
def test_figures_are_written_for_people(value: object, text: str) -> None:
    """
    No digits that mean nothing, no brackets, no quotes.
    """
    assert figure_text(value) == text


@pytest.mark.parametrize(
    ("load", "is_said"), [(None, False), (1.4, False), (2.2, True)]
)
def test_a_busy_machine_is_said(load: float | None, *, is_said: bool) -> None:
    """
    Times of a machine that had too much to do are not held against a service unseen.
    """
    assert bool(busy_line({"load_per_core": load})) is is_said


def test_junit_counts_what_is_not_green(summary: dict[str, Any]) -> None:
    """
    A failed entry is a failure, an inconclusive one an error, a skipped one skipped.
    """
    [suite] = ET.fromstring(junit_xml(summary))  # noqa: S314 - our own output

    assert suite.get("tests") == "6"
    assert suite.get("failures") == "1"
    assert suite.get("errors") == "1"
    assert suite.get("skipped") == "1"
    names = [case.get("name") for case in suite.iter("testcase")]
    assert names[-2:] == ["run completed", "bench healthy"]


def test_markdown_has_a_row_per_entry(summary: dict[str, Any]) -> None:
    """
    The job summary says the verdict first and lists every entry.
    """
    text = summary_markdown(summary)

    assert text.startswith("# upstream-outage: failed\n")
    assert text.count("\n| failed |") == 1
    assert "harness run upstream-outage --seed 7" in text


def test_a_run_is_read_back_as_it_was_written(
    tmp_path: Path, records: Records, summary: dict[str, Any]
) -> None:
    """
    What was written to a run's folder can be loaded again.
    """
    (tmp_path / "events.jsonl").write_bytes(
        b"".join(orjson.dumps(record) + b"\n" for record in records) + b'{"half'
    )
    report = write_report(tmp_path, summary, records)

    loaded_summary, loaded_records = load_run(tmp_path)

    assert report.stat().st_size > 1_000_000
    assert loaded_summary == summary
    assert loaded_records == records


def test_a_folder_without_a_run_is_refused_by_name(tmp_path: Path) -> None:
    """
    Loading something that is no run says which file is missing.
    """
    with pytest.raises(UsageError, match=r"summary\.json is missing"):
        load_run(tmp_path)


def test_latencies_of_virtual_time_are_not_drawn(
    summary: dict[str, Any], records: Records
) -> None:
    """
    A machine that does not exist has no latency percentiles.
    """
    live = report_html({**summary, "mode": "live"}, records)
    virtual = report_html({**summary, "mode": "virtual"}, records)

    assert "Latency from intended start" in live
    assert "latency p99" in live
    assert "Latency from intended start" not in virtual
    assert "latency p99" not in virtual
