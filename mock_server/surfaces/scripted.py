"""
The model behind every surface that asks one: the script, or the API's own rules.

A surface parses its own request into a chat and encodes the reply in its own shape;
what lies between is the same for all of them.
"""

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, Final

from mock_server.draws import Draws
from mock_server.latency import LatencyProfile, profile_of
from mock_server.quotas import window_of
from mock_server.script import (
    CompiledScript,
    ConversationName,
    Conversations,
    Decision,
    DrawnReply,
    ScriptError,
    Seen,
    UsageScript,
    finish_reason_of,
    is_custom,
    name_conversation,
    obey_choice,
)
from mock_server.surfaces.ports import (
    Answer,
    CallKeys,
    Demand,
    Facts,
    LazyFacts,
    SurfaceRequest,
    WorldMemory,
)
from mock_server.wire import (
    ApiError,
    ChatRequest,
    Choice,
    Plan,
    Reply,
    ReplyToolCall,
    ToolKind,
    Usage,
    Whole,
    check_api_key,
    completion_tokens,
    context_too_long,
    error_plan,
    no_model_given,
    prompt_tokens,
    truncate,
    unknown_model,
)
from mock_server.wire.shape import refuse_type

TooLong = Callable[[int, int, int], ApiError]
"""Says that a window is too small for a prompt and what is to follow it."""

_MESSAGE_TOLD_MAX: Final = 4096
_COMPLETION_ID_LENGTH: Final = 29
_FINGERPRINT_LENGTH: Final = 10
_MODELS_KEPT_MAX: Final = 256
_NO_TURN: Final = 0


