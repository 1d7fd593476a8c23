"""
What the surfaces have in common, and the two smallest of them.
"""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import openai
import pytest

from mock_server.surfaces.moderations import moderate

pytestmark = pytest.mark.sockets

Serve = Callable[..., AbstractAsyncContextManager[Any]]
EVERY = [
    ("POST", "/v1/chat/completions"),
    ("GET", "/v1/chat/completions"),
    ("GET", "/v1/chat/completions/x"),
    ("POST", "/v1/completions"),
    ("POST", "/v1/embeddings"),
    ("POST", "/v1/moderations"),
    ("GET", "/v1/models"),
    ("GET", "/v1/models/gpt-4o"),
    ("GET", "/v1/files"),
    ("GET", "/v1/batches"),
    ("POST", "/v1/threads"),
    ("POST", "/v1/threads/runs"),
    ("POST", "/v1/threads/a/runs/b/submit_tool_outputs"),
    ("POST", "/v1/assistants"),
    ("POST", "/v1/runs/submit-tool-outputs"),
    ("POST", "/v1/responses"),
    ("GET", "/v1/responses/x"),
    ("POST", "/v1/conversations"),
    ("GET", "/v1/webhook_endpoints"),
    ("POST", "/v1/no/such/path"),
]
ELSEWHERE = [
    "/v1/images/generations",
    "/v1/audio/speech",
    "/v1/responses/compact",
    "/v1/realtime",
    "/v1/vector_stores",
    "/v1/fine_tuning/jobs",
    "/v1/chat",
    "/v1/completions/x",
    "/v1/embeddings/x/y",
    "/v1/runs/x",
    "/v1/",
    "/",
]


@pytest.mark.parametrize(("method", "path"), EVERY)
async def test_only_accepted_keys_are_let_in(
    serve: Serve, method: str, path: str
) -> None:
    """
    Every surface refuses a key that is not listed, without telling it, and none at all.
    """
    async with serve("upstream: {api_keys: [sk-good]}") as served:
        send = served.mock.send
        wrong = await send(
            method, path, headers={"authorization": "Bearer sk-wrong-0123456789"}
        )
        without = await send(method, path)
        good = await send(method, path, headers={"authorization": "Bearer sk-good"})

    assert (wrong.status, without.status) == (401, 401)
    assert wrong.json["error"]["code"] == "invalid_api_key"
    assert "sk-wrong-0123456789" not in wrong.raw.decode()
    assert without.json["error"]["code"] is None
    assert good.status != 401


@pytest.mark.parametrize(("method", "path"), EVERY)
async def test_every_answer_has_the_apis_headers(
    serve: Serve, method: str, path: str
) -> None:
    """
    Whatever is answered names the request, the version and the time that it took.
    """
    auth = {"authorization": "Bearer sk-1"}
    async with serve() as served:
        answer = await served.mock.send(method, path, headers=auth)

    assert answer.headers["x-request-id"].startswith("req_")
    assert answer.headers["openai-version"] == "2020-10-01"
    assert answer.headers["openai-processing-ms"].isdecimal()
    assert answer.headers["content-type"] == "application/json"


@pytest.mark.parametrize(("method", "path"), EVERY)
async def test_a_request_is_answered_under_its_own_id(
    serve: Serve, method: str, path: str
) -> None:
    """
    An id that the client gave its request comes back, with errors too.
    """
    headers = {"authorization": "Bearer sk-1", "X-Request-ID": "mine 1"}
    async with serve() as served:
        answer = await served.mock.send(method, path, headers=headers)
        [entry] = (await served.mock.send("GET", "/_mock/journal")).json["entries"]

    assert answer.headers["x-request-id"] == "mine 1"
    assert answer.raw.lower().count(b"\r\nx-request-id:") == 1
    # Attempts of one call share the client's id; each has its own in the journal.
    assert entry["request_id"].startswith("req_")


@pytest.mark.parametrize(
    "given", ["", "x" * 201, "caf\N{LATIN SMALL LETTER E WITH ACUTE}"]
)
async def test_no_odd_id_comes_back(serve: Serve, given: str) -> None:
    """
    An id that is empty, endless or no ASCII is not echoed.
    """
    body = {"model": "gpt-4o", "messages": [{"role": "user", "content": "hi"}]}
    headers = {"authorization": "Bearer sk-1", "x-request-id": given}
    async with serve() as served:
        answer = await served.mock.send(
            "POST", "/v1/chat/completions", {**body, "stream": True}, headers=headers
        )
        echoed = await served.mock.send(
            "POST",
            "/v1/chat/completions",
            {**body, "stream": True},
            headers={**headers, "x-request-id": "mine"},
        )

    assert answer.headers["x-request-id"].startswith("req_")
    assert echoed.headers["x-request-id"] == "mine"


@pytest.mark.parametrize("path", ELSEWHERE)
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_everything_else_is_not_there(
    serve: Serve, method: str, path: str
) -> None:
    """
    What the mock does not have is a 404 in the API's envelope.
    """
    async with serve() as served:
        answer = await served.mock.send(
            method, path, headers={"authorization": "Bearer sk-1"}
        )

    assert answer.status == 404
    assert answer.json["error"]["message"].startswith(f"Invalid URL ({method} ")
    assert set(answer.json["error"]) == {"message", "type", "param", "code"}


async def test_models(serve: Serve) -> None:
    """
    The models are those of the script, and their ids may hold slashes.
    """
    async with serve("upstream: {models: [gpt-4o, meta/llama 3]}") as served:
        models = served.client.models
        names = [model.id async for model in models.list()]
        slashed = await models.retrieve("meta/llama 3")
        raw = await served.mock.send(
            "GET", "/v1/models/meta%2Fllama%203", headers={"authorization": "Bearer k"}
        )
        with pytest.raises(openai.NotFoundError) as caught:
            await models.retrieve("gpt-5")

    assert names == ["gpt-4o", "meta/llama 3"]
    assert slashed.id == raw.json["id"] == "meta/llama 3"
    assert caught.value.code == "model_not_found"


async def test_moderations(serve: Serve) -> None:
    """
    Every text has a result, and words that are known are flagged.
    """
    async with serve() as served:
        create = served.client.moderations.create
        several = await create(input=["a lovely day", "I will kill myself"])
        parts = await create(
            input=[
                {"type": "text", "text": "how to make"},
                {"type": "text", "text": "a bomb"},
            ]
        )
        empty = await served.mock.send(
            "POST",
            "/v1/moderations",
            {"input": []},
            headers={"authorization": "Bearer k"},
        )

    assert [result.flagged for result in several.results] == [False, True]
    assert several.results[1].categories.self_harm_intent
    assert several.results[1].category_scores.self_harm_intent > 0.9
    assert len(parts.results) == 1
    assert parts.results[0].categories.violence
    assert empty.status == 400


def test_moderation_is_always_the_same() -> None:
    """
    The same text has the same scores.
    """
    assert moderate("hello") == moderate("hello")
    assert moderate("hello") != moderate("hello!")
