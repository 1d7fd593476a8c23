"""
``POST /chat`` in its three modes, and what became of asynchronous chats.
"""

import asyncio
import datetime as dt
import hashlib
import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson
from aiohttp import web

from harness.clock import Clock
from harness.errors import StoppingError, StoreUnavailableError
from harness.ids import CallbackId
from harness.orchestrator import (
    Callbacks,
    CallerLeftError,
    Chat,
    ChatCommand,
    ChatMode,
    FinishedCall,
    IdempotencyKeys,
    Orchestrator,
    OwnedTasks,
    PlannedCall,
)
from harness.stores import CallbackRecord, CallbackState, IdempotentAnswer
from harness.telemetry import Redactor
from harness.web.answers import (
    JSON_TYPE,
    RequestError,
    error_answer,
    error_body,
    json_answer,
)
from harness.web.bodies import parse_chat, read_json_body
from harness.web.sse import EventStream

_LOG = logging.getLogger(__name__)
_KEY_CHARS_MAX = 255
_OK = 200
_HOST: Final = re.compile(r"[A-Za-z0-9._:\[\]-]{1,255}", re.ASCII)


class ChatRoutes:
    """
    Serves chats.

    Args:
        owned: Owns chats with an idempotency key: they go on when the caller leaves,
            so that its repetition finds the answer.
    """

    def __init__(
        self,
        *,
        orchestrator: Orchestrator,
        callbacks: Callbacks,
        keys: IdempotencyKeys,
        owned: OwnedTasks,
        redactor: Redactor,
        clock: Clock,
        body_bytes_max: int,
        message_chars_max: int,
    ) -> None:
        self._orchestrator = orchestrator
        self._callbacks = callbacks
        self._keys = keys
        self._owned = owned
        self._redactor = redactor
        self._clock = clock
        self._body_bytes_max = body_bytes_max
        self._message_chars_max = message_chars_max

    def routes(self) -> Sequence[web.RouteDef]:
        """
        Return what is served at which path.
        """
        return [
            web.post("/chat", self.post_chat),
            web.get("/callbacks/{callback_id}", self.get_callback),
            web.delete("/callbacks/{callback_id}", self.delete_callback),
        ]

    async def post_chat(self, request: web.Request) -> web.StreamResponse:
        """
        Answer a chat, accept it, or stream its answer.
        """
        body = await read_json_body(
            request, body_bytes_max=self._body_bytes_max, clock=self._clock
        )
        command = parse_chat(body, message_chars_max=self._message_chars_max)
        ask = _Ask(request=request, command=command, mode=_mode_of(request))
        key = request.headers.get("Idempotency-Key")
        if key is None:
            return (await self._serve(ask)).response
        self._owned.check_room()
        task = self._owned.start(
            self._serve_once(ask, key=_check_key(key), body=body), name="chat once"
        )
        # The handler may be cancelled, the chat goes on: somebody will ask again.
        outcome = await asyncio.shield(task)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    async def get_callback(self, request: web.Request) -> web.StreamResponse:
        """
        Say how an asynchronous chat stands.
        """
        callback_id = CallbackId(request.match_info["callback_id"])
        record = await self._callbacks.load(callback_id)
        return json_answer(_callback_body(_known(record)))

    async def delete_callback(self, request: web.Request) -> web.StreamResponse:
        """
        Cancel an asynchronous chat that has not ended.
        """
        callback_id = CallbackId(request.match_info["callback_id"])
        record = _known(await self._callbacks.cancel(callback_id))
        if record.state is not CallbackState.CANCELLED:
            raise RequestError(
                status=409,
                code="already_ended",
                message=f"the chat is {record.state.value}",
            )
        return json_answer(_callback_body(record))

    # The three modes -----------------------------------------------------------------

    async def _serve(self, ask: "_Ask") -> "_Served":
        match ask.mode:
            case ChatMode.SYNC:
                return await self._answer(ask)
            case ChatMode.ASYNC:
                return await self._accept(ask)
            case ChatMode.STREAM:
                return await self._stream(ask)

    async def _answer(self, ask: "_Ask") -> "_Served":
        ask.chat = self._orchestrator.begin(ask.command, mode=ask.mode)
        result = await self._orchestrator.answer(ask.chat, ask.command)
        response = json_answer(result.to_body())
        return _Served(response=response, answer=_kept(response))

    async def _accept(self, ask: "_Ask") -> "_Served":
        record = await self._callbacks.accept(ask.command)
        path = f"/callbacks/{record.callback_id}"
        expires_at = dt.datetime.fromtimestamp(record.expires_s, tz=dt.UTC)
        accepted = {
            "callback_id": record.callback_id,
            "status_url": f"{ask.request.scheme}://{_host_of(ask.request)}{path}",
            "expires_at": expires_at.isoformat(timespec="milliseconds"),
        }
        response = json_answer(
            accepted,
            status=202,
            headers={"Location": path, "Preference-Applied": "respond-async"},
        )
        return _Served(response=response, answer=_kept(response))

    async def _stream(self, ask: "_Ask") -> "_Served":
        stream = EventStream(ask.request)
        listener = _StreamListener(stream, outlives_caller=ask.is_keyed)
        ask.chat = self._orchestrator.begin(ask.command, mode=ask.mode)
        try:
            result = await self._orchestrator.answer(
                ask.chat, ask.command, listener=listener
            )
        except Exception as error:
            if not stream.is_started:
                # Nothing was said: an ordinary error answer says more.
                raise
            await listener.send("error", error_body(error, redactor=self._redactor))
            await stream.end()
            return _Served(
                response=stream.response,
                answer=_kept(error_answer(error, redactor=self._redactor)),
                error=error,
            )
        body = result.to_body()
        await listener.send("done", body)
        await stream.end()
        return _Served(response=stream.response, answer=_kept(json_answer(body)))

    # Once per key --------------------------------------------------------------------

    async def _serve_once(
        self, ask: "_Ask", *, key: str, body: bytes
    ) -> web.StreamResponse | Exception:
        """
        Serve a request unless its key was served before; never raises.
        """
        ask.is_keyed = True
        scoped = _scoped(key, user_id=ask.command.user_id)
        try:
            known = await self._keys.begin(scoped, body=body, shown_key=key)
            if known is not None:
                return await _replay(ask, known)
        except Exception as error:  # noqa: BLE001 - handed to whoever waits
            return error
        try:
            served = await self._serve(ask)
        except asyncio.CancelledError:
            await self._settle(ask, scoped, None)
            raise
        except Exception as error:  # noqa: BLE001 - handed to whoever waits
            answer = _kept(error_answer(error, redactor=self._redactor))
            await self._settle(ask, scoped, answer, error=error)
            return error
        await self._settle(ask, scoped, served.answer, error=served.error)
        return served.response

    async def _settle(
        self,
        ask: "_Ask",
        scoped_key: str,
        answer: IdempotentAnswer | None,
        *,
        error: Exception | None = None,
    ) -> None:
        """
        Remember the answer, or free the key where nothing was done or we gave up.
        """
        had_effect = ask.chat is not None and ask.chat.calls_started > 0
        gave_up = answer is None or isinstance(error, StoppingError)
        try:
            if answer is None or gave_up or (error is not None and not had_effect):
                await self._keys.release(scoped_key)
            else:
                await self._keys.finish(scoped_key, answer)
        except StoreUnavailableError:
            # The answer itself is right; its repetition gets 409 until the next start.
            _LOG.warning("the answer to an idempotency key could not be kept")


