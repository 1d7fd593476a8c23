"""
The README's blocks, and the two servers that its commands talk to.
"""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True, slots=True)
class Servers:
    """
    Where the mock and the service of the README listen.
    """

    mock_url: str
    service_url: str

    def placed(self, text: str) -> str:
        """
        Return a text with the default addresses replaced by the real ones.
        """
        return text.replace("http://127.0.0.1:4010", self.mock_url).replace(
            "http://127.0.0.1:8000", self.service_url
        )


def blocks(language: str) -> list[str]:
    """
    Return the README's code blocks in a language.
    """
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    return [body for name, body in _BLOCK.findall(text) if name == language]


@contextmanager
def _serving(*words: str, folder: Path, environment: dict[str, str]) -> Iterator[str]:
    """
    Run a server of the command line on a free port, and give its address.
    """
    process = subprocess.Popen(  # noqa: S603 - our own command
        [sys.executable, "-m", "harness", *words, "--port", "0"],
        stdout=subprocess.PIPE,
        env=environment,
        cwd=folder,
        text=True,
    )
    assert process.stdout is not None
    try:
        first_line = process.stdout.readline().strip()
        yield first_line.removeprefix("listening on ")
    finally:
        process.terminate()
        process.wait(20)
        process.stdout.close()


@pytest.fixture(scope="session")
def commands() -> list[str]:
    """
    Every command that the README shows.
    """
    return [
        line.removeprefix("$ ")
        for block in blocks("console")
        for line in block.splitlines()
        if line.startswith("$ ")
    ]


@pytest.fixture(scope="session")
def plain_mock_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """
    A mock without a script.
    """
    folder = tmp_path_factory.mktemp("readme")
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with _serving("mock", folder=folder, environment=environment) as url:
        yield url


@pytest.fixture(scope="session")
def servers(
    tmp_path_factory: pytest.TempPathFactory, commands: list[str]
) -> Iterator[Servers]:
    """
    The mock and the service, as the README starts them.
    """
    folder = tmp_path_factory.mktemp("readme")
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    [shown] = [each for each in commands if each.startswith("harness mock --script")]
    script = ROOT / shown.rsplit(" ", 1)[1]
    with _serving(
        *("mock", "--script", str(script)), folder=folder, environment=environment
    ) as mock_url:
        environment["OPENAI_BASE_URL"] = f"{mock_url}/v1"
        with _serving("serve", folder=folder, environment=environment) as service_url:
            yield Servers(mock_url, service_url)
