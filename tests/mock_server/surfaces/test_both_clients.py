"""
Every surface through the official client, blocking and asynchronous, believing nothing.

What is asked is written once, as a generator that yields what the client returns: the
blocking client returns values, the other one what is to be awaited. Both check every
answer against their own types (``_strict_response_validation``).
"""

import asyncio
import inspect
import json
from collections.abc import Callable, Generator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

import openai
import pytest
from pydantic import BaseModel

from mock_server.testing import MockInTest, mock_in_test

pytestmark = [
    pytest.mark.sockets,
    # The client warns of assistants, which are there to be used.
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]

Flow = Generator[Any, Any, None]

MODEL: Final = "gpt-4o"
EMBEDDER: Final = "text-embedding-3-small"
OLD_MODEL: Final = "gpt-3.5-turbo-instruct"
SCRIPT: Final = """
upstream:
  models: [gpt-4o, gpt-3.5-turbo-instruct, text-embedding-3-small]
  threads: {poll_after: 1ms}
  batches: {validating: 1ms, in_progress: 1ms, finalizing: 1ms}
  script:
    - match: {last_message: {role: user, contains: weather}}
      reply: {tool_calls: [{name: get_weather, arguments: {city: Paris}}]}
    - match: {last_message: {role: tool}}
      reply: {text: "{{ tool.temperature }} °C."}
    - match: {last_message: {contains: capital}}
      reply: {text: '{"city": "Paris"}'}
    - match: {last_message: {contains: refuse}}
      reply: {refusal: "I will not."}
    - match: {last_message: {contains: think}}
      reply: {reasoning: "Well.", text: "So."}
    - match: {last_message: {contains: shell}}
      reply: {tool_calls: [{name: shell, arguments: "ls"}]}
    - reply: {text: "Hello, dear friend."}
"""
UNHURRIED: Final = SCRIPT.replace("validating: 1ms", "validating: 1h")
"""The same, with batches that do not end while they are looked at."""

SCHEMA: Final = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
    "additionalProperties": False,
}
FUNCTION: Final = {"name": "get_weather", "strict": True, "parameters": SCHEMA}
CHAT_TOOL: Final = {"type": "function", "function": FUNCTION}
TOOL: Final = {"type": "function", **FUNCTION}
WARM: Final = '{"temperature": 22}'


class City(BaseModel):
    city: str


def said(text: str) -> list[dict[str, str]]:
    """
    Return a transcript of one question.
    """
    return [{"role": "user", "content": text}]


@dataclass(frozen=True, slots=True)
class Events:
    """
    Yielded to have all that a stream sends.
    """

    stream: Any


@dataclass(frozen=True, slots=True)
class Whole:
    """
    Yielded to have what the client's own helper puts together.
    """

    manager: Any
    method: str


# What is asked ------------------------------------------------------------------------


def chats(client: Any) -> Flow:
    """
    Plain chats: text, choices, log probabilities, refusals, typed output.
    """
    create = client.chat.completions.create
    plain = yield create(model=MODEL, messages=said("hi"), n=2, logprobs=True)
    refused = yield create(model=MODEL, messages=said("refuse"))
    parsed = yield client.chat.completions.parse(
        model=MODEL, messages=said("capital"), response_format=City
    )

    assert [choice.index for choice in plain.choices] == [0, 1]
    assert plain.choices[1].message.content == "Hello, dear friend."
    tokens = [entry.token for entry in plain.choices[0].logprobs.content]
    assert "".join(tokens) == "Hello, dear friend."
    assert refused.choices[0].message.refusal == "I will not."
    assert parsed.choices[0].message.parsed == City(city="Paris")


def chat_streams(client: Any) -> Flow:
    """
    Streamed chats, as chunks and put together by the client.
    """
    stream = yield client.chat.completions.create(
        model=MODEL,
        messages=said("hi"),
        stream=True,
        stream_options={"include_usage": True},
    )
    chunks = yield Events(stream)
    final = yield Whole(
        client.chat.completions.stream(
            model=MODEL, messages=said("weather"), tools=[CHAT_TOOL]
        ),
        "get_final_completion",
    )

    texts = [c.choices[0].delta.content or "" for c in chunks if c.choices]
    assert "".join(texts) == "Hello, dear friend."
    assert chunks[-1].usage.total_tokens > 0
    call = final.choices[0].message.tool_calls[0]
    assert call.function.arguments == '{"city":"Paris"}'


