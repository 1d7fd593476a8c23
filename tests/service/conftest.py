import asyncio
import base64
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from harness.bus import EventBus
from harness.clock import LoopClock
from harness.ids import IdMint
from harness.randomness import Randomness
from harness.service import Service, running_service
from harness.settings import ServiceSettings
from harness.webhooks import Secret, build_body, sign

SECRET = f"whsec_{base64.b64encode(b'0123456789abcdef0123456789abcdef').decode()}"
API_KEY = "sk-of-the-tests-0123456789"

Reply = Callable[[web.Request, dict[str, Any]], Awaitable[web.StreamResponse]]
Start = Callable[..., AbstractAsyncContextManager[Service]]


@dataclass
class Seen:
    """
    A request as the outside got it.
    """

    name: str
    body: Any
    headers: dict[str, str]
    at_s: float
    peer: Any = None
    """The other end of its connection."""

    gone: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when its caller has left before it was answered."""


class Outside:
    """
    The model API, the tools and the webhook endpoint, as a test tells them.
    """

    def __init__(self, clock: LoopClock) -> None:
        self.url = ""
        self.asked: list[Seen] = []
        self.executed: list[Seen] = []
        self.webhooks: list[Seen] = []
        self.tools: dict[str, Callable[[Any], Awaitable[web.Response]]] = {}
        self.endpoint: Callable[[Seen], Awaitable[web.Response]] | None = None
        self._clock = clock
        self._replies: list[Reply] = []
        self._habit: tuple[str, Any] | None = None
        self._arrived = asyncio.Event()

    # The model

    def says(self, text: str) -> None:
        """
        Answer the next request with a text.
        """
        self._replies.append(lambda request, body: self._say(request, body, text))

    def calls(self, *calls: tuple[str, str, Any]) -> None:
        """
        Answer the next request with tool calls: id, name, arguments.
        """
        self._replies.append(lambda request, body: self._call(request, body, calls))

    def always_calls(self, name: str, arguments: Any) -> None:
        """
        Answer every user whose request is not scripted with one tool call.
        """
        self._habit = (name, arguments)

    def answers(self, status: int, headers: Mapping[str, str] | None = None) -> None:
        """
        Answer the next request with an error status.
        """

        async def reply(_: web.Request, __: dict[str, Any]) -> web.StreamResponse:
            error = {"message": f"said {API_KEY}", "type": "x", "code": None}
            return web.json_response({"error": error}, status=status, headers=headers)

        self._replies.append(reply)

    def gives(self, body: bytes) -> None:
        """
        Answer the next request with these bytes.
        """

        async def reply(_: web.Request, __: dict[str, Any]) -> web.StreamResponse:
            return web.Response(body=body, content_type="application/json")

        self._replies.append(reply)

    def hangs(self) -> None:
        """
        Never answer the next request.
        """

        async def reply(_: web.Request, __: dict[str, Any]) -> web.StreamResponse:
            await asyncio.Event().wait()
            raise AssertionError

        self._replies.append(reply)

    async def chat(self, request: web.Request) -> web.StreamResponse:
        """
        Answer as the model API.
        """
        seen = await self._see(request, self.asked, "model")
        reply = self._replies.pop(0) if self._replies else None
        if (
            reply is None
            and self._habit
            and seen.body["messages"][-1]["role"] == "user"
        ):
            call_id = f"call_habit_{len(self.asked)}"
            return await self._call(request, seen.body, ((call_id, *self._habit),))
        if reply is None:
            return await self._say(request, seen.body, "done")
        try:
            return await reply(request, seen.body)
        except asyncio.CancelledError:
            seen.gone.set()
            raise

    async def _say(
        self, request: web.Request, body: dict[str, Any], text: str
    ) -> web.StreamResponse:
        if body.get("stream"):
            deltas = [{"role": "assistant", "content": ""}]
            deltas += [{"content": piece} for piece in (text[:2], text[2:])]
            return await _stream(request, deltas, "stop")
        return _completion({"role": "assistant", "content": text}, "stop")

    async def _call(
        self,
        request: web.Request,
        body: dict[str, Any],
        calls: tuple[tuple[str, str, Any], ...],
    ) -> web.StreamResponse:
        listed: list[dict[str, Any]] = [
            {
                "id": call_id,
                "type": "function",
                "function": {
                    "name": name,
                    "arguments": arguments
                    if isinstance(arguments, str)
                    else json.dumps(arguments),
                },
            }
            for call_id, name, arguments in calls
        ]
        if body.get("stream"):
            indexed = [{"index": n, **call} for n, call in enumerate(listed)]
            deltas: list[Any] = [{"role": "assistant", "tool_calls": indexed}]
            return await _stream(request, deltas, "tool_calls")
        message = {"role": "assistant", "content": None, "tool_calls": listed}
        return _completion(message, "tool_calls")

    # Tools and webhooks

    async def execute(self, request: web.Request) -> web.StreamResponse:
        """
        Answer as the tool backend.
        """
        name = request.match_info["name"]
        seen = await self._see(request, self.executed, name)
        if name in self.tools:
            return await self.tools[name](seen.body)
        return web.json_response({"ran": name, **seen.body})

    async def take(self, request: web.Request) -> web.StreamResponse:
        """
        Answer as the webhook endpoint.
        """
        seen = await self._see(request, self.webhooks, "webhook")
        seen.name = seen.body["type"]
        if self.endpoint is not None:
            return await self.endpoint(seen)
        return web.Response(status=204)

    async def wait_webhooks(self, event_type: str, count: int = 1) -> list[Seen]:
        """
        Return the webhooks of a type once there are so many.
        """
        return await self._wait(
            lambda: [seen for seen in self.webhooks if seen.name == event_type], count
        )

    async def wait_asked(self, count: int) -> list[Seen]:
        """
        Return the requests to the model once there are so many.
        """
        return await self._wait(lambda: self.asked, count)

    async def wait_executed(self, count: int) -> list[Seen]:
        """
        Return the executions once there are so many.
        """
        return await self._wait(lambda: self.executed, count)

    async def _wait(self, find: Callable[[], list[Seen]], count: int) -> list[Seen]:
        while len(found := find()) < count:
            self._arrived.clear()
            await self._arrived.wait()
        return found

    async def _see(self, request: web.Request, where: list[Seen], name: str) -> Seen:
        headers = {key.lower(): value for key, value in request.headers.items()}
        seen = Seen(
            name=name,
            body=await request.json(),
            headers=headers,
            at_s=self._clock.monotonic(),
            peer=request.transport and request.transport.get_extra_info("peername"),
        )
        where.append(seen)
        self._arrived.set()
        return seen


def _completion(message: dict[str, Any], finish_reason: str) -> web.Response:
    choice = {"index": 0, "message": message, "finish_reason": finish_reason}
    return web.json_response(
        {
            "id": "chatcmpl-1",
            "object": "chat.completion",
            "created": 1,
            "model": "gpt-4o",
            "choices": [choice],
        }
    )


async def _stream(
    request: web.Request, deltas: list[Any], finish_reason: str
) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await response.prepare(request)
    choices = [{"index": 0, "delta": delta, "finish_reason": None} for delta in deltas]
    choices.append({"index": 0, "delta": {}, "finish_reason": finish_reason})
    for choice in choices:
        chunk = {
            "id": "chatcmpl-1",
            "object": "chat.completion.chunk",
            "created": 1,
            "model": "gpt-4o",
            "choices": [choice],
        }
        await response.write(f"data: {json.dumps(chunk)}\n\n".encode())
    await response.write(b"data: [DONE]\n\n")
    await response.write_eof()
    return response


@pytest.fixture
async def outside(clock: LoopClock) -> AsyncIterator[Outside]:
    """
    Everything outside the service, on one port.
    """
    outside = Outside(clock)
    app = web.Application()
    app.router.add_post("/v1/chat/completions", outside.chat)
    app.router.add_post("/tools/{name}", outside.execute)
    app.router.add_post("/webhooks/default", outside.take)
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 4010)
    await site.start()
    outside.url = "http://127.0.0.1:4010"
    yield outside
    await runner.cleanup()


@pytest.fixture
def settings(tmp_path: Path) -> ServiceSettings:
    """
    Settings of a service that is among the outside.
    """
    return ServiceSettings.model_validate(
        {
            "port": 8000,
            "data_dir": str(tmp_path),
            "admin_token": "admin-of-the-tests",
            "upstream": {
                "base_url": "http://127.0.0.1:4010/v1",
                "api_key": API_KEY,
                "attempt_timeout": "5s",
                "total_timeout": "20s",
                "backoff_base": "100ms",
            },
            "tools": {"base_url": "http://127.0.0.1:4010", "pending_timeout": "10s"},
            "webhook": {
                "url": "http://127.0.0.1:4010/webhooks/default",
                "secret": SECRET,
                "allow_private": ["127.0.0.0/8"],
            },
            "limits": {"grace": "1s"},
        }
    )


@pytest.fixture
def start(
    settings: ServiceSettings,
    clock: LoopClock,
    randomness: Randomness,
    ids: IdMint,
    bus: EventBus,
) -> Start:
    """
    Start a service with some settings replaced.
    """

    def begin(**values: Any) -> AbstractAsyncContextManager[Service]:
        return running_service(
            settings.replaced(values),
            clock=clock,
            randomness=randomness,
            ids=ids,
            bus=bus,
            is_simulated=True,
        )

    return begin


@pytest.fixture
async def service(start: Start, outside: Outside) -> AsyncIterator[Service]:
    """
    A running service.
    """
    del outside
    async with start() as service:
        yield service


@dataclass(frozen=True)
class Answered:
    """
    An answer of the service.
    """

    status: int
    headers: Mapping[str, str]
    text: str

    @property
    def json(self) -> Any:
        """
        The body.
        """
        return json.loads(self.text)

    @property
    def error(self) -> Any:
        """
        The error in the body, which has the one shape that all of them have.
        """
        (name,) = self.json
        error = self.json[name]
        assert name == "error"
        assert set(error) - {"retry_after_s"} == {"code", "message", "trace_id"}
        assert len(error["trace_id"]) == 32
        assert error["message"]
        assert self.status not in {429, 503} or "Retry-After" in self.headers
        return error

    @property
    def events(self) -> list[tuple[str, Any]]:
        """
        The server-sent events.
        """
        found = []
        for block in self.text.strip().split("\n\n"):
            lines = dict(
                line.split(": ", 1) for line in block.splitlines() if ": " in line
            )
            found.append((lines["event"], json.loads(lines["data"])))
        return found


class Caller:
    """
    Speaks to the service as its callers do.
    """

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self.session = session
        self.base_url = "http://127.0.0.1:8000"

    async def request(
        self,
        method: str,
        path: str,
        *,
        body: Any = None,
        data: Any = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answered:
        """
        Send a request and return its whole answer.
        """
        given: dict[str, Any] = {} if data is None else {"data": data}
        if body is not None:
            given = {"json": body}
        async with self.session.request(
            method, f"{self.base_url}{path}", headers=headers, **given
        ) as response:
            return Answered(
                response.status,
                dict(response.headers),
                (await response.read()).decode(),
            )

    async def chat(
        self,
        message: str = "hello",
        *,
        headers: Mapping[str, str] | None = None,
        **values: Any,
    ) -> Answered:
        """
        Send a chat.
        """
        body = {"message": message, "user_id": "u1", **values}
        return await self.request("POST", "/chat", body=body, headers=headers)

    async def accept(self, message: str = "hello", **values: Any) -> str:
        """
        Send an asynchronous chat and return its callback id.
        """
        answer = await self.chat(message, headers={"Prefer": "respond-async"}, **values)
        assert answer.status == 202, answer.text
        callback_id: str = answer.json["callback_id"]
        return callback_id

    async def resolve(
        self,
        call_id: str,
        result: Any,
        *,
        message_id: str = "msg_resolve",
        now_s: float,
    ) -> Answered:
        """
        Send the result of a deferred tool call as a signed webhook.
        """
        body = build_body(
            "function_call.completed",
            occurred_at_s=now_s,
            data={"call_id": call_id, "function": "approve_refund", "result": result},
        )
        secrets = [Secret.parse(SECRET)]
        headers = {
            "Content-Type": "application/json",
            "webhook-id": message_id,
            "webhook-timestamp": str(int(now_s)),
            "webhook-signature": sign(message_id, int(now_s), body, secrets=secrets),
        }
        return await self.request(
            "POST", "/webhook/callback", data=body, headers=headers
        )


@pytest.fixture
async def caller() -> AsyncIterator[Caller]:
    """
    A caller of the service.
    """
    async with aiohttp.ClientSession(
        timeout=aiohttp.ClientTimeout(total=None),
        connector=aiohttp.TCPConnector(force_close=True),
    ) as session:
        yield Caller(session)


@pytest.fixture
def background() -> Callable[[], AbstractAsyncContextManager[asyncio.TaskGroup]]:
    """
    A task group whose tasks are cancelled at its end.
    """

    @contextlib.asynccontextmanager
    async def group() -> AsyncIterator[asyncio.TaskGroup]:
        async with asyncio.TaskGroup() as tasks:
            yield tasks

    return group
