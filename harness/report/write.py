"""
The files of a run's folder.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import orjson

from harness.errors import UsageError
from harness.report.html import report_html
from harness.report.junit import junit_xml
from harness.report.summary import summary_markdown

EVENTS_FILE: Final = "events.jsonl"
SUMMARY_FILE: Final = "summary.json"
REPORT_FILE: Final = "report.html"

Record = Mapping[str, Any]


def write_report(
    run_dir: Path, summary: Mapping[str, Any], records: Sequence[Record]
) -> Path:
    """
    Write ``summary.json``, ``junit.xml``, ``summary.md`` and ``report.html``.

    Returns:
        The path of the report.
    """
    (run_dir / SUMMARY_FILE).write_bytes(summary_json(summary))
    (run_dir / "junit.xml").write_text(junit_xml(summary), encoding="utf-8")
    (run_dir / "summary.md").write_text(summary_markdown(summary), encoding="utf-8")
    report = run_dir / REPORT_FILE
    report.write_text(report_html(summary, records), encoding="utf-8")
    return report


def summary_json(summary: Mapping[str, Any]) -> bytes:
    """
    Return a verdict as stable JSON: sorted keys, indented, a newline at the end.
    """
    return orjson.dumps(
        summary,
        option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS | orjson.OPT_APPEND_NEWLINE,
    )


def load_run(run_dir: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """
    Return the summary and the event log of a run's folder.

    Raises:
        UsageError: The folder does not hold a run.
    """
    try:
        summary = orjson.loads((run_dir / SUMMARY_FILE).read_bytes())
        with (run_dir / EVENTS_FILE).open("rb") as stream:
            records = [orjson.loads(line) for line in stream if line.endswith(b"\n")]
    except FileNotFoundError as error:
        message = (
            f"{run_dir} holds no finished run: {Path(error.filename).name} is missing"
        )
        raise UsageError(message) from error
    except orjson.JSONDecodeError as error:
        message = f"{run_dir} holds a run whose files are damaged: {error}"
        raise UsageError(message) from error
    return summary, records
