"""
``POST /chat`` in its three modes, and what became of asynchronous chats.
"""

import datetime as dt
import functools
from collections.abc import Sequence
from typing import Any

import orjson
from aiohttp import web

from harness.clock import Clock
from harness.ids import CallbackId
from harness.orchestrator import Callbacks, ChatMode, Orchestrator
from harness.stores import AnsweredKey, CallbackRecord, CallbackState
from harness.telemetry import Redactor
from harness.web.answers import RequestError, error_answer, error_body, json_answer
from harness.web.asking import Ask, Served, kept, mode_of, origin_of
from harness.web.bodies import parse_chat, read_json_body
from harness.web.chat_stream import StreamListener
from harness.web.once import OncePerKey
from harness.web.sse import EventStream


class ChatRoutes:
    """
    Serves chats.
    """

    def __init__(
        self,
        *,
        orchestrator: Orchestrator,
        callbacks: Callbacks,
        once: OncePerKey,
        redactor: Redactor,
        clock: Clock,
        body_bytes_max: int,
        message_chars_max: int,
    ) -> None:
        self._orchestrator = orchestrator
        self._callbacks = callbacks
        self._once = once
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
        ask = Ask(request=request, command=command, mode=mode_of(request))
        key = request.headers.get("Idempotency-Key")
        if key is None:
            return (await self._serve(ask)).response
        return await self._once.serve(ask, self._serve, key=key, body=body)

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

    async def _serve(self, ask: Ask) -> Served:
        match ask.mode:
            case ChatMode.SYNC:
                return await self._answer(ask)
            case ChatMode.ASYNC:
                return await self._accept(ask)
            case ChatMode.STREAM:
                return await self._stream(ask)

    async def _answer(self, ask: Ask) -> Served:
        ask.chat = self._orchestrator.begin(ask.command, mode=ask.mode)
        result = await self._orchestrator.answer(ask.chat, ask.command)
        response = json_answer(result.to_body())
        return Served(response=response, kept=kept(response))

    async def _accept(self, ask: Ask) -> Served:
        key = ask.scoped_key
        answer_for = None if key is None else functools.partial(_answered, ask, key)
        record = await self._callbacks.accept(ask.command, answer_for=answer_for)
        return Served(response=_accepted(ask, record), kept=None)

    async def _stream(self, ask: Ask) -> Served:
        stream = EventStream(ask.request)
        listener = StreamListener(stream, outlives_caller=ask.scoped_key is not None)
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
            answer = kept(error_answer(error, redactor=self._redactor))
            return Served(response=stream.response, kept=answer, error=error)
        body = result.to_body()
        await listener.send("done", body)
        await stream.end()
        return Served(response=stream.response, kept=kept(json_answer(body)))


def _accepted(ask: Ask, record: CallbackRecord) -> web.Response:
    path = f"/callbacks/{record.callback_id}"
    expires_at = dt.datetime.fromtimestamp(record.expires_s, tz=dt.UTC)
    accepted = {
        "callback_id": record.callback_id,
        "status_url": f"{origin_of(ask.request)}{path}",
        "expires_at": expires_at.isoformat(timespec="milliseconds"),
    }
    headers = {"Location": path, "Preference-Applied": "respond-async"}
    return json_answer(accepted, status=202, headers=headers)


def _answered(ask: Ask, key: str, record: CallbackRecord) -> AnsweredKey:
    return AnsweredKey(key=key, answer=kept(_accepted(ask, record)))


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
