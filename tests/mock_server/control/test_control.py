"""
The mock's own API.
"""

import pytest

from mock_server import Limits, LoopClock, MockOptions
from mock_server.testing import MockInTest, RawAnswer, mock_in_test

pytestmark = pytest.mark.virtual_time

SCRIPT = 'upstream: {script: [{reply: {text: "one"}}]}'
TOKEN = "hush"  # noqa: S105 - a test's


async def _control(
    mock: MockInTest, method: str, path: str, body: object = b"", **headers: str
) -> RawAnswer:
    return await mock.send(method, f"/_mock/{path}", body, headers=headers)


async def test_tells_its_health(clock: LoopClock) -> None:
    """
    Health says what the mock holds and what limits kept out.
    """
    async with mock_in_test(SCRIPT, MockOptions(port=0, seed=7), clock=clock) as mock:
        await mock.chat()
        health = (await _control(mock, "GET", "health")).json

    assert (health["status"], health["seed"]) == ("ok", 7)
    assert health["holds"]["worlds"] == 1
    assert health["holds"]["journal_entries"] == 1
    assert set(health["dropped"].values()) == {0}


async def test_takes_another_script(clock: LoopClock) -> None:
    """
    A script that is put is in force at once and can be read back.
    """
    other = 'upstream: {script: [{reply: {text: "two"}}]}'
    async with mock_in_test(SCRIPT, clock=clock) as mock:
        put = await _control(mock, "PUT", "script", other.encode())
        chat = await mock.chat()
        script = await _control(mock, "GET", "script")

    assert put.status == 200
    assert chat.json["choices"][0]["message"]["content"] == "two"
    assert script.json == {"upstream": {"script": [{"reply": {"text": "two"}}]}}


async def test_a_broken_script_changes_nothing(clock: LoopClock) -> None:
    """
    Every mistake is named with its place, and the old script stays.
    """
    broken = b"upstream:\n  skript: []\ntools: {t: {result: 1, latency: 5}}\n"
    async with mock_in_test(SCRIPT, clock=clock) as mock:
        put = await _control(mock, "PUT", "script", broken)
        chat = await mock.chat()

    assert put.status == 422
    mistakes = put.json["error"]["mistakes"]
    assert [mistake["line"] for mistake in mistakes] == [2, 3]
    assert mistakes[0]["suggestion"] == "script"
    assert chat.json["choices"][0]["message"]["content"] == "one"


async def test_adds_lists_and_removes_faults(clock: LoopClock) -> None:
    """
    A fault hits from when it is added until it is removed.
    """
    fault = {"target": "upstream", "fault": "status", "status": 500}
    async with mock_in_test(SCRIPT, clock=clock) as mock:
        added = await _control(mock, "POST", "faults", fault)
        hit = await mock.chat()
        listed = await _control(mock, "GET", "faults")
        fault_id = added.json["fault_id"]
        removed = await _control(mock, "DELETE", f"faults/{fault_id}")
        spared = await mock.chat()
        kinds = [record["kind"] for record in mock.of("fault_added", "fault_removed")]

    assert added.status == 201
    assert [each["fault_id"] for each in listed.json["faults"]] == [fault_id]
    assert listed.json["faults"][0]["parameters"]["status"] == 500
    assert removed.json == {"removed": [fault_id]}
    assert [hit.status, spared.status] == [500, 200]
    assert kinds == ["fault_added", "fault_removed"]


async def test_a_fault_for_a_while(clock: LoopClock) -> None:
    """
    ``for`` lets a fault begin at once and end by itself.
    """
    fault = {"target": "upstream", "fault": "status", "for": "10s"}
    async with mock_in_test(SCRIPT, clock=clock) as mock:
        await mock.chat()
        await clock.sleep(100)
        await _control(mock, "POST", "faults", fault)
        hit = await mock.chat()
        await clock.sleep(10)
        spared = await mock.chat()

    assert [hit.status, spared.status] == [503, 200]