def chat_tools(client: Any) -> Flow:
    """
    A call, its result, and the answer; a tool that takes text.
    """
    create = client.chat.completions.create
    asked = said("weather")
    called = yield create(model=MODEL, messages=asked, tools=[CHAT_TOOL])
    message = called.choices[0].message
    result = {
        "role": "tool",
        "tool_call_id": message.tool_calls[0].id,
        "content": WARM,
    }
    answered = yield create(
        model=MODEL, messages=[*asked, message, result], tools=[CHAT_TOOL]
    )
    custom = yield create(
        model=MODEL,
        messages=said("shell"),
        tools=[{"type": "custom", "custom": {"name": "shell"}}],
    )

    assert called.choices[0].finish_reason == "tool_calls"
    assert answered.choices[0].message.content == "22 °C."
    assert custom.choices[0].message.tool_calls[0].custom.input == "ls"


def stored_chats(client: Any) -> Flow:
    """
    A chat that is kept can be had, listed, changed and deleted.
    """
    stored = client.chat.completions
    made = yield stored.create(
        model=MODEL, messages=said("hi"), store=True, metadata={"a": "1"}
    )
    kept = yield stored.retrieve(made.id)
    listed = yield stored.list(metadata={"a": "1"})
    updated = yield stored.update(made.id, metadata={"b": "2"})
    deleted = yield stored.delete(made.id)

    assert kept.id == listed.data[0].id == made.id
    assert updated.metadata == {"b": "2"}
    assert deleted.deleted


def stored_messages(client: Any) -> Flow:
    """
    What was said in a chat that is kept: the client's type knows only the assistant.
    """
    stored = client.chat.completions
    made = yield stored.create(model=MODEL, messages=said("hi"), store=True)
    messages = yield stored.messages.list(made.id)

    assert [(m.role, m.content) for m in messages.data] == [("user", "hi")]


def responses(client: Any) -> Flow:
    """
    Plain responses: reasoning, refusals, typed output, calls that are chained.
    """
    create = client.responses.create
    thought = yield create(model=MODEL, input="think")
    refused = yield create(model=MODEL, input="refuse")
    parsed = yield client.responses.parse(
        model=MODEL, input="capital", text_format=City
    )
    called = yield create(model=MODEL, input="weather", tools=[TOOL])
    output = {
        "type": "function_call_output",
        "call_id": called.output[0].call_id,
        "output": WARM,
    }
    answered = yield create(
        model=MODEL, input=[output], tools=[TOOL], previous_response_id=called.id
    )
    counted = yield client.responses.input_tokens.count(model=MODEL, input="hi")

    assert [item.type for item in thought.output] == ["reasoning", "message"]
    assert refused.output[0].content[0].refusal == "I will not."
    assert parsed.output_parsed == City(city="Paris")
    assert answered.output_text == "22 °C."
    assert counted.input_tokens > 0


def response_streams(client: Any) -> Flow:
    """
    Streamed responses, as events and put together by the client.
    """
    stream = yield client.responses.create(model=MODEL, input="think", stream=True)
    events = yield Events(stream)
    final = yield Whole(
        client.responses.stream(model=MODEL, input="weather", tools=[TOOL]),
        "get_final_response",
    )

    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert events[-1].response.output_text == "So."
    assert final.output[0].arguments == '{"city":"Paris"}'


def stored_responses(client: Any) -> Flow:
    """
    Background work is had, resumed, cancelled too late, listed and deleted.
    """
    stream = yield client.responses.create(
        model=MODEL, input="hi", background=True, stream=True
    )
    begun = yield Events(stream)
    made = begun[0].response
    stream = yield client.responses.retrieve(made.id, stream=True, starting_after=1)
    events = yield Events(stream)
    kept = yield client.responses.retrieve(made.id)
    cancelled = yield client.responses.cancel(made.id)
    items = yield client.responses.input_items.list(made.id)
    nothing = yield client.responses.delete(made.id)

    assert made.status == "queued"
    assert events == begun[2:]
    assert events[-1].type == "response.completed"
    assert kept.output_text == "Hello, dear friend."
    assert cancelled.status == "completed"
    assert items.data[0].content[0].text == "hi"
    assert nothing is None


