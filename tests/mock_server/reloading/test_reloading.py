"""
A script's file is taken again when it changes.
"""

import asyncio
import sys
from pathlib import Path

import pytest

from harness.clock import Clock
from mock_server import MockOptions
from mock_server.reloading import ScriptWatch
from mock_server.testing import MockInTest, mock_in_test


def script(text: str) -> str:
    """
    Return a script that always says this.
    """
    return f"upstream:\n  script:\n    - reply: {{text: {text}}}\n"


async def said(mock: MockInTest) -> str:
    """
    Return what the mock says.
    """
    answer = await mock.chat()
    return str(answer.json["choices"][0]["message"]["content"])


@pytest.mark.virtual_time
async def test_a_changed_script_is_loaded(tmp_path: Path, clock: Clock) -> None:
    """
    What is written while the mock runs is what it says a moment later.
    """
    file = tmp_path / "script.yaml"
    file.write_text(script("one"), encoding="utf-8")
    lines: list[str] = []
    async with mock_in_test(script("one"), MockOptions(port=0), clock=clock) as mock:
        core = mock.running.mock.core
        watch = ScriptWatch(
            file, mock.running.mock, clock=clock, events=core.events, say=lines.append
        )
        async with watch.watching():
            before = await said(mock)
            file.write_text(script("another"), encoding="utf-8")
            await clock.sleep(2)
            after = await said(mock)
            await clock.sleep(10)

    assert [before, after] == ["one", "another"]
    assert lines == [f"reloaded {file}"]
    assert len(mock.of("script_reloaded")) == 1


@pytest.mark.virtual_time
async def test_a_broken_script_changes_nothing(tmp_path: Path, clock: Clock) -> None:
    """
    Mistakes are told once, with file and line, and the script before goes on.
    """
    file = tmp_path / "script.yaml"
    file.write_text(script("one"), encoding="utf-8")
    lines: list[str] = []
    async with mock_in_test(script("one"), MockOptions(port=0), clock=clock) as mock:
        core = mock.running.mock.core
        watch = ScriptWatch(
            file, mock.running.mock, clock=clock, events=core.events, say=lines.append
        )
        async with watch.watching():
            file.write_text("upstream:\n  scirpt: []\n", encoding="utf-8")
            await clock.sleep(10)
            still = await said(mock)
            file.unlink()
            await clock.sleep(10)
            file.write_text(script("whole again"), encoding="utf-8")
            await clock.sleep(10)
            again = await said(mock)

    assert [still, again] == ["one", "whole again"]
    broken, gone, whole = lines
    assert f"{file}:2:3: upstream.scirpt: unknown key; did you mean 'script'?" in broken
    assert "the script before it stays" in broken
    assert "cannot be read" in gone
    assert whole == f"reloaded {file}"
    [first, _] = mock.of("script_refused")
    assert first["mistakes"][0]["line"] == 2


@pytest.mark.sockets
async def test_the_command_reloads_its_script(tmp_path: Path) -> None:
    """
    A running ``mock_server`` says on standard error what it reloaded.
    """
    file = tmp_path / "script.yaml"
    file.write_text(script("one"), encoding="utf-8")
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "mock_server", "--port", "0", "--script", str(file)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        assert process.stderr is not None
        await process.stdout.readline()
        file.write_text(script("another"), encoding="utf-8")
        line = await process.stderr.readline()
    finally:
        process.kill()
        await process.communicate()

    assert line.decode() == f"reloaded {file}\n"
