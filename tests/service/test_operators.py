"""
What operators ask and do.
"""

import asyncio
import json
from dataclasses import replace
from typing import Any

import pytest
from aiohttp import web

from harness.clock import LoopClock
from harness.errors import StoreUnavailableError
from harness.service import Service
from harness.tools.registry import TOOLS_MAX

pytestmark = [pytest.mark.virtual_time, pytest.mark.usefixtures("service")]

_TOKEN = {"Authorization": "Bearer admin-of-the-tests"}
_TOOL = {
    "description": "Tell the time.",
    "parameters": {"type": "object", "properties": {"zone": {"type": "string"}}},
}


async def test_health_and_readiness(caller: Any) -> None:
    """
    Health says that the process answers, readiness that it takes chats.
    """
    health = await caller.request("GET", "/healthz")
    ready = await caller.request("GET", "/readyz")

    assert (health.status, ready.status) == (200, 200)


async def test_metrics(outside: Any, caller: Any) -> None:
    """
    Chats, attempts, tools and webhooks are figures for Prometheus.
    """
    outside.calls(("call_1", "get_weather", {"city": "Paris"}))
    await caller.chat()
    await outside.wait_webhooks("function_call.completed")

    answer = await caller.request("GET", "/metrics")

    assert answer.headers["Content-Type"].startswith("text/plain")
    for line in (
        'harness_chats_total{mode="sync",outcome="answered"} 1.0',
        'harness_circuit_state{circuit="upstream/gpt-4o"} 0.0',
        'harness_store_rows{kind="dead_letters"} 0.0',
    ):
        assert line in answer.text


async def test_tools_change_while_running(outside: Any, caller: Any) -> None:
    """
    A tool that is added is offered and run at once; one that is removed is not.
    """
    added = await caller.request("PUT", "/tools/get_time", body=_TOOL)
    removed = await caller.request("DELETE", "/tools/query_order")
    outside.calls(("call_1", "get_time", {"zone": "UTC"}))
    answer = await caller.chat()
    listed = await caller.request("GET", "/tools")

    names = ["get_weather", "approve_refund", "get_time"]
    assert (added.status, removed.status) == (201, 204)
    assert [tool["name"] for tool in listed.json] == names
    offered = [tool["function"]["name"] for tool in outside.asked[0].body["tools"]]
    assert offered == names
    assert answer.json["function_calls"][0]["result"]["ran"] == "get_time"


async def test_known_tools_are_updated(outside: Any, caller: Any) -> None:
    """
    What the model is told of a tool can be changed.
    """
    changed = await caller.request("PUT", "/tools/get_weather", body=_TOOL)
    await caller.chat()

    assert changed.status == 200
    described = outside.asked[0].body["tools"][0]["function"]["description"]
    assert described == "Tell the time."


async def test_what_is_listed_can_be_put_back(caller: Any) -> None:
    """
    A tool as it is listed, and as a model API takes it, is a body that changes it.
    """
    listed = (await caller.request("GET", "/tools")).json
    for tool in listed:
        told = {name: tool[name] for name in ("name", "description", "parameters")}
        wire = {"type": "function", "function": told}
        for body in (tool, wire, told):
            answer = await caller.request("PUT", f"/tools/{tool['name']}", body=body)
            assert (answer.status, answer.json) == (200, tool)

    assert (await caller.request("GET", "/tools")).json == listed


@pytest.mark.parametrize(
    ("name", "body"),
    [
        ("get_time", {**_TOOL, "name": "get_weather"}),
        ("get_time", {"type": "function", "function": "get_time"}),
        ("get_time", {"parameters": {"type": "no such type"}}),
        ("get_time", {}),
        ("get_time", {"parameters": {"type": "object"}, "nonsense": 1}),
        ("bad name!", {"parameters": {"type": "object"}}),
        ("get_time", {"parameters": {"type": "object"}, "description": "x" * 1025}),
        ("get_time", ["parameters"]),
    ],
)
async def test_bad_tools_are_refused(caller: Any, name: str, body: Any) -> None:
    """
    A tool that could not be offered is refused with the reason.
    """
    answer = await caller.request("PUT", f"/tools/{name}", body=body)

    assert (answer.status, answer.error["code"]) == (422, "invalid_request")
    assert "ToolSpec" not in answer.text


