"""
Bugs in webhooks and in what survives a crash, planted in the reference service.
"""

import asyncio
import dataclasses
import itertools
import json
from collections.abc import Mapping
from typing import Any

import pytest

from harness.ids import ToolCallId
from harness.orchestrator import ToolCalls
from harness.settings import WebhookSettings
from harness.simulation import Crash
from harness.stores import SqliteStore
from harness.tools import ToolBackend, ToolContext
from harness.webhooks import (
    Endpoint,
    MessageFactory,
    ReceiverAnswer,
    WebhookReceiver,
    WebhookSender,
)
from harness.webhooks.endpoint import make_headers
from harness.webhooks.schedule import Answer
from harness.webhooks.signing import sign

WEATHER: Mapping[str, Any] = {
    "webhook_endpoint": {
        "latency": "5ms",
        "faults": [{"fault": "status", "status": 500, "injection_rate": 0.3}],
    },
    "service": {"webhook": {"attempts_max": 6, "backoff_base": "300ms"}},
    "workload": [
        {
            "arrivals": "4/s",
            "for": "5s",
            "send": {"message": "weather, please", "mode": "async"},
        }
    ],
}
REFUNDS: Mapping[str, Any] = {
    "service": {"tools": {"pending_timeout": "4s"}},
    "workload": [
        {
            "arrivals": "3/s",
            "for": "5s",
            "send": {"message": "a refund, please", "mode": "async"},
        }
    ],
}


_RUN = ToolCalls.run


async def _unrecorded(self: ToolCalls, call: Any, **rest: Any) -> Any:
    """
    Run a tool call that is written down only when it has ended.
    """
    return await _RUN(self, call, **rest | {"outlives_process": False})


def crash_at(kind: str, **fields: Any) -> list[Crash]:
    """
    Return a crash right after the first record of a kind, a while into the run.
    """

    def is_it(record: Mapping[str, Any]) -> bool:
        return record.get("kind") == kind and all(
            record.get(name) == value for name, value in fields.items()
        )

    return [Crash(at=is_it, from_s=1.5, down_s=0.5)]


