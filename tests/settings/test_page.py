"""
What docs/settings.md says is what the service can be told.
"""

from pathlib import Path

from harness.settings.page import settings_page

ROOT = Path(__file__).parents[2]


def test_the_page_is_current() -> None:
    """
    The documentation is what the settings say.
    """
    page = (ROOT / "docs" / "settings.md").read_text(encoding="utf-8")

    assert page == settings_page() + "\n", (
        "python -m harness.settings > docs/settings.md"
    )


def test_the_page_explains_every_setting_and_shows_no_secret() -> None:
    """
    No setting is without a meaning, and the default of a secret is not shown.
    """
    rows = [line for line in settings_page().splitlines() if line.startswith("| `")]
    cells = {row.split(" | ")[0]: row.rstrip(" |").split(" | ") for row in rows}

    assert all(len(row) == 4 and row[3].endswith(".") for row in cells.values())
    assert cells["| `upstream.api_key`"][1].strip() == ""
    assert cells["| `webhook.attempts_max`"][1] == "`3`"
    assert cells["| `tools.base_url`"][2] == "`TOOLS_BASE_URL`"