class ScriptedModel:
    """
    Replies to chats as the script says.

    Args:
        script: The rules, compiled once and the same for all worlds.
        draws: Mints the ids.
    """

    def __init__(self, script: CompiledScript, *, draws: Draws) -> None:
        upstream = script.script.upstream
        self._script = script
        self._draws = draws
        self.api_keys = upstream.api_keys
        self._windows = upstream.quotas.context_windows
        self.is_strict = upstream.strict
        self.models = None if upstream.models is None else frozenset(upstream.models)
        self._latencies: Mapping[int, LatencyProfile] = {
            rule.number: profile_of(rule.rule.latency)
            for rule in script.rules
            if rule.rule.latency is not None
        }
        self._window_of = lru_cache(_MODELS_KEPT_MAX)(self._find_window)
        self.fingerprint_of = lru_cache(_MODELS_KEPT_MAX)(self._mint_fingerprint)

    def check_api_key(self, request: SurfaceRequest) -> None:
        """
        Refuse a request without a key, or with one that is not accepted.

        Raises:
            ApiError: 401.
        """
        check_api_key(request.api_key, self.api_keys)

    def model_of(self, body: Mapping[str, Any]) -> str:
        """
        Return the model that a body names.

        Raises:
            ApiError: It names none, or one that does not exist.
        """
        model = body.get("model")
        if model is None or model == "":
            raise no_model_given()
        if not isinstance(model, str):
            refuse_type("a string", model, "model")
        self.check_model(model)
        return model

    def check_model(self, model: str) -> None:
        """
        Refuse a model that does not exist.

        Raises:
            ApiError: 404.
        """
        if self.models is not None and model not in self.models:
            raise unknown_model(model)

    def _find_window(self, model: str) -> int | None:
        return window_of(model, self._windows)

    def reply_to(
        self,
        chat: ChatRequest,
        request: SurfaceRequest,
        world: WorldMemory,
        *,
        encode: Callable[[Reply], Plan],
        name: ConversationName | None = None,
        id_prefix: str = "chatcmpl-",
        too_long: TooLong = context_too_long,
        on_reply: Callable[[Reply], None] | None = None,
        on_error: Callable[[ApiError], None] | None = None,
        prompt: int | None = None,
        whole: Callable[[Reply, str], Whole] | None = None,
    ) -> Answer:
        """
        Return what the script makes of a chat.

        Args:
            chat: What is asked, whichever surface asks it.
            request: The request that asks it; its body tells attempts apart.
            world: Whose cursors move.
            encode: Makes the surface's own plan of the reply.
            name: The conversation; by default what the chat itself tells of it.
            id_prefix: What the reply's id starts with.
            too_long: Says that the model cannot hold the chat.
            on_reply: Told the reply if no fault prevents that it comes to be.
            on_error: Told the error that the script gives instead of a reply.
            prompt: Tokens of what is asked; by default those of the chat.
            whole: Makes what ``encode`` makes, as it is sent.
        """
        seen = Seen(chat, request.headers)
        if name is None:
            name = name_conversation(seen, request.trace_id)
        conversation = world.recall(Conversations, Conversations).open(name.key)
        attempt = conversation.count_attempt(seen.turn, request.body)
        keys = CallKeys(
            conversation=name.key,
            turn=seen.turn,
            attempt_number=attempt,
            ambiguous=attempt > 1 and not name.is_unique,
        )
        if prompt is None:
            prompt = prompt_tokens(chat)
        allowed = completion_max(chat)
        facts = LazyFacts(received_facts, seen)
        try:
            window = self._window_of(chat.model)
            if window is not None and prompt + (allowed or 0) > window:
                raise too_long(window, prompt, allowed or 0)
            decision = self._script.decide(seen, keys, conversation)
        except (ApiError, ScriptError) as error:
            return _failed(error, keys, facts, request.request_id)
        reply: Reply | None = None
        drawn = decision.drawn
        if drawn is not None:
            place = (id_prefix, f"{world.name} {name.key} {seen.turn} {attempt}")
            reply = self._mint_reply(drawn, seen, request, place, prompt, allowed)
        elif on_error is not None and decision.error is not None:
            on_error(decision.error)
        rule = None if decision.rule is None else decision.rule.number
        return Answer(
            keys=keys,
            received=facts,
            plan=None if reply else _error_of(decision, request.request_id),
            reply=reply,
            encode=encode,
            whole=None if reply is None else whole,
            describe=describe_reply,
            effect=_telling(on_reply, reply) if on_reply and reply else None,
            demand=_demand(chat, prompt, allowed, reply) if reply else None,
            rule=rule,
            latency=None if rule is None else self._latencies.get(rule),
            undelivered=decision.undelivered,
        )

    def refuse(
        self, request: SurfaceRequest, error: ApiError, world: WorldMemory
    ) -> Answer:
        """
        Answer a request of which nothing but its bytes is known.
        """
        key = request.trace_id or "refused"
        conversation = world.recall(Conversations, Conversations).open(key)
        attempt = conversation.count_attempt(_NO_TURN, request.body)
        return Answer(
            keys=CallKeys(
                conversation=key,
                turn=_NO_TURN,
                attempt_number=attempt,
                ambiguous=attempt > 1 and request.trace_id is None,
            ),
            plan=error_plan(error, request.request_id),
        )

    def _mint_reply(
        self,
        drawn: DrawnReply,
        seen: Seen,
        request: SurfaceRequest,
        place: tuple[str, str],
        prompt: int,
        allowed: int | None,
    ) -> Reply:
        """
        Give the reply its ids, which the seed, the keys and the body decide.
        """
        chat = seen.request
        if chat.tool_choice is not None or chat.parallel_tool_calls is not None:
            drawn = obey_choice(drawn, seen)
        prefix, keys = place
        # Without the body two requests of one turn would share their ids.
        reply_id = self._draws.mint_for(
            prefix, request.body, keys, length=_COMPLETION_ID_LENGTH
        )
        first = self._mint_choice(drawn, chat, reply_id, 0, allowed)
        completion = completion_tokens(first)
        others: tuple[Choice, ...] = ()
        if chat.n is not None:
            others = tuple(
                self._mint_choice(drawn, chat, reply_id, index, allowed)
                for index in range(1, chat.n)
            )
            completion += sum(map(completion_tokens, others))
        return Reply(
            id=reply_id,
            created_s=int(request.received_wall_s),
            model=chat.model,
            text=first.text,
            tool_calls=first.tool_calls,
            refusal=first.refusal,
            reasoning=first.reasoning,
            finish_reason=first.finish_reason,
            others=others,
            usage=(
                Usage(prompt, completion)
                if drawn.usage is None
                else _usage(drawn.usage, prompt, completion)
            ),
            system_fingerprint=self.fingerprint_of(chat.model),
            top_logprobs=(chat.top_logprobs or 0) if chat.logprobs else None,
        )

    def _mint_choice(
        self,
        drawn: DrawnReply,
        chat: ChatRequest,
        reply_id: str,
        index: int,
        allowed: int | None,
    ) -> Choice:
        choice = Choice(
            text=drawn.text,
            tool_calls=(
                self._mint_calls(drawn, chat, reply_id, index)
                if drawn.tool_calls
                else ()
            ),
            refusal=drawn.refusal,
            reasoning=drawn.reasoning,
            finish_reason=finish_reason_of(drawn, chat),
        )
        return choice if allowed is None else truncate(choice, allowed)

    def _mint_calls(
        self, drawn: DrawnReply, request: ChatRequest, reply_id: str, index: int
    ) -> tuple[ReplyToolCall, ...]:
        return tuple(
            ReplyToolCall(
                call.id or self._draws.mint("call_", reply_id, index, number),
                call.name,
                call.arguments,
                ToolKind.CUSTOM if is_custom(request, call.name) else ToolKind.FUNCTION,
            )
            for number, call in enumerate(drawn.tool_calls)
        )

    def _mint_fingerprint(self, model: str) -> str:
        return self._draws.mint_hex(
            "fp_", "fingerprint", model, length=_FINGERPRINT_LENGTH
        )