async def test_circuits_are_set_by_hand(outside: Any, caller: Any) -> None:
    """
    An isolated circuit refuses until it is reset; the aggregate names all members.
    """
    await caller.chat()

    isolated = await caller.request("POST", "/breakers/upstream%2Fgpt-4o/isolate")
    refused = await caller.chat()
    reset = await caller.request("POST", "/breakers/upstream/reset")
    answered = await caller.chat()
    unknown = await caller.request("POST", "/breakers/nothing/reset")

    assert [circuit["state"] for circuit in isolated.json] == ["isolated"]
    assert set(isolated.json[0]) == {
        "name",
        "state",
        "since",
        "retry_after_s",
        "failures",
        "probes",
    }
    assert (refused.status, refused.error["code"]) == (503, "circuit_open")
    assert [circuit["state"] for circuit in reset.json] == ["closed"]
    assert answered.status == 200
    assert unknown.status == 404
    assert len(outside.asked) == 2


async def test_an_isolated_upstream_is_isolated_for_every_model(
    outside: Any, caller: Any
) -> None:
    """
    The upstream can be isolated before it was ever used, and no other model opens a way.
    """
    listed = await caller.request("GET", "/breakers")
    isolated = await caller.request("POST", "/breakers/upstream/isolate")
    default = await caller.chat()
    other = await caller.chat(model="gpt-4o-mini")
    await caller.request("POST", "/breakers/upstream/reset")
    answered = await caller.chat(model="gpt-4o-mini")

    states = [(circuit["name"], circuit["state"]) for circuit in listed.json]
    assert states == [("upstream/gpt-4o", "closed")]
    assert isolated.json[0]["state"] == "isolated"
    assert (default.status, other.status, answered.status) == (503, 503, 200)
    assert len(outside.asked) == 1


