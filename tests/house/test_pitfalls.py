"""
What docs/pitfalls.md claims is tested, is.
"""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "pitfalls.md"

_ROWS = [
    line
    for line in PAGE.read_text("utf-8").splitlines()
    if line.startswith("| ") and not line.startswith(("| the easy way", "| ---"))
]


def _tests_in(file: Path) -> set[str]:
    tree = ast.parse(file.read_text("utf-8"))
    return {
        node.name
        for node in tree.body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }


@pytest.mark.parametrize("row", _ROWS, ids=[row[2:60].strip() for row in _ROWS])
def test_every_pitfall_names_a_test_that_exists(row: str) -> None:
    """
    Each row says what to do instead, and the tests that it names are there.
    """
    cells = [cell.strip() for cell in row.strip("|").split(" | ")]
    named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", cells[-1])

    assert len(cells) == 4
    assert all(cells)
    assert named
    for file, test in named:
        assert test in _tests_in(ROOT / file)