def completion_max(chat: ChatRequest) -> int | None:
    """
    Return how many tokens one choice may have, if the request says so.
    """
    return (
        chat.max_tokens
        if chat.max_completion_tokens is None
        else chat.max_completion_tokens
    )


def describe_reply(reply: Reply) -> Facts:
    """
    Return what the event of the end says of a reply.
    """
    facts: dict[str, Any] = {"finish_reason": reply.finish_reason}
    if reply.tool_calls:
        facts["tool_calls"] = [
            {"tool_call_id": call.id, "name": call.name, "arguments": call.arguments}
            for call in reply.tool_calls
        ]
    if reply.text is not None:
        facts["text"] = reply.text
    if reply.refusal is not None:
        facts["refusal"] = reply.refusal
    return facts


def received_facts(seen: Seen) -> Facts:
    """
    Return what the event of the start says of a chat.
    """
    facts: dict[str, Any] = {
        "model": seen.model,
        "message": seen.user_text[:_MESSAGE_TOLD_MAX],
        "stream": seen.stream,
        "offered_tools": list(seen.tools),
        "tool_results": [],
    }
    if seen.last.role == "tool":
        facts["tool_results"] = [
            {"tool_call_id": result.tool_call_id, "content": result.content}
            for result in seen.results
        ]
    if seen.tag is not None:
        facts["tag"] = seen.tag
    return facts


def _telling(on_reply: Callable[[Reply], None], reply: Reply) -> Callable[[], Facts]:
    def tell() -> Facts:
        on_reply(reply)
        return {}

    return tell


def _failed(
    error: ApiError | ScriptError, keys: CallKeys, received: Facts, request_id: str
) -> Answer:
    if isinstance(error, ApiError):
        return Answer(keys=keys, received=received, plan=error_plan(error, request_id))
    return Answer(
        keys=keys,
        received=received,
        plan=error_plan(_script_error(error), request_id),
        script_error=str(error),
    )


def _error_of(decision: Decision, request_id: str) -> Plan:
    return () if decision.error is None else error_plan(decision.error, request_id)


def _script_error(error: ScriptError) -> ApiError:
    return ApiError(str(error), status=500, type="server_error", code="script_error")


def _usage(given: UsageScript, prompt: int, completion: int) -> Usage:
    return Usage(
        prompt if given.prompt_tokens is None else given.prompt_tokens,
        completion if given.completion_tokens is None else given.completion_tokens,
    )


def _demand(
    chat: ChatRequest, prompt: int, allowed: int | None, reply: Reply
) -> Demand:
    said = reply.usage.completion_tokens
    return Demand(
        model=chat.model,
        prompt_tokens=prompt,
        completion_tokens_max=said if allowed is None else allowed * (chat.n or 1),
    )
