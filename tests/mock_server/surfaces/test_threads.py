"""
The official client's assistants, threads and runs, driven by the script's rules.
"""

import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager
from typing import Any

import openai
import pytest

pytestmark = pytest.mark.sockets

Serve = Callable[..., AbstractAsyncContextManager[Any]]
SCRIPT = """
upstream:
  threads: {poll_after: 5ms}
  latency: {time_to_first_token: 2ms}
  script:
    - match: {last_message: {role: user, contains: weather and order}}
      reply:
        tool_calls:
          - {name: get_weather, arguments: {city: Paris}}
          - {name: query_order, arguments: {order_id: ORD-1}}
    - match: {last_message: {role: user, contains: weather}}
      reply: {tool_calls: [{name: get_weather, arguments: {city: Paris}}]}
    - match: {last_message: {role: tool}}
      reply: {text: "It is {{ results.get_weather.temperature }} °C."}
    - match: {last_message: {contains: fail}}
      reply: {error: {status: 503}}
    - match: {any_message: {role: system, contains: French}}
      reply: {text: "Bonjour, cher ami."}
    - reply: {text: "Hello, dear friend."}
"""
TOOLS: list[Any] = [
    {"type": "function", "function": {"name": name, "parameters": {"type": "object"}}}
    for name in ("get_weather", "query_order")
]
AUTH = {"authorization": "Bearer sk-surfaces"}


