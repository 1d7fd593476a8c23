"""
Everything that the mock keeps has a limit, keeps to it, and counts what it kept out.
"""

from collections.abc import Awaitable, Callable
from dataclasses import fields

import pytest

from mock_server import LoopClock, MockOptions
from mock_server.limits import Limits
from mock_server.testing import MockInTest, mock_in_test

pytestmark = pytest.mark.virtual_time

KEEP = 3
ASKED = 8

Ask = Callable[[MockInTest, int], Awaitable[object]]


def _post(path: str, body: object, *, key: str = "sk-one", trace: bool = False) -> Ask:
    async def ask(mock: MockInTest, number: int) -> object:
        headers = {
            "authorization": f"Bearer {key.format(number)}",
            "idempotency-key": f"key-{number}",
        }
        if trace:
            headers["traceparent"] = f"00-{number + 1:032x}-{1:016x}-01"
        return await mock.send("POST", path, body, headers=headers)

    return ask


CHAT = {"model": "gpt-4o", "messages": [{"role": "user", "content": "hello"}]}
RESPONSE = {"model": "gpt-4o", "input": "hello"}

CASES: list[tuple[str, str, str, Ask]] = [
    ("worlds_max", "worlds", "worlds_max", _post("/v1/responses", {}, key="sk-{}")),
    (
        "traces_max",
        "traces",
        "traces_max",
        _post("/v1/chat/completions", CHAT, trace=True),
    ),
    (
        "journal_entries_max",
        "journal_entries",
        "journal_entries_max",
        _post("/v1/chat/completions", CHAT),
    ),
    (
        "stored_completions_max",
        "stored_completions",
        "stored_completions_max",
        _post("/v1/chat/completions", {**CHAT, "store": True}),
    ),
    (
        "responses_max",
        "responses",
        "responses_max",
        _post("/v1/responses", RESPONSE),
    ),
    (
        "conversations_max",
        "conversations",
        "conversations_max",
        _post("/v1/conversations", {}),
    ),
    ("threads_max", "threads", "threads_max", _post("/v1/threads", {})),
    (
        "assistants_max",
        "assistants",
        "assistants_max",
        _post("/v1/assistants", {"model": "gpt-4o"}),
    ),
]


@pytest.mark.parametrize(
    ("limit", "kind", "counter", "ask"), CASES, ids=[case[0] for case in CASES]
)
async def test_a_limit_is_kept_and_counted(
    limit: str, kind: str, counter: str, ask: Ask, clock: LoopClock
) -> None:
    """
    The oldest make room; how many did is told by health and by the metrics.
    """
    options = MockOptions(port=0, limits=Limits(**{limit: KEEP}))
    async with mock_in_test("{}", options, clock=clock) as mock:
        for number in range(ASKED):
            await ask(mock, number)
        health = mock.running.mock.health()
        metrics = (await mock.send("GET", "/_mock/metrics")).body.decode()

    assert health["holds"][kind] == KEEP
    assert health["dropped"][counter] == ASKED - KEEP
    assert f'mock_held{{kind="{kind}"}} {KEEP}.0' in metrics
    assert f'mock_dropped{{limit="{counter}"}} {ASKED - KEEP}.0' in metrics


async def test_executions_are_forgotten_and_counted(clock: LoopClock) -> None:
    """
    A tool backend remembers so many idempotency keys and no more.
    """
    options = MockOptions(port=0, limits=Limits(executions_max=KEEP))
    ask = _post("/tools/get_weather", {"city": "Paris"})
    async with mock_in_test(
        "tools: {get_weather: {result: {a: 1}}}", options, clock=clock
    ) as mock:
        for number in range(ASKED):
            await ask(mock, number)
        dropped = mock.running.mock.health()["dropped"]

    assert dropped["executions_max"] == ASKED - KEEP


async def test_the_bodies_of_all_journals_share_one_limit(clock: LoopClock) -> None:
    """
    Many worlds with large bodies take no more room than one.
    """
    bytes_max = 20_000
    options = MockOptions(port=0, limits=Limits(journal_bytes_max=bytes_max))
    body = {"model": "gpt-4o", "messages": [{"role": "user", "content": "x" * 2000}]}
    ask = _post("/v1/chat/completions", body, key="sk-{}")
    async with mock_in_test("{}", options, clock=clock) as mock:
        for number in range(40):
            await ask(mock, number)
        health = mock.running.mock.health()

    assert health["holds"]["journal_bytes"] <= bytes_max
    assert health["dropped"]["journal_entries_max"] > 0


def test_every_limit_has_a_default_above_zero() -> None:
    """
    Nothing is unlimited because nobody thought of it.
    """
    limits = Limits()

    assert all(getattr(limits, field.name) > 0 for field in fields(limits))
