"""
Rules of the house that no linter knows.
"""

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

import harness
from mock_server.version import VERSION

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = [ROOT / "harness", ROOT / "mock_server"]
FUNCTION_LINES_MAX = 60
FILE_LINES_MAX = 500
VOCABULARIES = {"harness/errors.py", "harness/events.py", "harness/stores/ports.py"}
"""Lists of small definitions that are read in one place."""

SLEEP_IS_THE_POINT = {
    "tests/simulation/test_blocking.py",
    "tests/simulation/test_leaks.py",
}
"""Where a sleep is called to see that the simulated loop refuses or jumps it."""

DOORS_TO_TIME = {"harness/clock.py", "mock_server/clock.py"}
"""Where the loop itself may be asked for time; the simulated loop is one, too."""

Function = ast.FunctionDef | ast.AsyncFunctionDef


def sources(*folders: Path) -> list[Path]:
    """
    Return the Python files under the folders.
    """
    return sorted(file for folder in folders for file in folder.rglob("*.py"))


def name_of(file: Path) -> str:
    """
    Return a file's name as seen from the root.
    """
    return file.relative_to(ROOT).as_posix()


def functions(tree: ast.AST) -> Iterator[Function]:
    """
    Yield every function of a file.
    """
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def code_lines(function: Function) -> int:
    """
    Return the length of a function without its docstring.
    """
    docstring = function.body[0]
    is_documented = ast.get_docstring(function) is not None
    hidden = (docstring.end_lineno or 0) - docstring.lineno + 1 if is_documented else 0
    return (function.end_lineno or 0) - function.lineno + 1 - hidden


@pytest.mark.parametrize("file", sources(*PACKAGES), ids=name_of)
def test_files_and_functions_are_short(file: Path) -> None:
    """
    One concept a file, one thought a function.
    """
    text = file.read_text(encoding="utf-8")
    long = {
        function.name: code_lines(function)
        for function in functions(ast.parse(text))
        if code_lines(function) > FUNCTION_LINES_MAX
    }

    assert text.count("\n") <= FILE_LINES_MAX or name_of(file) in VOCABULARIES
    assert long == {}


def asks_loop(node: ast.AST) -> bool:
    """
    Say whether a node is the event loop, by its usual names.
    """
    if isinstance(node, ast.Call):
        called = node.func
        name = (
            called.attr
            if isinstance(called, ast.Attribute)
            else getattr(called, "id", "")
        )
        return name in {"get_running_loop", "get_event_loop"}
    name = node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")
    return name in {"loop", "_loop"}


@pytest.mark.parametrize("file", sources(*PACKAGES), ids=name_of)
def test_time_and_tasks_have_one_door(file: Path) -> None:
    """
    Nobody asks the loop for time or tasks behind the clock's and the groups' back.
    """
    name = name_of(file)
    found = {
        f"{node.attr} in line {node.lineno}"
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute)
        and node.attr in {"create_task", "time", "call_later", "call_at"}
        and asks_loop(node.value)
    }

    if name not in DOORS_TO_TIME and not name.startswith("harness/simulation/"):
        assert found == set()


@pytest.mark.parametrize("file", sources(ROOT / "tests"), ids=name_of)
def test_tests_state_their_promise_and_never_sleep(file: Path) -> None:
    """
    Every test has a docstring and something that can fail; none waits for real time.
    """
    tree = ast.parse(file.read_text(encoding="utf-8"))
    for function in functions(tree):
        if function.name.startswith("test_"):
            assert ast.get_docstring(function), f"{function.name} promises nothing"
            assert has_check(function), f"{function.name} cannot fail"
    sleeps = [
        node.lineno
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr == "sleep"
        and getattr(node.func.value, "id", "") in {"asyncio", "time"}
    ]

    assert sleeps == [] or name_of(file) in SLEEP_IS_THE_POINT


def has_check(function: Function) -> bool:
    """
    Say whether a test asserts something, itself or by a helper named for it.
    """
    for node in ast.walk(function):
        if isinstance(node, ast.Assert):
            return True
        if isinstance(node, ast.Call):
            called = node.func
            name = (
                called.attr
                if isinstance(called, ast.Attribute)
                else getattr(called, "id", "")
            )
            if name in {"raises", "warns", "fail"} or re.match(
                "_?(assert|check|expect)", name
            ):
                return True
    return False


def test_the_slowest_tests_are_named() -> None:
    """
    Every run of the tests ends with the slowest of them, so that none grows unseen.
    """
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    words = project["tool"]["pytest"]["ini_options"]["addopts"]

    assert any(re.fullmatch("--durations=[1-9][0-9]*", word) for word in words)


def test_there_is_one_version() -> None:
    """
    What the two packages say of their version is that of the distribution.
    """
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))

    assert {harness.__version__, VERSION} == {project["project"]["version"]}


def test_the_lock_names_no_host() -> None:
    """
    Every pinned package has hashes, and none an address.
    """
    lock = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    pinned = re.findall(r"^([A-Za-z0-9_.-]+(?:\[[^\]]*\])?)==", lock, re.MULTILINE)

    assert "://" not in lock
    assert len(pinned) > 50
    assert lock.count("--hash=sha256:") >= len(pinned)


def test_each_package_says_that_it_is_typed() -> None:
    """
    Users' type checkers see the annotations.
    """
    assert all((package / "py.typed").is_file() for package in PACKAGES)
