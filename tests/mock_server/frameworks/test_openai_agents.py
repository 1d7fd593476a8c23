"""
The agents SDK, unmodified, runs against the mock over both APIs.
"""

import json
from collections.abc import AsyncIterator, Callable
from typing import Final

import openai
import pytest
from agents import (
    Agent,
    MaxTurnsExceeded,
    Model,
    ModelBehaviorError,
    ModelSettings,
    OpenAIChatCompletionsModel,
    OpenAIResponsesModel,
    RunConfig,
    Runner,
    Tool,
    function_tool,
    set_tracing_disabled,
)
from openai.types.responses import ResponseTextDeltaEvent
from pydantic import BaseModel

from mock_server import LoopClock
from mock_server.testing import MockInTest, mock_in_test

# Its traces go to the real API whatever the base URL is; nothing may leave here.
set_tracing_disabled(disabled=True)

pytestmark = pytest.mark.virtual_time

SCRIPT: Final = """
upstream:
  models: [gpt-4o]
  script:
    - match: {last_message: {role: user, contains: weather and order}}
      reply:
        tool_calls:
          - {name: get_weather, arguments: {city: Paris}}
          - {name: query_order, arguments: {order_id: ORD-1}}
    - match: {last_message: {role: tool}, tools: [get_weather]}
      reply: {text: "{{ results.get_weather.temperature }} °C, {{ results.query_order.status }}."}
    - match: {last_message: {role: user, contains: refund}, tools: [transfer_to_refunds]}
      reply: {tool_calls: [{name: transfer_to_refunds, arguments: {}}]}
    - match: {last_message: {role: tool}}
      reply: {text: "Refunds here: it is on its way."}
    - match: {last_message: {contains: capital}}
      reply: {text: '{"city": "Paris", "people": 2000000}'}
    - match: {last_message: {contains: limit}}
      reply: {error: {status: 429, message: Slow down.}}
    - match: {last_message: {contains: again}}
      reply: {text: "Hello again."}
    - match: {last_message: {contains: Hello}}
      reply: {text: "Hello to you, dear user."}
"""
LOST: Final = (
    "upstream: {script: [{reply: {text: one two three}}], faults: [{fault: %s}]}"
)


class City(BaseModel):
    city: str
    people: int


@function_tool
async def get_weather(city: str) -> str:
    """
    Tell the weather of a city.
    """
    return json.dumps({"city": city, "temperature": 22})


@function_tool
async def query_order(order_id: str) -> str:
    """
    Tell how far an order has come.
    """
    return json.dumps({"order_id": order_id, "status": "shipped"})


ModelOf = Callable[[MockInTest], Model]


@pytest.fixture(params=["chat_completions", "responses"])
async def model_of(request: pytest.FixtureRequest) -> AsyncIterator[ModelOf]:
    """
    Return what makes the SDK's model of a mock, over one API and then the other.
    """
    clients = []

    def make(mock: MockInTest) -> Model:
        client = openai.AsyncOpenAI(
            base_url=mock.running.base_url,
            api_key="sk-good",
            max_retries=0,
            _strict_response_validation=True,
        )
        clients.append(client)
        if request.param == "responses":
            return OpenAIResponsesModel("gpt-4o", client)
        return OpenAIChatCompletionsModel("gpt-4o", client)

    yield make
    for client in clients:
        await client.close()


@pytest.fixture
async def mock(clock: LoopClock) -> AsyncIterator[MockInTest]:
    """
    Run the mock.
    """
    async with mock_in_test(SCRIPT, clock=clock) as mock:
        yield mock


CONFIG: Final = RunConfig(tracing_disabled=True)
TOOLS: Final[list[Tool]] = [get_weather, query_order]


async def test_run(mock: MockInTest, model_of: ModelOf) -> None:
    """
    A run is one request, and its answer and usage are the mock's.
    """
    agent = Agent(name="one", instructions="Be kind.", model=model_of(mock))
    result = await Runner.run(agent, "Hello", run_config=CONFIG)

    assert result.final_output == "Hello to you, dear user."
    assert result.context_wrapper.usage.requests == 1
    assert result.context_wrapper.usage.total_tokens > 0


@pytest.mark.parametrize("stream", [False, True])
async def test_tool_loop(mock: MockInTest, model_of: ModelOf, *, stream: bool) -> None:
    """
    Both tools of a turn are called, and their results make the answer.
    """
    agent = Agent(name="one", model=model_of(mock), tools=TOOLS)
    question = "weather and order"
    texts: list[str] = []
    if stream:
        run = Runner.run_streamed(agent, question, run_config=CONFIG)
        texts = [
            event.data.delta
            async for event in run.stream_events()
            if event.type == "raw_response_event"
            and isinstance(event.data, ResponseTextDeltaEvent)
        ]
        items, output = run.new_items, run.final_output
    else:
        result = await Runner.run(agent, question, run_config=CONFIG)
        items, output = result.new_items, result.final_output

    assert output == "22 °C, shipped."
    assert "".join(texts) == (output if stream else "")
    assert len(texts) != 1
    assert [item.type for item in items] == [
        *["tool_call_item"] * 2,
        *["tool_call_output_item"] * 2,
        "message_output_item",
    ]


async def test_typed_output(mock: MockInTest, model_of: ModelOf) -> None:
    """
    Structured output becomes the caller's own type.
    """
    agent = Agent(name="one", model=model_of(mock), output_type=City)
    result = await Runner.run(agent, "capital", run_config=CONFIG)

    assert result.final_output == City(city="Paris", people=2000000)


