"""
A fault that closes the listener: nobody can connect to the model API any more.
"""

import asyncio
import io
from dataclasses import replace
from pathlib import Path

import orjson
import pytest

from mock_server import LoopClock, MockOptions
from mock_server.serving import serve
from mock_server.testing import MockInTest, RawAnswer, mock_in_test

pytestmark = pytest.mark.virtual_time
OPTIONS = MockOptions(port=0, control_port=0)
SCRIPT = "upstream: {faults: [{fault: refuse, from: 10s, to: 30s}]}"


async def _aside(
    mock: MockInTest, method: str, path: str, body: object = b""
) -> RawAnswer:
    """
    Ask at the second listener.
    """
    running = mock.running
    data = body if isinstance(body, bytes) else orjson.dumps(body)
    request = (
        f"{method} {path} HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n"
        f"content-length: {len(data)}\r\n\r\n"
    )
    aside = MockInTest(replace(running, port=running.control_port or 0), mock.clock)
    return await aside.send_bytes(request.encode() + data)


async def test_refuses_while_it_lasts(clock: LoopClock) -> None:
    """
    Connections are refused from the beginning of the fault to its end, and not after.
    """
    async with mock_in_test(SCRIPT, OPTIONS, clock=clock) as mock:
        assert (await mock.chat()).status == 200
        await clock.sleep(9.9)
        assert (await mock.chat()).status == 200
        await clock.sleep(0.2)
        with pytest.raises(ConnectionRefusedError):
            await mock.chat()
        await clock.sleep(19.8)
        with pytest.raises(ConnectionRefusedError):
            await mock.chat(api_key="sk-another-world")
        await clock.sleep(0.2)
        assert (await mock.chat()).status == 200


async def test_cuts_off_who_is_connected(clock: LoopClock) -> None:
    """
    An idle connection, and one that is being answered, end when the listener closes.
    """
    script = f"{SCRIPT[:-1]}, latency: {{time_to_first_token: 60s}}}}"
    async with mock_in_test(script, OPTIONS, clock=clock) as mock:
        async with asyncio.TaskGroup() as group:
            asked = group.create_task(mock.chat())
            idle = group.create_task(mock.send_bytes(b""))
        assert asked.result().raw == b""
        assert idle.result().last_byte_s == pytest.approx(10)


async def test_control_tools_and_webhooks_stay(clock: LoopClock) -> None:
    """
    The second listener has everything but the model API, closed or not.
    """
    script = "{upstream: {faults: [{fault: refuse}]}, tools: {f: {result: 1}}}"
    async with mock_in_test(script, OPTIONS, clock=clock) as mock:
        await clock.sleep(1)
        with pytest.raises(ConnectionRefusedError):
            await mock.chat()

        assert (await _aside(mock, "GET", "/_mock/health")).status == 200
        assert (await _aside(mock, "POST", "/tools/f", {})).json == 1
        assert (await _aside(mock, "POST", "/webhooks/a", {})).status == 200
        elsewhere = await _aside(mock, "GET", "/v1/models")
        assert (elsewhere.status, elsewhere.json["error"]["code"]) == (404, "not_here")

        assert (await _aside(mock, "DELETE", "/_mock/faults")).status == 200
        await clock.sleep(0.1)
        assert (await mock.chat()).status == 200


async def test_comes_and_goes(clock: LoopClock) -> None:
    """
    A square wave closes and opens the listener again and again.
    """
    script = "upstream: {faults: [{fault: refuse, every: {on: 2s, off: 3s}}]}"
    async with mock_in_test(script, OPTIONS, clock=clock) as mock:
        await clock.sleep(0.5)
        seen = []
        for _ in range(10):
            try:
                seen.append((await mock.chat()).status)
            except ConnectionRefusedError:
                seen.append(None)
            await clock.sleep(1)

    assert seen == [None, None, 200, 200, 200] * 2


async def test_can_be_added_while_it_runs(clock: LoopClock) -> None:
    """
    The control API closes the listener for a while, from this moment on.
    """
    async with mock_in_test("{}", OPTIONS, clock=clock) as mock:
        await mock.chat()
        await clock.sleep(5)
        fault = {"target": "upstream", "fault": "refuse", "for": "3s"}
        added = await _aside(mock, "POST", "/_mock/faults", fault)
        await clock.sleep(0.1)
        assert added.status == 201
        with pytest.raises(ConnectionRefusedError):
            await mock.chat()
        await clock.sleep(3)
        assert (await mock.chat()).status == 200


async def test_needs_the_second_listener(clock: LoopClock) -> None:
    """
    Without it the fault is refused: nobody could ever end it.
    """
    async with mock_in_test("{}", clock=clock) as mock:
        fault = {"target": "upstream", "fault": "refuse"}
        added = await mock.send("POST", "/_mock/faults", fault)
        loaded = await mock.send(
            "PUT", "/_mock/script", b"upstream: {faults: [{fault: refuse}]}"
        )

        assert (added.status, loaded.status) == (422, 422)
        assert b"--control-port" in added.body
        assert (await mock.chat()).status == 200


@pytest.mark.parametrize("key", ["times: 1", "injection_rate: 0.5", "attempts: 1"])
async def test_meets_everybody(clock: LoopClock, key: str) -> None:
    """
    Who cannot connect cannot be chosen: schedules of single requests are refused.
    """
    async with mock_in_test("{}", OPTIONS, clock=clock) as mock:
        body = f"upstream: {{faults: [{{fault: refuse, {key}}}]}}".encode()
        loaded = await mock.send("PUT", "/_mock/script", body)

    assert loaded.status == 422
    assert b"only from, to and every" in loaded.body


def test_a_script_that_needs_it_is_refused_at_start(tmp_path: Path) -> None:
    """
    The command says which flag is missing and ends with 2.
    """
    file = tmp_path / "script.yaml"
    file.write_text("upstream: {faults: [{fault: refuse}]}", encoding="utf-8")
    errors = io.StringIO()

    code = serve(MockOptions(port=0), script_file=file, errors=errors)

    assert code == 2
    assert "--control-port" in errors.getvalue()
