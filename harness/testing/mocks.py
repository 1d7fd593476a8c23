"""
The mock as tests of a service use it.

One mock serves all of a test: the model API, the tools, and the endpoint that takes
webhooks. Each of the fixtures is a view of it.
"""

import asyncio
import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from harness.randomness import Randomness
from mock_server import MockOptions, RunningMock
from mock_server.documents import Document, parse_document
from mock_server.entries import Told
from mock_server.faults import Target
from mock_server.script import FaultScript

Script = str | Mapping[str, Any]
Rules = Sequence[Mapping[str, Any]]

_ENDPOINT_NAME = "default"
_SECRET_BYTES = 24


class MockUpstream:
    """
    The model API and the tools that a test scripts and breaks.

    Attributes:
        base_url: What an OpenAI client is given.
        api_key: This test's own key.
        tools_url: Where ``/tools/{name}`` is.
    """

    def __init__(self, running: RunningMock, *, api_key: str) -> None:
        self.base_url = running.base_url
        self.tools_url = running.url
        self.api_key = api_key
        self._mock = running.mock

    def script(self, script: Script | Rules) -> None:
        """
        Say what the outside does; faults and counts begin anew.

        Args:
            script: YAML text or a mapping of surfaces, as in a script's file; or the
                rules of the model API alone, which leave the other surfaces as they
                are.

        Raises:
            DocumentError: Everything that is wrong with it.
        """
        document = _as_document(script)
        if isinstance(document.data, list):
            sections = dict(self._mock.script_source)
            upstream = {**sections.get("upstream", {}), "script": document.data}
            document = Document(
                file=document.file, data={**sections, "upstream": upstream}
            )
        self._mock.load_document(document)

    def fault(
        self,
        fault: str,
        *,
        target: str = "upstream",
        name: str | None = None,
        **settings: object,
    ) -> str:
        """
        Let something go wrong from here on, and return the fault's id.

        Args:
            fault: Its name in the catalogue.
            target: The surface: ``upstream``, ``tools``, ``webhook_endpoint`` or
                ``webhook_emitter``.
            name: The tool or the endpoint; by default all of them.
            settings: The fault's parameters and its schedule, as in a script. What is
                a word of Python takes an underscore: ``from_="10s"``.
        """
        given = {key.rstrip("_"): value for key, value in settings.items()}
        core = self._mock.core
        active = core.injector.add(
            FaultScript.model_validate({"fault": fault, **given}),
            target=Target(target),
            name=name,
        )
        core.events.publish(
            "fault_added",
            fault_id=active.fault_id,
            fault=active.fault.name,
            target=active.target,
            source=active.source,
        )
        return active.fault_id

    def clear_faults(self) -> None:
        """
        Let everything go well again.
        """
        core = self._mock.core
        for active in list(core.injector):
            core.injector.remove(active.fault_id)
            core.events.publish("fault_removed", fault_id=active.fault_id)

    @property
    def journal(self) -> list[Told]:
        """
        Every request that came in, at any surface, with what came of it.
        """
        entries = [entry for world in self._mock.core.worlds for entry in world.journal]
        return sorted(entries, key=lambda entry: entry.number)

    @property
    def requests(self) -> list[Any]:
        """
        The bodies of the requests to the model API, parsed.
        """
        return [
            orjson.loads(entry.request_body)
            for entry in self.journal
            if entry.surface == "chat_completions"
        ]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceivedWebhook:
    """
    One attempt to deliver a message, as the endpoint saw it.
    """

    endpoint: str
    message_id: str | None
    attempt_number: int
    event_type: str | None
    is_verified: bool
    """Whether the signature holds over the very bytes."""

    status: int | None
    """What was answered; None if nothing was."""

    headers: Mapping[str, str]
    body: Any
    """Parsed, or the text if it is not JSON."""


class WebhookEndpoint:
    """
    The endpoint that receives what the service under test sends.

    Attributes:
        url: Where the service is to send.
        secret: ``whsec_…``, with which the service is to sign.
    """

    def __init__(self, running: RunningMock, *, secret: str) -> None:
        self.url = f"{running.url}/webhooks/{_ENDPOINT_NAME}"
        self.secret = secret
        self._upstream = MockUpstream(running, api_key="")
        self._arrived = asyncio.Event()
        running.mock.core.events.listen(self._note)

    @property
    def received(self) -> list[ReceivedWebhook]:
        """
        Every attempt so far, oldest first.
        """
        return [
            _received(entry)
            for entry in self._upstream.journal
            if entry.surface == "webhook_endpoint"
        ]

    async def wait_received(self, count: int = 1) -> list[ReceivedWebhook]:
        """
        Return the attempts once there are ``count`` that were answered or given up.
        """
        while True:
            self._arrived.clear()
            ended = [
                _received(entry)
                for entry in self._upstream.journal
                if entry.surface == "webhook_endpoint" and entry.outcome is not None
            ]
            if len(ended) >= count:
                return ended
            await self._arrived.wait()

    def fault(self, fault: str, **settings: Any) -> str:
        """
        Let deliveries go wrong from here on, and return the fault's id.
        """
        return self._upstream.fault(fault, target="webhook_endpoint", **settings)

    def clear_faults(self) -> None:
        """
        Let everything go well again, at every surface.
        """
        self._upstream.clear_faults()

    def _note(self, record: Mapping[str, Any]) -> None:
        if record["kind"] == "webhook_received":
            self._arrived.set()


def options_for_tests(randomness: Randomness) -> MockOptions:
    """
    Return how a test's mock is set up: any port, seed and secret from the test.
    """
    secret = base64.b64encode(
        randomness.stream("webhook_secret").randbytes(_SECRET_BYTES)
    )
    return MockOptions(
        port=0, seed=randomness.seed, webhook_secret=f"whsec_{secret.decode()}"
    )


def _as_document(script: Script | Rules) -> Document:
    if isinstance(script, str):
        return parse_document(script, file="script")
    data = dict(script) if isinstance(script, Mapping) else list(script)
    return Document(file="script", data=data)


def _received(entry: Told) -> ReceivedWebhook:
    facts = entry.facts
    try:
        body = orjson.loads(entry.request_body)
    except orjson.JSONDecodeError:
        body = entry.request_body
    return ReceivedWebhook(
        endpoint=facts["endpoint"],
        message_id=facts["message_id"],
        attempt_number=facts["attempt_number"],
        event_type=facts["event_type"],
        is_verified=facts["verified"],
        status=entry.status,
        headers=entry.request_headers,
        body=body,
    )
