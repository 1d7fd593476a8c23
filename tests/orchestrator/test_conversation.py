"""
What a chat does next, as a function of what happened.
"""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import LimitExceededError, UpstreamProtocolError
from harness.ids import ToolCallId
from harness.orchestrator import (
    Answer,
    AskModel,
    CallTools,
    Conversation,
    FinishedCall,
    PlannedCall,
    WaitFor,
    answered,
    completed,
    deferred,
    from_json,
    next_move,
    remembered,
    started,
    to_json,
)
from harness.upstream import Completion, FinishReason, ToolCall


def said(text: str | None, *, refusal: str | None = None) -> Completion:
    """
    Return a completion that is text.
    """
    return Completion(
        text=text, tool_calls=(), finish_reason=FinishReason.STOP, refusal=refusal
    )


def wants(*ids: str) -> Completion:
    """
    Return a completion that asks for tool calls.
    """
    return Completion(
        text=None,
        tool_calls=tuple(
            ToolCall(id=ToolCallId(call_id), name="get_weather", arguments="{}")
            for call_id in ids
        ),
        finish_reason=FinishReason.TOOL_CALLS,
    )


def begun(**others: Any) -> Conversation:
    """
    Return a conversation in which a user has said hello.
    """
    given: dict[str, Any] = {
        "system_prompt": "Be kind.",
        "history": (),
        "message": "hello",
    }
    return started(**given | others)


def after(conversation: Conversation, completion: Completion) -> Conversation:
    """
    Return the conversation after the model answered.
    """
    return completed(conversation, completion, tool_calls_max=32)


def done(call: PlannedCall, result: Any = None) -> FinishedCall:
    """
    Return a call with its answer.
    """
    return FinishedCall(call=call, ok=True, result=result or {"of": call.call_id})


def test_asks_then_answers() -> None:
    """
    A conversation without tools is one request and its answer.
    """
    conversation = begun()
    assert next_move(conversation, turns_max=8) == AskModel(
        messages=(
            {"role": "system", "content": "Be kind."},
            {"role": "user", "content": "hello"},
        )
    )

    conversation = after(conversation, said("Hi."))

    assert next_move(conversation, turns_max=8) == Answer(text="Hi.", function_calls=())
    assert conversation.turns == 1


def test_runs_all_calls_of_a_turn_together() -> None:
    """
    What the model asks for in one turn is one move, in its order.
    """
    conversation = after(begun(), wants("a", "b"))

    move = next_move(conversation, turns_max=8)

    assert isinstance(move, CallTools)
    assert [call.call_id for call in move.calls] == ["a", "b"]


def test_answers_go_back_in_the_order_of_the_calls() -> None:
    """
    The model gets exactly one answer per call, in its order, however they came.
    """
    conversation = after(begun(), wants("a", "b", "c"))
    a, b, c = conversation.open_calls

    for call in (c, a, b):
        conversation = answered(conversation, done(call))

    move = next_move(conversation, turns_max=8)
    assert isinstance(move, AskModel)
    assert [message["role"] for message in move.messages[2:]] == ["assistant"] + [
        "tool"
    ] * 3
    assert [message["tool_call_id"] for message in move.messages[3:]] == ["a", "b", "c"]
    assert json.loads(move.messages[4]["content"]) == {"of": "b"}
    assert [item.call.call_id for item in conversation.finished] == ["a", "b", "c"]


def test_half_a_turn_leaves_the_other_half() -> None:
    """
    Until all calls are answered the model is not asked.
    """
    conversation = after(begun(), wants("a", "b"))
    a, b = conversation.open_calls

    conversation = answered(conversation, done(a))

    assert next_move(conversation, turns_max=8) == CallTools(calls=(b,))


def test_waits_only_when_nothing_is_left_to_run() -> None:
    """
    Calls that were put off are waited for once all others have run.
    """
    conversation = after(begun(), wants("a", "b"))
    a, b = conversation.open_calls

    conversation = deferred(conversation, a)
    assert next_move(conversation, turns_max=8) == CallTools(calls=(b,))

    conversation = answered(conversation, done(b))
    move = next_move(conversation, turns_max=8)
    assert isinstance(move, WaitFor)
    assert [call.call_id for call in move.calls] == ["a"]


def test_a_call_is_answered_once() -> None:
    """
    A second answer to a call, or one to a call that nobody made, is refused.
    """
    conversation = after(begun(), wants("a", "b"))
    a, _ = conversation.open_calls
    conversation = answered(conversation, done(a))

    with pytest.raises(ValueError, match="'a' is not open"):
        answered(conversation, done(a))


def test_turns_are_bounded() -> None:
    """
    The last allowed request gets no tools run, because nobody would read their results.
    """
    conversation = begun()
    for turn in range(2):
        conversation = after(conversation, wants(f"call_{turn}"))
        if turn == 0:
            (call,) = conversation.open_calls
            conversation = answered(conversation, done(call))

    with pytest.raises(LimitExceededError, match="turns_max is 2"):
        next_move(conversation, turns_max=2)
    assert isinstance(next_move(conversation, turns_max=3), CallTools)


