"""
Asynchronous chats: accepted in the store, worked on by tasks of our own, ended once.

An accepted chat ends, whatever happens to the caller or to this process: its end and
its webhook are one transaction, and whoever starts next goes on with those that have
none yet.
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from harness.bus import EventBus
from harness.clock import Clock
from harness.errors import (
    DeadlineExceededError,
    OverloadedError,
    PayloadError,
    StoppingError,
    StoreUnavailableError,
)
from harness.events import (
    ChatAnswered,
    ChatFailed,
    ChatReceived,
    ChatResumed,
    Event,
    current_trace_id,
    trace_scope,
)
from harness.ids import CallbackId, IdMint, SessionId
from harness.orchestrator.announcements import Announcements
from harness.orchestrator.chat import Chat, ChatCommand, ChatMode
from harness.orchestrator.conversation import Conversation, from_json, started, to_json
from harness.orchestrator.failures import (
    CALLER_LEFT_STATUS,
    CANCELLED,
    INTERNAL,
    Failure,
    describe,
)
from harness.orchestrator.loop import ChatLoop
from harness.orchestrator.options import OrchestratorOptions
from harness.orchestrator.sessions import Sessions
from harness.orchestrator.tasks import OwnedTasks
from harness.resilience import Deadline
from harness.stores import (
    AnsweredKey,
    CallbackRecord,
    CallbackState,
    NewMessage,
    Store,
)

_LOG = logging.getLogger(__name__)
_STORE_RETRY_MAX_S = 5.0
_CANCELLED = Failure(
    status=CALLER_LEFT_STATUS, code=CANCELLED, message="the chat was cancelled"
)


AnswerFor = Callable[[CallbackRecord], AnsweredKey]
"""Says what the repetition of a request is told about the chat that was accepted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _End:
    """
    How a chat ends, all of which is written at once.
    """

    state: CallbackState
    event: Event | None = None
    """Published once it is written."""

    result: dict[str, Any] | None = None
    error: dict[str, Any] | None = None