async def test_a_fault_of_one_tool(clock: LoopClock) -> None:
    """
    A fault with a name hits that tool alone.
    """
    script = "tools: {a: {result: 1}, b: {result: 2}}"
    fault = {"target": "tools", "name": "a", "fault": "status"}
    async with mock_in_test(script, clock=clock) as mock:
        await _control(mock, "POST", "faults", fault)
        statuses = [
            (await mock.send("POST", f"/tools/{name}", {})).status for name in "ab"
        ]

    assert statuses == [503, 200]


async def test_stops_all_faults(clock: LoopClock) -> None:
    """
    One request removes every fault, the script's too.
    """
    script = "upstream: {faults: [{fault: status}]}"
    async with mock_in_test(script, clock=clock) as mock:
        removed = await _control(mock, "DELETE", "faults")
        chat = await mock.chat()

    assert removed.json == {"removed": ["upstream.faults.0"]}
    assert chat.status == 200


@pytest.mark.parametrize(
    ("fault", "code", "text"),
    [
        (b"[]", "not_an_object", "mapping"),
        ({"fault": "status"}, "bad_target", "upstream"),
        ({"target": "upstream", "fault": "statsu"}, "mistakes", "status"),
        ({"target": "upstream", "fault": "gone"}, "mistakes", "upstream"),
        ({"target": "upstream", "fault": "status", "stats": 1}, "mistakes", "status"),
        ({"target": "upstream", "fault": "status", "status": 99}, "mistakes", "200"),
        ({"target": "upstream", "fault": "status", "for": 5}, "bad_duration", "unit"),
        (b"{", "mistakes", "fault:1"),
    ],
)
async def test_refuses_a_fault_with_its_reason(
    fault: object, code: str, text: str, clock: LoopClock
) -> None:
    """
    What is no fault is refused, and the right word is named.
    """
    async with mock_in_test(SCRIPT, clock=clock) as mock:
        answer = await _control(mock, "POST", "faults", fault)
        listed = await _control(mock, "GET", "faults")

    assert answer.status in {400, 422}
    assert answer.json["error"]["code"] == code
    assert text in answer.body.decode()
    assert listed.json == {"faults": []}


async def test_holds_so_many_faults(clock: LoopClock) -> None:
    """
    One fault too many is refused.
    """
    options = MockOptions(port=0, limits=Limits(faults_max=1))
    fault = {"target": "upstream", "fault": "status"}
    async with mock_in_test(SCRIPT, options, clock=clock) as mock:
        statuses = [
            (await _control(mock, "POST", "faults", fault)).status for _ in range(2)
        ]

    assert statuses == [201, 422]


async def test_start_is_zero_of_scenario_time(clock: LoopClock) -> None:
    """
    Scenario time begins with the first request, and anew when it is started.
    """
    script = "upstream: {faults: [{fault: status, from: 10s, to: 20s}]}"
    async with mock_in_test(script, clock=clock) as mock:
        await clock.sleep(100)
        statuses = [(await mock.chat()).status]
        await clock.sleep(15)
        statuses.append((await mock.chat()).status)
        started = await _control(mock, "POST", "start")
        statuses.append((await mock.chat()).status)
        await clock.sleep(15)
        statuses.append((await mock.chat()).status)
        zeros = mock.of("scenario_started")

    assert started.status == 200
    assert statuses == [200, 503, 200, 503]
    assert len(zeros) == 2


async def test_start_can_name_another_moment(clock: LoopClock) -> None:
    """
    Zero may lie in the past or be yet to come; before it no fault is due.
    """
    script = "upstream: {faults: [{fault: status}]}"
    async with mock_in_test(script, clock=clock) as mock:
        statuses = []
        for offset_s in (-10.0, 10.0):
            at_s = clock.monotonic() + offset_s
            await _control(mock, "POST", "start", {"at_s": at_s})
            statuses.append((await mock.chat()).status)
            assert mock.of("scenario_started")[-1]["zero_us"] == int(at_s * 1e6)
        wrong = [
            (await _control(mock, "POST", "start", body)).status
            for body in ({"at": 1}, b'{"at_s": 1e999}', b'{"at_s": .nan}', b"[]")
        ]

    assert statuses == [503, 200]
    assert wrong == [422] * 4


