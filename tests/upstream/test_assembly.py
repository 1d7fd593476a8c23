import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import (
    UpstreamError,
    UpstreamProtocolError,
    UpstreamStatusError,
)
from harness.ids import ToolCallId
from harness.upstream import (
    Breakage,
    Completion,
    CompletionAssembler,
    FinishReason,
    ToolCall,
    Usage,
)


def chunk(
    delta: dict[str, Any] | None = None,
    finish_reason: str | None = None,
    **others: Any,
) -> str:
    """
    Return a chunk as the data of an event.
    """
    choice = {"index": 0, "delta": delta or {}, "finish_reason": finish_reason}
    return json.dumps({"id": "chatcmpl-1", "choices": [choice], **others})


def call(index: int | None, arguments: Any = None, **others: Any) -> dict[str, Any]:
    """
    Return a delta with a part of a call.
    """
    function = {"arguments": arguments} if arguments is not None else {}
    if "name" in others:
        function["name"] = others.pop("name")
    part = {"index": index, "function": function, **others}
    return {"tool_calls": [{k: v for k, v in part.items() if v is not None}]}


def assemble(*data: str) -> Completion:
    """
    Return the completion of a stream.
    """
    assembler = CompletionAssembler()
    for item in data:
        assembler.add(item)
    return assembler.finish()


FIRST = chunk(call(0, "", id="call_a", name="get_weather", type="function"))


def test_assembles_text() -> None:
    """
    The pieces of text, in their order, are the answer; usage comes with no choice.
    """
    completion = assemble(
        chunk({"role": "assistant", "content": "", "refusal": None}, model="m-1"),
        chunk({"content": "Hel"}, usage=None),
        chunk({"content": "lo"}),
        chunk({}, "stop"),
        json.dumps({"choices": [], "usage": {"prompt_tokens": 3, "total_tokens": 5}}),
        "[DONE]",
    )

    assert completion == Completion(
        text="Hello",
        tool_calls=(),
        finish_reason=FinishReason.STOP,
        usage=Usage(prompt_tokens=3, total_tokens=5),
        model="m-1",
    )


def test_returns_text_of_each_chunk() -> None:
    """
    Each chunk says which text it adds, so that it can be passed on at once.
    """
    assembler = CompletionAssembler()

    texts = [
        assembler.add(chunk({"role": "assistant"})),
        assembler.add(chunk({"content": "Hi"})),
        assembler.add(chunk({}, "stop")),
        assembler.add("[DONE]"),
        assembler.add("anything behind the end"),
    ]

    assert texts == ["", "Hi", "", "", ""]
    assert assembler.is_done


def test_assembles_parallel_calls() -> None:
    """
    Fragments of arguments belong to the call of their index.
    """
    completion = assemble(
        chunk({"role": "assistant", "content": None, "tool_calls": None}),
        FIRST,
        chunk(call(0, '{"ci')),
        chunk(call(0, 'ty":1}')),
        chunk(call(1, '{"order', id="call_b", name="query_order", type="function")),
        chunk(call(1, '_id":2}')),
        chunk({}, "tool_calls"),
    )

    assert completion.text is None
    assert completion.tool_calls == (
        ToolCall(id=ToolCallId("call_a"), name="get_weather", arguments='{"city":1}'),
        ToolCall(
            id=ToolCallId("call_b"), name="query_order", arguments='{"order_id":2}'
        ),
    )


def test_takes_repeated_id_and_name() -> None:
    """
    A server that repeats id and name in every delta does not double them.
    """
    completion = assemble(
        FIRST,
        chunk(call(0, "{}", id="call_a", name="get_weather", type="function")),
        chunk({}, "tool_calls"),
    )

    assert completion.tool_calls == (
        ToolCall(id=ToolCallId("call_a"), name="get_weather", arguments="{}"),
    )


def test_assembles_refusal() -> None:
    """
    A refusal is an answer of its own, beside the text.
    """
    completion = assemble(
        chunk({"refusal": "I "}), chunk({"refusal": "won't"}), chunk({}, "stop")
    )

    assert (completion.text, completion.refusal) == (None, "I won't")


@pytest.mark.parametrize("finish_reason", ["length", "content_filter"])
def test_takes_cut_answer(finish_reason: str) -> None:
    """
    An answer that a limit or a filter cut is whole: the model said so.
    """
    completion = assemble(chunk({"content": "Hal"}, finish_reason))

    assert completion.finish_reason.value == finish_reason


