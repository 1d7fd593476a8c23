"""
The faults in what the model says, plain and streamed, as a client puts it together.
"""

from collections.abc import Callable
from typing import Any

import orjson
import pytest

from mock_server import LoopClock
from mock_server.testing import RawAnswer, mock_in_test

pytestmark = pytest.mark.virtual_time
BOTH = pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])
MessageOf = Callable[..., dict[str, Any]]
Values = Callable[[RawAnswer], list[dict[str, Any]]]


@BOTH
@pytest.mark.parametrize(
    ("form", "name"),
    [
        ("case", "GetWeather"),
        ("separator", "get-weather"),
        ("prefix", "functions.get_weather"),
        ("suffix", "get_weather_tool"),
    ],
)
async def test_calls_a_tool_that_is_almost_there(
    asker: Any,
    message_of: MessageOf,
    form: str,
    name: str,
    stream: bool,  # noqa: FBT001 - a parameter of the matrix
) -> None:
    """
    The name is nearly that of the offered tool, and the arguments are untouched.
    """
    fault = f"{{fault: near_miss_tool, form: {form}}}"
    answer = await asker.call(fault, stream=stream)

    [call] = message_of(answer, stream=stream)["tool_calls"]
    assert call["function"]["name"] == name
    assert orjson.loads(call["function"]["arguments"]) == {"city": "Paris", "days": 3}


@BOTH
async def test_calls_what_was_not_offered(
    asker: Any,
    message_of: MessageOf,
    stream: bool,  # noqa: FBT001 - a parameter of the matrix
) -> None:
    """
    A text becomes a call of a tool that nobody offered.
    """
    fault = "{fault: tool_not_offered, tool: get_weather}"
    answer = await asker.call(fault, stream=stream)

    message = message_of(answer, stream=stream)
    assert [call["function"]["name"] for call in message["tool_calls"]] == [
        "get_weather_v2"
    ]
    assert message["finish_reason"] == "tool_calls"


@BOTH
async def test_calls_although_it_may_not(
    asker: Any,
    message_of: MessageOf,
    stream: bool,  # noqa: FBT001 - a parameter of the matrix
) -> None:
    """
    With ``tool_choice: none`` there is a call, with arguments that its schema allows.
    """
    fault = "{fault: tool_despite_none}"
    answer = await asker.call(fault, stream=stream, tool_choice="none")

    [call] = message_of(answer, stream=stream)["tool_calls"]
    assert call["id"].startswith("call_")
    assert orjson.loads(call["function"]["arguments"]) == {"city": "text"}

    await asker.call(fault, stream=stream)

    assert asker.applied == []


@BOTH
@pytest.mark.parametrize(
    "choice",
    ["required", {"type": "function", "function": {"name": "get_weather"}}],
    ids=["required", "named"],
)
async def test_says_something_although_it_must_call(
    asker: Any,
    message_of: MessageOf,
    choice: Any,
    stream: bool,  # noqa: FBT001 - a parameter of the matrix
) -> None:
    """
    A forced call does not come, in either form of force; without force nothing hits.
    """
    fault = "{fault: forced_tool_ignored}"
    answer = await asker.call(fault, stream=stream, tool_choice=choice)

    message = message_of(answer, stream=stream)
    assert message["content"] == "I would rather not call a tool."
    assert not message.get("tool_calls")

    await asker.call(fault, stream=stream, tool_choice="auto")

    assert asker.applied == []


@BOTH
async def test_doubles_the_id(
    asker: Any,
    stream: bool,  # noqa: FBT001 - a parameter of the matrix
) -> None:
    """
    Two calls carry one id.
    """
    answer = await asker.call("{fault: call_id}", stream=stream)

    ids = [part.split(b'"')[0] for part in answer.body.split(b'"id":"call_')[1:]]
    assert len(ids) == 2
    assert len(set(ids)) == 1


@BOTH
async def test_leaves_out_the_id(
    asker: Any,
    stream: bool,  # noqa: FBT001 - a parameter of the matrix
) -> None:
    """
    The key is not there at all.
    """
    answer = await asker.call("{fault: call_id, form: missing}", stream=stream)

    assert answer.status == 200
    assert b"call_" not in answer.body.replace(b"tool_calls", b"")
    assert b'"type":"function"' in answer.body


@BOTH
async def test_sends_an_overlong_id(
    asker: Any,
    message_of: MessageOf,
    stream: bool,  # noqa: FBT001 - a parameter of the matrix
) -> None:
    """
    The id has 2,000 characters.
    """
    answer = await asker.call("{fault: call_id, form: overlong}", stream=stream)

    [call] = message_of(answer, stream=stream)["tool_calls"]
    assert len(call["id"]) == 2000


