"""
How clients treat Retry-After: the table, and what stands in it.
"""

import os
import sys
from importlib import metadata
from pathlib import Path
from typing import Final

import pytest

from harness.testing.retry_table import (
    FORMS,
    Form,
    Treatment,
    as_markdown,
    judge,
    measure_command,
    measure_openai,
)

PAGE: Final = Path(__file__).parents[2] / "docs" / "retry-after.md"

ASKS_AGAIN_AT_ONCE: Final = """
import os, urllib.request, urllib.error
for _ in range(2):
    request = urllib.request.Request(
        os.environ["OPENAI_BASE_URL"] + "/chat/completions",
        data=b'{"model": "gpt-4o", "messages": [{"role": "user", "content": "hi"}]}',
        headers={
            "Authorization": "Bearer " + os.environ["OPENAI_API_KEY"],
            "Content-Type": "application/json",
        },
    )
    try:
        urllib.request.urlopen(request)
    except urllib.error.HTTPError:
        pass
"""


def test_page_is_current() -> None:
    """
    The page shows what the command prints, for the version that is installed.
    """
    page = PAGE.read_text(encoding="utf-8")

    assert as_markdown(measure_openai()) in page
    assert f"openai {metadata.version('openai')}," in page


@pytest.mark.parametrize(
    ("form", "waited_s", "treatment"),
    [
        (Form(form="seconds", asked_s=20.0), 20.0, Treatment.KEPT),
        (Form(form="seconds", asked_s=20.0), 19.5, Treatment.KEPT),
        (Form(form="seconds", asked_s=20.0), 8.0, Treatment.CAPPED),
        (Form(form="seconds", asked_s=20.0), 0.6, Treatment.IGNORED),
        (Form(form="seconds", asked_s=20.0), 0.01, Treatment.HAMMERED),
        (Form(form="seconds", asked_s=20.0), None, Treatment.GAVE_UP),
        (Form(form="garbage", asked_s=20.0), 0.5, Treatment.IGNORED),
        (Form(form="garbage", asked_s=20.0), 0.0, Treatment.HAMMERED),
        (Form(form="absent", asked_s=0.0), 0.5, Treatment.IGNORED),
    ],
)
def test_waits_are_named(
    form: Form, waited_s: float | None, treatment: Treatment
) -> None:
    """
    Each way to treat a wait has its name.
    """
    assert judge(form, waited_s, own_s=0.5) is treatment


def test_patience_may_be_over_first() -> None:
    """
    A client that is still waiting when the patience is over has not given up.
    """
    form = Form(form="seconds", asked_s=1800.0)

    found = judge(form, None, own_s=0.5, is_out_of_patience=True)

    assert found is Treatment.WAITS


@pytest.mark.sockets
async def test_any_client_is_a_command(tmp_path: Path) -> None:
    """
    A command that comes back at once is found to hammer, whatever it is asked for.
    """
    program = tmp_path / "ask.py"
    program.write_text(ASKS_AGAIN_AT_ONCE, encoding="utf-8")

    rows = await measure_command(
        f"{sys.executable} {program}", patience_s=20.0, forms=FORMS[:2]
    )

    assert [row.treatment for row in rows] == [Treatment.HAMMERED] * 2
    assert [row.requests for row in rows] == [2, 2]
    assert "OPENAI_BASE_URL" not in os.environ
