"""
Chats whose callers wait for them.
"""

import asyncio
import logging

from harness.bus import EventBus
from harness.clock import Clock
from harness.events import ChatAnswered, ChatFailed, ChatReceived, current_trace_id
from harness.ids import IdMint, SessionId
from harness.orchestrator.callers import WaitingCallers
from harness.orchestrator.chat import (
    Chat,
    ChatCommand,
    ChatListener,
    ChatMode,
    ChatResult,
)
from harness.orchestrator.conversation import started
from harness.orchestrator.failures import (
    CALLER_LEFT_STATUS,
    CANCELLED,
    INTERNAL,
    describe,
)
from harness.orchestrator.loop import ChatLoop
from harness.orchestrator.options import OrchestratorOptions
from harness.orchestrator.sessions import Sessions
from harness.resilience import Deadline

_LOG = logging.getLogger(__name__)


class Orchestrator:
    """
    Runs chats for callers that wait; a caller that leaves takes its chat along.
    """

    def __init__(
        self,
        *,
        loop: ChatLoop,
        sessions: Sessions,
        options: OrchestratorOptions,
        clock: Clock,
        ids: IdMint,
        bus: EventBus,
    ) -> None:
        self._loop = loop
        self._sessions = sessions
        self._options = options
        self._clock = clock
        self._ids = ids
        self._bus = bus
        self._callers = WaitingCallers(callers_max=options.chats_max, clock=clock)

    @property
    def in_flight(self) -> int:
        """
        How many callers are waiting.
        """
        return len(self._callers)

    async def stop(self, *, grace_s: float) -> int:
        """
        Take no chats, and end those that are not answered after ``grace_s``.

        Returns:
            How many were ended without an answer.
        """
        return await self._callers.stop(grace_s=grace_s)

    def begin(self, command: ChatCommand, *, mode: ChatMode) -> Chat:
        """
        Return a chat with its ids and its deadline; nothing is done for it yet.
        """
        return Chat(
            chat_id=self._ids.mint("chat"),
            mode=mode,
            session_id=command.session_id or SessionId(self._ids.mint("ses")),
            model=command.model or self._options.model,
            deadline=Deadline.after(self._clock, self._options.total_timeout_s),
            trace_id=current_trace_id(),
        )

    async def answer(
        self, chat: Chat, command: ChatCommand, *, listener: ChatListener | None = None
    ) -> ChatResult:
        """
        Run a chat to its answer.

        Raises:
            OverloadedError: As many callers as allowed are waiting.
            StoppingError: The service ends before the chat does.
            HarnessError: The chat has no answer; the leaf says why.
        """
        self._callers.check_room()
        started_s = self._clock.monotonic()
        self._bus.publish(
            ChatReceived(mode=chat.mode.value, session_id=chat.session_id)
        )
        try:
            async with self._callers.place():
                result = await self._run(chat, command, listener)
        except asyncio.CancelledError:
            self._publish_failed(
                chat,
                reason=CANCELLED,
                status=CALLER_LEFT_STATUS,
                started_s=started_s,
            )
            raise
        except Exception as error:
            failure = describe(error)
            if failure is INTERNAL:
                _LOG.exception("chat %s failed", chat.chat_id)
            self._publish_failed(
                chat,
                reason=failure.code,
                status=failure.status,
                started_s=started_s,
            )
            raise
        self._bus.publish(
            ChatAnswered(
                mode=chat.mode.value,
                turns=result.turns,
                tool_calls=len(result.function_calls),
                duration_s=self._clock.monotonic() - started_s,
            )
        )
        return result

    async def _run(
        self, chat: Chat, command: ChatCommand, listener: ChatListener | None
    ) -> ChatResult:
        # A session that begins here has no history to look for.
        history = (
            ()
            if command.session_id is None
            else await self._sessions.load(chat.session_id, user_id=command.user_id)
        )
        conversation = started(
            system_prompt=self._options.system_prompt,
            history=history,
            message=command.message,
        )
        result, conversation = await self._loop.run(
            chat, conversation, listener=listener
        )
        await self._sessions.save(
            chat.session_id, conversation, user_id=command.user_id
        )
        return result

    def _publish_failed(
        self, chat: Chat, *, reason: str, status: int, started_s: float
    ) -> None:
        self._bus.publish(
            ChatFailed(
                mode=chat.mode.value,
                reason=reason,
                status=status,
                duration_s=self._clock.monotonic() - started_s,
            )
        )
