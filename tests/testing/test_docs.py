"""
What docs/testing.md shows, works.
"""

import re
from pathlib import Path

import pytest

pytest_plugins = ["pytester"]

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "testing.md"


def files_in(document: str) -> dict[str, str]:
    """
    Return the Python files that a document shows, by name.
    """
    blocks = re.findall(r"```python\n# (\w+)\.py\n(.*?)```", document, re.DOTALL)
    return dict(blocks)


def test_the_example_works_as_it_stands(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    The service and its tests, copied out of the page, pass in a project of their own.
    """
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    pytester.makeini("""
        [pytest]
        asyncio_mode = auto
        asyncio_default_fixture_loop_scope = function
        pythonpath = .
        addopts = --strict-markers -p pytest_asyncio.plugin -p harness.testing.plugin
    """)
    files = files_in(DOCUMENT.read_text(encoding="utf-8"))
    pytester.makepyfile(**files)

    result = pytester.runpytest_subprocess()

    assert set(files) == {"weather_service", "test_weather_service"}
    result.assert_outcomes(passed=4)
