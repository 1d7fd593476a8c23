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
from harness.report.series import Interval, series_of
from harness.report.summary import busy_line

SLICE_EVENTS_MAX = 40
"""How many events around a finding are shown."""

Record = Mapping[str, Any]

MEANINGS: Final = {
    "passed": "Everything that was put to the test held.",
    "failed": "Something that must hold did not.",
    "inconclusive": "Something was never put to the test, so that it proves nothing.",
    "invalid": "The run did not come off: it says nothing about the service.",
}

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
    environment.filters["figure"] = figure_text
    template = environment.from_string(_TEMPLATE_FILE.read_text(encoding="utf-8"))
    by_seq = {record["seq"]: record for record in records}
    groups = [
        (heading, [_with_slices(entry, by_seq) for entry in summary.get(key, ())])
        for heading, key in _GROUPS
        if summary.get(key)
    ]
    wrong = [
        entry
        for status in ("failed", "inconclusive")
        for _, entries in groups
        for entry in entries
        if entry["status"] == status
    ]
    series = series_of(records)
    drawn = run_figure(
        series,
        shows_latency=summary.get("mode") != "virtual",
        planned=_planned(summary, end_s=series.starts_s[-1] + series.width_s),
    )
    figure = orjson.dumps(drawn, option=orjson.OPT_SERIALIZE_NUMPY).decode()
    return template.render(
        summary={"reason": "", "title": "", **summary},
        meaning=MEANINGS.get(str(summary["verdict"]), ""),
        busy=busy_line(summary),
        # Where the run says nothing of the service, nothing is to be read out of it.
        wrong=[] if summary["verdict"] == "invalid" else wrong,
        groups=groups,
        calls=summary.get("calls", {}),
        facts=_facts(summary),
        command=summary.get("command", ""),
        plotly_js=get_plotlyjs(),
        # A closing tag inside a string would end the script element.
        figure_json=figure.replace("</", "<\\/"),
    )


def figure_text(value: Any) -> str:
    """
    Return something measured as people write it.
    """
    match value:
        case bool() | str() | None:
            return str(value)
        case float():
            return f"{value:.4g}"
        case list() | tuple():
            is_path = all(isinstance(each, str) for each in value)
            return (" › " if is_path else ", ").join(map(figure_text, value))  # noqa: RUF001
        case Mapping():
            return ", ".join(
                f"{key} {figure_text(each)}" for key, each in value.items()
            )
        case _:
            return str(value)


def _facts(summary: Mapping[str, Any]) -> dict[str, Any]:
    """
    Return what a verdict is worth nothing without: where, when and of what it was made.
    """
    facts = {"seed": summary["seed"], "mode": summary["mode"]}
    facts |= summary.get("environment", {})
    if "load_per_core" in summary:
        facts["load per core"] = summary["load_per_core"]
    versions = summary.get("versions", {})
    facts |= {name: f"{version}" for name, version in versions.items()}
    hashes = summary.get("hashes", {})
    return facts | {f"hash of the {name}": value for name, value in hashes.items()}


def _planned(summary: Mapping[str, Any], *, end_s: float) -> list[Interval]:
    """
    Return the windows of the faults that the scenario plans.
    """
    return [
        Interval(
            name=f"{fault['target']}: {fault['fault']}",
            state="planned",
            from_s=float(fault["from_s"]),
            to_s=min(end_s, float(end_s if fault["to_s"] is None else fault["to_s"])),
        )
        for fault in summary.get("planned_faults", ())
    ]


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
    figures = dict(entry.get("figures", {}))
    if figures.get("samples") == figures.get("judged"):
        figures.pop("samples", None)
    return {**entry, "figures": figures, "findings": findings}
