"""
The corpus for circuit breakers that users get: ours keeps it, and it can fail.
"""

import importlib.util
import logging
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from types import ModuleType

import pytest

from harness.testing.breaker_corpus import (
    PROPERTIES,
    BreakerSettings,
    Function,
    Kept,
    OurBreaker,
    as_markdown,
    check_breaker,
    check_property,
    check_transcripts,
    transcripts,
)

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "breakers.md").read_text(encoding="utf-8")


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """
    The program behind ``make breaker-table``.
    """
    path = ROOT / "loadtests" / "benchmarks" / "breaker_table.py"
    spec = importlib.util.spec_from_file_location("breaker_table", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, module)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def quiet() -> Iterator[None]:
    """
    Keep what others log about listeners that raise on purpose to ourselves.
    """
    logger = logging.getLogger("interlock")
    logger.setLevel(logging.CRITICAL)
    yield
    logger.setLevel(logging.NOTSET)


def test_there_are_sixteen_properties() -> None:
    """
    The table has a row for each of the sixteen.
    """
    assert len(PROPERTIES) == 16


@pytest.mark.parametrize("name", PROPERTIES)
def test_ours_keeps_property(name: str) -> None:
    """
    Ours keeps all sixteen.
    """
    found = check_property(OurBreaker, name)

    assert (found.kept, found.reason) == (Kept.YES, "")


@pytest.mark.long
@pytest.mark.usefixtures("quiet")
def test_page_shows_what_is_measured(script: ModuleType) -> None:
    """
    The table on the page is what ``make breaker-table`` prints, for these versions.
    """
    table = as_markdown([check_breaker(breaker) for breaker in script.BREAKERS])

    assert table in PAGE


def test_page_names_the_versions(script: ModuleType) -> None:
    """
    The versions on the page are the ones that are installed.
    """
    for breaker in script.BREAKERS:
        name = breaker.distribution
        assert f"{name} {metadata.version(name)} |" in PAGE


def test_data_is_the_projects_own() -> None:
    """
    The transcripts that ship are those that our own breaker is tested with.
    """
    shipped = ROOT / "harness" / "testing" / "breaker_corpus" / "transcripts.json"
    own = Path(__file__).parent / "vectors" / "breaker_transcripts.json"

    assert shipped.read_bytes() == own.read_bytes()
    assert len({transcript.name for transcript in transcripts()}) == 67
    assert all(transcript.source["project"] for transcript in transcripts())


def test_ours_holds_most_transcripts() -> None:
    """
    By the public runner, too, at most a quarter differs.
    """
    found = check_transcripts(OurBreaker)

    held = sum(finding.kept is Kept.YES for finding in found.values())
    assert held >= 0.75 * len(found)


class KeepsSuccesses(OurBreaker):
    """
    A breaker that closes with successes of two half-open periods.
    """

    seen = 0

    async def call(self, function: Function) -> object:
        """
        Count successes, and never forget any.
        """
        was_open = self.state != "closed"
        result: object = await super().call(function)
        self.seen += was_open
        if was_open and self.seen >= self.successes_to_close:
            self.force("closed")
            self.seen = 0
        return result


class LosesSlots(OurBreaker):
    """
    A breaker that has fewer slots after each probe that was cancelled.
    """

    def __init__(self, settings: BreakerSettings) -> None:
        super().__init__(settings)
        self.lost = 0

    async def call(self, function: Function) -> object:
        """
        Lose a slot when a call does not come to its end.
        """
        if self.state == "half_open" and self.lost >= (self.probes_max or 0):
            self.force("forced_open")
        is_over = False
        try:
            result: object = await super().call(function)
            is_over = True
        except Exception:
            is_over = True
            raise
        finally:
            self.lost += not is_over
        return result


class Leaky(OurBreaker):
    """
    A breaker whose remaining time is that of the whole break.
    """

    def remaining_s(self, refusal: Exception) -> float | None:
        """
        Say too much.
        """
        del refusal
        return 30.0


@pytest.mark.parametrize(
    ("breaker", "name"),
    [
        (KeepsSuccesses, "successes start at zero on every half-open"),
        (LosesSlots, "admission conserves slots over 10,000 steps"),
        (Leaky, "a rejection carries the remaining time"),
    ],
)
def test_properties_notice_planted_bugs(breaker: type[OurBreaker], name: str) -> None:
    """
    A bug that no library on the page has is noticed, too.
    """
    assert check_property(breaker, name).kept is Kept.NO
