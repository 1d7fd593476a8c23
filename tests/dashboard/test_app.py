"""
The dashboard, driven as a person would.
"""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from aiohttp import web
from textual.widgets import RichLog

from harness.dashboard import DashboardApp, RunFolder
from harness.dashboard.app import Pane

pytestmark = pytest.mark.sockets

Asked = list[tuple[str, Any]]


def text_of(app: DashboardApp, pane: str) -> str:
    """
    Return what a pane shows.
    """
    return str(app.query_one(f"#{pane}", Pane).render())


@pytest.fixture
async def mock_control() -> AsyncIterator[tuple[str, Asked]]:
    """
    A control API that notes what it is asked.
    """
    asked: Asked = []

    async def faults(request: web.Request) -> web.Response:
        asked.append(
            (request.method, await request.json() if request.can_read_body else None)
        )
        return web.json_response({"id": "f1"})

    app = web.Application()
    app.router.add_route("*", "/_mock/faults", faults)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}", asked
    await runner.cleanup()


@pytest.mark.parametrize("size", [(80, 24), (160, 45)])
async def test_every_pane_shows_the_run(run_dir: Path, size: tuple[int, int]) -> None:
    """
    Rates, latency, circuits, webhooks and events are there on small and large screens.
    """
    app = DashboardApp(RunFolder(run_dir))
    async with app.run_test(size=size) as pilot:
        await pilot.pause()

        assert "upstream-outage" in text_of(app, "header")
        assert "answered 80" in text_of(app, "rates")
        assert "p99" in text_of(app, "rates")
        assert "upstream/gpt-4o" in text_of(app, "circuits")
        assert "enqueued 120  delivered 106" in text_of(app, "webhooks")
        lines = [line.text for line in app.query_one("#events", RichLog).lines]
        assert sum("circuit_changed" in line for line in lines) == 5
        assert any("upstream/gpt-4o closed → open failure" in line for line in lines)


async def test_f_injects_an_outage_and_shift_f_stops_all_faults(
    run_dir: Path, mock_control: tuple[str, Asked]
) -> None:
    """
    The keys reach the mock's control API.
    """
    url, asked = mock_control
    (run_dir / "run.json").write_bytes(orjson.dumps({"scenario": "x", "mock_url": url}))
    async with DashboardApp(RunFolder(run_dir)).run_test() as pilot:
        await pilot.press("f")
        await pilot.press("F")
        await pilot.pause()

    assert asked == [
        ("POST", {"target": "upstream", "fault": "status", "status": 503}),
        ("DELETE", None),
    ]


async def test_steering_a_run_that_is_over_is_refused(
    run_dir: Path, mock_control: tuple[str, Asked]
) -> None:
    """
    Once there is a verdict, the keys disturb nothing.
    """
    url, asked = mock_control
    (run_dir / "run.json").write_bytes(orjson.dumps({"scenario": "x", "mock_url": url}))
    (run_dir / "summary.json").write_bytes(orjson.dumps({"verdict": "passed"}))
    app = DashboardApp(RunFolder(run_dir))
    async with app.run_test() as pilot:
        await pilot.press("f")
        await pilot.pause()

        assert "PASSED" in text_of(app, "header")
    assert asked == []


async def test_an_unreachable_mock_is_said_and_survived(run_dir: Path) -> None:
    """
    A key that cannot do its work says why; the dashboard goes on.
    """
    (run_dir / "run.json").write_bytes(
        orjson.dumps({"scenario": "x", "mock_url": "http://127.0.0.1:9"})
    )
    app = DashboardApp(RunFolder(run_dir))
    async with app.run_test() as pilot:
        await pilot.press("f")
        await pilot.pause()

        assert app.is_running
        assert any("cannot be reached" in each.message for each in app._notifications)


@pytest.mark.parametrize("key", ["q", "ctrl+c"])
async def test_a_key_leaves(key: str, run_dir: Path) -> None:
    """
    Ctrl-C leaves as everywhere else, also while the palette is open.
    """
    app = DashboardApp(RunFolder(run_dir))
    async with app.run_test() as pilot:
        if key == "ctrl+c":
            await pilot.press("ctrl+p")
        await pilot.press(key)
        await pilot.pause()

        assert not app.is_running or app._exit


async def test_painting_survives_palette_resizing_and_the_end(run_dir: Path) -> None:
    """
    The timer may fire with another screen on top, at another size, and after the last.
    """
    app = DashboardApp(RunFolder(run_dir))
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("ctrl+p")
        app.paint()
        await pilot.press("escape")
        await pilot.resize_terminal(30, 8)
        app.paint()
        await pilot.resize_terminal(160, 45)
        app.paint()
        await pilot.pause()

        assert "answered 80" in text_of(app, "rates")
        await app.query(Pane).remove()
        app.paint()


async def test_an_empty_folder_is_a_run_that_has_not_started(tmp_path: Path) -> None:
    """
    The dashboard may be opened before there is anything to show.
    """
    app = DashboardApp(RunFolder(tmp_path))
    async with app.run_test() as pilot:
        await pilot.pause()

        assert "starting" in text_of(app, "header")