BROKEN = {
    "nothing": ([], Breakage.TRUNCATED),
    "done at once": (["[DONE]"], Breakage.TRUNCATED),
    "no finish reason": ([chunk({"content": "Hal"})], Breakage.TRUNCATED),
    "no finish reason, but done": (
        [chunk({"content": "Hal"}), "[DONE]"],
        Breakage.TRUNCATED,
    ),
    "cut in a call": ([FIRST, chunk(call(0, '{"ci'))], Breakage.TRUNCATED),
    "cut JSON": ([chunk({"content": "x"})[:-9]], Breakage.MALFORMED_JSON),
    "no JSON": (["hello"], Breakage.MALFORMED_JSON),
    "empty event": ([""], Breakage.MALFORMED_JSON),
    "deep JSON": (['{"x":' + "[" * 9999], Breakage.MALFORMED_JSON),
    "an array": (["[1]"], Breakage.WRONG_SHAPE),
    "content is a number": ([chunk({"content": 1})], Breakage.WRONG_SHAPE),
    "arguments are an object": ([chunk(call(0, {}))], Breakage.WRONG_SHAPE),
    "choices are an object": (['{"choices": {}}'], Breakage.WRONG_SHAPE),
    "two choices": (
        [json.dumps({"choices": [{"index": 1, "delta": {}}]})],
        Breakage.WRONG_SHAPE,
    ),
    "an empty answer": ([chunk({"content": ""}, "stop")], Breakage.EMPTY_ANSWER),
    "a reason nobody knows": (
        [chunk({"content": "x"}, "bored")],
        Breakage.UNKNOWN_FINISH_REASON,
    ),
    "text after the end": (
        [chunk({"content": "x"}, "stop"), chunk({"content": "y"})],
        Breakage.OUTPUT_AFTER_FINISH,
    ),
    "calls that are none": ([chunk({}, "tool_calls")], Breakage.TOOL_CALLS_MISSING),
    "index skips": (
        [FIRST, chunk(call(2, "{}", id="b", name="b"))],
        Breakage.TOOL_CALL_INDEX,
    ),
    "index starts at one": (
        [chunk(call(1, "", id="b", name="b"))],
        Breakage.TOOL_CALL_INDEX,
    ),
    "index is negative": ([FIRST, chunk(call(-1, "{}"))], Breakage.TOOL_CALL_INDEX),
    "no index": ([chunk(call(None, "", id="b", name="b"))], Breakage.TOOL_CALL_INDEX),
    "two calls at one index": (
        [FIRST, chunk(call(0, "{}", id="call_b", name="get_weather"))],
        Breakage.TOOL_CALL_CHANGED,
    ),
    "another name": (
        [FIRST, chunk(call(0, "{}", name="query_order"))],
        Breakage.TOOL_CALL_CHANGED,
    ),
    "one id for two": (
        [FIRST, chunk(call(1, "", id="call_a", name="b")), chunk({}, "tool_calls")],
        Breakage.TOOL_CALL_REPEATED,
    ),
    "no id": ([chunk(call(0, "", name="b"))], Breakage.TOOL_CALL_UNNAMED),
    "no name": ([chunk(call(0, "", id="b"))], Breakage.TOOL_CALL_UNNAMED),
    "a custom tool": (
        [chunk(call(0, "", id="b", name="b", type="custom"))],
        Breakage.TOOL_CALL_UNNAMED,
    ),
    "a runaway model": (
        [chunk(call(n, "", id=f"c{n}", name="b")) for n in range(129)],
        Breakage.TOO_MANY_TOOL_CALLS,
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_refuses_broken_stream(name: str) -> None:
    """
    A stream that is not whole never becomes a completion; the reason is a fixed word.
    """
    data, reason = BROKEN[name]

    with pytest.raises(UpstreamProtocolError) as caught:
        assemble(*data)

    assert caught.value.reason == reason


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        ({"message": "sorry", "type": "server_error", "code": None}, None, "sorry"),
        (
            {"message": "quota", "code": "insufficient_quota"},
            "insufficient_quota",
            "quota",
        ),
        ({"code": 529}, "529", ""),
        ("overloaded", None, "overloaded"),
        ([], None, ""),
    ],
)
def test_raises_reported_error(error: Any, code: str | None, message: str) -> None:
    """
    An error inside a stream is raised, however little it says.
    """
    with pytest.raises(UpstreamStatusError) as caught:
        assemble(chunk({"content": "Hal"}), json.dumps({"error": error}))

    raised = caught.value
    assert (raised.status, raised.code, raised.message) == (200, code, message)


