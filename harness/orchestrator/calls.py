"""
One tool call, from the model's wish to an answer that is committed.

Whatever goes wrong with a call is told to the model and goes no further: the chat
goes on. An execution that has an entry in the store is not run again, so that a chat
that is resumed after a crash does nothing twice that it knows of.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import orjson

from harness.bus import EventBus
from harness.clock import Clock
from harness.errors import (
    InvalidArgumentsError,
    PayloadError,
    ToolError,
    ToolFailedError,
    ToolTimeoutError,
)
from harness.events import (
    PendingCallExpired,
    PendingCallOpened,
    ToolCallEnded,
    ToolCallStarted,
    current_trace_id,
)
from harness.ids import ToolCallId
from harness.orchestrator.announcements import Announcements
from harness.orchestrator.conversation import FinishedCall, PlannedCall
from harness.orchestrator.options import OrchestratorOptions
from harness.orchestrator.pending import PendingCalls
from harness.resilience import Deadline
from harness.stores import CallState, Store, ToolCallRecord
from harness.tools import Deferred, ToolContext, ToolRegistry, ToolResult, ToolSpec

_SUFFIX_CHARS = 8
_ARGUMENTS_KEPT_CHARS_MAX = 65_536
_NO_RESULT = {"code": "result_lost", "message": "the result is no longer kept"}


@dataclass(frozen=True, slots=True, kw_only=True)
class PutOff:
    """
    The call was dispatched; its result comes by webhook.
    """

    call: PlannedCall


CallOutcome = FinishedCall | PutOff


class ToolCalls:
    """
    Runs tool calls and commits what they come to.
    """

    def __init__(
        self,
        *,
        registry: ToolRegistry,
        store: Store,
        pending: PendingCalls,
        announcements: Announcements,
        options: OrchestratorOptions,
        clock: Clock,
        bus: EventBus,
    ) -> None:
        self._registry = registry
        self._store = store
        self._pending = pending
        self._announcements = announcements
        self._options = options
        self._clock = clock
        self._bus = bus
        self._running: dict[ToolCallId, str] = {}

    async def run(
        self,
        call: PlannedCall,
        *,
        chat_id: str,
        deadline: Deadline,
        outlives_process: bool = False,
    ) -> CallOutcome:
        """
        Run a call, or take its answer from the store if it was run before.

        Args:
            call: What the model asked for.
            chat_id: The chat it belongs to.
            deadline: When the chat is over.
            outlives_process: Whether the chat goes on after a crash. Its calls are
                written down before they are dispatched: whoever takes over cannot
                know what an unanswered one has done, and does not do it again.

        Raises:
            DeadlineExceededError: The time of the chat is over.
            StoreUnavailableError: Its end could not be committed.
        """
        call, known = await self._settle_id(call, chat_id=chat_id)
        if known is not None:
            return self._take_over(call, known)
        with self._claimed(call.execution_id, chat_id):
            started_s = self._clock.monotonic()
            try:
                arguments = self._check(call)
                spec = self._registry.spec(call.name)
            except ToolError as error:
                return await self._fail(call, chat_id, error, started_s=started_s)
            if spec.deferred or outlives_process:
                return await self._run_opened(
                    call, arguments, spec, chat_id=chat_id, deadline=deadline
                )
            self._publish_started(call)
            try:
                result = await self._execute(call, arguments, deadline)
            except ToolError as error:
                return await self._fail(call, chat_id, error, started_s=started_s)
            match result:
                case ToolResult(value=value):
                    return await self._complete(
                        call, chat_id, value, started_s=started_s
                    )
                case Deferred():
                    return PutOff(call=replace(call, deferred=True))

    async def wait(self, call: PlannedCall, *, chat_id: str) -> FinishedCall:
        """
        Wait until a call that was put off has ended; it fails at its deadline.

        Raises:
            StoreUnavailableError: Its end could not be read or committed.
        """
        started_s = self._clock.monotonic()
        record = await self._store.load_call(call.execution_id)
        if record is not None and record.state is CallState.PENDING:
            left_s = self._options.pending_timeout_s
            if record.deadline_s is not None:
                left_s = record.deadline_s - self._clock.wall()
            record = await self._pending.wait_ended(
                call.execution_id, deadline_s=started_s + left_s
            )
            if record is None:
                record = await self._expire(call, chat_id=chat_id)
        finished = _finished(call, record)
        self._publish_ended(finished, started_s=started_s)
        return finished

    # Which execution this is ---------------------------------------------------------

    async def _settle_id(
        self, call: PlannedCall, *, chat_id: str
    ) -> tuple[PlannedCall, ToolCallRecord | None]:
        """
        Find the id of the execution, and its entry in the store if it has one.

        Ids come from the model and need not be unique between chats. Where another
        chat has taken one, this chat's own suffix is added: the same after a restart.
        """
        for candidate in (
            call,
            replace(
                call,
                execution_id=ToolCallId(
                    f"{call.execution_id}-{chat_id[-_SUFFIX_CHARS:]}"
                ),
            ),
        ):
            owner = self._running.get(candidate.execution_id)
            record = await self._store.load_call(candidate.execution_id)
            if owner in {None, chat_id} and (
                record is None or record.chat_id == chat_id
            ):
                return candidate, record
        # Two chats with one suffix and one id: as good as impossible, never shared.
        return replace(
            call, execution_id=ToolCallId(f"{call.execution_id}-{chat_id}")
        ), None

    @contextmanager
    def _claimed(self, execution_id: ToolCallId, chat_id: str) -> Iterator[None]:
        self._running[execution_id] = chat_id
        try:
            yield
        finally:
            self._running.pop(execution_id, None)

    def _take_over(self, call: PlannedCall, record: ToolCallRecord) -> CallOutcome:
        if record.state is CallState.PENDING:
            return PutOff(call=replace(call, deferred=True))
        return _finished(call, record)

    # Running -------------------------------------------------------------------------

    def _check(self, call: PlannedCall) -> dict[str, Any]:
        size_bytes = len(call.arguments.encode(errors="replace"))
        if size_bytes > self._options.arguments_bytes_max:
            raise InvalidArgumentsError(
                tool=call.name,
                mistakes=[
                    f"{size_bytes} bytes; at most {self._options.arguments_bytes_max}"
                ],
            )
        return self._registry.check(call.name, call.arguments)

    async def _execute(
        self, call: PlannedCall, arguments: dict[str, Any], deadline: Deadline
    ) -> ToolResult | Deferred:
        return await self._registry.execute(
            call.name,
            arguments,
            ToolContext(
                tool_call_id=call.execution_id,
                trace_id=current_trace_id(),
                deadline=deadline,
            ),
        )

    async def _run_opened(
        self,
        call: PlannedCall,
        arguments: dict[str, Any],
        spec: ToolSpec,
        *,
        chat_id: str,
        deadline: Deadline,
    ) -> CallOutcome:
        started_s = self._clock.monotonic()
        timeout_s = self._options.pending_timeout_s if spec.deferred else spec.timeout_s
        opened = await self._store.open_call(
            replace(
                _record(call, chat_id, state=CallState.PENDING, result=None),
                deadline_s=self._clock.wall() + timeout_s,
            )
        )
        if opened.state is not CallState.PENDING:
            # Its result was here before it was asked for.
            return _finished(call, opened)
        if spec.deferred:
            self._bus.publish(
                PendingCallOpened(
                    tool=call.shown_name,
                    tool_call_id=call.execution_id,
                    timeout_s=timeout_s,
                )
            )
        self._publish_started(call)
        try:
            result = await self._execute(call, arguments, deadline)
        except ToolError as error:
            return await self._fail(call, chat_id, error, started_s=started_s)
        match result:
            case Deferred():
                return PutOff(call=replace(call, deferred=True))
            case ToolResult(value=value):
                return await self._complete(call, chat_id, value, started_s=started_s)

    # Ending --------------------------------------------------------------------------

    async def _complete(
        self, call: PlannedCall, chat_id: str, value: Any, *, started_s: float
    ) -> FinishedCall:
        record = _record(call, chat_id, state=CallState.COMPLETED, result=value)
        try:
            finished = _finished(call, await self._commit(record))
        except PayloadError:
            reason = "its result cannot be sent by webhook"
            unsendable = ToolFailedError(tool=call.name, reason=reason)
            return await self._fail(call, chat_id, unsendable, started_s=started_s)
        self._publish_ended(finished, started_s=started_s)
        return finished

    async def _fail(
        self, call: PlannedCall, chat_id: str, error: ToolError, *, started_s: float
    ) -> FinishedCall:
        told = {"code": error.code, "message": str(error)}
        record = _record(call, chat_id, state=CallState.FAILED, result=told)
        finished = _finished(call, await self._commit(record))
        self._publish_ended(finished, started_s=started_s)
        return finished

    async def _expire(self, call: PlannedCall, *, chat_id: str) -> ToolCallRecord:
        timeout_s = self._options.pending_timeout_s
        error = ToolTimeoutError(tool=call.name, timeout_s=timeout_s)
        told = {"code": error.code, "message": str(error)}
        expired = _record(call, chat_id, state=CallState.EXPIRED, result=told)
        record = await self._commit(expired)
        if record is expired:
            self._bus.publish(
                PendingCallExpired(
                    tool=call.shown_name,
                    tool_call_id=call.execution_id,
                    timeout_s=timeout_s,
                )
            )
        return record

    async def _commit(self, record: ToolCallRecord) -> ToolCallRecord:
        """
        Write the end of a call with its webhook; return the end that stands.
        """
        message = self._announcements.of_call(record)
        if await self._store.finish_call(record, message=message):
            self._announcements.committed(message)
            return record
        # Somebody else ended it first: its result by webhook, or the sweeper.
        return await self._store.load_call(record.tool_call_id) or record

    def _publish_started(self, call: PlannedCall) -> None:
        self._bus.publish(
            ToolCallStarted(tool=call.shown_name, tool_call_id=call.execution_id)
        )

    def _publish_ended(self, finished: FinishedCall, *, started_s: float) -> None:
        reason = "ok" if finished.ok else str(finished.result.get("code", "unknown"))
        self._bus.publish(
            ToolCallEnded(
                tool=finished.call.shown_name,
                tool_call_id=finished.call.execution_id,
                outcome="completed" if finished.ok else "failed",
                reason=reason,
                duration_s=self._clock.monotonic() - started_s,
            )
        )


def _record(
    call: PlannedCall, chat_id: str, *, state: CallState, result: Any
) -> ToolCallRecord:
    is_pending = state is CallState.PENDING
    return ToolCallRecord(
        tool_call_id=call.execution_id,
        chat_id=chat_id,
        tool=call.shown_name,
        # What is longer was refused; its beginning is enough for the record.
        arguments_json=call.arguments[:_ARGUMENTS_KEPT_CHARS_MAX],
        state=state,
        result_json=None if is_pending else orjson.dumps(result).decode(),
        trace_id=current_trace_id(),
    )


def _finished(call: PlannedCall, record: ToolCallRecord | None) -> FinishedCall:
    """
    Return the answer to the model that an ended call stands for.
    """
    if record is None or record.result_json is None:
        return FinishedCall(call=call, ok=False, result=_told(_NO_RESULT))
    result = orjson.loads(record.result_json)
    if record.state is CallState.COMPLETED:
        return FinishedCall(call=call, ok=True, result=result)
    return FinishedCall(call=call, ok=False, result=_told(result))


def _told(error: Any) -> dict[str, Any]:
    facts = error if isinstance(error, dict) else {"message": str(error)}
    return {
        "status": "error",
        "code": str(facts.get("code", "tool_failed")),
        "message": str(facts.get("message", "the tool failed")),
    }