@pytest.mark.parametrize("stream", [False, True])
async def test_handoff(mock: MockInTest, model_of: ModelOf, *, stream: bool) -> None:
    """
    An agent hands over to another one, which answers.
    """
    model = model_of(mock)
    refunds = Agent(name="refunds", model=model)
    triage = Agent(name="triage", model=model, handoffs=[refunds])
    if stream:
        run = Runner.run_streamed(triage, "refund", run_config=CONFIG)
        types = [event.type async for event in run.stream_events()]
        assert types.count("agent_updated_stream_event") == 2
        last, output = run.last_agent, run.final_output
    else:
        result = await Runner.run(triage, "refund", run_config=CONFIG)
        last, output = result.last_agent, result.final_output

    assert last is refunds
    assert output == "Refunds here: it is on its way."


async def test_goes_on(mock: MockInTest, model_of: ModelOf) -> None:
    """
    A run that is given what an earlier one said goes on from there.
    """
    agent = Agent(name="one", model=model_of(mock))
    first = await Runner.run(agent, "Hello", run_config=CONFIG)
    given = [*first.to_input_list(), {"role": "user", "content": "again"}]
    second = await Runner.run(agent, given, run_config=CONFIG)  # type: ignore[arg-type]

    assert second.final_output == "Hello again."


async def test_chained_tool_loop(mock: MockInTest) -> None:
    """
    Turns of the Responses API may send outputs alone: the mock knows what they answer.
    """
    async with openai.AsyncOpenAI(
        base_url=mock.running.base_url,
        api_key="sk-good",
        max_retries=0,
        _strict_response_validation=True,
    ) as client:
        agent = Agent(
            name="one", model=OpenAIResponsesModel("gpt-4o", client), tools=TOOLS
        )
        conversation = await client.conversations.create()
        chained = await Runner.run(
            agent,
            "weather and order",
            run_config=CONFIG,
            auto_previous_response_id=True,
        )
        kept = await Runner.run(
            agent,
            "weather and order",
            run_config=CONFIG,
            conversation_id=conversation.id,
        )
        items = [
            item async for item in client.conversations.items.list(conversation.id)
        ]

    assert (chained.final_output, kept.final_output) == ("22 °C, shipped.",) * 2
    # A question, two calls, two outputs, an answer.
    assert len(items) == 6


@pytest.mark.parametrize("choice", ["required", "get_weather"])
async def test_forced_tool_of_an_empty_script(
    clock: LoopClock, model_of: ModelOf, choice: str
) -> None:
    """
    With nothing scripted a forced tool is called as its schema says, and the run ends.
    """
    async with mock_in_test("{}", clock=clock) as mock:
        agent = Agent(
            name="one",
            model=model_of(mock),
            tools=TOOLS,
            model_settings=ModelSettings(tool_choice=choice),
        )
        result = await Runner.run(agent, "anything", run_config=CONFIG)

    types = [item.type for item in result.new_items]
    assert types.count("tool_call_item") == types.count("tool_call_output_item") >= 1
    assert isinstance(result.final_output, str)
    assert result.final_output


@pytest.mark.parametrize("stream", [False, True])
async def test_rate_limit_reaches_the_caller(
    mock: MockInTest, model_of: ModelOf, *, stream: bool
) -> None:
    """
    An error of the API is the official client's own exception.
    """
    agent = Agent(name="one", model=model_of(mock))
    with pytest.raises(openai.RateLimitError, match=r"Slow down\."):
        await _run(agent, "limit", stream=stream)


@pytest.mark.parametrize("fault", ["disconnect", "error_event"])
async def test_broken_stream_is_no_success(
    clock: LoopClock, model_of: ModelOf, fault: str
) -> None:
    """
    A stream that is cut, or that tells of an error, ends the run with an exception.
    """
    async with mock_in_test(LOST % fault, clock=clock) as mock:
        agent = Agent(name="one", model=model_of(mock))
        with pytest.raises(openai.APIError):
            await _run(agent, "Hello", stream=True)


@pytest.mark.parametrize("stream", [False, True])
async def test_endless_loop_is_stopped(
    clock: LoopClock, model_of: ModelOf, *, stream: bool
) -> None:
    """
    A model that calls a tool in every turn runs into the limit of the run.
    """
    async with mock_in_test(LOST % "doom_loop", clock=clock) as mock:
        agent = Agent(name="one", model=model_of(mock), tools=TOOLS)
        with pytest.raises(MaxTurnsExceeded):
            await _run(agent, "Hello", stream=stream)

        requests = mock.of("upstream_request_received")
        assert len(requests) == 10


async def test_unknown_tool_is_told(clock: LoopClock, model_of: ModelOf) -> None:
    """
    A tool that nobody offered is the model's mistake, not the API's.
    """
    async with mock_in_test(LOST % "tool_not_offered", clock=clock) as mock:
        agent = Agent(name="one", model=model_of(mock), tools=TOOLS)
        with pytest.raises(ModelBehaviorError, match="delete_account"):
            await _run(agent, "Hello", stream=False)


async def _run(agent: Agent[None], message: str, *, stream: bool) -> None:
    if not stream:
        await Runner.run(agent, message, run_config=CONFIG)
        return
    run = Runner.run_streamed(agent, message, run_config=CONFIG)
    async for _event in run.stream_events():
        pass