@pytest.mark.parametrize(
    "usage", [None, 7, {"prompt_tokens": None}, {"total_tokens": "x"}]
)
def test_takes_any_usage(usage: Any) -> None:
    """
    Usage is only shown: whatever stands there breaks no answer.
    """
    assert assemble(chunk({"content": "x"}, "stop", usage=usage)).text == "x"


@given(arguments=st.lists(st.text(), min_size=1, max_size=4), sizes=st.integers(1, 9))
def test_joins_any_fragments(arguments: list[str], sizes: int) -> None:
    """
    However the arguments of calls are cut, they are joined to what they were.
    """
    assembler = CompletionAssembler()
    for index, text in enumerate(arguments):
        assembler.add(chunk(call(index, "", id=f"call_{index}", name="f")))
        for start in range(0, len(text), sizes):
            assembler.add(chunk(call(index, text[start : start + sizes])))
    assembler.add(chunk({}, "tool_calls"))

    assert [made.arguments for made in assembler.finish().tool_calls] == arguments


LEAVES = st.none() | st.booleans() | st.integers() | st.text(max_size=3)
NAMES = st.sampled_from(
    [
        "choices",
        "delta",
        "index",
        "finish_reason",
        "tool_calls",
        "id",
        "function",
        "name",
        "arguments",
        "error",
        "usage",
    ]
)
ANYTHING = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(NAMES, inner, max_size=4)
    ),
)


@given(chunks=st.lists(ANYTHING.map(json.dumps) | st.text(), max_size=4))
def test_survives_anything(chunks: list[str]) -> None:
    """
    Any stream is a completion or one of our errors; nothing else is raised.
    """
    try:
        completion = assemble(*chunks)
    except UpstreamError as error:
        assert str(error)  # noqa: PT017
    else:
        assert completion.finish_reason


def test_takes_no_chunk_of_another_answer() -> None:
    """
    Text under another id than the answer's may be somebody else's.
    """
    with pytest.raises(UpstreamProtocolError) as caught:
        assemble(
            chunk({"content": "mine "}),
            chunk({"content": "yours"}, id="chatcmpl-2"),
            chunk({}, "stop"),
        )

    assert caught.value.reason == Breakage.ANSWER_CHANGED


@pytest.mark.parametrize("answer_id", ["", None])
def test_takes_chunks_without_an_id(answer_id: str | None) -> None:
    """
    Chunks that a gateway adds before or within an answer have no id; they are taken.
    """
    completion = assemble(
        chunk({}, id=answer_id),
        chunk({"content": "mi"}),
        chunk({"content": "ne"}, id=answer_id),
        chunk({}, "stop"),
    )

    assert completion.text == "mine"


@pytest.mark.parametrize("blank", [" ", "\n\t", "\N{NO-BREAK SPACE}"])
def test_blanks_are_no_answer(blank: str) -> None:
    """
    A model that stops after nothing but blanks has said nothing.
    """
    with pytest.raises(UpstreamProtocolError) as caught:
        assemble(chunk({"content": blank}), chunk({}, "stop"))

    assert caught.value.reason == Breakage.EMPTY_ANSWER


def test_a_call_cut_before_its_arguments_is_not_run_without() -> None:
    """
    No arguments mean none, unless the answer ended before they could come.
    """
    with pytest.raises(UpstreamProtocolError) as caught:
        assemble(FIRST, chunk({}, "length"))

    assert caught.value.reason == Breakage.TRUNCATED
    assert assemble(FIRST, chunk({}, "tool_calls")).tool_calls[0].arguments == ""


@pytest.mark.parametrize("count", [-3, True, 2.5])
def test_shows_no_count_that_cannot_be(count: float) -> None:
    """
    Usage is added up: what is no count of tokens does not get in.
    """
    completion = assemble(
        chunk({"content": "x"}, "stop", usage={"prompt_tokens": count})
    )

    assert completion.usage in {None, Usage()}
