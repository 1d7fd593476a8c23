"""
A command loads what it uses.
"""

import subprocess
import sys
from pathlib import Path

import pytest

import mock_server
from mock_server import faults, workers

ROOT = Path(__file__).resolve().parents[2]


def loaded_by(code: str) -> set[str]:
    """
    Return the modules that a fresh interpreter has loaded after some code.
    """
    listing = f"{code}\nimport sys\nprint(*sys.modules)"
    finished = subprocess.run(  # noqa: S603 - our own code
        [sys.executable, "-c", listing],
        cwd=ROOT,
        capture_output=True,
        check=True,
        text=True,
        timeout=60,
    )
    return set(finished.stdout.split())


def test_help_and_mistakes_need_no_bench() -> None:
    """
    The command answers at once: it loads neither mock nor service to say what it can do.
    """
    loaded = loaded_by("import harness.cli")

    heavy = {"aiohttp", "pydantic", "plotly", "mock_server", "harness.scenario"}
    assert loaded & heavy == set()


def test_the_service_starts_without_the_mock(tmp_path: Path) -> None:
    """
    A settings file is read without the models of a hundred faults.
    """
    file = tmp_path / "service.json"
    file.write_text('{"breaker": {"failure_threshold": 7}}')
    loaded = loaded_by(
        "from pathlib import Path\n"
        "from harness.cli import servers\n"
        f"found = servers._settings(Path({str(file)!r}))\n"
        "assert found.breaker.failure_threshold == 7"
    )

    assert "harness.settings" in loaded
    assert (
        loaded & {"mock_server.app", "mock_server.script", "harness.scenario"} == set()
    )


def test_a_mock_without_a_script_loads_nothing_that_only_a_script_needs() -> None:
    """
    Templates, YAML, faults and the text of metrics are loaded when there are any.
    """
    loaded = loaded_by("import mock_server.serving")

    assert "mock_server.app" in loaded
    late = {
        "jinja2",
        "ruamel.yaml",
        "prometheus_client",
        "mock_server.faults.catalogue",
    }
    assert loaded & late == set()


def test_a_worker_loads_nothing_that_only_the_deciding_process_needs() -> None:
    """
    Whoever holds connections knows neither scripts nor faults.
    """
    loaded = loaded_by("import mock_server.workers.worker")

    assert "aiohttp" in loaded
    decides = {"pydantic", "mock_server.mock", "mock_server.script"}
    assert loaded & (decides | {"mock_server.faults"}) == set()


def test_the_mocks_front_door_opens_to_every_name() -> None:
    """
    What is loaded late is there all the same, and nothing else is.
    """
    for name in mock_server.__all__:
        assert getattr(mock_server, name).__name__ == name
    for door in (faults, workers):
        assert None not in [getattr(door, name, None) for name in door.__all__]
    with pytest.raises(AttributeError, match="no attribute 'Moc'"):
        mock_server.Moc  # noqa: B018 - it is the asking that fails
    with pytest.raises(AttributeError, match="no attribute 'Faul'"):
        faults.Faul  # noqa: B018 - it is the asking that fails
    with pytest.raises(AttributeError, match="no attribute 'Tea'"):
        workers.Tea  # noqa: B018 - it is the asking that fails


def test_an_interrupt_while_it_loads_is_no_mistake() -> None:
    """
    Ctrl-C in the very first moment ends the command with 130, and without a traceback.
    """
    program = (
        "import os, signal, sys\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "class Interrupts:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name == 'harness.cli':\n"
        "            os.kill(os.getpid(), signal.SIGINT)\n"
        "sys.meta_path.insert(0, Interrupts())\n"
        "from harness.__main__ import main\n"
        "main()\n"
    )
    finished = subprocess.run(  # noqa: S603 - our own program
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )

    assert (finished.returncode, finished.stderr) == (130, "")
