"""
The report in a real Chromium that can reach nothing.
"""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from harness.report import report_html

pytestmark = pytest.mark.browser

Records = list[dict[str, Any]]


def chromium(*words: str, profile: Path) -> str:
    """
    Run headless Chromium without a network and return what it printed.
    """
    program = shutil.which("chromium") or shutil.which("chromium-browser")
    assert program, "chromium is not on the path; install it to run these tests"
    return subprocess.run(  # noqa: S603 - the program was looked up
        [
            program,
            *("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run"),
            *("--disable-background-networking", "--disable-component-update"),
            *("--disable-sync", "--host-resolver-rules=MAP * ~NOTFOUND"),
            *("--virtual-time-budget=5000", f"--user-data-dir={profile}"),
            *words,
        ],
        capture_output=True,
        check=True,
        text=True,
        timeout=90,
    ).stdout


@pytest.fixture
def report(tmp_path: Path, summary: dict[str, Any], records: Records) -> Path:
    """
    A report on disk.
    """
    file = tmp_path / "report.html"
    file.write_text(report_html(summary, records), encoding="utf-8")
    return file


def test_the_figure_is_drawn_without_a_network(report: Path, tmp_path: Path) -> None:
    """
    Every row of the figure has its title and its lines; the verdict stands on top.
    """
    page = chromium("--dump-dom", report.as_uri(), profile=tmp_path / "profile")

    assert '<span class="verdict failed"><b>failed</b></span>' in page
    for title in (
        "Calls per second",
        "Circuits",
        "Webhooks per second",
        "Faults: planned, and where they hit",
    ):
        assert re.search(rf"<text[^>]*>{title}</text>", page), title
    assert page.count('class="scatterlayer') >= 4
    assert len(re.findall(r'<g class="legend\d?"', page)) == 4
    assert len(re.findall(r'<g class="point"', page)) >= 5


def test_the_report_can_be_printed(report: Path, tmp_path: Path) -> None:
    """
    Printed to PDF it has its pages and is not blank.
    """
    pdf = tmp_path / "report.pdf"
    chromium(f"--print-to-pdf={pdf}", report.as_uri(), profile=tmp_path / "profile")
    content = pdf.read_bytes()

    assert content.startswith(b"%PDF")
    assert len(content) > 30_000


def test_the_report_can_be_read_in_the_dark(report: Path, tmp_path: Path) -> None:
    """
    Where the system asks for dark colours, the figure's text is light.
    """
    page = chromium(
        "--dump-dom",
        "--blink-settings=preferredColorScheme=0",
        report.as_uri(),
        profile=tmp_path / "profile",
    )

    assert re.search(r"<text[^>]*fill: rgb\(230, 233, 238\)", page)
