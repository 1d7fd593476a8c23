"""
What the chat surface makes of requests: keys, ids, facts, and what it forgets.
"""

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar

import orjson
import pytest

from mock_server.documents import parse_document
from mock_server.draws import Draws
from mock_server.latency import LatencyProfile
from mock_server.script import CompiledScript, script_of
from mock_server.surfaces.chat_completions import ChatCompletions
from mock_server.surfaces.ports import Answer, SurfaceRequest
from mock_server.surfaces.scripted import ScriptedModel
from mock_server.surfaces.stored_completions import StoredCompletions
from mock_server.wire import Chunk, Head

T = TypeVar("T")

SCRIPT = """
upstream:
  script:
    - match: {last_message: {role: user, contains: weather}}
      reply: {tool_calls: [{name: f, arguments: {city: Paris}}, {name: g, id: mine}]}
    - match: {last_message: {contains: story}}
      reply: [{text: one}, {text: two}]
      latency: {time_to_first_token: 3s}
    - match: {last_message: {contains: wrong}}
      reply: {text: "{{ tool.x }}"}
    - {match: {last_message: {contains: counted}}, reply: {text: hi, usage: {prompt_tokens: 7}}}
    - reply: {text: hello}
"""
TRACE = "0af7651916cd43dd8448eb211c80319c"


class World:
    """
    Keeps what surfaces remember.
    """

    def __init__(self, name: str = "world-1") -> None:
        self.name = name
        self._memory: dict[type[Any], Any] = {}

    def recall(self, kind: type[T], make: Callable[[], T]) -> T:
        """
        Return the object of that kind.
        """
        found: T = self._memory.setdefault(kind, make())
        return found


class Api:
    """
    The surface with one world.
    """

    def __init__(
        self, *, seed: int = 7, world: str = "world-1", script: str = SCRIPT
    ) -> None:
        compiled = CompiledScript.of(script_of(parse_document(script, file="s")))
        self.surface = ChatCompletions(
            ScriptedModel(compiled, draws=Draws(seed)),
            StoredCompletions(None, completions_max=10),
        )
        self.world = World(world)

    def ask(
        self,
        message: str = "hello",
        *,
        trace_id: str | None = None,
        method: str = "POST",
        **more: Any,
    ) -> Answer:
        """
        Return what the surface answers.
        """
        body = {"model": "gpt-4o", "messages": [{"role": "user", "content": message}]}
        request = SurfaceRequest(
            request_id="req_1",
            method=method,
            path="/chat/completions",
            query={},
            headers={},
            body=orjson.dumps({**body, **more}),
            trace_id=trace_id,
            api_key="sk-1",
            received_s=0.0,
            received_wall_s=1_782_955_818.9,
        )
        return asyncio.run(self.surface.handle(request, self.world))


@pytest.fixture
def api() -> Api:
    """
    Give a surface with the script of this module.
    """
    return Api()


def status_of(answer: Answer) -> int:
    """
    Return the status of an answer.
    """
    plan = answer.plan
    if plan is None:
        assert answer.encode is not None
        plan = answer.encode(answer.reply)
    assert isinstance(plan[0], Head)
    return plan[0].status


def error_of(answer: Answer) -> dict[str, Any]:
    """
    Return the error that is answered.
    """
    body = b"".join(s.data for s in answer.plan or () if isinstance(s, Chunk))
    error: dict[str, Any] = orjson.loads(body)["error"]
    return error


def test_same_seed_gives_the_same_reply() -> None:
    """
    Ids follow from the seed and the conversation, whatever came before.
    """
    busy = Api()
    for number in range(5):
        busy.ask(f"other {number}")

    assert busy.ask("weather").reply == Api().ask("weather").reply
    assert busy.ask("hello").reply.id != Api(seed=8).ask("hello").reply.id


def test_ids_never_repeat() -> None:
    """
    Another attempt, another body, another world and another call have other ids.
    """
    first, second = Api(), Api(world="world-2")
    answers = [
        first.ask("weather"),
        first.ask("weather"),
        first.ask("weather", stream=True),
        first.ask("weather", temperature=0.5),
        first.ask("weather", n=2),
        second.ask("weather"),
    ]
    calls = [
        call.id
        for answer in answers
        for choice in answer.reply.choices
        for call in choice.tool_calls
        if call.name == "f"
    ]

    assert len(set(calls)) == len(calls) == 7
    assert len({answer.reply.id for answer in answers}) == 6
    assert all(call.startswith("call_") and len(call) == 29 for call in calls)


def test_scripted_id_stays(api: Api) -> None:
    """
    An id that the script gives is used.
    """
    assert api.ask("weather").reply.tool_calls[1].id == "mine"


def test_attempt_is_the_nth_identical_body(api: Api) -> None:
    """
    Attempts are counted per conversation, turn and body.
    """
    numbers = [
        api.ask("a").keys.attempt_number,
        api.ask("a").keys.attempt_number,
        api.ask("b").keys.attempt_number,
        api.ask("a", temperature=1).keys.attempt_number,
        api.ask("a", trace_id=TRACE).keys.attempt_number,
        api.ask("a", trace_id=TRACE).keys.attempt_number,
    ]

    assert numbers == [1, 2, 1, 1, 1, 2]