async def test_reset_begins_anew(clock: LoopClock) -> None:
    """
    A reset forgets journal, cursors and added faults; the script stays.
    """
    script = "upstream: {script: [{reply: [{text: one}, {text: two}]}]}"
    fault = {"target": "upstream", "fault": "slow_headers"}
    async with mock_in_test(script, clock=clock) as mock:
        await mock.chat()
        await _control(mock, "POST", "faults", fault)
        reset = await _control(mock, "POST", "reset")
        health = (await _control(mock, "GET", "health")).json
        chat = await mock.chat()

    assert reset.status == 200
    assert health["holds"]["journal_entries"] == health["holds"]["faults"] == 0
    assert health["scenario_s"] is None
    assert chat.json["choices"][0]["message"]["content"] == "one"


async def test_metrics_are_counted(clock: LoopClock) -> None:
    """
    Prometheus finds requests by surface, status and outcome.
    """
    async with mock_in_test(SCRIPT, clock=clock) as mock:
        await mock.chat()
        metrics = await _control(mock, "GET", "metrics")

    assert metrics.headers["content-type"].startswith("text/plain; version=0.0.4")
    line = (
        b'mock_requests_total{outcome="complete",status="200",'
        b'surface="chat_completions"} 1.0'
    )
    assert line in metrics.body


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:4010", 200),
        ("localhost", 200),
        ("[::1]:4010", 200),
        ("evil.example", 403),
        ("127.0.0.1.evil.example", 403),
        ("10.0.0.1", 403),
        ("", 403),
    ],
)
async def test_checks_the_host(host: str, status: int, clock: LoopClock) -> None:
    """
    A web page that had its own name point here cannot steer the mock.
    """
    async with mock_in_test(SCRIPT, clock=clock) as mock:
        answer = await _control(mock, "GET", "faults", host=host)

    assert answer.status == status


@pytest.mark.parametrize(
    ("authorization", "status"),
    [(f"Bearer {TOKEN}", 200), ("Bearer wrong", 401), ("", 401)],
)
async def test_asks_for_its_token(
    authorization: str, status: int, clock: LoopClock
) -> None:
    """
    With a token set nothing but health is told without it.
    """
    options = MockOptions(port=0, control_token=TOKEN)
    async with mock_in_test(SCRIPT, options, clock=clock) as mock:
        answer = await _control(mock, "GET", "journal", authorization=authorization)
        health = await _control(mock, "GET", "health")

    assert answer.status == status
    assert health.status == 200


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "nothing", 404),
        ("PUT", "health", 405),
        ("DELETE", "faults/fault-1", 404),
        ("GET", "", 404),
        ("PUT", "worlds/x/script", 404),
        ("POST", "worlds/x/faults", 404),
    ],
)
async def test_unknown_requests_get_a_reason(
    method: str, path: str, status: int, clock: LoopClock
) -> None:
    """
    What there is not is said in JSON.
    """
    async with mock_in_test(SCRIPT, clock=clock) as mock:
        answer = await _control(mock, method, path)

    assert answer.status == status
    assert set(answer.json["error"]) == {"code", "message"}


async def test_the_faults_of_a_script_are_told(clock: LoopClock) -> None:
    """
    A script that is put tells its faults, each under its place.
    """
    other = b"upstream: {faults: [{fault: status}]}"
    async with mock_in_test(SCRIPT, clock=clock) as mock:
        await _control(mock, "PUT", "script", other)
        [added] = mock.of("fault_added")

    assert (added["fault_id"], added["source"]) == ("upstream.faults.0", "script")


async def test_an_outage_takes_the_list_of_models_along(clock: LoopClock) -> None:
    """
    Faults of the model API hit all of it.
    """
    script = "upstream: {faults: [{fault: status}]}"
    async with mock_in_test(script, clock=clock) as mock:
        headers = {"authorization": "Bearer k"}
        answer = await mock.send("GET", "/v1/models", headers=headers)

    assert answer.status == 503