@pytest.fixture(autouse=True)
def _deprecated() -> Iterator[None]:
    """
    Let the client call what it calls deprecated.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        yield


class Talk:
    """
    A thread of an assistant with two tools.
    """

    def __init__(self, client: openai.AsyncOpenAI) -> None:
        self.client = client
        self.beta: Any = client.beta
        self.thread_id = ""
        self.assistant_id = ""

    async def begin(self, text: str, **more: Any) -> "Talk":
        """
        Make the assistant and the thread.
        """
        assistant = await self.beta.assistants.create(
            model="gpt-4o", tools=TOOLS, instructions="Be kind.", **more
        )
        thread = await self.beta.threads.create(
            messages=[{"role": "user", "content": text}]
        )
        self.assistant_id, self.thread_id = assistant.id, thread.id
        return self

    async def run(self, **more: Any) -> Any:
        """
        Run the thread and wait until it needs something or has ended.
        """
        return await self.beta.threads.runs.create_and_poll(
            assistant_id=self.assistant_id, thread_id=self.thread_id, **more
        )

    async def texts(self) -> list[str]:
        """
        Return what stands in the thread, the oldest first.
        """
        page = await self.beta.threads.messages.list(self.thread_id, order="asc")
        return [part.text.value for message in page.data for part in message.content]


async def test_a_run_ends_with_a_message(serve: Serve) -> None:
    """
    A run is queued, then answers the thread, and says what it used.
    """
    async with serve(SCRIPT) as served:
        talk = await Talk(served.client).begin("hello")
        created = await talk.beta.threads.runs.create(
            assistant_id=talk.assistant_id, thread_id=talk.thread_id
        )
        run = await talk.beta.threads.runs.poll(created.id, thread_id=talk.thread_id)
        texts = await talk.texts()
        steps = await talk.beta.threads.runs.steps.list(
            run.id, thread_id=talk.thread_id
        )

    assert created.status == "queued"
    assert run.status == "completed"
    assert run.usage.total_tokens > 0
    assert texts == ["hello", "Hello, dear friend."]
    assert [step.type for step in steps.data] == ["message_creation"]


async def test_outputs_are_submitted_all_at_once(serve: Serve) -> None:
    """
    A run that calls tools waits for every output and then goes on by itself.
    """
    async with serve(SCRIPT) as served:
        talk = await Talk(served.client).begin("weather and order, please")
        run = await talk.run()
        calls = run.required_action.submit_tool_outputs.tool_calls
        names = [call.function.name for call in calls]
        submit = talk.beta.threads.runs.submit_tool_outputs_and_poll
        with pytest.raises(openai.BadRequestError) as caught:
            await submit(
                run_id=run.id,
                thread_id=talk.thread_id,
                tool_outputs=[{"tool_call_id": calls[0].id, "output": "{}"}],
            )
        done = await submit(
            run_id=run.id,
            thread_id=talk.thread_id,
            tool_outputs=[
                {"tool_call_id": call.id, "output": '{"temperature": 22}'}
                for call in calls
            ],
        )
        texts = await talk.texts()
        steps = await talk.beta.threads.runs.steps.list(
            run.id, thread_id=talk.thread_id, order="asc"
        )

    assert run.status == "requires_action"
    assert names == ["get_weather", "query_order"]
    assert "Expected tool outputs for call_ids" in str(caught.value)
    assert done.status == "completed"
    assert texts[-1] == "It is 22 °C."
    assert [step.type for step in steps.data] == ["tool_calls", "message_creation"]
    given = steps.data[0].step_details.tool_calls[0].function.output
    assert given == '{"temperature": 22}'


class Collector(openai.AsyncAssistantEventHandler):
    """
    Keeps the names of the events, and the text.
    """

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []
        self.said = ""
        self.run: Any = None

    async def on_event(self, event: Any) -> None:
        """
        Keep its name, and the run if it is one.
        """
        self.names.append(event.event)
        if event.event.startswith("thread.run.") and "step" not in event.event:
            self.run = event.data

    async def on_text_delta(self, delta: Any, snapshot: Any) -> None:
        """
        Keep the text.
        """
        del snapshot
        self.said += delta.value or ""


async def test_streamed(serve: Serve) -> None:
    """
    A streamed run tells every step of its way, and so does the submission.
    """
    async with serve(SCRIPT) as served:
        talk = await Talk(served.client).begin("weather")
        first, second = Collector(), Collector()
        async with talk.beta.threads.runs.stream(
            assistant_id=talk.assistant_id,
            thread_id=talk.thread_id,
            event_handler=first,
        ) as stream:
            await stream.until_done()
        (call,) = first.run.required_action.submit_tool_outputs.tool_calls
        async with talk.beta.threads.runs.submit_tool_outputs_stream(
            run_id=first.run.id,
            thread_id=talk.thread_id,
            tool_outputs=[{"tool_call_id": call.id, "output": '{"temperature": 5}'}],
            event_handler=second,
        ) as stream:
            await stream.until_done()

    assert first.names[:5] == [
        "thread.run.created",
        "thread.run.queued",
        "thread.run.in_progress",
        "thread.run.step.created",
        "thread.run.step.in_progress",
    ]
    assert set(first.names[5:-1]) == {"thread.run.step.delta"}
    assert first.names[-1] == "thread.run.requires_action"
    assert call.function.arguments == '{"city":"Paris"}'
    assert second.names[:3] == [
        "thread.run.step.completed",
        "thread.run.queued",
        "thread.run.in_progress",
    ]
    assert second.names[-1] == "thread.run.completed"
    assert second.said == "It is 5 °C."


async def test_stream_on_the_wire(serve: Serve) -> None:
    """
    Every event has its name and its data, and the last one says that it is over.
    """
    async with serve(SCRIPT) as served:
        talk = await Talk(served.client).begin("hello")
        answer = await served.mock.send(
            "POST",
            f"/v1/threads/{talk.thread_id}/runs",
            {"assistant_id": talk.assistant_id, "stream": True},
            headers=AUTH,
        )

    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
    events = answer.body.split(b"\n\n")
    assert events[-2:] == [b"event: done\ndata: [DONE]", b""]
    assert all(event.startswith(b"event: ") for event in events[:-1])
    assert all(event.count(b"\ndata: ") == 1 for event in events[:-1])


async def test_thread_and_run_at_once(serve: Serve) -> None:
    """
    A thread can be made with its run, and a stream of both begins with the thread.
    """
    async with serve(SCRIPT) as served:
        talk = await Talk(served.client).begin("x")
        run = await talk.beta.threads.create_and_run_poll(
            assistant_id=talk.assistant_id,
            thread={"messages": [{"role": "user", "content": "hello"}]},
            instructions="Speak French.",
        )
        talk.thread_id = run.thread_id
        texts = await talk.texts()
        stream = await talk.beta.threads.create_and_run(
            assistant_id=talk.assistant_id, stream=True
        )
        names = [event.event async for event in stream]

    assert texts == ["hello", "Bonjour, cher ami."]
    assert names[0] == "thread.created"
    assert names[-1] == "thread.run.completed"


async def test_outputs_one_by_one(serve: Serve) -> None:
    """
    The flat form takes one output a call; the last one completes the run.
    """
    async with serve(SCRIPT) as served:
        talk = await Talk(served.client).begin("weather and order")
        run = await talk.run()
        calls = run.required_action.submit_tool_outputs.tool_calls
        answers = []
        for call in (calls[1], calls[1], calls[0], calls[0]):
            body = {
                "run_id": run.id,
                "tool_call_id": call.id,
                "output": '{"temperature": 9}',
            }
            answers.append(
                await served.client.post(
                    "/runs/submit-tool-outputs", cast_to=object, body=body
                )
            )
        texts = await talk.texts()
        events = served.mock.of("upstream_request_received")

    statuses = [answer["status"] for answer in answers]
    assert statuses == ["requires_action", "requires_action", "completed", "completed"]
    assert texts[-1] == "It is 9 °C."
    results = [e["tool_results"] for e in events if e["surface"] == "runs"]
    assert [len(result) for result in results] == [0, 1, 1, 2, 1]


async def test_a_lost_submission_can_be_repeated(serve: Serve) -> None:
    """
    An attempt that a fault ate has changed nothing, so that the next one is good.
    """
    script = SCRIPT.replace(
        "  threads:",
        "  faults: [{fault: status, status: 500, attempts: 1, match: {turn: 2}}]\n"
        "  threads:",
    )
    async with serve(script) as served:
        talk = await Talk(served.client).begin("weather")
        run = await talk.run()
        (call,) = run.required_action.submit_tool_outputs.tool_calls
        submit = served.client.with_options(max_retries=1).beta.threads.runs
        done = await submit.submit_tool_outputs_and_poll(
            run_id=run.id,
            thread_id=talk.thread_id,
            tool_outputs=[{"tool_call_id": call.id, "output": '{"temperature": 1}'}],
        )

    assert done.status == "completed"


async def test_one_run_at_a_time(serve: Serve) -> None:
    """
    While a run waits, its thread takes neither messages nor another run.
    """
    async with serve(SCRIPT) as served:
        talk = await Talk(served.client).begin("weather")
        run = await talk.run()
        with pytest.raises(openai.BadRequestError, match="already has an active run"):
            await talk.run()
        with pytest.raises(openai.BadRequestError, match="while a run"):
            await talk.beta.threads.messages.create(
                talk.thread_id, role="user", content="more"
            )
        await talk.beta.threads.runs.cancel(run.id, thread_id=talk.thread_id)
        cancelled = await talk.beta.threads.runs.poll(run.id, thread_id=talk.thread_id)
        await talk.beta.threads.messages.create(
            talk.thread_id, role="user", content="hello again"
        )
        after = await talk.run()

    assert cancelled.status == "cancelled"
    assert after.status == "completed"


async def test_a_run_may_be_cut(serve: Serve) -> None:
    """
    A run whose tokens are spent is incomplete and says why.
    """
    async with serve(SCRIPT) as served:
        talk = await Talk(served.client).begin("hello")
        run = await talk.run(max_completion_tokens=2)
        texts = await talk.texts()

    assert run.status == "incomplete"
    assert run.incomplete_details.reason == "max_completion_tokens"
    assert texts == ["hello", "Hello, d"]


async def test_scripted_errors_refuse_the_run(serve: Serve) -> None:
    """
    An error of the script is the answer, and the thread is free.
    """
    async with serve(SCRIPT) as served:
        talk = await Talk(served.client).begin("fail")
        with pytest.raises(openai.InternalServerError):
            await talk.run()
        await talk.beta.threads.messages.create(
            talk.thread_id, role="user", content="hello"
        )
        run = await talk.run()

    assert run.status == "completed"


async def test_everything_can_be_looked_up_and_changed(serve: Serve) -> None:
    """
    Assistants, threads, messages, runs and steps are listed, changed and deleted.
    """
    async with serve(SCRIPT) as served:
        talk = await Talk(served.client).begin("hello", name="Ada")
        beta, threads = talk.beta, talk.beta.threads
        run = await talk.run()
        named = await beta.assistants.update(talk.assistant_id, name="Bob")
        listed = [assistant.id async for assistant in beta.assistants.list()]
        thread = await threads.update(talk.thread_id, metadata={"a": "b"})
        runs = await threads.runs.list(talk.thread_id)
        changed = await threads.runs.update(
            run.id, thread_id=talk.thread_id, metadata={"c": "d"}
        )
        messages = await threads.messages.list(talk.thread_id, run_id=run.id)
        message_id = messages.data[0].id
        noted = await threads.messages.update(
            message_id, thread_id=talk.thread_id, metadata={"e": "f"}
        )
        removed = await threads.messages.delete(message_id, thread_id=talk.thread_id)
        texts = await talk.texts()
        gone = [
            (await threads.delete(talk.thread_id)).deleted,
            (await beta.assistants.delete(talk.assistant_id)).deleted,
        ]
        with pytest.raises(openai.NotFoundError):
            await threads.retrieve(talk.thread_id)

    assert (named.name, listed) == ("Bob", [talk.assistant_id])
    assert thread.metadata == {"a": "b"}
    assert [item.id for item in runs.data] == [run.id]
    assert (changed.metadata, noted.metadata) == ({"c": "d"}, {"e": "f"})
    assert removed.deleted
    assert texts == ["hello"]
    assert gone == [True, True]


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "/v1/threads/none", b"", 404),
        ("GET", "/v1/threads/none/messages", b"", 404),
        ("POST", "/v1/threads/none/runs", {"assistant_id": "a"}, 404),
        ("POST", "/v1/threads/none/runs", {}, 400),
        ("POST", "/v1/threads/runs", {"assistant_id": "none"}, 404),
        ("POST", "/v1/threads/a/runs/b/submit_tool_outputs", {"tool_outputs": []}, 404),
        ("POST", "/v1/threads/a/runs/b/cancel", {}, 404),
        ("POST", "/v1/runs/submit-tool-outputs", {}, 400),
        (
            "POST",
            "/v1/runs/submit-tool-outputs",
            {"run_id": "none", "tool_call_id": "c", "output": ""},
            404,
        ),
        ("GET", "/v1/runs/submit-tool-outputs", b"", 404),
        ("PUT", "/v1/threads/x", b"", 405),
        ("POST", "/v1/threads", b"[", 400),
        ("POST", "/v1/threads", {"messages": [{"role": "king", "content": "x"}]}, 400),
        ("POST", "/v1/threads", {"messages": [{"role": "user", "content": 7}]}, 400),
        ("POST", "/v1/threads", {"metadata": {"a": 1}}, 400),
        ("POST", "/v1/assistants", {}, 400),
        ("POST", "/v1/assistants", {"model": "gpt-4o", "tools": [{}]}, 400),
    ],
)
async def test_bad_requests(
    serve: Serve, method: str, path: str, body: object, status: int
) -> None:
    """
    What is not there or makes no sense is refused in the API's envelope.
    """
    async with serve(SCRIPT) as served:
        answer = await served.mock.send(method, path, body, headers=AUTH)

    assert answer.status == status
    assert set(answer.json["error"]) == {"message", "type", "param", "code"}