def test_acknowledged_before_the_durable_write(
    hunt: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    A result that is acknowledged, then lost to a crash, is found when its time is over.
    """
    receive = WebhookReceiver.receive
    kept: list[Any] = []

    async def hasty(
        self: WebhookReceiver, headers: Mapping[str, str], body: bytes
    ) -> ReceiverAnswer:
        async def write_later() -> None:
            await self._clock.sleep(0.2)
            await receive(self, headers, body)

        kept.append(asyncio.ensure_future(write_later()))  # noqa: TID251 - the bug: nobody owns it
        return ReceiverAnswer(status=200, body={"status": "received"})

    found = hunt(
        REFUNDS,
        lambda: monkeypatch.setattr(WebhookReceiver, "receive", hasty),
        crashes=crash_at("webhook_emitted", status=200),
    )

    assert found.failed == {24}
    assert found.witness(24)["kind"] in {"pending_call_expired", "webhook_received"}


def test_accepted_chat_forgotten(hunt: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A chat that was accepted and is not known after a restart is found at its end.
    """

    async def forget(*_: Any, **__: Any) -> None:
        return None

    found = hunt(
        REFUNDS,
        lambda: monkeypatch.setattr(SqliteStore, "load_callback", forget),
        crashes=crash_at("webhook_emitted", status=200),
    )

    assert found.failed == {24}
    assert found.witness(24)["status"] == 404


def test_redelivery_with_a_new_id(hunt: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A delivery that is repeated under another id is found when it comes.
    """

    def renamed(claimed: Any, *words: Any, **rest: Any) -> Mapping[str, str]:
        if claimed.attempt_number > 1:
            message_id = f"{claimed.message_id}-{claimed.attempt_number}"
            claimed = dataclasses.replace(claimed, message_id=message_id)
        return make_headers(claimed, *words, **rest)

    found = hunt(
        WEATHER,
        lambda: monkeypatch.setattr("harness.webhooks.sender.make_headers", renamed),
    )

    assert found.failed == {21}
    assert found.witness(21)["message_id"].endswith("-2")


def test_signature_over_reserialised_json(
    hunt: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    A signature over other bytes than are sent is found at the delivery.
    """

    def sign_again(id_: str, timestamp_s: int, body: bytes, **rest: Any) -> str:
        return sign(id_, timestamp_s, json.dumps(json.loads(body)).encode(), **rest)

    found = hunt(
        WEATHER,
        lambda: monkeypatch.setattr("harness.webhooks.endpoint.sign", sign_again),
    )

    assert found.failed == {21}
    assert found.witness(21)["verified"] is False


def test_two_workers_on_one_delivery(
    hunt: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    A delivery that two workers send at once is found at the second attempt.
    """
    start = WebhookSender._start

    def start_twice(self: WebhookSender, tasks: Any, claimed: Any) -> None:
        start(self, tasks, claimed)
        start(self, tasks, claimed)

    found = hunt(
        {**WEATHER, "webhook_endpoint": {"latency": "5ms"}},
        lambda: monkeypatch.setattr(WebhookSender, "_start", start_twice),
    )

    assert found.failed == {22}
    assert found.witness(22)["kind"].startswith("webhook_")


def test_delivered_without_being_sent(
    hunt: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    A message that is written off as delivered, and was never sent, is found as lost.
    """
    attempt = WebhookSender._attempt

    async def pretend(self: WebhookSender, claimed: Any) -> Answer:
        if claimed.message_id[-1] in "aeiouAEIOU":
            return Answer(reason="ok", status=200)
        return await attempt(self, claimed)

    patience = {"attempts_max": 3, "timeout": "500ms", "backoff_base": "100ms"}
    found = hunt(
        {**WEATHER, "service": {"webhook": patience}},
        lambda: monkeypatch.setattr(WebhookSender, "_attempt", pretend),
    )

    assert found.failed == {20}
    assert found.witness(20)["kind"] == "webhook_enqueued"


def test_one_queue_for_all_endpoints(
    hunt: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Messages that wait behind a dead endpoint are found when they come at last.
    """
    endpoints = WebhookSettings.endpoints
    function_call = MessageFactory.function_call
    deliver = WebhookSender._deliver
    busy = asyncio.Lock()

    def two(self: WebhookSettings) -> dict[str, Endpoint]:
        well = endpoints(self)["default"]
        url = well.url.replace("/default", "/dead")
        return {
            "default": well,
            "dead": dataclasses.replace(well, name="dead", url=url),
        }

    def to_the_dead(self: MessageFactory, call: Any) -> Any:
        message = function_call(self, call)
        is_dead = call.tool_call_id[-1] < "M"
        return dataclasses.replace(message, endpoint="dead") if is_dead else message

    async def one_by_one(self: WebhookSender, claimed: Any) -> None:
        async with busy:
            await deliver(self, claimed)

    monkeypatch.setattr(WebhookSettings, "endpoints", two)
    monkeypatch.setattr(MessageFactory, "function_call", to_the_dead)
    found = hunt(
        {
            "webhook_endpoint": {
                "endpoints": {"dead": {"faults": [{"fault": "black_hole"}]}}
            },
            "service": {
                "webhook": {"timeout": "2s", "attempts_max": 2, "backoff_base": "100ms"}
            },
            "workload": [
                {"arrivals": "3/s", "for": "4s", "send": {"message": "weather?"}}
            ],
        },
        lambda: monkeypatch.setattr(WebhookSender, "_deliver", one_by_one),
    )

    assert found.failed == {23}
    assert found.witness(23)["endpoint"] == "default"


def test_tool_run_again_after_a_crash(
    hunt: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    A tool that runs again after a crash between effect and record is found.
    """
    found = hunt(
        WEATHER,
        lambda: monkeypatch.setattr(ToolCalls, "run", _unrecorded),
        crashes=crash_at("tool_executed"),
    )

    assert found.failed == {10}
    assert found.witness(10)["execution_number"] == 2


def test_tool_run_again_under_another_key(
    hunt: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    A tool that runs again after a crash, under a key of the next life, is found.
    """
    lives = itertools.count()
    make = ToolBackend.__init__
    run = ToolBackend.run

    def born(self: ToolBackend, **parts: Any) -> None:
        make(self, **parts)
        self.life = next(lives)  # type: ignore[attr-defined]

    async def run_renamed(
        self: ToolBackend, name: str, arguments: Any, context: ToolContext
    ) -> Any:
        key = f"{context.tool_call_id}-{self.life}"  # type: ignore[attr-defined]
        context = dataclasses.replace(context, tool_call_id=ToolCallId(key))
        return await run(self, name, arguments, context)

    def plant() -> None:
        monkeypatch.setattr(ToolCalls, "run", _unrecorded)
        monkeypatch.setattr(ToolBackend, "__init__", born)
        monkeypatch.setattr(ToolBackend, "run", run_renamed)

    found = hunt(WEATHER, plant, crashes=crash_at("tool_executed"))

    assert found.failed == {10}
    assert found.witness(10)["kind"] == "tool_executed"


def test_tool_run_twice(hunt: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A tool that runs twice for one call is found at the second run.
    """
    execute = ToolBackend.run

    async def run_twice(self: ToolBackend, *words: Any) -> Any:
        await execute(self, *words)
        return await execute(self, *words)

    found = hunt(WEATHER, lambda: monkeypatch.setattr(ToolBackend, "run", run_twice))

    assert found.failed == {10}
    assert found.witness(10)["execution_number"] == 2