class Callbacks:
    """
    Accepts, runs, cancels and resumes asynchronous chats.
    """

    def __init__(
        self,
        *,
        loop: ChatLoop,
        store: Store,
        sessions: Sessions,
        announcements: Announcements,
        options: OrchestratorOptions,
        clock: Clock,
        ids: IdMint,
        bus: EventBus,
    ) -> None:
        self._loop = loop
        self._store = store
        self._sessions = sessions
        self._announcements = announcements
        self._options = options
        self._clock = clock
        self._ids = ids
        self._bus = bus
        self._tasks = OwnedTasks(
            name="async_chats_max", tasks_max=options.async_chats_max, clock=clock
        )
        self._by_id: dict[CallbackId, asyncio.Task[None]] = {}
        self._accepting = 0

    @property
    def in_flight(self) -> int:
        """
        How many chats are being worked on.
        """
        return len(self._tasks)

    async def run(self) -> None:
        """
        Own the chats until :meth:`stop`.
        """
        await self._tasks.run()

    async def stop(self, *, grace_s: float) -> int:
        """
        Let chats end within ``grace_s``; the others go on after the next start.

        Returns:
            How many did not end.
        """
        return await self._tasks.stop(grace_s=grace_s)

    async def accept(
        self, command: ChatCommand, *, answer_for: AnswerFor | None = None
    ) -> CallbackRecord:
        """
        Take on a chat; when this returns it is in the store and being worked on.

        Args:
            command: What the user says.
            answer_for: Returns the answer to the idempotency key of the request, which
                is written together with the chat; None for a request without one.

        Raises:
            OverloadedError: As many as allowed are being worked on.
            StoppingError: The end is near.
            StoreUnavailableError: It could not be remembered.
        """
        self._tasks.check_room()
        limit = self._options.async_chats_max
        if len(self._tasks) + self._accepting >= limit:
            raise OverloadedError(limit="async_chats_max", value=limit)
        session_id = command.session_id or SessionId(self._ids.mint("ses"))
        record = CallbackRecord(
            callback_id=CallbackId(self._ids.mint("cb")),
            request_json=_encode_command(command, session_id=session_id),
            state=CallbackState.PENDING,
            expires_s=self._clock.wall() + self._options.total_timeout_s,
            trace_id=current_trace_id(),
        )
        self._accepting += 1
        try:
            if command.session_id is not None:
                # A foreign session is refused now, not by webhook.
                await self._sessions.load(session_id, user_id=command.user_id)
            answered = None if answer_for is None else answer_for(record)
            await self._store.accept_chat(record, answered=answered)
        finally:
            self._accepting -= 1
        self._bus.publish(
            ChatReceived(
                mode=ChatMode.ASYNC.value,
                session_id=session_id,
                callback_id=record.callback_id,
            )
        )
        # If the end has begun meanwhile, the chat goes on after the next start.
        with contextlib.suppress(StoppingError):
            self._start(record)
        return record

    async def resume(self, records: Sequence[CallbackRecord]) -> None:
        """
        Go on with chats that were accepted by a process that is gone.
        """
        await self._tasks.wait_ready()
        for record in records:
            self._start(record, is_resumed=True)

    async def load(self, callback_id: CallbackId) -> CallbackRecord | None:
        """
        Return a chat as it stands, or None if it is unknown or no longer kept.
        """
        return await self._store.load_callback(callback_id)

    async def cancel(self, callback_id: CallbackId) -> CallbackRecord | None:
        """
        End a chat unless it has ended; return it as it stands then.

        Of a cancellation and an end at the same time exactly one wins.
        """
        record = await self._store.load_callback(callback_id)
        if record is None or record.state is not CallbackState.PENDING:
            return record
        left_s = record.expires_s - self._clock.wall()
        end = _End(
            state=CallbackState.CANCELLED,
            event=_failed_event(
                callback_id,
                _CANCELLED,
                duration_s=self._options.total_timeout_s - left_s,
            ),
            error=_CANCELLED.to_error(trace_id=record.trace_id),
        )
        with trace_scope(record.trace_id):
            await self._finish(record, end)
        if (task := self._by_id.get(callback_id)) is not None:
            task.cancel()
        return await self._store.load_callback(callback_id)

    # Running -------------------------------------------------------------------------

    def _start(self, record: CallbackRecord, *, is_resumed: bool = False) -> None:
        with trace_scope(record.trace_id):
            work = self._work(record, is_resumed=is_resumed)
            task = self._tasks.start(work, name=f"chat {record.callback_id}")
        self._by_id[record.callback_id] = task
        task.add_done_callback(lambda _: self._by_id.pop(record.callback_id, None))

    async def _work(self, record: CallbackRecord, *, is_resumed: bool) -> None:
        started_s = self._clock.monotonic()
        try:
            end = await self._reach_end(
                record, started_s=started_s, is_resumed=is_resumed
            )
        except Exception as error:  # noqa: BLE001 - whatever happens, the chat must end
            end = self._failed(record, error, started_s=started_s)
        try:
            await self._keep_trying(lambda: self._finish(record, end))
        except PayloadError as error:
            unsendable = self._failed(record, error, started_s=started_s)
            await self._keep_trying(lambda: self._finish(record, unsendable))

    async def _reach_end(
        self, record: CallbackRecord, *, started_s: float, is_resumed: bool
    ) -> _End:
        command = _decode_command(record.request_json)
        session_id = command.session_id
        if session_id is None:
            message = "an accepted chat has a session"
            raise TypeError(message)
        chat = Chat(
            chat_id=record.callback_id,
            mode=ChatMode.ASYNC,
            session_id=session_id,
            model=command.model or self._options.model,
            deadline=Deadline.after(self._clock, record.expires_s - self._clock.wall()),
            trace_id=record.trace_id,
        )
        conversation = await self._conversation(record, command, session_id)
        if is_resumed:
            self._bus.publish(
                ChatResumed(callback_id=record.callback_id, turns=conversation.turns)
            )

        async def progress(step: Conversation) -> None:
            await self._keep_trying(
                lambda: self._store.save_progress(record.callback_id, to_json(step))
            )

        result, conversation = await self._loop.run(
            chat, conversation, progress=progress
        )
        await self._keep_trying(
            lambda: self._sessions.save(
                session_id, conversation, user_id=command.user_id
            )
        )
        event = ChatAnswered(
            mode=ChatMode.ASYNC.value,
            turns=result.turns,
            tool_calls=len(result.function_calls),
            duration_s=self._clock.monotonic() - started_s,
            callback_id=record.callback_id,
        )
        return _End(state=CallbackState.COMPLETED, event=event, result=result.to_body())

    async def _conversation(
        self, record: CallbackRecord, command: ChatCommand, session_id: SessionId
    ) -> Conversation:
        if record.progress_json is not None:
            return from_json(record.progress_json)
        return started(
            system_prompt=self._options.system_prompt,
            history=await self._sessions.load(session_id, user_id=command.user_id),
            message=command.message,
        )

    # Ending --------------------------------------------------------------------------

    async def _finish(self, record: CallbackRecord, end: _End) -> None:
        message: NewMessage | None = self._announcements.of_chat(
            record.callback_id,
            result=end.result,
            error=end.error,
            trace_id=record.trace_id,
        )
        if await self._store.finish_chat(
            record.callback_id,
            state=end.state,
            result_json=_encode(end.result),
            error_json=_encode(end.error),
            message=message,
        ):
            if end.event is not None:
                self._bus.publish(end.event)
            self._announcements.committed(message)

    async def _keep_trying(self, write: Callable[[], Awaitable[None]]) -> None:
        """
        Repeat a write until the store takes it: an accepted chat must not get lost.
        """
        while True:
            try:
                await write()
            except StoreUnavailableError as error:
                await self._clock.sleep(min(error.retry_after_s, _STORE_RETRY_MAX_S))
            else:
                return

    def _failed(
        self, record: CallbackRecord, error: Exception, *, started_s: float
    ) -> _End:
        failure = describe(error)
        if failure is INTERNAL:
            _LOG.error("chat %s failed", record.callback_id, exc_info=error)
        is_expired = isinstance(error, DeadlineExceededError)
        return _End(
            state=CallbackState.EXPIRED if is_expired else CallbackState.FAILED,
            event=_failed_event(
                record.callback_id,
                failure,
                duration_s=self._clock.monotonic() - started_s,
            ),
            error=failure.to_error(trace_id=record.trace_id),
        )


def _failed_event(
    callback_id: CallbackId, failure: Failure, *, duration_s: float
) -> ChatFailed:
    return ChatFailed(
        mode=ChatMode.ASYNC.value,
        reason=failure.code,
        status=failure.status,
        duration_s=duration_s,
        callback_id=callback_id,
    )


def _encode(value: dict[str, Any] | None) -> str | None:
    return None if value is None else orjson.dumps(value).decode()


def _encode_command(command: ChatCommand, *, session_id: SessionId) -> str:
    return orjson.dumps(
        {
            "message": command.message,
            "user_id": command.user_id,
            "session_id": session_id,
            "model": command.model,
        }
    ).decode()


def _decode_command(text: str) -> ChatCommand:
    return ChatCommand(**orjson.loads(text))
