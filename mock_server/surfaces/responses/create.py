"""
``POST /v1/responses``.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from msgspec.structs import replace

from mock_server.core import Core
from mock_server.faults import Target
from mock_server.hashes import sha256_of
from mock_server.latency import LatencyProfile
from mock_server.script import ConversationName, Seen, name_conversation
from mock_server.surfaces.api_events import ApiEvent
from mock_server.surfaces.ports import (
    Answer,
    CallKeys,
    Facts,
    Latency,
    SurfaceRequest,
    WorldMemory,
)
from mock_server.surfaces.responses.memory import (
    Context,
    Memory,
    StoredResponse,
    bytes_of,
)
from mock_server.surfaces.responses.timeline import Timeline, timeline_of
from mock_server.surfaces.scripted import ScriptedModel
from mock_server.wire import (
    ApiError,
    Chunk,
    Pace,
    Plan,
    Reply,
    answer_headers,
    count_tokens,
    wrong_method,
)
from mock_server.wire.responses import (
    Item,
    Response,
    ResponsesRequest,
    Status,
    chat_of,
    check_says_json,
    check_schemas,
    check_transcript,
    output_items,
    parse_responses_request,
    response_events,
    stream_plan,
    value_plan,
)

Announce = Callable[[ApiEvent], None]


class Responses:
    """
    Answers as the script says, in the form of the Responses API.

    Args:
        core: The clock and the draws.
        model: Replies.
        memory: Keeps what is stored.
        announce: Told what happens to background responses.
        latency: How fast background responses are worked off, if no rule says it.
        queue_s: How long they are queued before that.
    """

    name: ClassVar[str] = "responses"
    target: ClassVar[Target] = Target.UPSTREAM
    is_silent: ClassVar[bool] = False

    def __init__(
        self,
        core: Core,
        *,
        model: ScriptedModel,
        memory: Memory,
        announce: Announce,
        latency: LatencyProfile,
        queue_s: float,
    ) -> None:
        self._core = core
        self._model = model
        self._memory = memory
        self._announce = announce
        self._latency = latency
        self._queue_s = queue_s

    async def handle(self, request: SurfaceRequest, world: WorldMemory) -> Answer:
        """
        Return what the script, or the API's own rules, make of a request.
        """
        model = self._model
        try:
            model.check_api_key(request)
            if request.method != "POST":
                raise wrong_method(request.method, f"/v1{request.path}")
            asked = parse_responses_request(
                request.body, models=model.models, strict=model.is_strict
            )
            context = self._memory.context_of(asked, world.name)
            given = self._memory.resolve(asked.items, world.name)
            self._check(asked, (*context.items, *given))
        except ApiError as error:
            return model.refuse(request, error, world)
        chat = chat_of(asked, (*context.items, *given))
        name = context.name
        metadata = asked.fields.get("metadata") or {}
        if name is None or request.trace_id is not None or "conversation" in metadata:
            name = name_conversation(Seen(chat, request.headers), request.trace_id)
        work = Work(
            surface=self,
            memory=self._memory,
            asked=asked,
            request=request,
            world=world.name,
            context=context,
            given=given,
            name=name,
        )
        return work.finish(
            model.reply_to(
                chat,
                request,
                world,
                encode=work.encode,
                name=name,
                id_prefix="resp_",
                too_long=too_long,
                on_error=work.note_error,
            )
        )

    def _check(self, asked: ResponsesRequest, items: tuple[Item, ...]) -> None:
        self._memory.check_room(items)
        if self._model.is_strict:
            check_transcript(items)
            check_says_json(asked, items)
            check_schemas(asked)

    def timeline(
        self, work: "Work", response: Response, events: tuple[Chunk, ...]
    ) -> Timeline:
        """
        Return when what happens to a background response.
        """
        answer = work.answer
        keys = CallKeys(conversation=work.name.key, turn=0, attempt_number=1)
        latency: Latency = self._latency
        if answer is not None:
            keys = answer.keys
            latency = answer.latency or latency

        def draw(purpose: str) -> float:
            return self._core.draws.draw(
                "latency",
                self.name,
                purpose,
                work.world,
                keys.conversation,
                keys.turn,
                keys.attempt_number,
            )

        return timeline_of(
            response,
            events,
            now_s=self._core.clock.monotonic(),
            queue_s=self._queue_s,
            latency=latency,
            draw=draw,
            speed=self._core.speed,
        )

    def announce(self, work: "Work", timeline: Timeline) -> None:
        """
        Let the users know how a background response ends, unless it is stopped.
        """
        status = timeline.response.final_status
        self._announce(
            ApiEvent(
                world=work.world,
                event_type=f"response.{status}",
                object_id=timeline.response.id,
                delay_s=timeline.finished_s - timeline.due_s[0],
                trace_id=work.request.trace_id,
                is_due=lambda: not timeline.is_stopped,
            )
        )


@dataclass(slots=True, kw_only=True)
class Work:
    """
    What becomes of one request: a response, once its reply is known.
    """

    surface: Responses
    memory: Memory
    asked: ResponsesRequest
    request: SurfaceRequest
    world: str
    context: Context
    given: tuple[Item, ...]
    name: ConversationName
    answer: Answer | None = None
    error: ApiError | None = None
    made: Response | None = None
    timeline: Timeline | None = None

    def note_error(self, error: ApiError) -> None:
        """
        Remember what the script says instead of a reply.
        """
        self.error = error

    def finish(self, answer: Answer) -> Answer:
        """
        Return the answer, which keeps the response if it comes to be.
        """
        self.answer = answer
        is_late = self.asked.streams or self.asked.is_background
        if self.error is None or self.error.failure is None or not is_late:
            return replace(answer, effect=self.keep)
        failed = Response(
            id=self._mint_id(
                answer.keys.conversation,
                answer.keys.turn,
                answer.keys.attempt_number,
                sha256_of(self.request.body),
            ),
            request=self.asked,
            created_s=int(self.request.received_wall_s),
            error=self.error,
        )
        plan = self._plan(failed)
        return replace(answer, plan=plan, effect=self.keep, fails=True)

    def encode(self, reply: Reply) -> Plan:
        """
        Return the reply as the request wants to have it.
        """
        response_id = self._mint_id(reply.id)
        reasoning = count_tokens(reply.reasoning or "")
        return self._plan(
            Response(
                id=response_id,
                request=self.asked,
                created_s=reply.created_s,
                output=output_items(
                    reply,
                    self.asked,
                    lambda prefix, place: self.memory.mint(prefix, response_id, place),
                ),
                usage=reply.usage,
                reasoning_tokens=min(reasoning, reply.usage.completion_tokens),
                finish_reason=reply.finish_reason,
            )
        )

    def keep(self) -> Facts:
        """
        Keep the response, if it is one that can be asked for.
        """
        response, asked = self.made, self.asked
        if response is None:
            return {}
        items = self.memory.with_ids(self.given, response.id)
        if asked.is_stored or self.timeline is not None:
            stored = StoredResponse(
                response=response,
                items=(*self.context.items, *items),
                name=self.name,
                items_bytes=self.context.items_bytes
                + bytes_of((*items, *response.output)),
                timeline=self.timeline,
            )
            self.memory.keep(self.world, stored, own_bytes=self._own_bytes)
        if asked.conversation_id is not None:
            said = (*items, *response.output)
            self.memory.extend(self.world, asked.conversation_id, said)
        if self.timeline is not None:
            self.surface.announce(self, self.timeline)
        return {}

    def _mint_id(self, *place: str | int) -> str:
        return self.memory.mint("resp_", self.world, *place)

    def _plan(self, response: Response) -> Plan:
        self.made = response
        request_id = self.request.request_id
        if self.asked.is_background:
            return self._background_plan(response)
        if self.asked.streams:
            return stream_plan(response_events(response), request_id)
        headers = answer_headers(request_id)
        return value_plan(response.value(), headers, pace=Pace.FIRST_TOKEN)

    def _background_plan(self, response: Response) -> Plan:
        events = response_events(response)
        timeline = self.surface.timeline(self, response, events)
        self.timeline = timeline
        request_id = self.request.request_id
        if self.asked.streams:
            return timeline.plan(request_id, timeline.due_s[0])
        return value_plan(response.value(Status.QUEUED), answer_headers(request_id))

    @property
    def _own_bytes(self) -> int:
        events = () if self.timeline is None else self.timeline.events
        return len(self.request.body) + sum(len(event.data) for event in events)


def too_long(window: int, prompt: int, completion: int) -> ApiError:
    """
    Return the error of an input that the model cannot hold.
    """
    del window, prompt, completion
    message = (
        "Your input exceeds the context window of this model. Please adjust your "
        "input and try again."
    )
    return ApiError(message, param="input", code="context_length_exceeded")
