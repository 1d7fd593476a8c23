"""
No body, however broken, is more than a refused request.
"""

import copy
from typing import Any

import msgspec
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mock_server.wire import ApiError, parse_chat_request
from mock_server.wire.chat_shape import check_chat_shape
from mock_server.wire.request import ChatRequest


def status_of(body: bytes, *, strict: bool) -> int:
    """
    Return the status a body is answered with.
    """
    try:
        parse_chat_request(body, strict=strict)
    except ApiError as error:
        return error.status
    return 200


DEEP = b"[" * 100_000 + b"]" * 100_000
START = b'{"model":"gpt-4o","messages":[{"role":"user","content":"hi"}],'


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"hello",
        b"[]",
        b"null",
        b'"text"',
        b"{",
        START,
        START + b'"temperature":NaN}',
        START + b'"temperature":Infinity}',
        START + b'"temperature":1e999}',
        START + b'"user":"\xff"}',
        START + b'"prediction":{"a":"\xff"}}',
        START + b'"user":"\\ud800"}',
        START + b'"prediction":' + DEEP + b"}",
        START + b'"unknown":' + DEEP + b"}",
        DEEP,
        b"\xef\xbb\xbf{}",
        b"\x00",
    ],
    ids=lambda body: repr(body[-24:]),
)
def test_what_is_no_json_is_refused(body: bytes) -> None:
    """
    Broken JSON, NaN, bad UTF-8 and endless nesting are one and the same 400.
    """
    with pytest.raises(ApiError) as caught:
        parse_chat_request(body)

    error = caught.value
    assert (error.status, error.type) == (400, "invalid_request_error")
    assert (error.param, error.code) == (None, None)
    assert error.message.startswith("We could not parse the JSON body of your request.")


@pytest.mark.parametrize("strict", [True, False])
def test_deep_schema_is_refused_or_kept(*, strict: bool) -> None:
    """
    A tool's schema of many levels is never more than a 400.
    """
    schema = b'{"type":"object","a":' * 900 + b"1" + b"}" * 900
    tools = b'"tools":[{"type":"function","function":{"name":"f","parameters":'
    body = START + tools + schema + b',"strict":true}}]}'

    status = status_of(body, strict=strict)

    assert status in {200, 400}


BASE: dict[str, Any] = {
    "model": "gpt-4o",
    "messages": [
        {"role": "system", "content": "s"},
        {"role": "user", "content": [{"type": "text", "text": "t"}]},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [
                {
                    "id": "c",
                    "type": "function",
                    "function": {"name": "f", "arguments": "{}"},
                }
            ],
        },
        {"role": "tool", "tool_call_id": "c", "content": "1"},
    ],
    "tools": [{"type": "function", "function": {"name": "f", "strict": False}}],
    "tool_choice": "auto",
    "response_format": {"type": "json_schema", "json_schema": {"name": "w"}},
    "stop": ["a"],
    "metadata": {"k": "v"},
    "n": 1,
    "temperature": 0.5,
    "stream_options": {"include_usage": True},
    "logit_bias": {"1": 1},
}

VALUES = st.sampled_from(
    [None, True, 0, -1, 3, 1.5, "", "text", "auto", "function", [], ["x"], {}, {"type": "text"}, {"type": "function"}]
)  # fmt: skip


def places(value: Any, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    """
    Return the path of every part of a value.
    """
    found = [path] if path else []
    items: Any = ()
    if isinstance(value, dict):
        items = value.items()
    elif isinstance(value, list):
        items = enumerate(value)
    for key, item in items:
        found += places(item, (*path, key))
    return found


@given(place=st.sampled_from(places(BASE)), value=VALUES, drop=st.booleans())
@settings(max_examples=400, deadline=None)
def test_decoder_and_words_agree(
    place: tuple[str | int, ...], value: Any, *, drop: bool
) -> None:
    """
    The quick decoder refuses exactly the bodies for which the slow check has words.
    """
    body = copy.deepcopy(BASE)
    part: Any = body
    for key in place[:-1]:
        part = part[key]
    if drop:
        del part[place[-1]]
    else:
        part[place[-1]] = value
    if not body.get("model") or not isinstance(body["model"], str):
        return

    has_words = True
    try:
        check_chat_shape(body)
    except ApiError:
        has_words = False
    decodes = True
    try:
        msgspec.json.decode(orjson.dumps(body), type=ChatRequest)
    except msgspec.ValidationError:
        decodes = False

    assert decodes is has_words


@given(body=st.binary(max_size=200))
@settings(max_examples=200, deadline=None)
def test_bytes_never_raise_anything_else(body: bytes) -> None:
    """
    Any bytes give a request or an API error, in both modes.
    """
    statuses = {status_of(body, strict=strict) for strict in (True, False)}

    assert statuses <= {200, 400}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip


@given(
    body=st.dictionaries(
        st.sampled_from(sorted([*BASE, "stream", "user", "extra"])), JSON, max_size=8
    )
)
@settings(max_examples=300, deadline=None)
def test_json_never_raises_anything_else(body: dict[str, Any]) -> None:
    """
    Any JSON gives a request or an API error, in both modes.
    """
    data = orjson.dumps(body)
    statuses = {status_of(data, strict=strict) for strict in (True, False)}

    assert statuses <= {200, 400}
