"""
Completions that are asked for with ``store: true`` can be had again.
"""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import openai
import pytest

from mock_server import Limits, MockOptions

pytestmark = pytest.mark.sockets

Serve = Callable[..., AbstractAsyncContextManager[Any]]


async def _store(client: openai.AsyncOpenAI, text: str, **more: Any) -> str:
    reply = await client.chat.completions.create(
        model="gpt-4o",
        messages=[
            {"role": "system", "content": "Be kind."},
            {"role": "user", "content": [{"type": "text", "text": text}]},
        ],
        store=True,
        **more,
    )
    return str(reply.id)


async def test_kept_changed_and_deleted(serve: Serve) -> None:
    """
    A stored completion is what was answered; only its metadata can be changed.
    """
    async with serve() as served:
        stored = served.client.chat.completions
        completion_id = await _store(served.client, "hello", metadata={"a": "1"})
        kept = await stored.retrieve(completion_id)
        updated = await stored.update(completion_id, metadata={"b": "2"})
        deleted = await stored.delete(completion_id)
        with pytest.raises(openai.NotFoundError):
            await stored.retrieve(completion_id)

    assert kept.choices[0].message.content == "You said: hello"
    assert kept.metadata == {"a": "1"}
    assert updated.metadata == {"b": "2"}
    assert deleted.deleted


async def test_lists_are_paged_and_filtered(serve: Serve) -> None:
    """
    The list goes through all pages, and shows what was asked for.
    """
    async with serve() as served:
        ids = [
            await _store(served.client, f"{number}", metadata={"even": f"{number % 2}"})
            for number in range(5)
        ]
        stored = served.client.chat.completions
        every = [item.id async for item in stored.list(limit=2)]
        newest = [item.id async for item in stored.list(order="desc")]
        odd = [item.id async for item in stored.list(metadata={"even": "1"})]
        none = [item.id async for item in stored.list(model="gpt-5")]

    assert every == ids
    assert newest == ids[::-1]
    assert odd == ids[1::2]
    assert none == []


async def test_messages_of_the_chat(serve: Serve) -> None:
    """
    The chat's messages are kept with their parts.
    """
    # The client's own types know only messages of the assistant.
    async with serve(strict=False) as served:
        completion_id = await _store(served.client, "hello")
        messages = await served.client.chat.completions.messages.list(completion_id)

    assert [message.content for message in messages.data] == ["Be kind.", "hello"]
    assert messages.data[0].content_parts is None
    assert messages.data[1].content_parts[0].text == "hello"


async def test_streamed_ones_are_kept_others_are_not(serve: Serve) -> None:
    """
    A stream is stored whole; without ``store`` nothing is.
    """
    async with serve() as served:
        stream = await served.client.chat.completions.create(
            model="gpt-4o",
            messages=[{"role": "user", "content": "hello"}],
            store=True,
            stream=True,
        )
        chunks = [chunk async for chunk in stream]
        await served.client.chat.completions.create(
            model="gpt-4o", messages=[{"role": "user", "content": "not me"}]
        )
        listed = [item.id async for item in served.client.chat.completions.list()]

    assert listed == [chunks[0].id]


async def test_no_more_are_kept_than_allowed(serve: Serve) -> None:
    """
    The oldest make room, and that is counted.
    """
    options = MockOptions(port=0, limits=Limits(stored_completions_max=3))
    async with serve(options=options) as served:
        ids = [await _store(served.client, f"{number}") for number in range(5)]
        listed = [item.id async for item in served.client.chat.completions.list()]
        health = (await served.mock.send("GET", "/_mock/health")).json

    assert listed == ids[2:]
    assert health["holds"]["stored_completions"] == 3
    assert health["dropped"]["stored_completions_max"] == 2


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "/v1/chat/completions/none", b"", 404),
        ("GET", "/v1/chat/completions/none/messages", b"", 404),
        ("GET", "/v1/chat/completions/none/else", b"", 404),
        ("PUT", "/v1/chat/completions/none", b"", 405),
        ("GET", "/v1/chat/completions?limit=0", b"", 400),
        ("GET", "/v1/chat/completions?limit=x", b"", 400),
        ("GET", "/v1/chat/completions?limit=" + "9" * 5000, b"", 400),
        ("GET", "/v1/chat/completions?order=up", b"", 400),
        ("GET", "/v1/chat/completions?after=none", b"", 400),
    ],
)
async def test_bad_requests(
    serve: Serve, method: str, path: str, body: bytes, status: int
) -> None:
    """
    What is not there or makes no sense is refused in the API's envelope.
    """
    async with serve() as served:
        answer = await served.mock.send(
            method, path, body, headers={"authorization": "Bearer sk-1"}
        )

    assert answer.status == status
    assert set(answer.json["error"]) == {"message", "type", "param", "code"}
