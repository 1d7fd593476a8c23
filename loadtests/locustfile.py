"""
Chats under load, sync and async, with answers checked and not only statuses.

Start the mock and the service, then Locust with its usual flags::

    harness mock --script loadtests/weather.yaml &
    harness serve &
    locust -f loadtests/locustfile.py --headless -u 20 -t 20s

The service is looked for at http://127.0.0.1:8000; ``--host`` says otherwise. It must
be on this machine: a load test of somebody else's service is not started by default.
"""

import ipaddress
import itertools
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from gevent import sleep
from locust import FastHttpUser, between, events, task
from locust.env import Environment
from locust.exception import RescheduleTask

ASYNC_TIMEOUT_S = 30.0
"""How long an asynchronous chat is asked for before it counts as failed."""

POLL_INTERVAL_S = 0.2
MESSAGES = (
    "weather in Paris?",
    "What is the weather like in Oslo?",
    "weather in Lima?",
)

_numbers = itertools.count(1)


@events.test_start.add_listener  # type: ignore[untyped-decorator]
def refuse_foreign_hosts(environment: Environment, **_kwargs: Any) -> None:
    """
    Stop before the first request where the target is not on this machine.
    """
    host = urlsplit(environment.host or ChatUser.host).hostname or ""
    if host != "localhost" and not ipaddress.ip_address(host).is_loopback:
        message = f"{host} is not on this machine; this load test targets loopback only"
        raise SystemExit(message)


def mistake_in(answer: Any) -> str | None:
    """
    Return what is wrong with the body of an answered chat, or None.
    """
    body = answer if isinstance(answer, Mapping) else {}
    calls = body.get("function_calls")
    text = body.get("response")
    rules = {
        "success is not true": body.get("success") is True,
        "response is no text": isinstance(text, str) and bool(text.strip()),
        "the tool was not called": isinstance(calls, list) and bool(calls),
    }
    broken = [rule for rule, holds in rules.items() if not holds]
    if isinstance(calls, list):
        broken += [f"{call} has no good result" for call in calls if not _is_fine(call)]
    return broken[0] if broken else None


def _is_fine(call: Any) -> bool:
    if not isinstance(call, Mapping) or "result" not in call:
        return False
    result = call["result"]
    return not (isinstance(result, Mapping) and result.get("status") == "error")


class ChatUser(FastHttpUser):
    """
    Somebody who asks, waits for the answer, thinks, and asks again.
    """

    host = "http://127.0.0.1:8000"
    wait_time = between(0.2, 1.0)

    def body(self) -> dict[str, str]:
        """
        Return a chat that no other user sends at the same time.
        """
        number = next(_numbers)
        message = MESSAGES[number % len(MESSAGES)]
        return {"message": f"{message} [#l{number}]", "user_id": f"user-{number % 100}"}

    @task(3)
    def chat(self) -> None:
        """
        Ask and wait for the answer.
        """
        with self.client.post(
            "/chat", json=self.body(), name="/chat", catch_response=True
        ) as response:
            if response.status_code != 200:  # noqa: PLR2004
                response.failure(f"status {response.status_code}")
            elif mistake := mistake_in(_json_of(response)):
                response.failure(mistake)
            else:
                response.success()

    @task(1)
    def chat_async(self) -> None:
        """
        Ask, be told where the answer will stand, and fetch it from there.
        """
        started_s = time.perf_counter()
        with self.client.post(
            "/chat",
            json=self.body(),
            headers={"Prefer": "respond-async"},
            name="/chat (accept)",
            catch_response=True,
        ) as response:
            accepted = _json_of(response)
            if response.status_code != 202 or "status_url" not in accepted:  # noqa: PLR2004
                response.failure(f"status {response.status_code}")
                raise RescheduleTask
            response.success()
        mistake = self._follow(accepted["status_url"], started_s)
        self.environment.events.request.fire(
            request_type="ASYNC",
            name="/chat (to the answer)",
            response_time=(time.perf_counter() - started_s) * 1000,
            response_length=0,
            exception=None if mistake is None else RuntimeError(mistake),
            context={},
        )

    def _follow(self, status_url: str, started_s: float) -> str | None:
        while time.perf_counter() - started_s < ASYNC_TIMEOUT_S:
            sleep(POLL_INTERVAL_S)
            with self.client.get(
                status_url, name="/callbacks/{id}", catch_response=True
            ) as response:
                state = _json_of(response)
                response.success()
            if state.get("state") == "completed":
                return mistake_in(state.get("result"))
            if state.get("state") != "pending":
                return f"ended as {state.get('state')}: {state.get('error')}"
        return f"no answer within {ASYNC_TIMEOUT_S:g} s"


def _json_of(response: Any) -> dict[str, Any]:
    try:
        value = response.json()
    except (ValueError, TypeError):
        return {}
    return value if isinstance(value, dict) else {}