def conversations(client: Any) -> Flow:
    """
    A conversation keeps what was said, and can be changed and deleted.
    """
    made = yield client.conversations.create(metadata={"a": "1"})
    yield client.responses.create(model=MODEL, input="hi", conversation=made.id)
    items = yield client.conversations.items.list(made.id)
    added = yield client.conversations.items.create(
        made.id, items=[{"type": "message", "role": "user", "content": "more"}]
    )
    item = yield client.conversations.items.retrieve(
        added.data[0].id, conversation_id=made.id
    )
    left = yield client.conversations.items.delete(
        added.data[0].id, conversation_id=made.id
    )
    updated = yield client.conversations.update(made.id, metadata={"b": "2"})
    kept = yield client.conversations.retrieve(made.id)
    deleted = yield client.conversations.delete(made.id)

    assert [item.role for item in items.data] == ["assistant", "user"]
    assert item.content[0].text == "more"
    assert left.id == made.id
    assert updated.metadata == kept.metadata == {"b": "2"}
    assert deleted.deleted


def models(client: Any) -> Flow:
    """
    The models that the script lists.
    """
    listed = yield client.models.list()
    model = yield client.models.retrieve(MODEL)

    assert MODEL in [model.id for model in listed.data]
    assert model.id == MODEL


def embeddings(client: Any) -> Flow:
    """
    Vectors of texts and of token ids.
    """
    create = client.embeddings.create
    texts = yield create(
        model=EMBEDDER, input=["hi", "ho"], dimensions=8, encoding_format="float"
    )
    tokens = yield create(model=EMBEDDER, input=[[1, 2], [3]], encoding_format="float")

    assert [len(vector.embedding) for vector in texts.data] == [8, 8]
    assert [vector.index for vector in tokens.data] == [0, 1]


def packed_embeddings(client: Any) -> Flow:
    """
    Vectors as the client asks for them by itself: it unpacks what its type forbids.
    """
    create = client.embeddings.create
    packed = yield create(model=EMBEDDER, input="hi", dimensions=8)
    written = yield create(
        model=EMBEDDER, input="hi", dimensions=8, encoding_format="float"
    )

    assert packed.data[0].embedding == pytest.approx(
        written.data[0].embedding, abs=1e-6
    )


def texts(client: Any) -> Flow:
    """
    Completions in the oldest form, and moderations.
    """
    plain = yield client.completions.create(model=OLD_MODEL, prompt="hi", max_tokens=50)
    moderated = yield client.moderations.create(input=["a lovely day"])

    assert plain.choices[0].text == "Hello, dear friend."
    assert not moderated.results[0].flagged


def text_streams(client: Any) -> Flow:
    """
    Completions in pieces: the client's type knows no piece without a finish reason.
    """
    stream = yield client.completions.create(
        model=OLD_MODEL, prompt="hi", max_tokens=50, stream=True
    )
    chunks = yield Events(stream)

    assert "".join(c.choices[0].text for c in chunks) == "Hello, dear friend."
    assert chunks[-1].choices[0].finish_reason == "stop"