def test_the_last_request_may_answer() -> None:
    """
    An answer to the last allowed request counts.
    """
    conversation = after(begun(), said("Hi."))

    assert isinstance(next_move(conversation, turns_max=1), Answer)


def test_calls_of_a_turn_are_bounded() -> None:
    """
    More tool calls than allowed in a turn end the chat.
    """
    with pytest.raises(LimitExceededError, match="tool_calls_max"):
        completed(begun(), wants("a", "b", "c"), tool_calls_max=2)


def test_refusal_is_an_answer() -> None:
    """
    What the model says where it will not answer is what the caller is told.
    """
    conversation = after(begun(), said(None, refusal="I must not."))

    assert conversation.answer == "I must not."


@pytest.mark.parametrize("text", [None, ""])
def test_silence_is_no_answer(text: str | None) -> None:
    """
    An answer that says nothing never becomes a success.
    """
    with pytest.raises(UpstreamProtocolError):
        after(begun(), said(text))


def test_a_repeated_id_names_another_execution() -> None:
    """
    An id that comes again in a later turn gets an execution id of its own.
    """
    conversation = after(begun(), wants("a"))
    conversation = answered(conversation, done(conversation.open_calls[0]))

    conversation = after(conversation, wants("a"))

    (call,) = conversation.open_calls
    assert (call.call_id, call.execution_id) == ("a", "a-t2")
    assert next_move(conversation, turns_max=8) == CallTools(calls=(call,))


@pytest.mark.parametrize("call_id", ["a b", "a\r\nX-Evil: 1", "x" * 200, "ü", ""])
def test_an_unusable_id_names_a_usable_execution(call_id: str) -> None:
    """
    What a model makes up as an id goes back to it as it is, and nowhere else.
    """
    conversation = after(begun(), wants(call_id))
    (call,) = conversation.open_calls

    again = after(begun(), wants(call_id)).open_calls[0]

    assert call.call_id == call_id
    assert call.execution_id.startswith("call_")
    assert call.execution_id.isascii()
    assert len(call.execution_id) < 64
    assert again.execution_id == call.execution_id


def test_history_comes_between_prompt_and_message() -> None:
    """
    What was said before stands where it belongs; without a prompt there is none.
    """
    history = ({"role": "user", "content": "a"}, {"role": "assistant", "content": "b"})

    assert [item["content"] for item in begun(history=history).messages] == [
        "Be kind.",
        "a",
        "b",
        "hello",
    ]
    assert begun(system_prompt="").messages[0]["role"] == "user"


@pytest.mark.parametrize(
    ("messages_max", "kept"),
    [
        (9, ["u1", "c", "t", "a1", "u2", "a2"]),
        (4, ["u2", "a2"]),
        (2, ["u2", "a2"]),
        (1, []),
    ],
)
def test_memory_begins_with_a_user(messages_max: int, kept: list[str]) -> None:
    """
    A session forgets whole turns, so that no answer stands there without its question.
    """
    conversation = Conversation(
        messages=(
            {"role": "system", "content": "s"},
            {"role": "user", "content": "u1"},
            {"role": "assistant", "content": "c"},
            {"role": "tool", "content": "t"},
            {"role": "assistant", "content": "a1"},
            {"role": "user", "content": "u2"},
            {"role": "assistant", "content": "a2"},
        )
    )

    messages = remembered(conversation, messages_max=messages_max)

    assert [message["content"] for message in messages] == kept


@given(data=st.data())
def test_written_and_read_it_is_the_same(data: st.DataObject) -> None:
    """
    At every step of any chat, what is read from the store goes on as if nothing was.
    """
    conversation = begun(message=data.draw(st.text(min_size=1)))
    for turn in range(data.draw(st.integers(0, 4))):
        ids = [f"t{turn}-{n}" for n in range(data.draw(st.integers(1, 3)))]
        conversation = after(conversation, wants(*ids))
        for call in data.draw(st.permutations(conversation.open_calls)):
            assert from_json(to_json(conversation)) == conversation
            if data.draw(st.booleans()):
                conversation = deferred(conversation, call)
            current = next(
                open_call
                for open_call in conversation.open_calls
                if open_call.call_id == call.call_id
            )
            conversation = answered(conversation, done(current))
    if data.draw(st.booleans()):
        conversation = after(conversation, said("Hi."))

    again = from_json(to_json(conversation))

    assert again == conversation
    assert next_move(again, turns_max=9) == next_move(conversation, turns_max=9)


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"messages": 1}', "null"])
def test_garbage_is_no_conversation(text: str) -> None:
    """
    What nobody wrote is refused, not half understood.
    """
    with pytest.raises(ValueError, match="no conversation"):
        from_json(text)


def test_body_shows_arguments_as_they_are() -> None:
    """
    The caller sees parsed arguments, or the text where it is no JSON.
    """
    call = PlannedCall(
        call_id="a", execution_id=ToolCallId("a"), name="f", arguments='{"x": 1}'
    )
    broken = PlannedCall(
        call_id="a", execution_id=ToolCallId("a"), name="f", arguments='{"x'
    )

    assert done(call).to_body()["arguments"] == {"x": 1}
    assert done(broken).to_body()["arguments"] == '{"x'