async def test_figures_outlive_the_store(
    caller: Any, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    While the store is out the other figures are still served.
    """

    async def fail(*_: Any, **__: Any) -> Any:
        raise StoreUnavailableError(reason="disk_full")

    await caller.chat()
    monkeypatch.setattr(service.store, "counts", fail)

    answer = await caller.request("GET", "/metrics")

    assert answer.status == 200
    assert 'harness_chats_total{mode="sync",outcome="answered"} 1.0' in answer.text


async def test_more_tools_than_a_model_takes_are_refused(
    caller: Any, service: Service
) -> None:
    """
    There are as many tools as fit a request; a further one is refused, a change is not.
    """
    (spec, *_) = service.registry.specs()
    while len(service.registry.specs()) < TOOLS_MAX:
        name = f"tool_{len(service.registry.specs())}"
        service.registry.register(replace(spec, name=name), lambda *_: {})

    refused = await caller.request("PUT", "/tools/get_time", body=_TOOL)
    changed = await caller.request("PUT", "/tools/tool_3", body=_TOOL)

    assert (refused.status, refused.error["code"]) == (409, "too_many_tools")
    assert changed.status == 200


async def test_a_removed_sample_tool_can_be_put_back(
    caller: Any, start: Any, service: Service
) -> None:
    """
    Without a backend only the sample tools can be offered, a removed one again.
    """
    other_dir = f"{service.settings.data_dir}/other"
    async with start(port=8001, data_dir=other_dir, tools={"base_url": None}):
        caller.base_url = "http://127.0.0.1:8001"
        unknown = await caller.request("PUT", "/tools/get_time", body=_TOOL)
        await caller.request("DELETE", "/tools/get_weather")
        again = await caller.request("PUT", "/tools/get_weather", body=_TOOL)

    assert (unknown.status, unknown.error["code"]) == (409, "no_tool_backend")
    assert again.status == 201


async def test_dead_letters_are_redelivered(
    outside: Any, caller: Any, clock: LoopClock
) -> None:
    """
    What was given up is listed with its reason and goes out again under its own id.
    """
    is_up = False

    async def endpoint(_: Any) -> web.Response:
        return web.Response(status=204 if is_up else 500)

    outside.endpoint = endpoint
    outside.calls(("call_1", "get_weather", {"city": "Paris"}))
    await caller.chat()
    await outside.wait_webhooks("function_call.completed", 3)
    await clock.sleep(1)
    (letter,) = (await caller.request("GET", "/dead-letters")).json
    is_up = True

    path = f"/dead-letters/{letter['message_id']}/redeliver"
    answer = await caller.request("POST", path)
    again = await outside.wait_webhooks("function_call.completed", 4)

    assert answer.status == 200
    assert letter == {
        "message_id": again[3].headers["webhook-id"],
        "type": "function_call.completed",
        "endpoint": "default",
        "reason": "attempts_max",
        "attempts": 3,
        "last_error": "status_500",
    }
    await clock.sleep(1)
    assert (await caller.request("GET", "/dead-letters")).json == []
    assert (await caller.request("POST", path)).status == 404


async def test_events_are_streamed(outside: Any, caller: Any, service: Service) -> None:
    """
    Whoever listens is told what happens, in the records of the event log.
    """
    del service
    kinds = []
    async with caller.session.get(f"{caller.base_url}/events") as response:
        await caller.chat()
        async for line in response.content:
            if line.startswith(b"data: "):
                record = json.loads(line[6:])
                assert record["host"] == "service"
                kinds.append(record["kind"])
                if record["kind"] == "chat_answered":
                    break

    assert kinds == [
        "chat_received",
        "attempt_started",
        "attempt_ended",
        "chat_answered",
    ]
    assert len(outside.asked) == 1


async def test_event_streams_are_bounded_and_end_with_the_service(
    caller: Any, start: Any, service: Service
) -> None:
    """
    Beyond the limit a listener is refused; the others are let go when the service stops.
    """
    other_dir = f"{service.settings.data_dir}/other"
    caller.base_url = "http://127.0.0.1:8001"
    async with (
        asyncio.TaskGroup() as tasks,
        start(port=8001, data_dir=other_dir, limits={"event_streams_max": 1}),
    ):
        response = await caller.session.get(f"{caller.base_url}/events")
        second = await caller.request("GET", "/events")
        reading = tasks.create_task(response.read())

    assert second.status == 503
    assert b"service_stopping" in reading.result()


async def test_other_hosts_need_the_token(
    outside: Any, caller: Any, start: Any, service: Service
) -> None:
    """
    Bound to more than loopback, all but chats, callbacks, receiver and health ask for it.
    """
    other_dir = f"{service.settings.data_dir}/other"
    async with start(port=8001, data_dir=other_dir, host="0.0.0.0"):  # noqa: S104
        caller.base_url = "http://127.0.0.1:8001"
        for path in ("/tools", "/breakers", "/dead-letters", "/metrics", "/events"):
            without = await caller.request("GET", path)
            wrong = await caller.request(
                "GET", path, headers={"Authorization": "Bearer guessed"}
            )
            assert without.status == wrong.status == 401
            assert without.headers["WWW-Authenticate"] == "Bearer"
        assert (await caller.request("GET", "/tools", headers=_TOKEN)).status == 200
        assert (await caller.request("GET", "/healthz")).status == 200
        assert (await caller.request("GET", "/callbacks/cb_x")).status == 404
        assert (await caller.chat()).status == 200
        hook = await caller.request("POST", "/webhook/callback", body={})
        assert hook.error["code"] == "unauthorized"
    del outside


async def test_without_a_token_nobody_operates_from_elsewhere(
    caller: Any, start: Any, service: Service
) -> None:
    """
    Bound to more than loopback without a token, operators are refused altogether.
    """
    other_dir = f"{service.settings.data_dir}/other"
    async with start(
        port=8001,
        data_dir=other_dir,
        host="0.0.0.0",  # noqa: S104
        admin_token=None,
    ):
        caller.base_url = "http://127.0.0.1:8001"
        answer = await caller.request("GET", "/tools", headers=_TOKEN)

    assert answer.status == 403


async def test_web_pages_cannot_operate(caller: Any) -> None:
    """
    A name of somebody's own that resolves to loopback does not pass for loopback.
    """
    host = {"Host": "evil.example"}

    assert (await caller.request("GET", "/tools", headers=host)).status == 403
    assert (
        await caller.request("GET", "/tools", headers={"Host": "localhost:8000"})
    ).status == 200