def files_and_batches(client: Any) -> Flow:
    """
    A file of requests becomes a batch, and the batch a file of answers.
    """
    body = {"model": MODEL, "messages": said("hi")}
    url = "/v1/chat/completions"
    line = {"custom_id": "a", "method": "POST", "url": url, "body": body}
    data = json.dumps(line).encode()
    file = yield client.files.create(file=("in.jsonl", data), purpose="batch")
    content = yield client.files.content(file.id)
    batch = yield client.batches.create(
        input_file_id=file.id, endpoint=url, completion_window="24h"
    )
    made = batch
    while batch.status in {"validating", "in_progress", "finalizing"}:
        batch = yield client.batches.retrieve(batch.id)
    output = yield client.files.content(batch.output_file_id)
    listed = yield client.batches.list()
    found = yield client.files.retrieve(file.id)
    files = yield client.files.list(purpose="batch")
    deleted = yield client.files.delete(file.id)

    assert content.content == data
    assert (made.status, batch.status) == ("validating", "completed")
    answer = json.loads(output.content)
    assert answer["custom_id"] == "a"
    assert answer["response"]["body"]["object"] == "chat.completion"
    assert [batch.id for batch in listed.data] == [made.id]
    assert found.id == files.data[0].id == deleted.id


def cancelled_batches(client: Any) -> Flow:
    """
    A batch that has not ended is cancelled.
    """
    url = "/v1/chat/completions"
    body = {"model": MODEL, "messages": said("hi")}
    line = {"custom_id": "a", "method": "POST", "url": url, "body": body}
    data = json.dumps(line).encode()
    file = yield client.files.create(file=("in.jsonl", data), purpose="batch")
    held = yield client.batches.create(
        input_file_id=file.id, endpoint=url, completion_window="24h"
    )
    cancelled = yield client.batches.cancel(held.id)

    assert cancelled.status in {"cancelling", "cancelled"}


def threads(client: Any) -> Flow:
    """
    An assistant runs a thread, waits for the output of its tool, and answers.
    """
    beta = client.beta
    assistant = yield beta.assistants.create(model=MODEL, tools=[CHAT_TOOL])
    updated = yield beta.assistants.update(assistant.id, name="kind")
    listed = yield beta.assistants.list()
    thread = yield beta.threads.create(messages=said("weather"))
    run = yield beta.threads.runs.create_and_poll(
        thread_id=thread.id, assistant_id=assistant.id
    )
    calls = run.required_action.submit_tool_outputs.tool_calls
    done = yield beta.threads.runs.submit_tool_outputs_and_poll(
        run_id=run.id,
        thread_id=thread.id,
        tool_outputs=[{"tool_call_id": calls[0].id, "output": WARM}],
    )
    steps = yield beta.threads.runs.steps.list(run.id, thread_id=thread.id)
    added = yield beta.threads.messages.create(thread.id, role="user", content="thanks")
    messages = yield beta.threads.messages.list(thread.id, order="asc")
    runs = yield beta.threads.runs.list(thread.id)
    gone = yield beta.threads.delete(thread.id)
    fired = yield beta.assistants.delete(assistant.id)

    assert updated.name == listed.data[0].name == "kind"
    assert done.status == "completed"
    assert len(steps.data) == 2
    assert messages.data[1].content[0].text.value == "22 °C."
    assert messages.data[2].id == added.id
    assert [run.id for run in runs.data] == [done.id]
    assert gone.deleted
    assert fired.deleted


def flat_outputs(client: Any) -> Flow:
    """
    A run of the flat form takes the output of its one call, and is completed.
    """
    beta = client.beta
    assistant = yield beta.assistants.create(model=MODEL, tools=[CHAT_TOOL])
    run = yield beta.threads.create_and_run_poll(
        assistant_id=assistant.id, thread={"messages": said("weather")}
    )
    call = run.required_action.submit_tool_outputs.tool_calls[0]
    body = {"run_id": run.id, "tool_call_id": call.id, "output": WARM}
    answer = yield client.post("/runs/submit-tool-outputs", cast_to=object, body=body)

    assert answer["id"] == run.id


def webhook_endpoints(client: Any) -> Flow:
    """
    An endpoint is registered, changed, given another secret, and removed.
    """
    hooks = client.webhooks
    made = yield hooks.create(
        name="mine",
        url="http://127.0.0.1:9/hook",
        event_types=["response.completed"],
    )
    kept = yield hooks.retrieve(made.id)
    updated = yield hooks.update(made.id, name="yours")
    rotated = yield hooks.rotate_secret(made.id)
    types = yield hooks.event_types.list()
    listed = yield hooks.list()
    deleted = yield hooks.delete(made.id)

    assert kept.signing_secret_hint == made.signing_secret_hint
    assert updated.name == "yours"
    assert rotated.signing_secret != made.signing_secret
    assert "batch.completed" in types.data
    assert [endpoint.id for endpoint in listed.data] == [made.id]
    assert deleted.deleted


