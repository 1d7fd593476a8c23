"""
The oldest surface: text in, text out.
"""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest

pytestmark = pytest.mark.sockets

Serve = Callable[..., AbstractAsyncContextManager[Any]]
SCRIPT = """
upstream:
  script:
    - match: {last_message: {contains: order}}
      reply: {tool_calls: [{name: f}]}
    - match: {last_message: {contains: wrong}}
      reply: {error: {status: 429, retry_after: 2s}}
    - reply: {text: "Once upon a time there was a mock, and it answered."}
"""
MODEL = "gpt-3.5-turbo-instruct"


async def test_plain(serve: Serve) -> None:
    """
    A prompt goes on as the script says, and its tokens are counted.
    """
    async with serve(SCRIPT) as served:
        reply = await served.client.completions.create(
            model=MODEL, prompt="Tell me", max_tokens=50
        )

    assert reply.id.startswith("cmpl-")
    assert reply.object == "text_completion"
    assert reply.choices[0].text.startswith("Once upon a time")
    assert reply.choices[0].finish_reason == "stop"
    assert reply.usage.prompt_tokens == 2


async def test_is_cut_after_sixteen_tokens(serve: Serve) -> None:
    """
    Who names no limit gets sixteen tokens, as at the real API.
    """
    script = f'upstream: {{script: [{{reply: {{text: "{"word " * 40}"}}}}]}}'
    async with serve(script) as served:
        reply = await served.client.completions.create(model=MODEL, prompt="x")

    assert reply.usage.completion_tokens == 16
    assert reply.choices[0].finish_reason == "length"


async def test_streamed(serve: Serve) -> None:
    """
    A stream adds up to the same text, ends with a reason and then the usage.
    """
    # The client's own types know no piece without a reason.
    async with serve(SCRIPT, strict=False) as served:
        stream = await served.client.completions.create(
            model=MODEL,
            prompt=["one", "two"],
            max_tokens=50,
            stream=True,
            stream_options={"include_usage": True},
        )
        chunks = [chunk async for chunk in stream]

    texts = ["", ""]
    for chunk in chunks:
        for choice in chunk.choices:
            texts[choice.index] += choice.text
    reasons = [c.choices[0].finish_reason for c in chunks if c.choices]
    assert texts == ["Once upon a time there was a mock, and it answered."] * 2
    assert reasons.count("stop") == 2
    assert chunks[-1].choices == []
    assert chunks[-1].usage.completion_tokens == 2 * 13


async def test_stream_on_the_wire(serve: Serve) -> None:
    """
    The stream has data lines alone and ends with its mark.
    """
    body = {"model": MODEL, "prompt": "x", "stream": True}
    async with serve(SCRIPT) as served:
        answer = await served.mock.send(
            "POST", "/v1/completions", body, headers={"authorization": "Bearer sk-1"}
        )

    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert answer.body.endswith(b"data: [DONE]\n\n")
    assert all(event.startswith((b"{", b"[DONE]")) for event in answer.events)
    assert b'"usage"' not in answer.body


async def test_many_choices_and_echo(serve: Serve) -> None:
    """
    Every prompt has as many choices as asked for, and begins with itself if asked.
    """
    async with serve(SCRIPT) as served:
        reply = await served.client.completions.create(
            model=MODEL, prompt=["a", "b"], n=2, echo=True, max_tokens=0
        )

    assert [choice.text for choice in reply.choices] == ["a", "a", "b", "b"]
    assert [choice.index for choice in reply.choices] == [0, 1, 2, 3]


async def test_logprobs(serve: Serve) -> None:
    """
    Tokens are shown with their place, their likelihood and the likeliest others.
    """
    async with serve(SCRIPT) as served:
        reply = await served.client.completions.create(
            model=MODEL, prompt="x", logprobs=3, max_tokens=4
        )

    shown = reply.choices[0].logprobs
    assert "".join(shown.tokens) == reply.choices[0].text
    assert shown.text_offset == [0, 4, 8, 12]
    assert all(len(likely) == 3 for likely in shown.top_logprobs)
    assert all(value < 0 for value in shown.token_logprobs)


async def test_errors_of_the_script_and_of_the_request(serve: Serve) -> None:
    """
    A scripted error arrives for the whole request, whichever prompt it was for.
    """
    auth = {"authorization": "Bearer sk-1"}
    async with serve(SCRIPT) as served:
        send = served.mock.send
        scripted = await send(
            "POST",
            "/v1/completions",
            {"model": MODEL, "prompt": ["fine", "wrong"]},
            headers=auth,
        )
        shape = await send(
            "POST", "/v1/completions", {"model": MODEL, "n": "two"}, headers=auth
        )
        nothing = await send("POST", "/v1/completions", {}, headers=auth)
        method = await send("GET", "/v1/completions", headers=auth)

    assert (scripted.status, scripted.headers["retry-after"]) == (429, "2")
    assert (shape.status, shape.json["error"]["param"]) == (400, "n")
    assert nothing.json["error"]["message"] == "you must provide a model parameter"
    assert method.status == 405
