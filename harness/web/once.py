"""
One effect per idempotency key, at the door.
"""

import asyncio
import hashlib
import logging
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Final

from aiohttp import web

from harness.errors import StoppingError, StoreUnavailableError
from harness.orchestrator import ChatMode, IdempotencyKeys, OwnedTasks
from harness.stores import IdempotentAnswer
from harness.telemetry import Redactor
from harness.web.answers import RequestError, error_answer
from harness.web.asking import Ask, Served, kept
from harness.web.sse import EventStream

KEY_CHARS_MAX: Final = 255

_LOG = logging.getLogger(__name__)


class OncePerKey:
    """
    Serves a request unless its key was served before.

    Args:
        keys: Claims them in the store.
        owned: Owns the chats: they go on when the caller leaves, so that its
            repetition finds the answer.
        redactor: Keeps secrets out of answers.
    """

    def __init__(
        self, *, keys: IdempotencyKeys, owned: OwnedTasks, redactor: Redactor
    ) -> None:
        self._keys = keys
        self._owned = owned
        self._redactor = redactor

    async def serve(
        self,
        ask: Ask,
        serve: Callable[[Ask], Awaitable[Served]],
        *,
        key: str,
        body: bytes,
    ) -> web.StreamResponse:
        """
        Return the answer to a request, the first one's if this repeats it.

        Raises:
            HarnessError: The chat has no answer, or the key is in use.
        """
        ask.scoped_key = _scoped(_checked(key), user_id=ask.command.user_id)
        self._owned.check_room()
        task = self._owned.start(
            self._serve(ask, serve, ask.scoped_key, key=key, body=body),
            name="chat once",
        )
        # The handler may be cancelled, the chat goes on: somebody will ask again.
        outcome = await asyncio.shield(task)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    async def _serve(
        self,
        ask: Ask,
        serve: Callable[[Ask], Awaitable[Served]],
        scoped_key: str,
        *,
        key: str,
        body: bytes,
    ) -> web.StreamResponse | Exception:
        """
        Do it as a task that its owner can hold: what goes wrong is returned.
        """
        try:
            known = await self._keys.begin(scoped_key, body=body, shown_key=key)
            if known is not None:
                return await _replay(ask, known)
        except Exception as error:  # noqa: BLE001 - handed to whoever waits
            return error
        try:
            served = await serve(ask)
        except asyncio.CancelledError:
            await self._release(scoped_key)
            raise
        except Exception as error:  # noqa: BLE001 - handed to whoever waits
            answer = kept(error_answer(error, redactor=self._redactor))
            await self._settle(ask, scoped_key, answer, error)
            return error
        if served.kept is not None:
            await self._settle(ask, scoped_key, served.kept, served.error)
        return served.response

    async def _settle(
        self,
        ask: Ask,
        scoped_key: str,
        answer: IdempotentAnswer,
        error: Exception | None,
    ) -> None:
        """
        Remember the answer, or free the key where nothing was done or we gave up.
        """
        has_failed = error is not None
        if isinstance(error, StoppingError) or (has_failed and not ask.had_effect):
            await self._release(scoped_key)
            return
        try:
            await self._keys.finish(scoped_key, answer)
        except StoreUnavailableError:
            # The answer itself is right; its repetition gets 409 until the next start.
            _LOG.warning("the answer to an idempotency key could not be kept")

    async def _release(self, scoped_key: str) -> None:
        try:
            await self._keys.release(scoped_key)
        except StoreUnavailableError:
            _LOG.warning("an idempotency key could not be freed before the next start")


def _checked(key: str) -> str:
    key = key.strip()
    if not key or len(key) > KEY_CHARS_MAX:
        raise RequestError(
            status=422,
            code="invalid_request",
            message=f"Idempotency-Key: 1 to {KEY_CHARS_MAX} characters",
        )
    return key


def _scoped(key: str, *, user_id: str) -> str:
    """
    Return the key under which the store knows it: two users may choose the same one.
    """
    # A header that is no UTF-8 stands here with surrogates.
    text = f"{user_id}\x1f{key}".encode(errors="surrogateescape")
    return hashlib.sha256(text).hexdigest()


async def _replay(ask: Ask, known: IdempotentAnswer) -> web.StreamResponse:
    if ask.mode is not ChatMode.STREAM:
        return web.Response(
            body=known.body, status=known.status, content_type=known.content_type
        )
    stream = EventStream(ask.request)
    name = "done" if known.status == HTTPStatus.OK else "error"
    await stream.send_raw(name, known.body)
    await stream.end()
    return stream.response