@pytest.mark.parametrize(
    ("more", "conversation", "is_unique"),
    [
        ({"trace_id": TRACE}, TRACE, True),
        ({"trace_id": TRACE, "metadata": {"conversation": "c-1"}}, TRACE, True),
        ({"metadata": {"conversation": "c-1"}}, "c-1", True),
        ({"message": "hello [#k7]"}, None, True),
        ({}, None, False),
    ],
)
def test_conversation(
    api: Api, more: dict[str, Any], conversation: str | None, *, is_unique: bool
) -> None:
    """
    The trace names the conversation, else the metadata, else the first message.
    """
    first, second = api.ask(**more), api.ask(**more)

    assert (first.keys.turn, first.keys.attempt_number) == (1, 1)
    assert not first.keys.ambiguous
    if conversation is None:
        assert first.keys.conversation.startswith("message-")
    else:
        assert first.keys.conversation == conversation
    assert second.keys.ambiguous is not is_unique


def test_turn_counts_what_the_model_said(api: Api) -> None:
    """
    Each assistant message of the transcript is a turn that is over.
    """
    messages = [
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": "b"},
        {"role": "user", "content": "c"},
    ]

    answer = api.ask(messages=messages)

    assert answer.keys.turn == 2
    assert answer.keys.conversation == api.ask("a").keys.conversation


def test_facts_of_a_request(api: Api) -> None:
    """
    The event of a request says what was asked, offered and answered by tools.
    """
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": ""}}
    answer = api.ask(
        messages=[
            {"role": "user", "content": "go [#k7f3]"},
            {"role": "assistant", "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "c", "content": "22"},
        ],
        tools=[{"type": "function", "function": {"name": "f"}}],
        stream=True,
    )

    assert answer.received == {
        "model": "gpt-4o",
        "message": "go",
        "stream": True,
        "offered_tools": ["f"],
        "tool_results": [{"tool_call_id": "c", "content": "22"}],
        "tag": "k7f3",
    }
    assert answer.rule == 4


def test_facts_of_a_reply(api: Api) -> None:
    """
    The event of the end says what the reply says, as faults left it.
    """
    answer = api.ask("weather")
    assert answer.describe is not None

    facts = answer.describe(answer.reply)

    assert facts["finish_reason"] == "tool_calls"
    assert facts["tool_calls"][1] == {
        "tool_call_id": "mine",
        "name": "g",
        "arguments": "{}",
    }
    assert api.ask("x").facts_of(api.ask("x").reply) == {
        "finish_reason": "stop",
        "text": "hello",
    }


def test_rule_has_its_own_latency(api: Api) -> None:
    """
    A rule's latency replaces the surface's.
    """
    latency = api.ask("story").latency

    assert isinstance(latency, LatencyProfile)
    assert api.ask("hello").latency is None


def test_interleaved_conversations_do_not_meet(api: Api) -> None:
    """
    Two conversations at once each get their own sequence from its start.
    """
    texts = [
        api.ask("story", trace_id=trace_id).reply.text
        for trace_id in (TRACE, TRACE[::-1], TRACE, TRACE[::-1])
    ]

    assert texts == ["one", "one", "two", "two"]


def test_a_reply_that_was_lost_is_given_again(api: Api) -> None:
    """
    A sequence does not move on for a reply that a fault ate.
    """
    lost = api.ask("story")
    assert lost.undelivered is not None

    lost.undelivered()

    assert api.ask("story").reply.text == "one"


def test_template_error_is_the_scripts(api: Api) -> None:
    """
    A template that fails is a 500 of the API's shape, with its own code.
    """
    answer = api.ask("wrong")

    assert status_of(answer) == 500
    assert error_of(answer) == {
        "message": "The template of rule 3 failed: 'tool' is undefined",
        "type": "server_error",
        "param": None,
        "code": "script_error",
    }
    assert answer.script_error == error_of(answer)["message"]


def test_usage_is_estimated_unless_scripted(api: Api) -> None:
    """
    Tokens are a stated estimate; what the script gives replaces it.
    """
    estimated, scripted = api.ask("hello").reply.usage, api.ask("counted").reply.usage

    assert (estimated.prompt_tokens, estimated.completion_tokens) == (9, 2)
    assert (scripted.prompt_tokens, scripted.completion_tokens) == (7, 1)


def test_refused_requests_are_counted_too(api: Api) -> None:
    """
    A request that the API refuses has attempts like any other.
    """
    answers = [api.ask(trace_id=TRACE, temperature=9) for _ in range(2)]

    assert [status_of(answer) for answer in answers] == [400, 400]
    assert [answer.keys.attempt_number for answer in answers] == [1, 2]
    assert answers[0].keys.conversation == TRACE


def test_other_methods_are_not_allowed(api: Api) -> None:
    """
    Only POST asks for a chat.
    """
    answer = api.ask(method="GET")

    assert status_of(answer) == 405
    assert error_of(answer)["code"] == "method_not_supported"


def test_requests_can_be_checked_loosely() -> None:
    """
    With ``strict: false`` a request that the API would refuse is answered.
    """
    api = Api(script="upstream: {strict: false}")

    assert status_of(api.ask(temperature=9, whatever=1)) == 200
    assert status_of(api.ask(messages="hi")) == 200
    assert status_of(api.ask(messages=[])) == 200
