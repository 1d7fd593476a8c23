"""
A verdict in a few lines of Markdown, and in one line of plain text.
"""

from collections.abc import Mapping
from typing import Any

LOAD_PER_CORE_MAX = 1.5
"""More processes than this for each core, and everything takes longer."""

_GROUPS = (
    ("Expectations", "expectations"),
    ("Invariants", "invariants"),
    ("Checks", "checks"),
)


def summary_markdown(summary: Mapping[str, Any]) -> str:
    """
    Return a verdict for a job's summary page.
    """
    lines = [
        f"# {summary['scenario']}: {summary['verdict']}",
        "",
        str(summary.get("title", "")),
        "",
        f"{counts_line(summary)}; seed {summary['seed']}, {summary['mode']}.",
    ]
    if summary.get("reason"):
        lines += ["", f"**{summary['reason']}**"]
    for heading, key in _GROUPS:
        entries = summary.get(key, ())
        if not entries:
            continue
        lines += [
            "",
            f"## {heading}",
            "",
            "| status | what | finding |",
            "| --- | --- | --- |",
        ]
        for entry in entries:
            findings = "; ".join(
                finding["message"] for finding in entry.get("findings", ())
            )
            lines.append(
                f"| {entry['status']} | {_cell(entry['id'])} | {_cell(findings)} |"
            )
    if summary.get("command"):
        lines += ["", "Run it again:", "", f"    {summary['command']}"]
    return "\n".join(lines) + "\n"


def counts_line(summary: Mapping[str, Any]) -> str:
    """
    Return how many entries have which status, in words.
    """
    counts = summary.get("counts", {})
    return ", ".join(f"{count} {status}" for status, count in counts.items()) or "none"


def busy_line(summary: Mapping[str, Any]) -> str:
    """
    Return a warning that the machine had too much to do; empty if it had not.
    """
    load = float(summary.get("load_per_core") or 0.0)
    if load <= LOAD_PER_CORE_MAX:
        return ""
    return (
        f"the machine was busy ({load:g} processes wanted each core): bounds on time "
        "may tell of it, not of the service"
    )


def _cell(text: object) -> str:
    return str(text).replace("|", "\\|").replace("\n", " ")