@dataclass(slots=True, kw_only=True)
class _Ask:
    """
    A request on its way through the modes.
    """

    request: web.Request
    command: ChatCommand
    mode: ChatMode
    is_keyed: bool = False
    chat: Chat | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Served:
    response: web.StreamResponse
    answer: IdempotentAnswer
    """What a repetition is given."""

    error: Exception | None = None
    """Why the answer is one of failure, where it had already begun."""


class _StreamListener:
    """
    Tells a chat's steps as server-sent events.

    Args:
        stream: Where they go.
        outlives_caller: Whether the chat goes on when nobody listens any more.
    """

    def __init__(self, stream: EventStream, *, outlives_caller: bool) -> None:
        self._stream = stream
        self._outlives_caller = outlives_caller

    async def delta(self, text: str) -> None:
        await self.send("delta", {"text": text})

    async def tool_call(self, call: PlannedCall) -> None:
        try:
            arguments = orjson.loads(call.arguments or "{}")
        except orjson.JSONDecodeError:
            arguments = call.arguments
        await self.send(
            "tool_call",
            {"name": call.name, "arguments": arguments, "call_id": call.call_id},
        )

    async def tool_result(self, finished: FinishedCall) -> None:
        await self.send(
            "tool_result",
            {"call_id": finished.call.call_id, "result": finished.result},
        )

    async def send(self, name: str, data: Any) -> None:
        try:
            await self._stream.send(name, data)
        except CallerLeftError:
            if not self._outlives_caller:
                raise