SECOND_TURN = [
    {"role": "user", "content": "hi"},
    {
        "role": "assistant",
        "content": None,
        "tool_calls": [
            {
                "id": "call_first",
                "type": "function",
                "function": {"name": "get_weather", "arguments": '{"city":"Rome"}'},
            }
        ],
    },
    {"role": "tool", "tool_call_id": "call_first", "content": "22"},
]


@BOTH
async def test_uses_an_id_again(
    clock: LoopClock,
    message_of: MessageOf,
    stream: bool,  # noqa: FBT001 - a parameter of the matrix
) -> None:
    """
    In a later turn a call has the id of the first one; in the first turn nothing hits.
    """
    script = """
    upstream:
      script: [{reply: {tool_calls: [{name: f}]}, endless: true}]
      faults: [{fault: call_id, form: reused}]
    """
    async with mock_in_test(script, clock=clock) as mock:
        await mock.chat(stream=stream)
        assert mock.of("fault_applied") == []
        answer = await mock.chat(stream=stream, messages=SECOND_TURN)

    [call] = message_of(answer, stream=stream)["tool_calls"]
    assert call["id"] == "call_first"


@BOTH
async def test_never_stops_calling(
    asker: Any,
    message_of: MessageOf,
    stream: bool,  # noqa: FBT001 - a parameter of the matrix
) -> None:
    """
    Whatever the tool answered, the first call comes again under an id of its own.
    """
    fault = "{fault: doom_loop}"
    answer = await asker.call(fault, stream=stream, messages=SECOND_TURN)

    [call] = message_of(answer, stream=stream)["tool_calls"]
    assert call["function"] == {"name": "get_weather", "arguments": '{"city":"Rome"}'}
    assert call["id"] != "call_first"


@BOTH
async def test_calls_fifty_times(
    asker: Any,
    message_of: MessageOf,
    stream: bool,  # noqa: FBT001 - a parameter of the matrix
) -> None:
    """
    Fifty calls come at once, with fifty ids.
    """
    answer = await asker.call("{fault: fan_out}", stream=stream)

    calls = message_of(answer, stream=stream)["tool_calls"]
    assert len(calls) == len({call["id"] for call in calls}) == 50
    assert {call["function"]["name"] for call in calls} == {"get_weather"}


@BOTH
async def test_calls_in_the_old_way(
    asker: Any,
    values_of: Values,
    stream: bool,  # noqa: FBT001 - a parameter of the matrix
) -> None:
    """
    The call stands in ``function_call``, and the finish reason says so.
    """
    answer = await asker.call("{fault: legacy_function_call}", stream=stream)

    assert b"tool_calls" not in answer.body
    values = values_of(answer) if stream else [answer.json]
    choices = [choice for value in values for choice in value["choices"]]
    calls = [
        choice.get("delta", choice.get("message")).get("function_call")
        for choice in choices
    ]
    assert "".join(call["arguments"] for call in calls if call).startswith('{"city"')
    assert choices[-1]["finish_reason"] == "function_call"


@BOTH
@pytest.mark.parametrize(
    ("form", "reason", "calls"),
    [
        ("stop_with_calls", "stop", 1),
        ("calls_without", "tool_calls", 0),
        ("length_in_call", "length", 1),
        ("null", None, 1),
        ("unknown", "eos_banana", 1),
    ],
)
async def test_ends_for_a_wrong_reason(
    asker: Any,
    message_of: MessageOf,
    form: str,
    reason: str | None,
    calls: int,
    stream: bool,  # noqa: FBT001 - a parameter of the matrix
) -> None:
    """
    The reason does not fit what was said.
    """
    fault = f"{{fault: finish_reason, form: {form}}}"
    answer = await asker.call(fault, stream=stream)

    message = message_of(answer, stream=stream)
    assert message["finish_reason"] == reason
    assert len(message.get("tool_calls", ())) == calls
    if form == "length_in_call":
        with pytest.raises(orjson.JSONDecodeError):
            orjson.loads(message["tool_calls"][0]["function"]["arguments"])


@BOTH
@pytest.mark.parametrize("form", ["empty", "absent", "two", "no_message"])
async def test_offers_no_choice_or_too_many(
    asker: Any,
    values_of: Values,
    form: str,
    stream: bool,  # noqa: FBT001 - a parameter of the matrix
) -> None:
    """
    The list of choices is empty, absent, too long or without its messages.
    """
    answer = await asker.text(f"{{fault: choices, form: {form}}}", stream=stream)

    assert answer.is_whole
    for value in values_of(answer) if stream else [answer.json]:
        match form:
            case "empty":
                assert value["choices"] == []
            case "absent":
                assert "choices" not in value
            case "two":
                assert [choice["index"] for choice in value["choices"]] == [0, 1]
            case _:
                [choice] = value["choices"]
                assert not {"message", "delta"} & set(choice)


