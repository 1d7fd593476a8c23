"""
What the mock writes down, and for whom.
"""

import orjson
import pytest

from mock_server import Limits, LoopClock, MockOptions
from mock_server.testing import MockInTest, RawAnswer, mock_in_test

pytestmark = pytest.mark.virtual_time

SCRIPT = 'upstream: {script: [{reply: {text: "one"}}]}'


async def _control(
    mock: MockInTest, method: str, path: str, body: object = b"", **headers: str
) -> RawAnswer:
    return await mock.send(method, f"/_mock/{path}", body, headers=headers)


async def test_a_world_has_its_own_faults_and_journal(clock: LoopClock) -> None:
    """
    A fault of one world spares the others, and so does clearing its journal.
    """
    fault = {"target": "upstream", "fault": "status"}
    async with mock_in_test(SCRIPT, clock=clock) as mock:
        await mock.chat(api_key="sk-mine")
        await mock.chat(api_key="sk-other")
        mine = mock.of("upstream_request_received")[0]["world"]
        added = await _control(mock, "POST", f"worlds/{mine}/faults", fault)
        statuses = [
            (await mock.chat(api_key=key)).status for key in ("sk-mine", "sk-other")
        ]
        removed = await _control(mock, "DELETE", f"worlds/{mine}/journal")
        left = await _control(mock, "GET", "journal")
        unknown = await _control(mock, "GET", "worlds/0123456789ab/journal")

    assert added.json["world"] == mine
    assert statuses == [503, 200]
    assert removed.json == {"removed": 2}
    assert len(left.json["entries"]) == 2
    assert unknown.status == 404


async def test_the_journal_shows_what_was_asked_and_answered(clock: LoopClock) -> None:
    """
    An entry has request and answer, keys, faults with their draws, and delays.
    """
    script = "upstream: {faults: [{fault: slow_headers, injection_rate: 0.99}]}"
    async with mock_in_test(script, clock=clock) as mock:
        await mock.chat("hello there")
        journal = (await _control(mock, "GET", "journal")).json
        [entry] = journal["entries"]

    assert "hello there" in entry["request_body"]
    assert "chat.completion" in entry["answer_body"]
    assert (entry["status"], entry["outcome"]) == (200, "complete")
    assert (entry["surface"], entry["path"]) == (
        "chat_completions",
        "/chat/completions",
    )
    assert entry["faults"][0]["fault"] == "slow_headers"
    assert 0 <= entry["faults"][0]["draw"] < 0.99
    assert entry["planned_us"] == entry["actual_us"] == 1_000_000
    assert journal["next_after"] is None


async def test_the_journal_is_paged_and_filtered(clock: LoopClock) -> None:
    """
    Pages follow one another by number; filters keep what has that value.
    """
    async with mock_in_test("tools: {t: {result: 1}}", clock=clock) as mock:
        for _ in range(5):
            await mock.chat()
        await mock.send("POST", "/tools/t", {})
        first = (await _control(mock, "GET", "journal?limit=4")).json
        rest = (
            await _control(mock, "GET", f"journal?limit=4&after={first['next_after']}")
        ).json
        tools = (await _control(mock, "GET", "journal?surface=tool_backend")).json
        bad = await _control(mock, "GET", "journal?limit=many")
        worse = await _control(mock, "GET", "journal?page=2")

    numbers = [entry["number"] for entry in first["entries"] + rest["entries"]]
    assert numbers == [1, 2, 3, 4, 5, 6]
    assert rest["next_after"] is None
    assert [entry["path"] for entry in tools["entries"]] == ["/tools/t"]
    assert [bad.status, worse.status] == [400, 400]


async def test_no_api_key_is_written_down(clock: LoopClock) -> None:
    """
    A key is in no journal entry, event or metric, wherever the caller put it.
    """
    key = "sk-very-secret-key"
    async with mock_in_test(SCRIPT, clock=clock) as mock:
        await mock.chat(f"my key is {key}", api_key=key, headers={"x-copy": key})
        journal = await _control(mock, "GET", "journal")
        metrics = await _control(mock, "GET", "metrics")
        events = orjson.dumps(mock.records)

    assert key.encode() not in journal.body
    assert key.encode() not in metrics.body
    assert key.encode() not in events


async def test_the_journal_is_bounded(clock: LoopClock) -> None:
    """
    The oldest entries make room, and health says how many were dropped.
    """
    options = MockOptions(port=0, limits=Limits(journal_entries_max=3))
    async with mock_in_test(SCRIPT, options, clock=clock) as mock:
        for _ in range(5):
            await mock.chat()
        journal = (await _control(mock, "GET", "journal")).json
        health = (await _control(mock, "GET", "health")).json

    assert [entry["number"] for entry in journal["entries"]] == [3, 4, 5]
    assert journal["dropped"] == health["dropped"]["journal_entries_max"] == 2


async def test_the_journal_s_bodies_are_bounded(clock: LoopClock) -> None:
    """
    All bodies together stay within their limit.
    """
    limits = Limits(journal_bytes_max=5000, journal_body_bytes_max=600)
    options = MockOptions(port=0, limits=limits)
    async with mock_in_test(SCRIPT, options, clock=clock) as mock:
        for number in range(20):
            await mock.chat("x" * 1000, api_key=f"sk-{number % 3}")
        health = (await _control(mock, "GET", "health")).json
        cleared = await _control(mock, "DELETE", "journal")
        empty = (await _control(mock, "GET", "health")).json

    assert 0 < health["holds"]["journal_bytes"] <= 5000
    assert cleared.status == 200
    assert empty["holds"]["journal_bytes"] == 0


async def test_forgotten_worlds_take_their_journal_along(clock: LoopClock) -> None:
    """
    There are so many worlds; the one unused for longest is forgotten whole.
    """
    options = MockOptions(port=0, limits=Limits(worlds_max=2))
    async with mock_in_test(SCRIPT, options, clock=clock) as mock:
        for number in range(5):
            await mock.chat(api_key=f"sk-{number}")
        health = (await _control(mock, "GET", "health")).json
        await _control(mock, "DELETE", "journal")
        empty = (await _control(mock, "GET", "health")).json

    assert health["holds"]["worlds"] == 2
    assert health["dropped"]["worlds_max"] == 3
    assert empty["holds"]["journal_bytes"] == 0


async def test_drops_of_the_journal_are_told(clock: LoopClock) -> None:
    """
    The first drop is an event; not each one is.
    """
    options = MockOptions(port=0, limits=Limits(journal_entries_max=1))
    async with mock_in_test(SCRIPT, options, clock=clock) as mock:
        for _ in range(5):
            await mock.chat()
        [dropped] = mock.of("journal_dropped")

    assert dropped["dropped"] == 1
