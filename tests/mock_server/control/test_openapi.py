"""
The control API says of itself what it is.
"""

from typing import Any

import jsonschema
import pytest

from harness.clock import LoopClock
from mock_server import Mock, MockOptions
from mock_server.surfaces.control import Control, ControlOptions
from mock_server.surfaces.control_openapi import openapi_document
from mock_server.testing import mock_in_test

pytestmark = pytest.mark.virtual_time


def references(value: Any) -> set[str]:
    """
    Return every reference within a document.
    """
    if isinstance(value, dict):
        own = {value["$ref"]} if isinstance(value.get("$ref"), str) else set()
        return own.union(*map(references, value.values()))
    if isinstance(value, list):
        return set().union(*map(references, value))
    return set()


async def test_the_document_names_exactly_the_routes() -> None:
    """
    Every path and method that is served is described, and no other.
    """
    control = Control(Mock(), ControlOptions())
    described = {
        (method.upper(), path.removeprefix("/_mock/"))
        for path, operations in openapi_document()["paths"].items()
        for method in operations
    }

    assert described == control.routes


async def test_the_document_is_sound() -> None:
    """
    Names of operations are unique, and every reference leads somewhere.
    """
    document = openapi_document()
    names = [
        operation["operationId"]
        for operations in document["paths"].values()
        for operation in operations.values()
    ]
    known = {
        f"#/components/schemas/{name}" for name in document["components"]["schemas"]
    }

    assert len(names) == len(set(names))
    assert references(document) <= known


async def test_answers_are_as_described(clock: LoopClock) -> None:
    """
    What is served fits the schema of its path.
    """
    async with mock_in_test("{}", MockOptions(port=0), clock=clock) as mock:
        served: Any = (await mock.send("GET", "/_mock/openapi.json")).json
        chat = await mock.chat()
        fault = {"target": "upstream", "fault": "status", "for": "1s"}
        calls = [
            ("get", "health", "health", b""),
            ("post", "faults", "faults", fault),
            ("get", "faults", "faults", b""),
            ("get", "worlds", "worlds", b""),
            ("get", "journal", "journal", b""),
            ("post", "start", "start", b""),
            ("post", "start", "start", {"at_s": "never"}),
            ("put", "script", "script", {"upsteam": {}}),
            ("delete", "faults", "faults/nothing", b""),
            ("post", "reset", "reset", b""),
        ]
        answers = [
            (method, name, await mock.send(method.upper(), f"/_mock/{path}", body))
            for method, name, path, body in calls
        ]

    assert chat.status == 200
    for method, name, answer in answers:
        path = f"/_mock/{name}" if answer.status != 404 else "/_mock/faults/{fault_id}"
        response = served["paths"][path][method]["responses"][str(answer.status)]
        schema = response["content"]["application/json"]["schema"]
        jsonschema.validate(answer.json, {**schema, "components": served["components"]})


async def test_the_journal_is_filtered(clock: LoopClock) -> None:
    """
    Entries are found by status, path, turn, and by the fault that hit them.
    """
    script = "upstream: {faults: [{fault: status, status: 503, attempts: 1, match: {turn: 1}}]}"
    async with mock_in_test(script, MockOptions(port=0), clock=clock) as mock:
        await mock.chat()
        await mock.chat()
        await mock.send("GET", "/v1/models")
        found = {
            query: len(
                (await mock.send("GET", f"/_mock/journal?{query}")).json["entries"]
            )
            for query in (
                "status=503",
                "status=200",
                "fault=status",
                "turn=1",
                "path=/models",
                "method=POST",
            )
        }

    assert found == {
        "status=503": 1,
        "status=200": 1,
        "fault=status": 1,
        "turn=1": 2,
        "path=/models": 1,
        "method=POST": 2,
    }
