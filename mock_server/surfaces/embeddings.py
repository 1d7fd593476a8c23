"""
``POST /v1/embeddings``.

A vector is made of the hash of its input: the same input gives the same vector, on
every machine, and no two inputs the same. It says nothing of what the input means.
"""

import base64
import hashlib
import math
from array import array
from typing import Any, ClassVar, Final

from mock_server.surfaces.ports import Answer, Demand
from mock_server.surfaces.resources import Call, Resource, check_fields, value_plan
from mock_server.surfaces.scripted import ScriptedModel
from mock_server.wire import (
    ApiError,
    Pace,
    answer_headers,
    count_tokens,
    prompt_too_long,
)
from mock_server.wire.shape import Anything, Number, Text, refuse_type

INPUTS_MAX: Final = 2048
INPUT_TOKENS_MAX: Final = 8192
_DIMENSIONS: Final = 1536
_DIMENSIONS_OF: Final = {"text-embedding-3-large": 3072}
_FIXED: Final = frozenset({"text-embedding-ada-002"})
_BYTES_PER_VALUE: Final = 4
_HALF: Final = 2.0**31

_FIELDS: Final = {
    "input": Anything(),
    "model": Text(length_min=1),
    "dimensions": Number(minimum=1, whole=True),
    "encoding_format": Text(words=("float", "base64")),
    "user": Text(),
}

Input = str | tuple[int, ...]


class Embeddings(Resource):
    """
    Turns texts, or the ids of their tokens, into vectors of length 1.

    Args:
        model: Checks keys and models.
    """

    name: ClassVar[str] = "embeddings"
    is_silent: ClassVar[bool] = False

    def __init__(self, model: ScriptedModel) -> None:
        self._model = model
        super().__init__(model.api_keys, {"POST /embeddings": self._create})

    def _create(self, call: Call) -> Answer:
        body = call.body()
        name = self._model.model_of(body)
        if self._model.is_strict:
            check_fields(body, _FIELDS, required=["input"])
        inputs = parse_inputs(body.get("input"))
        dimensions = _dimensions(name, body.get("dimensions"))
        counts = [_tokens_of(item) for item in inputs]
        for count in counts:
            if count > INPUT_TOKENS_MAX:
                raise prompt_too_long(INPUT_TOKENS_MAX, count, 0)
        encode = _as_base64 if body.get("encoding_format") == "base64" else list
        tokens = sum(counts)
        value = {
            "object": "list",
            "data": [
                {
                    "object": "embedding",
                    "index": index,
                    "embedding": encode(vector_of(item, dimensions)),
                }
                for index, item in enumerate(inputs)
            ],
            "model": name,
            "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
        }
        return Answer(
            keys=call.keys,
            plan=value_plan(
                value,
                answer_headers(call.request.request_id),
                pace=Pace.FIRST_TOKEN,
            ),
            received={"model": name, "stream": False},
            demand=Demand(model=name, prompt_tokens=tokens),
        )


def parse_inputs(value: Any) -> list[Input]:
    """
    Return the texts, or the token ids, of an input in any of its four forms.

    Raises:
        ApiError: It has none of them, or holds nothing, or too much.
    """
    inputs: list[Any]
    if isinstance(value, str) or _is_tokens(value):
        inputs = [value]
    elif isinstance(value, list) and value:
        inputs = value
    else:
        raise _invalid()
    if len(inputs) > INPUTS_MAX:
        message = (
            f"Invalid 'input': array too long. Expected an array with maximum length "
            f"{INPUTS_MAX}, but got an array with length {len(inputs)} instead."
        )
        raise ApiError(message, param="input", code="array_above_max_length")
    for item in inputs:
        if not (isinstance(item, str) and item) and not _is_tokens(item):
            raise _invalid()
    return [item if isinstance(item, str) else tuple(item) for item in inputs]


def vector_of(item: Input, dimensions: int) -> "array[float]":
    """
    Return the vector of an input: its length is 1.
    """
    text = item if isinstance(item, str) else ",".join(map(str, item))
    kind = b"text" if isinstance(item, str) else b"tokens"
    digest = hashlib.shake_256(kind + text.encode("utf-8", "surrogatepass")).digest(
        dimensions * _BYTES_PER_VALUE
    )
    whole = array("I")
    whole.frombytes(digest)
    values = [(number + 0.5) / _HALF - 1 for number in whole]
    length = math.sqrt(math.fsum(value * value for value in values))
    return array("f", [value / length for value in values])


def _as_base64(vector: "array[float]") -> str:
    return base64.b64encode(vector.tobytes()).decode()


def _dimensions(model: str, asked: Any) -> int:
    most = _DIMENSIONS_OF.get(model, _DIMENSIONS)
    if asked is None:
        return most
    if not isinstance(asked, int) or isinstance(asked, bool):
        refuse_type("an integer", asked, "dimensions")
    if model in _FIXED:
        message = "This model does not support specifying dimensions."
        raise ApiError(message, param="dimensions")
    if not 1 <= asked <= most:
        message = (
            f"Invalid value for 'dimensions' = {asked}. Must be less than or equal to "
            f"{most}."
        )
        raise ApiError(message, param="dimensions")
    return asked


def _is_tokens(value: object) -> bool:
    return (
        isinstance(value, list)
        and bool(value)
        and all(type(token) is int and token >= 0 for token in value)
    )


def _tokens_of(item: Input) -> int:
    return count_tokens(item) if isinstance(item, str) else len(item)


def _invalid() -> ApiError:
    return ApiError(
        "'$.input' is invalid. Please check the API reference: "
        "https://platform.openai.com/docs/api-reference."
    )
