"""
A fuzzer that is led by the documents of the two APIs finds nothing that fails.

What it sends is decided by the document alone, so every run sends the same.
"""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from mock_server import MockOptions, running_mock
from mock_server.script import MockScript
from mock_server.surfaces.control_openapi import openapi_document
from tests.mock_server.robustness.described import surfaces_document

pytestmark = [pytest.mark.sockets, pytest.mark.timeout(120)]

ROUNDS = [
    pytest.param(4, id="quick"),
    pytest.param(
        100, id="thorough", marks=[pytest.mark.long, pytest.mark.timeout(600)]
    ),
]
"""How many requests of each kind (as described, or not) are made of an operation."""

SCRIPT = {"tools": {"get_weather": {"result": {"temperature": 22}}}}
ENVELOPE = {"message", "type", "param", "code"}


@contextmanager
def served(script: MockScript) -> Iterator[str]:
    """
    Serve a mock from a thread of its own while the context lasts.
    """
    started = threading.Event()
    found: list[Any] = []

    async def serve() -> None:
        end = asyncio.Event()
        async with running_mock(script, MockOptions(port=0)) as running:
            found.extend((running.url, asyncio.get_running_loop(), end))
            started.set()
            await end.wait()

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    try:
        assert started.wait(30)
        yield found[0]
    finally:
        found[1].call_soon_threadsafe(found[2].set)
        thread.join(30)


@pytest.fixture(scope="module")
def mock() -> Iterator[tuple[str, requests.Session]]:
    """
    A mock, and a client of it.
    """
    with (
        served(MockScript.model_validate(SCRIPT)) as url,
        requests.Session() as session,
    ):
        yield url, session


def operations_of(document: dict[str, Any], *left_out: str) -> list[Any]:
    """
    Return what a document describes.
    """
    schema = schemathesis.openapi.from_dict(document)
    results: list[Any] = list(schema.get_all_operations())
    found = [result.ok() for result in results]
    return [
        pytest.param(operation, id=operation.label)
        for operation in found
        if operation.label not in left_out
    ]


def described(document: dict[str, Any]) -> dict[str, Any]:
    """
    Return the document with a script that can be thought up in reasonable time.
    """
    schemas = {**document["components"]["schemas"], "MockScript": {"type": "object"}}
    return {**document, "components": {**document["components"], "schemas": schemas}}


def fuzz(
    operation: Any,
    mock: tuple[str, requests.Session],
    examples: int,
    check: Any = None,
) -> int:
    """
    Send what an operation describes and what it does not; return how often.
    """
    asked = 0
    url, session = mock
    mode = schemathesis.GenerationMode
    kinds = [operation.as_strategy(generation_mode=mode.POSITIVE)]
    if operation.body or operation.query or operation.path_parameters:
        kinds.append(operation.as_strategy(generation_mode=mode.NEGATIVE))

    @settings(
        max_examples=examples * len(kinds),
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(st.one_of(kinds))
    def ask(case: Any) -> None:
        nonlocal asked
        asked += 1
        case.headers["authorization"] = "Bearer sk-fuzz-0123456789"
        response = case.call(base_url=url, session=session, timeout=20)

        assert response.status_code < 500, response.text
        if check is not None:
            check(response)

    ask()
    return asked


@pytest.mark.parametrize("examples", ROUNDS)
@pytest.mark.parametrize("operation", operations_of(surfaces_document()))
def test_no_request_to_the_model_api_fails_by_itself(
    operation: Any, mock: tuple[str, requests.Session], examples: int
) -> None:
    """
    Whatever is sent to a surface is answered or refused, never with a 5xx.
    """

    def check(response: Any) -> None:
        if response.status_code >= 400 and operation.path.startswith("/v1/"):
            assert set(response.json()["error"]) >= ENVELOPE

    assert fuzz(operation, mock, examples, check) > 0


@pytest.mark.parametrize("examples", ROUNDS)
@pytest.mark.parametrize(
    "operation",
    # The events do not end by themselves.
    operations_of(described(dict(openapi_document())), "GET /_mock/events"),
)
def test_no_request_to_the_control_api_fails_by_itself(
    operation: Any, examples: int
) -> None:
    """
    Whatever is sent to the control API is done or refused, never with a 5xx.
    """
    with served(MockScript()) as url, requests.Session() as session:
        assert fuzz(operation, (url, session), examples) > 0
