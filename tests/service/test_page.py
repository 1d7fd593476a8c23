"""
What docs/service.md says of paths and errors is what is served.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.orchestrator import failures
from harness.service import Service

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "service.md").read_text(encoding="utf-8")


def _codes() -> Iterator[str]:
    """
    Yield every code that an error answer of the service may have.
    """
    for _, status, code in failures._TOLD:
        if status != failures.CALLER_LEFT_STATUS:
            yield code
    for file in (ROOT / "harness" / "web").glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.keyword) and node.arg == "code":
                value = node.value
                if isinstance(value, ast.Constant) and isinstance(value.value, str):
                    yield value.value


@pytest.mark.parametrize("code", sorted(set(_codes())))
def test_every_code_is_documented(code: str) -> None:
    """
    Whoever gets an error finds its code on the page.
    """
    assert f"`{code}`" in PAGE


@pytest.mark.virtual_time
async def test_every_path_is_documented(service: Service) -> None:
    """
    Whatever is served stands on the page, with its method.
    """
    app = service.make_runner(shutdown_timeout_s=1).app
    served = {
        f"{route.method} {route.resource.canonical}"
        for route in app.router.routes()
        if route.resource is not None and route.method != "HEAD"
    }

    assert len(served) >= 16
    documented = PAGE.replace("`DELETE`", "`DELETE /callbacks/{callback_id}`")
    for line in served:
        assert f"`{line}`" in documented
