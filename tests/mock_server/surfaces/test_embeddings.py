"""
Embeddings are vectors of length 1 that their input alone decides.
"""

import base64
import math
from array import array
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import openai
import pytest

from mock_server.surfaces.embeddings import INPUTS_MAX, parse_inputs, vector_of
from mock_server.wire import ApiError

Serve = Callable[..., AbstractAsyncContextManager[Any]]
MODEL = "text-embedding-3-small"
AUTH = {"authorization": "Bearer sk-1"}


@pytest.mark.parametrize("text", ["", "hello", "Zürich 😀", "x" * 10_000])
@pytest.mark.parametrize("dimensions", [1, 2, 256, 1536, 3072])
def test_length_is_one(text: str, dimensions: int) -> None:
    """
    A vector has as many values as asked for and length 1.
    """
    vector = vector_of(text, dimensions)

    assert len(vector) == dimensions
    assert math.sqrt(sum(value * value for value in vector)) == pytest.approx(1)


def test_input_decides_the_vector() -> None:
    """
    The same input gives the same vector; another text, or token ids, give another.
    """
    vectors = [vector_of(item, 64) for item in ("a", "a", "b", (97,), (9, 7))]

    assert vectors[0] == vectors[1]
    assert len({tuple(vector) for vector in vectors}) == 4


@pytest.mark.sockets
async def test_client_gets_what_it_asks_for(serve: Serve) -> None:
    """
    The client's default form (base64) and plain numbers hold the same vectors.
    """
    # The client's own types do not know the form that it asks for by default.
    async with serve(strict=False) as served:
        create = served.client.embeddings.create
        encoded = await create(model=MODEL, input=["hello", "you"])
        plain = await create(
            model=MODEL, input=["hello", "you"], encoding_format="float"
        )

    assert [item.index for item in encoded.data] == [0, 1]
    assert len(encoded.data[0].embedding) == 1536
    for one, other in zip(encoded.data, plain.data, strict=True):
        assert one.embedding == pytest.approx(other.embedding)
    assert encoded.usage.prompt_tokens == encoded.usage.total_tokens == 3


@pytest.mark.sockets
async def test_token_ids_and_dimensions(serve: Serve) -> None:
    """
    Arrays of token ids are inputs too, and each id is a token.
    """
    # The client's own types do not know the form that it asks for by default.
    async with serve(strict=False) as served:
        create = served.client.embeddings.create
        one = await create(model=MODEL, input=[1, 2, 3], dimensions=8)
        many = await create(model=MODEL, input=[[1, 2, 3], [4]], dimensions=8)
        large = await create(model="text-embedding-3-large", input="x")

    assert one.data[0].embedding == many.data[0].embedding
    assert many.usage.prompt_tokens == 4
    assert len(one.data[0].embedding) == 8
    assert len(large.data[0].embedding) == 3072


@pytest.mark.sockets
async def test_bytes_of_the_base64_form(serve: Serve) -> None:
    """
    The base64 form is the values as 32-bit floats, the lowest byte first.
    """
    body = {"model": MODEL, "input": "x", "encoding_format": "base64", "dimensions": 3}
    async with serve() as served:
        answer = await served.mock.send("POST", "/v1/embeddings", body, headers=AUTH)

    data = base64.b64decode(answer.json["data"][0]["embedding"])
    assert array("f", data) == vector_of("x", 3)
    assert answer.headers["x-request-id"].startswith("req_")
    assert "x-ratelimit-remaining-tokens" in answer.headers


@pytest.mark.parametrize(
    "value", [None, [], {}, 7, [""], ["a", 1], [[]], [True], [1.5], [-1], [["a"]]]
)
def test_other_inputs_are_refused(value: object) -> None:
    """
    What is neither text nor token ids is refused in the API's words.
    """
    with pytest.raises(ApiError) as caught:
        parse_inputs(value)

    assert caught.value.message.startswith("'$.input' is invalid.")


def test_too_many_inputs_are_refused() -> None:
    """
    One input more than the API takes is refused.
    """
    assert len(parse_inputs(["a"] * INPUTS_MAX)) == INPUTS_MAX
    with pytest.raises(ApiError) as caught:
        parse_inputs(["a"] * (INPUTS_MAX + 1))

    assert caught.value.code == "array_above_max_length"


@pytest.mark.sockets
@pytest.mark.parametrize(
    ("more", "code", "message"),
    [
        ({"dimensions": 9999}, None, "Invalid value for 'dimensions' = 9999."),
        ({"encoding_format": "hex"}, "invalid_value", "Invalid value: 'hex'."),
        ({"colour": 1}, "unknown_parameter", "Unknown parameter: 'colour'."),
        (
            {"input": "x" * 40_000},
            "context_length_exceeded",
            "This model's maximum context length is 8192 tokens",
        ),
    ],
)
async def test_bad_requests(
    serve: Serve, more: dict[str, Any], code: str | None, message: str
) -> None:
    """
    What the API refuses the mock refuses with the same code.
    """
    body = {"model": MODEL, "input": "x", **more}
    async with serve() as served:
        answer = await served.mock.send("POST", "/v1/embeddings", body, headers=AUTH)

    assert answer.status == 400
    assert answer.json["error"]["code"] == code
    assert answer.json["error"]["message"].startswith(message)


@pytest.mark.sockets
async def test_unknown_model(serve: Serve) -> None:
    """
    A model that does not exist is a 404.
    """
    async with serve("upstream: {models: [gpt-4o]}") as served:
        with pytest.raises(openai.NotFoundError) as caught:
            await served.client.embeddings.create(model=MODEL, input="x")

    assert caught.value.code == "model_not_found"
