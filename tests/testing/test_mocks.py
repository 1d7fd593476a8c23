"""
The mock's fixtures, as tests of somebody's own small service use them.
"""

import asyncio
import base64
import hashlib
import hmac

import aiohttp
import openai
import pytest

from harness.clock import Clock
from harness.ids import IdMint
from harness.testing import MockUpstream, WebhookEndpoint
from mock_server.documents import DocumentError

WEATHER = [
    {
        "match": {"last_message": {"role": "user", "contains": "weather"}},
        "reply": {"text": "It is 22 °C in Paris."},
    }
]


class WeatherService:
    """
    A user's own service: asks the model, and tells a webhook what it said.
    """

    def __init__(
        self, upstream: MockUpstream, endpoint: WebhookEndpoint, ids: IdMint
    ) -> None:
        self._client = openai.AsyncOpenAI(
            base_url=upstream.base_url, api_key=upstream.api_key
        )
        self._endpoint = endpoint
        self._ids = ids

    async def tell(self, question: str, *, now_s: float) -> str | None:
        """
        Ask, report, and return the answer.
        """
        async with self._client as client:
            completion = await client.chat.completions.create(
                model="gpt-4o", messages=[{"role": "user", "content": question}]
            )
        text = completion.choices[0].message.content
        await self._report(str(text), now_s=now_s)
        return text

    async def _report(self, text: str, *, now_s: float) -> None:
        message_id, body = (
            self._ids.mint("msg"),
            f'{{"type": "told", "text": "{text}"}}',
        )
        key = base64.b64decode(self._endpoint.secret.removeprefix("whsec_"))
        signed = f"{message_id}.{int(now_s)}.{body}".encode()
        digest = base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()
        headers = {
            "content-type": "application/json",
            "webhook-id": message_id,
            "webhook-timestamp": str(int(now_s)),
            "webhook-signature": f"v1,{digest}",
        }
        async with aiohttp.ClientSession() as session:
            for _attempt in range(3):
                response = await session.post(
                    self._endpoint.url, data=body.encode(), headers=headers
                )
                if response.status < 300:
                    return


@pytest.fixture
def service(
    mock_upstream: MockUpstream, webhook_endpoint: WebhookEndpoint, ids: IdMint
) -> WeatherService:
    """
    The service, pointed at the mock.
    """
    mock_upstream.script(WEATHER)
    return WeatherService(mock_upstream, webhook_endpoint, ids)


@pytest.mark.virtual_time
async def test_a_service_survives_rate_limits(
    service: WeatherService,
    mock_upstream: MockUpstream,
    webhook_endpoint: WebhookEndpoint,
    clock: Clock,
) -> None:
    """
    Two 429 and a failing endpoint cost forty virtual seconds and no answer.
    """
    mock_upstream.fault("rate_limited", retry_after="20s", times=2)
    webhook_endpoint.fault("status", status=500, attempts=1)
    started_s = clock.monotonic()

    text = await service.tell("weather in Paris?", now_s=clock.wall())

    assert text == "It is 22 °C in Paris."
    assert clock.monotonic() - started_s == pytest.approx(40, abs=1)
    assert [entry.status for entry in mock_upstream.journal] == [
        429,
        429,
        200,
        500,
        200,
    ]
    assert mock_upstream.requests[0]["messages"][0]["content"] == "weather in Paris?"
    received = await webhook_endpoint.wait_received(2)
    assert [attempt.attempt_number for attempt in received] == [1, 2]
    assert all(attempt.is_verified for attempt in received)
    assert received[1].body == {"type": "told", "text": "It is 22 °C in Paris."}


@pytest.mark.sockets
async def test_the_fixtures_work_over_real_sockets(
    service: WeatherService, mock_upstream: MockUpstream, clock: Clock
) -> None:
    """
    Without the marker the same fixtures serve over loopback.
    """
    assert await service.tell("weather?", now_s=clock.wall()) == "It is 22 °C in Paris."
    assert len(mock_upstream.requests) == 1


@pytest.mark.virtual_time
async def test_faults_come_and_go(
    service: WeatherService, mock_upstream: MockUpstream, clock: Clock
) -> None:
    """
    Once faults are cleared everything is well again.
    """
    mock_upstream.fault("status", status=503)
    asyncio.get_running_loop().call_later(0.1, mock_upstream.clear_faults)

    text = await service.tell("weather?", now_s=clock.wall())

    assert text == "It is 22 °C in Paris."
    assert mock_upstream.journal[0].status == 503


@pytest.mark.virtual_time
async def test_a_broken_script_names_its_mistake(mock_upstream: MockUpstream) -> None:
    """
    A script with an unknown word is refused with the place and the nearest word.
    """
    with pytest.raises(DocumentError, match="did you mean 'upstream'"):
        mock_upstream.script("upsteam: {script: []}")


@pytest.mark.virtual_time
async def test_rules_leave_the_other_surfaces(mock_upstream: MockUpstream) -> None:
    """
    Rules of the model API replace its rules alone.
    """
    mock_upstream.script({"tools": {"add": {"result": 3}}})

    mock_upstream.script(WEATHER)

    async with aiohttp.ClientSession() as session:
        response = await session.post(f"{mock_upstream.tools_url}/tools/add", json={})
        assert await response.json() == 3


@pytest.mark.virtual_time
async def test_what_is_no_webhook_is_kept_too(
    webhook_endpoint: WebhookEndpoint, mock_upstream: MockUpstream
) -> None:
    """
    A delivery that is neither signed nor JSON is received, unverified, as text.
    """
    mock_upstream.script("webhook_endpoint: {reply: {status: 400}}")

    async with aiohttp.ClientSession() as session, asyncio.TaskGroup() as tasks:
        waiting = tasks.create_task(webhook_endpoint.wait_received())
        await session.post(webhook_endpoint.url, data=b"no json")

    [received] = waiting.result()
    assert (received.is_verified, received.body) == (False, "no json")
    assert (received.status, received.endpoint) == (400, "default")
    webhook_endpoint.clear_faults()
