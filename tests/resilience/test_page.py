"""
The page about the resilience layer says what is true.
"""

import io
import re
from contextlib import redirect_stdout
from pathlib import Path

from harness import events
from harness.scenario import load_settings

PAGE = (Path(__file__).parents[2] / "docs" / "resilience.md").read_text(
    encoding="utf-8"
)


def block(language: str) -> str:
    """
    Return the code of the page in this language.
    """
    [code] = re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)
    return str(code)


def test_the_example_runs() -> None:
    """
    The code on the page does what it seems to.
    """
    out = io.StringIO()

    with redirect_stdout(out):
        exec(compile(block("python"), "docs/resilience.md", "exec"), {})  # noqa: S102

    assert out.getvalue().splitlines() == [
        "answered at attempt 2",
        "2 1 1 closed",
    ]


def test_the_settings_are_taken(tmp_path: Path) -> None:
    """
    The settings on the page switch on what the page says.
    """
    file = tmp_path / "settings.yaml"
    file.write_text(block("yaml"), encoding="utf-8")

    options = load_settings(file).pipeline_options()

    assert options.circuit_breaker is not None
    assert options.circuit_breaker.slow_ratio == 0.8
    assert options.adaptive_limiter is not None
    assert options.hedging is not None


def test_the_events_are_there() -> None:
    """
    Every event that the page names exists.
    """
    part = PAGE.split("## What a call went through")[1].split("## How sure")[0]
    names = re.findall(r"`([A-Z]\w+)`", part)

    assert len(names) > 15
    assert [name for name in names if not hasattr(events, name)] == []
