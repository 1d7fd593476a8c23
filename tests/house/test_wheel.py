"""
What users install: the wheel, not the checkout.
"""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """
    The unpacked wheel.
    """
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(  # noqa: S603 - our own command
        [
            *(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps"),
            *(
                "--no-build-isolation",
                "--no-index",
                "--wheel-dir",
                str(folder),
                str(ROOT),
            ),
        ],
        check=True,
        capture_output=True,
    )
    [wheel] = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "site")
    return folder / "site"


@pytest.mark.parametrize(
    "name",
    [
        "harness/py.typed",
        "mock_server/py.typed",
        "harness/report/page.html.j2",
        "harness/_scenarios/demo.yaml",
        "harness/_scenarios/scenario.schema.json",
    ],
)
def test_the_wheel_ships_what_is_read_at_run_time(installed: Path, name: str) -> None:
    """
    Templates, types and scenarios are in it.
    """
    assert (installed / name).is_file()


def test_the_wheel_ships_no_tests(installed: Path) -> None:
    """
    Only the two packages and their metadata are in it.
    """
    folders = {entry.name.split("-")[0] for entry in installed.iterdir()}

    assert folders == {"harness", "mock_server", "toolcall_harness"}


def test_a_scenario_is_found_by_name_where_there_is_no_checkout(
    installed: Path, tmp_path: Path
) -> None:
    """
    The shipped scenarios come with the package.
    """
    finished = subprocess.run(
        [sys.executable, "-m", "harness", "scenario", "check", "demo"],
        env={**os.environ, "PYTHONPATH": str(installed)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )

    assert finished.returncode == 0, finished.stderr
    assert finished.stdout == "demo: fine\n"
