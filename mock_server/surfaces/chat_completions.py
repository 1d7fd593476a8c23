"""
``POST /v1/chat/completions``.
"""

from collections.abc import Mapping
from functools import lru_cache, partial
from typing import Any, ClassVar, Final

from mock_server.draws import Draws
from mock_server.faults import Target
from mock_server.hashes import sha256_of
from mock_server.latency import LatencyProfile, profile_of
from mock_server.script import (
    CallNames,
    CompiledScript,
    ConversationName,
    Conversations,
    Decision,
    DrawnReply,
    ScriptError,
    Seen,
    finish_reason_of,
    is_custom,
    name_conversation,
    obey_choice,
)
from mock_server.surfaces.ports import (
    Answer,
    CallKeys,
    Facts,
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
    StreamForm,
    ToolKind,
    Usage,
    check_api_key,
    chunk_plan,
    completion_plan,
    error_plan,
    parse_chat_request,
    usage_of,
    wrong_method,
)

_COMPLETION_ID_LENGTH: Final = 29
_FINGERPRINT_LENGTH: Final = 10
_MODELS_KEPT_MAX: Final = 256
_NO_TURN: Final = 0


class ChatCompletions:
    """
    Answers chats from the script.

    Args:
        script: The rules, compiled once and the same for all worlds.
        draws: Mints the ids.
    """

    name: ClassVar[str] = "chat_completions"
    target: ClassVar[Target] = Target.UPSTREAM
    is_silent: ClassVar[bool] = False

    def __init__(self, script: CompiledScript, *, draws: Draws) -> None:
        self._script = script
        self._draws = draws
        upstream = script.script.upstream
        self._strict = upstream.strict
        self._models = None if upstream.models is None else frozenset(upstream.models)
        self._api_keys = upstream.api_keys
        self._latencies: Mapping[int, LatencyProfile] = {
            rule.number: profile_of(rule.rule.latency)
            for rule in script.rules
            if rule.rule.latency is not None
        }
        self._fingerprint_of = lru_cache(_MODELS_KEPT_MAX)(self._mint_fingerprint)

    async def handle(self, request: SurfaceRequest, world: WorldMemory) -> Answer:
        """
        Return what the script, or the API's own rules, make of a request.
        """
        conversations = world.recall(Conversations, Conversations)
        try:
            check_api_key(request.api_key, self._api_keys)
            if request.method != "POST":
                raise wrong_method(request.method, f"/v1{request.path}")
            chat = parse_chat_request(
                request.body, models=self._models, strict=self._strict
            )
        except ApiError as error:
            return _refuse(request, error, conversations)
        seen = Seen(chat, request.headers)
        name = name_conversation(seen, request.trace_id)
        return self._reply(request, world.name, seen, name, conversations)

    def _reply(
        self,
        request: SurfaceRequest,
        world: str,
        seen: Seen,
        name: ConversationName,
        conversations: Conversations,
    ) -> Answer:
        conversation = conversations.open(name.key)
        attempt = conversation.count_attempt(seen.turn, request.body)
        keys = CallKeys(
            conversation=name.key,
            turn=seen.turn,
            attempt_number=attempt,
            ambiguous=attempt > 1 and not name.is_unique,
        )
        received = _received(seen)
        try:
            names = CallNames(name.key, attempt)
            decision = self._script.decide(seen, names, conversation)
        except ScriptError as error:
            refusal = ApiError(
                str(error), status=500, type="server_error", code="script_error"
            )
            plan = error_plan(refusal, request.request_id)
            return Answer(
                keys=keys, plan=plan, received=received, script_error=str(error)
            )
        rule = None if decision.rule is None else decision.rule.number
        latency = None if rule is None else self._latencies.get(rule)
        if decision.drawn is None:
            return Answer(
                keys=keys,
                plan=_error_of(decision, request.request_id),
                received=received,
                latency=latency,
                rule=rule,
                undelivered=decision.undelivered,
            )
        drawn = obey_choice(decision.drawn, seen)
        return Answer(
            keys=keys,
            reply=self._mint_reply(drawn, seen.request, request, world, keys),
            encode=partial(_encode, seen.request, request.request_id),
            received=received,
            describe=describe_reply,
            latency=latency,
            rule=rule,
            undelivered=decision.undelivered,
        )

    def _mint_reply(
        self,
        drawn: DrawnReply,
        chat: ChatRequest,
        request: SurfaceRequest,
        world: str,
        keys: CallKeys,
    ) -> Reply:
        """
        Give the reply its ids, which the seed, the keys and the body decide.
        """
        # Without the body two different requests of one turn would share their ids.
        body = sha256_of(request.body)
        place = (world, keys.conversation, keys.turn, keys.attempt_number, body)
        finish_reason = finish_reason_of(drawn, chat)
        first, *others = [
            Choice(
                text=drawn.text,
                tool_calls=self._mint_calls(drawn, chat, (*place, index)),
                refusal=drawn.refusal,
                finish_reason=finish_reason,
            )
            for index in range(chat.n or 1)
        ]
        return Reply(
            id=self._draws.mint("chatcmpl-", *place, length=_COMPLETION_ID_LENGTH),
            created_s=int(request.received_wall_s),
            model=chat.model,
            text=first.text,
            tool_calls=first.tool_calls,
            refusal=first.refusal,
            finish_reason=first.finish_reason,
            others=tuple(others),
            usage=_usage(drawn, chat, (first, *others)),
            system_fingerprint=self._fingerprint_of(chat.model),
        )

    def _mint_calls(
        self, drawn: DrawnReply, request: ChatRequest, place: tuple[str | int, ...]
    ) -> tuple[ReplyToolCall, ...]:
        return tuple(
            ReplyToolCall(
                call.id or self._draws.mint("call_", *place, number),
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


def _received(seen: Seen) -> Facts:
    facts: dict[str, Any] = {
        "model": seen.model,
        "stream": seen.stream,
        "offered_tools": list(seen.tools),
        "tool_results": [
            {"tool_call_id": result.tool_call_id, "content": result.content}
            for result in seen.results
        ],
    }
    if seen.tag is not None:
        facts["tag"] = seen.tag
    return facts


def _refuse(
    request: SurfaceRequest, error: ApiError, conversations: Conversations
) -> Answer:
    """
    Answer a request of which nothing but its bytes is known.
    """
    key = request.trace_id or "refused"
    attempt = conversations.open(key).count_attempt(_NO_TURN, request.body)
    return Answer(
        keys=CallKeys(
            conversation=key,
            turn=_NO_TURN,
            attempt_number=attempt,
            ambiguous=attempt > 1 and request.trace_id is None,
        ),
        plan=error_plan(error, request.request_id),
    )


def _error_of(decision: Decision, request_id: str) -> Plan:
    return () if decision.error is None else error_plan(decision.error, request_id)


def _usage(
    drawn: DrawnReply, request: ChatRequest, choices: tuple[Choice, ...]
) -> Usage:
    estimate = usage_of(request, choices)
    given = drawn.usage
    if given is None:
        return estimate
    prompt, completion = given.prompt_tokens, given.completion_tokens
    return Usage(
        estimate.prompt_tokens if prompt is None else prompt,
        estimate.completion_tokens if completion is None else completion,
    )


def _encode(request: ChatRequest, request_id: str, reply: Reply) -> Plan:
    if not request.stream:
        return completion_plan(reply, request_id=request_id)
    options = request.stream_options
    form = StreamForm(
        include_usage=bool(options and options.include_usage),
        include_obfuscation=options is None or options.include_obfuscation is not False,
    )
    return chunk_plan(reply, request_id=request_id, form=form)