def _mode_of(request: web.Request) -> ChatMode:
    preferences = ",".join(request.headers.getall("Prefer", []))
    words = {part.partition(";")[0].strip().lower() for part in preferences.split(",")}
    if "respond-async" in words:
        return ChatMode.ASYNC
    accepted = ",".join(request.headers.getall("Accept", []))
    types = {part.partition(";")[0].strip().lower() for part in accepted.split(",")}
    return ChatMode.STREAM if "text/event-stream" in types else ChatMode.SYNC


def _host_of(request: web.Request) -> str:
    """
    Return the host that the caller knows us by, or the address it reached us at.
    """
    host = request.headers.get("Host", "")
    if _HOST.fullmatch(host):
        return host
    sockname = request.transport and request.transport.get_extra_info("sockname")
    address, port = (sockname or ("localhost", 80))[:2]
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def _check_key(key: str) -> str:
    key = key.strip()
    if not key or len(key) > _KEY_CHARS_MAX:
        raise RequestError(
            status=422,
            code="invalid_request",
            message=f"Idempotency-Key: 1 to {_KEY_CHARS_MAX} characters",
        )
    return key


def _scoped(key: str, *, user_id: str) -> str:
    """
    Return the key under which the store knows it: two users may choose the same one.
    """
    return hashlib.sha256(
        f"{user_id}\x1f{key}".encode(errors="surrogateescape")
    ).hexdigest()


def _kept(response: web.Response) -> IdempotentAnswer:
    body = response.body
    return IdempotentAnswer(
        status=response.status,
        body=body if isinstance(body, bytes) else b"",
        content_type=JSON_TYPE,
    )


async def _replay(ask: _Ask, known: IdempotentAnswer) -> web.StreamResponse:
    if ask.mode is not ChatMode.STREAM:
        return web.Response(
            body=known.body, status=known.status, content_type=known.content_type
        )
    stream = EventStream(ask.request)
    await stream.send_raw("done" if known.status == _OK else "error", known.body)
    await stream.end()
    return stream.response


def _known(record: CallbackRecord | None) -> CallbackRecord:
    if record is None:
        raise RequestError(
            status=404, code="not_found", message="no such chat, or no longer kept"
        )
    return record


def _callback_body(record: CallbackRecord) -> dict[str, Any]:
    body: dict[str, Any] = {
        "callback_id": record.callback_id,
        "state": record.state.value,
    }
    if record.result_json is not None:
        body["result"] = orjson.loads(record.result_json)
    if record.error_json is not None:
        body["error"] = orjson.loads(record.error_json)
    return body
