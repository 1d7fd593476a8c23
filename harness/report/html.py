"""
The report: one file that opens without a network.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import jinja2
import orjson
from plotly.offline import get_plotlyjs

from harness.report.figure import run_figure
from harness.report.series import series_of

SLICE_EVENTS_MAX = 40
"""How many events around a finding are shown."""

Record = Mapping[str, Any]

_GROUPS: Final = (
    ("Expectations", "expectations"),
    ("Invariants", "invariants"),
    ("Checks", "checks"),
)
_TEMPLATE_FILE: Final = Path(__file__).with_name("page.html.j2")
_SHOWN_FIRST: Final = ("seq", "time_us", "host", "kind", "trace_id")


def report_html(summary: Mapping[str, Any], records: Sequence[Record]) -> str:
    """
    Return the report of a run as one HTML page.

    Args:
        summary: What ``summary.json`` holds.
        records: What ``events.jsonl`` holds.
    """
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True
    )
    template = environment.from_string(_TEMPLATE_FILE.read_text(encoding="utf-8"))
    by_seq = {record["seq"]: record for record in records}
    groups = [
        (heading, [_with_slices(entry, by_seq) for entry in summary.get(key, ())])
        for heading, key in _GROUPS
        if summary.get(key)
    ]
    drawn = run_figure(
        series_of(records), shows_latency=summary.get("mode") != "virtual"
    )
    figure = orjson.dumps(drawn, option=orjson.OPT_SERIALIZE_NUMPY).decode()
    return template.render(
        summary={"reason": "", "title": "", **summary},
        groups=groups,
        figures=summary.get("figures", {}),
        environment=summary.get("environment", {}),
        command=summary.get("command", ""),
        plotly_js=get_plotlyjs(),
        # A closing tag inside a string would end the script element.
        figure_json=figure.replace("</", "<\\/"),
    )


def event_line(record: Record) -> str:
    """
    Return one event as a line that people can read.
    """
    rest = {name: value for name, value in record.items() if name not in _SHOWN_FIRST}
    shown = " ".join(f"{name}={_shown(value)}" for name, value in sorted(rest.items()))
    return (
        f"{record['seq']:>7} {record['time_us'] / 1e6:>10.4f} s "
        f"{record['host']:<7} {record['kind']} {shown}"
    )


def _shown(value: Any) -> str:
    text = value if isinstance(value, str) else orjson.dumps(value).decode()
    return text if len(text) <= 80 else text[:77] + "..."  # noqa: PLR2004


def _with_slices(
    entry: Mapping[str, Any], by_seq: Mapping[int, Record]
) -> dict[str, Any]:
    findings = [
        {
            "message": finding["message"],
            "slice": [
                event_line(by_seq[seq])
                for seq in finding.get("events", ())[:SLICE_EVENTS_MAX]
                if seq in by_seq
            ],
        }
        for finding in entry.get("findings", ())
    ]
    return {"figures": {}, **entry, "findings": findings}