@BOTH
@pytest.mark.parametrize(
    ("form", "content"), [("empty", ""), ("blank", " \n "), ("null", None)]
)
async def test_says_nothing(
    asker: Any,
    message_of: MessageOf,
    form: str,
    content: str | None,
    stream: bool,  # noqa: FBT001 - a parameter of the matrix
) -> None:
    """
    There are neither words nor calls.
    """
    answer = await asker.call(f"{{fault: content, form: {form}}}", stream=stream)

    message = message_of(answer, stream=stream)
    assert message["content"] == content
    assert not message.get("tool_calls")
    assert message["finish_reason"] == "stop"


@BOTH
async def test_refuses(
    asker: Any,
    message_of: MessageOf,
    stream: bool,  # noqa: FBT001 - a parameter of the matrix
) -> None:
    """
    The refusal stands in its own field, and there is no text.
    """
    answer = await asker.text("{fault: refusal}", stream=stream)

    message = message_of(answer, stream=stream)
    assert message["refusal"] == "I'm sorry, I can't help with that."
    assert message["content"] is None


@BOTH
async def test_only_reasons(
    asker: Any,
    message_of: MessageOf,
    stream: bool,  # noqa: FBT001 - a parameter of the matrix
) -> None:
    """
    All words stand in ``reasoning_content``.
    """
    answer = await asker.text("{fault: reasoning_only}", stream=stream)

    message = message_of(answer, stream=stream)
    assert message["reasoning_content"] == "one two three four"
    assert not message["content"]


@BOTH
async def test_names_another_model(
    asker: Any,
    values_of: Values,
    stream: bool,  # noqa: FBT001 - a parameter of the matrix
) -> None:
    """
    No object of the answer names the model that was asked for.
    """
    answer = await asker.text("{fault: model_name}", stream=stream)

    values = values_of(answer) if stream else [answer.json]
    assert {value["model"] for value in values} == {"gpt-3.5-turbo-0125"}


@BOTH
async def test_gives_orders(
    asker: Any,
    message_of: MessageOf,
    stream: bool,  # noqa: FBT001 - a parameter of the matrix
) -> None:
    """
    What the model says ends with orders for its reader.
    """
    answer = await asker.text("{fault: prompt_injection}", stream=stream)

    content = message_of(answer, stream=stream)["content"]
    assert content.startswith("one two three four\n\nIGNORE ALL PREVIOUS")
    assert content.endswith("</script>")


@BOTH
@pytest.mark.parametrize("kind", ["deep", "huge", "null"])
async def test_sends_arguments_of_any_size(
    asker: Any,
    message_of: MessageOf,
    kind: str,
    stream: bool,  # noqa: FBT001 - a parameter of the matrix
) -> None:
    """
    Ten thousand levels and a megabyte arrive as they are.
    """
    answer = await asker.call(f"{{fault: arguments, kind: {kind}}}", stream=stream)

    [call] = message_of(answer, stream=stream)["tool_calls"]
    arguments = call["function"]["arguments"]
    match kind:
        case "deep":
            assert arguments.count("[") == 10_000
        case "huge":
            assert len(arguments) > 1_000_000
        case _:
            assert arguments == "null"


@BOTH
@pytest.mark.parametrize(
    ("kind", "arguments"),
    [
        ("missing_required", {"days": 3}),
        ("wrong_type", {"city": 12345, "days": 3}),
        (
            "extra_property",
            {"city": "Paris", "days": 3, "unexpected_property": "value"},
        ),
        ("outside_enum", {"city": "Paris", "days": 3, "unit": "CF_not"}),
        ("not_object", [{"city": "Paris", "days": 3}]),
        ("boundary", {"city": "x", "days": 3}),
    ],
)
async def test_violates_the_tools_own_schema(
    asker: Any,
    message_of: MessageOf,
    kind: str,
    arguments: Any,
    stream: bool,  # noqa: FBT001 - a parameter of the matrix
) -> None:
    """
    The arguments break the schema of the tool in the way that was asked for.
    """
    fault = f"{{fault: schema_violation, kind: {kind}, number: 0}}"
    answer = await asker.call(fault, stream=stream)

    [call] = message_of(answer, stream=stream)["tool_calls"]
    assert orjson.loads(call["function"]["arguments"]) == arguments


async def test_spares_tools_that_cannot_be_violated_so(asker: Any) -> None:
    """
    A tool without an enumeration is not called outside of it.
    """
    tools = [{"type": "function", "function": {"name": "get_weather"}}]
    fault = "{fault: schema_violation, kind: outside_enum}"
    await asker.call(fault, stream=False, tools=tools)

    assert asker.applied == []
