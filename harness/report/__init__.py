"""
What a run came to, for people and for machines.
"""

from harness.report.diff import (
    Change,
    EntryChange,
    Parting,
    RunDiff,
    diff_lines,
    diff_runs,
)
from harness.report.html import event_line, report_html
from harness.report.junit import junit_xml
from harness.report.series import Interval, Series, circuit_intervals, series_of
from harness.report.state import EVENTS_MAX, HISTORY_S_MAX, RunState
from harness.report.summary import busy_line, counts_line, summary_markdown
from harness.report.write import REPORT_FILE, load_run, summary_json, write_report

__all__ = [
    "EVENTS_MAX",
    "HISTORY_S_MAX",
    "REPORT_FILE",
    "Change",
    "EntryChange",
    "Interval",
    "Parting",
    "RunDiff",
    "RunState",
    "Series",
    "busy_line",
    "circuit_intervals",
    "counts_line",
    "diff_lines",
    "diff_runs",
    "event_line",
    "junit_xml",
    "load_run",
    "report_html",
    "series_of",
    "summary_json",
    "summary_markdown",
    "write_report",
]
