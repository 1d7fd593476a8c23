"""
The loop of a chat: do what the conversation says comes next, until it is answered.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from harness.clock import Clock
from harness.errors import DeadlineExceededError
from harness.orchestrator.calls import CallOutcome, PutOff, ToolCalls
from harness.orchestrator.chat import (
    Chat,
    ChatListener,
    ChatMode,
    ChatResult,
    Progress,
)
from harness.orchestrator.conversation import (
    Answer,
    AskModel,
    CallTools,
    Conversation,
    FinishedCall,
    Message,
    PlannedCall,
    WaitFor,
    answered,
    completed,
    deferred,
    next_move,
)
from harness.orchestrator.failures import first_error
from harness.orchestrator.options import OrchestratorOptions
from harness.resilience import Deadline, deadline_scope
from harness.tools import ToolRegistry
from harness.upstream import ChatRequest, Completion, OnDelta


class ModelClient(Protocol):
    """
    What the loop needs of the model API.
    """

    async def complete(
        self,
        request: ChatRequest,
        *,
        deadline: Deadline | None = None,
        on_delta: OnDelta | None = None,
    ) -> Completion:
        """
        Return the model's answer to a request.
        """


class ChatLoop:
    """
    Runs chats; holds no state of any of them.
    """

    def __init__(
        self,
        *,
        model: ModelClient,
        registry: ToolRegistry,
        calls: ToolCalls,
        options: OrchestratorOptions,
        clock: Clock,
    ) -> None:
        self._model = model
        self._registry = registry
        self._calls = calls
        self._options = options
        self._clock = clock

    async def run(
        self,
        chat: Chat,
        conversation: Conversation,
        *,
        listener: ChatListener | None = None,
        progress: Progress | None = None,
    ) -> tuple[ChatResult, Conversation]:
        """
        Go on with a conversation until the model has answered.

        Raises:
            HarnessError: The chat has no answer; the leaf says why.
        """
        timeout = self._clock.timeout_at(chat.deadline.at_s)
        try:
            with deadline_scope(chat.deadline):
                async with timeout:
                    return await self._run(chat, conversation, listener, progress)
        except TimeoutError as error:
            if not timeout.expired():
                raise
            left_s = chat.deadline.remaining_s()
            raise DeadlineExceededError(deadline_in_s=left_s) from error

    async def _run(
        self,
        chat: Chat,
        conversation: Conversation,
        listener: ChatListener | None,
        progress: Progress | None,
    ) -> tuple[ChatResult, Conversation]:
        while True:
            move = next_move(conversation, turns_max=self._options.turns_max)
            match move:
                case AskModel(messages=messages):
                    completion = await self._ask(chat, messages, listener)
                    conversation = completed(
                        conversation,
                        completion,
                        tool_calls_max=self._options.tool_calls_max,
                    )
                case CallTools(calls=calls):
                    conversation = await self._call_tools(
                        chat, conversation, calls, listener
                    )
                case WaitFor(calls=calls):
                    conversation = await self._wait_for(
                        chat, conversation, calls, listener
                    )
                case Answer(text=text, function_calls=finished):
                    result = ChatResult(
                        response=text,
                        function_calls=finished,
                        session_id=chat.session_id,
                        trace_id=chat.trace_id,
                        turns=conversation.turns,
                    )
                    return result, conversation
            if progress is not None and conversation.answer is None:
                await progress(conversation)

    async def _ask(
        self, chat: Chat, messages: tuple[Message, ...], listener: ChatListener | None
    ) -> Completion:
        request = ChatRequest(
            model=chat.model,
            messages=messages,
            tools=self._registry.openai_tools(),
            temperature=self._options.temperature,
        )
        return await self._model.complete(
            request,
            deadline=chat.deadline,
            on_delta=None if listener is None else listener.delta,
        )

    async def _call_tools(
        self,
        chat: Chat,
        conversation: Conversation,
        calls: Sequence[PlannedCall],
        listener: ChatListener | None,
    ) -> Conversation:
        async def run(call: PlannedCall) -> CallOutcome:
            chat.calls_started += 1
            if listener is not None:
                await listener.tool_call(call)
            outcome = await self._calls.run(
                call,
                chat_id=chat.chat_id,
                deadline=chat.deadline,
                outlives_process=chat.mode is ChatMode.ASYNC,
            )
            if listener is not None and isinstance(outcome, FinishedCall):
                await listener.tool_result(outcome)
            return outcome

        for outcome in await self._run_all(calls, run):
            match outcome:
                case PutOff(call=call):
                    conversation = deferred(conversation, call)
                case FinishedCall():
                    conversation = answered(conversation, outcome)
        return conversation

    async def _wait_for(
        self,
        chat: Chat,
        conversation: Conversation,
        calls: Sequence[PlannedCall],
        listener: ChatListener | None,
    ) -> Conversation:
        async def wait(call: PlannedCall) -> CallOutcome:
            finished = await self._calls.wait(call, chat_id=chat.chat_id)
            if listener is not None:
                await listener.tool_result(finished)
            return finished

        for outcome in await self._run_all(calls, wait, parallel=True):
            match outcome:
                case FinishedCall():
                    conversation = answered(conversation, outcome)
                case PutOff():
                    message = "a call that was waited for cannot be put off"
                    raise TypeError(message)
        return conversation

    async def _run_all(
        self,
        calls: Sequence[PlannedCall],
        run: Callable[[PlannedCall], Awaitable[CallOutcome]],
        *,
        parallel: bool | None = None,
    ) -> list[CallOutcome]:
        """
        Run all calls and return their outcomes, in order; the first error ends all.
        """
        is_parallel = self._options.parallel if parallel is None else parallel
        if len(calls) == 1 or not is_parallel:
            return [await run(call) for call in calls]
        outcomes: dict[str, CallOutcome] = {}

        async def keep(call: PlannedCall) -> None:
            outcomes[call.call_id] = await run(call)

        try:
            async with asyncio.TaskGroup() as tasks:
                for call in calls:
                    tasks.create_task(keep(call), name=f"tool call {call.call_id}")
        except BaseExceptionGroup as group:
            raise first_error(group) from group
        return [outcomes[call.call_id] for call in calls]