def raw_answers(client: Any) -> Flow:
    """
    The headers of an answer, as the client hands them out.
    """
    raw = yield client.chat.completions.with_raw_response.create(
        model=MODEL, messages=said("hi")
    )
    models = yield client.models.with_raw_response.list()

    for answer in (raw, models):
        assert answer.headers["openai-version"] == "2020-10-01"
        assert answer.headers["openai-processing-ms"].isdecimal()
        assert answer.request_id.startswith("req_")
    assert raw.headers["x-ratelimit-remaining-requests"].isdecimal()
    assert raw.parse().choices[0].message.content == "Hello, dear friend."


SURFACES: Final = (
    chats,
    chat_streams,
    chat_tools,
    stored_chats,
    stored_messages,
    responses,
    response_streams,
    stored_responses,
    conversations,
    models,
    embeddings,
    packed_embeddings,
    texts,
    text_streams,
    files_and_batches,
    cancelled_batches,
    threads,
    flat_outputs,
    webhook_endpoints,
    raw_answers,
)
BEYOND_ITS_TYPES: Final = (stored_messages, packed_embeddings, text_streams)
"""Where the API, and the mock with it, says what the client's own types do not allow."""


def script_of(flow: Callable[[Any], Flow]) -> str:
    """
    Return what the mock answers in a flow.
    """
    return UNHURRIED if flow is cancelled_batches else SCRIPT


# How it is asked ----------------------------------------------------------------------


def block(step: Any) -> Any:
    """
    Return what a step of a flow comes to with the blocking client.
    """
    match step:
        case Events(stream=stream):
            return list(stream)
        case Whole(manager=manager, method=method):
            with manager as stream:
                return getattr(stream, method)()
        case _:
            return step


async def wait(step: Any) -> Any:
    """
    Return what a step of a flow comes to with the asynchronous client.
    """
    match step:
        case Events(stream=stream):
            return [event async for event in stream]
        case Whole(manager=manager, method=method):
            async with manager as stream:
                return await getattr(stream, method)()
        case _:
            return await step if inspect.isawaitable(step) else step


def options_of(mock: MockInTest, *, strict: bool = True) -> dict[str, Any]:
    """
    Return what both clients are made with.
    """
    return {
        "base_url": mock.running.base_url,
        "api_key": "sk-both",
        "max_retries": 0,
        "_strict_response_validation": strict,
    }


@pytest.mark.parametrize("flow", SURFACES)
async def test_asynchronous_client(flow: Callable[[Any], Flow]) -> None:
    """
    Each surface does what the asynchronous client expects of it.
    """
    async with (
        mock_in_test(script_of(flow)) as mock,
        openai.AsyncOpenAI(
            **options_of(mock, strict=flow not in BEYOND_ITS_TYPES)
        ) as client,
    ):
        await check_each_step(flow(client))


async def check_each_step(steps: Flow) -> None:
    """
    Go through a flow, which itself asserts what must hold, to its end.
    """
    value = None
    with suppress(StopIteration):
        while True:
            value = await wait(steps.send(value))


@pytest.mark.parametrize("flow", SURFACES)
async def test_blocking_client(flow: Callable[[Any], Flow]) -> None:
    """
    Each surface does what the blocking client expects of it.
    """
    async with mock_in_test(script_of(flow)) as mock:
        await check_in_thread(flow, mock)


async def check_in_thread(flow: Callable[[Any], Flow], mock: MockInTest) -> None:
    """
    Go through a flow, which itself asserts what must hold, while the mock answers.
    """

    def go_through() -> None:
        with openai.OpenAI(
            **options_of(mock, strict=flow not in BEYOND_ITS_TYPES)
        ) as client:
            steps = flow(client)
            value = None
            with suppress(StopIteration):
                while True:
                    value = block(steps.send(value))

    await asyncio.to_thread(go_through)
