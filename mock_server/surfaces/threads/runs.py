"""
Runs: the model reads a thread, calls tools, is given their outputs, answers.

Outputs come all at once, as the official client sends them, or one by one to
``POST /v1/runs/submit-tool-outputs``, where the last one lets the run go on.
"""

import copy
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import orjson
from msgspec.structs import replace

from mock_server.core import Core
from mock_server.latency import LatencyProfile
from mock_server.script import ConversationName
from mock_server.surfaces.ports import Answer, Latency
from mock_server.surfaces.resources import Call, Resource, check_fields, value_plan
from mock_server.surfaces.scripted import ScriptedModel
from mock_server.surfaces.threads.play import (
    RunEvent,
    event_plan,
    output_entries,
    play_outputs,
    play_reply,
)
from mock_server.surfaces.threads.requests import (
    FLAT_OUTPUT,
    OUTPUTS,
    RUN,
    THREAD_AND_RUN,
    chat_of,
    check_pending,
    check_waits,
    content_text,
    instructions_of,
    outputs_of,
)
from mock_server.surfaces.threads.state import (
    Run,
    Thread,
    ThreadMemory,
    checkpoint,
    none_found,
    run_value,
)
from mock_server.surfaces.threads.threads import make_thread, poll_header
from mock_server.wire import (
    ApiError,
    Pace,
    Plan,
    Reply,
    answer_headers,
    parse_chat_request,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Step:
    """
    One turn of a run: what happens to it before the model speaks, and how it is told.
    """

    run: Run
    begin: Callable[[], Iterable[RunEvent]]
    """Changes the run; only called if the model has something to say."""

    messages: tuple[dict[str, Any], ...]
    """Of the thread, and those that come with the request."""

    stream: bool = False
    is_waited_for: bool = False
    """The answer is the run as the model left it, not as it began."""


class Runs(Resource):
    """
    Lets the script's model run over threads.

    Args:
        core: The parts of the mock.
        model: Replies.
        memory: Where threads and runs are kept.
        latency: How long a run that is polled takes, if no rule says it.
        poll_after_s: When a poller is told to come back.
    """

    name: ClassVar[str] = "runs"
    is_silent: ClassVar[bool] = False

    def __init__(
        self,
        core: Core,
        model: ScriptedModel,
        memory: ThreadMemory,
        *,
        latency: LatencyProfile,
        poll_after_s: float,
    ) -> None:
        self._core = core
        self._model = model
        self._memory = memory
        self._latency = latency
        self._poll_after_s = poll_after_s
        run = "/threads/{thread}/runs/{run}"
        super().__init__(
            model.api_keys,
            {
                "POST /threads/runs": self._create_with_thread,
                "POST /threads/{thread}/runs": self._create,
                f"POST {run}/submit_tool_outputs": self._submit,
                "POST /runs/submit-tool-outputs": self._submit_one,
            },
        )

    def _create_with_thread(self, call: Call) -> Answer:
        body = call.body()
        check_fields(body, THREAD_AND_RUN, required=["assistant_id"])
        thread = make_thread(body.get("thread") or {}, call, self._memory)
        created = [RunEvent("thread.created", copy.deepcopy(thread.value))]
        return self._begin(call, thread, body, created)

    def _create(self, call: Call) -> Answer:
        body = call.body()
        check_fields(body, RUN, required=["assistant_id"])
        thread = self._memory.thread(call.world.name, call.ids["thread"])
        if thread.active is not None:
            thread.active.expire_if_due(call.now_s)
        if thread.active is not None:
            message = (
                f"Thread {thread.id} already has an active run {thread.active.id}."
            )
            raise ApiError(message)
        return self._begin(call, thread, body, [])

    def _begin(
        self,
        call: Call,
        thread: Thread,
        body: dict[str, Any],
        created: list[RunEvent],
    ) -> Answer:
        memory, world = self._memory, call.world.name
        assistant = memory.assistants.get(world, body["assistant_id"])
        if assistant is None:
            raise none_found(body["assistant_id"], "assistant")
        run_id = memory.part_id("run_", thread)
        value = run_value(run_id, thread, assistant, body, call.now_s)
        self._model.check_model(value["model"])
        run = Run(value, thread, chat_of(value, body))
        added = [
            (message["role"], content_text(message["content"], "additional_messages"))
            for message in body.get("additional_messages") or ()
        ]
        run.chat["instructions"] = instructions_of(value, body)

        def begin() -> Iterable[RunEvent]:
            for role, text in added:
                memory.add_message(thread, role, text, now_s=call.now_s)
            memory.threads.put(world, thread.id, thread)
            memory.runs.put(world, run_id, run)
            thread.active = run
            shown = copy.deepcopy(run.value)
            return [
                *created,
                RunEvent("thread.run.created", shown),
                RunEvent("thread.run.queued", shown),
            ]

        messages = (
            *(entry.chat for entry in thread.entries),
            *({"role": role, "content": text} for role, text in added),
        )
        stream = body.get("stream") is True
        step = _Step(run=run, begin=begin, messages=messages, stream=stream)
        answer = self._ask(call, step)
        restore = checkpoint(thread, run)

        def undo() -> None:
            restore()
            memory.runs.pop(world, run_id)

        return _undone(answer, undo)

    def _submit(self, call: Call) -> Answer:
        body = call.body()
        check_fields(body, OUTPUTS, required=["tool_outputs"])
        ids = call.ids
        run = self._memory.run(call.world.name, ids["run"], ids["thread"])
        run.expire_if_due(call.now_s)
        outputs = outputs_of(body, run)
        stream = body.get("stream") is True
        return self._go_on(call, run, outputs, stream=stream)

    def _submit_one(self, call: Call) -> Answer:
        body = call.body()
        check_fields(body, FLAT_OUTPUT, required=["run_id", "tool_call_id", "output"])
        run = self._memory.run(call.world.name, body["run_id"])
        run.expire_if_due(call.now_s)
        call_id = body["tool_call_id"]
        headers = answer_headers(call.request.request_id)
        received = {
            "model": run.value["model"],
            "tool_results": [{"tool_call_id": call_id, "content": body["output"]}],
        }
        if call_id not in run.answered and call_id not in run.outputs:
            check_waits(run)
            check_pending(run, call_id)
            outputs = {**run.outputs, call_id: body["output"]}
            if set(outputs) == set(run.pending):
                in_order = {pending: outputs[pending] for pending in run.pending}
                return self._go_on(call, run, in_order, is_waited_for=True)
            run.outputs = outputs
        return Answer(
            keys=call.keys, plan=value_plan(run.value, headers), received=received
        )

    def _go_on(
        self,
        call: Call,
        run: Run,
        outputs: dict[str, str],
        *,
        stream: bool = False,
        is_waited_for: bool = False,
    ) -> Answer:
        run.chat["stream"] = stream
        entries = (*run.thread.entries, *output_entries(outputs))
        step = _Step(
            run=run,
            begin=lambda: list(play_outputs(run, outputs, call.now_s)),
            messages=tuple(entry.chat for entry in entries),
            stream=stream,
            is_waited_for=is_waited_for,
        )
        answer = self._ask(call, step)
        return _undone(answer, checkpoint(run.thread, run))

    def _ask(self, call: Call, step: _Step) -> Answer:
        """
        Return what the model's reply makes of the run.

        Raises:
            ApiError: The chat that the run makes is refused.
        """
        chat = {**step.run.chat}
        instructions = chat.pop("instructions", "")
        told = [{"role": "system", "content": instructions}] if instructions else []
        messages = [*told, *step.messages] or [{"role": "user", "content": ""}]
        parsed = parse_chat_request(
            orjson.dumps({**chat, "messages": messages}),
            models=self._model.models,
            strict=self._model.is_strict,
        )
        answer = self._model.reply_to(
            parsed,
            call.request,
            call.world,
            encode=lambda _: (),
            name=ConversationName(step.run.thread.id, is_unique=True),
        )
        if answer.reply is None:
            return answer
        play = self._stream if step.stream else self._poll
        if step.is_waited_for:
            play = self._wait
        latency = answer.latency or self._latency
        encode = partial(play, call, step, self._delay_of(answer, latency, call))
        return replace(answer, encode=encode)

    def _stream(self, call: Call, step: _Step, delay_s: float, reply: Reply) -> Plan:
        del delay_s
        events = [
            *step.begin(),
            *play_reply(step.run, reply, self._memory, call.now_s),
        ]
        return event_plan(events, call.request.request_id)

    def _wait(self, call: Call, step: _Step, delay_s: float, reply: Reply) -> Plan:
        del delay_s
        step.begin()
        list(play_reply(step.run, reply, self._memory, call.now_s))
        value = copy.deepcopy(step.run.value)
        headers = answer_headers(call.request.request_id)
        return value_plan(value, headers, pace=Pace.FIRST_TOKEN)

    def _poll(self, call: Call, step: _Step, delay_s: float, reply: Reply) -> Plan:
        run = step.run
        step.begin()

        async def play() -> None:
            now_s = int(self._core.clock.wall())
            list(play_reply(run, reply, self._memory, now_s))

        run.chore = self._core.chores.after(delay_s, play)
        headers = (
            *answer_headers(call.request.request_id),
            poll_header(self._poll_after_s),
        )
        return value_plan(copy.deepcopy(run.value), headers)

    def _delay_of(self, answer: Answer, latency: Latency, call: Call) -> float:
        keys = answer.keys

        def draw(purpose: str) -> float:
            return self._core.draws.draw(
                "latency",
                self.name,
                purpose,
                call.world.name,
                keys.conversation,
                keys.turn,
                keys.attempt_number,
            )

        return latency.delay_s(Pace.FIRST_TOKEN, 0, draw) / self._core.speed


def _undone(answer: Answer, undo: Callable[[], None]) -> Answer:
    """
    Return the answer with what takes it back if nobody gets it.
    """
    if answer.reply is None:
        return answer
    before = answer.undelivered

    def undelivered() -> None:
        undo()
        if before is not None:
            before()

    return replace(answer, undelivered=undelivered)
