"""
The OpenAPI document of the control API.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Final

from mock_server.faults import CATALOGUE, Target
from mock_server.script import MockScript
from mock_server.surfaces.control_requests import FILTERS, PAGE_MAX
from mock_server.version import VERSION

Value = dict[str, Any]

_TEXT: Final[Value] = {"type": "string"}
_COUNT: Final[Value] = {"type": "integer", "minimum": 0}
_COUNTS: Final[Value] = {"type": "object", "additionalProperties": _COUNT}
_JSON: Final = "application/json"
_YAML: Final = "application/yaml"


def _object(required: Mapping[str, Value], **optional: Value) -> Value:
    return {
        "type": "object",
        "required": sorted(required),
        "properties": {**required, **optional},
    }


def _list_of(schema: Value) -> Value:
    return {"type": "array", "items": schema}


def _ref(name: str) -> Value:
    return {"$ref": f"#/components/schemas/{name}"}


_SCHEMAS: Final[Mapping[str, Value]] = {
    "ControlError": _object(
        {"error": _object({"code": _TEXT, "message": _TEXT}, mistakes=_list_of({}))}
    ),
    "ControlHealth": _object(
        {
            "status": {"const": "ok"},
            "version": _TEXT,
            "seed": {"type": "integer"},
            "scenario_s": {"type": ["number", "null"]},
            "holds": _COUNTS,
            "events_published": _COUNT,
            "dropped": _COUNTS,
        }
    ),
    "ControlStatus": _object({"status": _TEXT}),
    "ControlWorlds": _object(
        {"worlds": _list_of(_object({"world": _TEXT, "journal_entries": _COUNT}))}
    ),
    "ControlFault": _object(
        {
            "target": {"enum": [target.value for target in Target]},
            "fault": {"enum": sorted(CATALOGUE)},
        },
        name={"type": ["string", "null"], "description": "A tool or an endpoint."},
        **{"for": {"type": "string", "description": "How long from this moment on."}},
    ),
    "ControlActiveFault": _object({"fault_id": _TEXT, "fault": _TEXT, "target": _TEXT}),
    "ControlFaults": _object({"faults": _list_of(_ref("ControlActiveFault"))}),
    "ControlRemoved": _object({"removed": _list_of(_TEXT)}),
    "ControlEntry": _object(
        {
            "number": {"type": "integer", "minimum": 1},
            "request_id": _TEXT,
            "surface": _TEXT,
            "world": _TEXT,
            "method": _TEXT,
            "path": _TEXT,
            "status": {"type": ["integer", "null"]},
            "outcome": {"type": ["string", "null"]},
        }
    ),
    "ControlJournal": _object(
        {
            "entries": _list_of(_ref("ControlEntry")),
            "next_after": {"type": ["integer", "null"]},
            "dropped": _COUNT,
        }
    ),
    "ControlCleared": _object({"removed": _COUNT}),
}


def _content(schema: Value, kind: str = _JSON) -> Value:
    return {"content": {kind: {"schema": schema}}}


def _operation(
    name: str,
    summary: str,
    answer: Value,
    *,
    status: int = 200,
    body: Value | None = None,
    refusals: Sequence[int] = (),
    parameters: Sequence[Value] = (),
) -> Value:
    refused = {"description": "Refused.", **_content(_ref("ControlError"))}
    operation: Value = {
        "operationId": name,
        "summary": summary,
        "responses": {
            str(status): {"description": "Done.", **answer},
            **{str(each): refused for each in (401, 403, *refusals)},
        },
    }
    if body is not None:
        operation["requestBody"] = body
    if parameters:
        operation["parameters"] = list(parameters)
    return operation


def _document_body(schema: Value, *, required: bool = True) -> Value:
    content = {kind: {"schema": schema} for kind in (_JSON, _YAML)}
    return {"required": required, "content": content}


def _path_parameter(name: str) -> Value:
    return {"name": name, "in": "path", "required": True, "schema": _TEXT}


def _query(name: str, schema: Value, description: str) -> Value:
    return {"name": name, "in": "query", "schema": schema, "description": description}


_BODY_REFUSALS: Final = (400, 408, 413, 422)


def _faults_and_journal(suffix: str, parameters: Sequence[Value]) -> dict[str, Value]:
    """
    Return the paths that exist for all worlds together and for each of them.
    """
    missing = (404,) if parameters else ()
    reset = {
        "post": _operation(
            f"reset{suffix}",
            "Begin anew with the same script.",
            _content(_ref("ControlStatus")),
            refusals=missing,
            parameters=parameters,
        )
    }
    return {
        **_faults(suffix, parameters, missing),
        "journal": _journal(suffix, parameters, missing),
        "reset": reset,
    }


def _faults(
    suffix: str, parameters: Sequence[Value], missing: tuple[int, ...]
) -> dict[str, Value]:
    faults = {
        "get": _operation(
            f"listFaults{suffix}",
            "The faults that are set.",
            _content(_ref("ControlFaults")),
            refusals=missing,
            parameters=parameters,
        ),
        "post": _operation(
            f"addFault{suffix}",
            "Let something go wrong.",
            _content(_ref("ControlActiveFault")),
            status=201,
            body=_document_body(_ref("ControlFault")),
            refusals=(*_BODY_REFUSALS, *missing),
            parameters=parameters,
        ),
        "delete": _operation(
            f"removeFaults{suffix}",
            "Let everything go well again.",
            _content(_ref("ControlRemoved")),
            refusals=missing,
            parameters=parameters,
        ),
    }
    fault = {
        "delete": _operation(
            f"removeFault{suffix}",
            "Remove one fault.",
            _content(_ref("ControlRemoved")),
            refusals=(404,),
            parameters=[*parameters, _path_parameter("fault_id")],
        )
    }
    return {"faults": faults, "faults/{fault_id}": fault}


def _journal(
    suffix: str, parameters: Sequence[Value], missing: tuple[int, ...]
) -> Value:
    page = [
        *parameters,
        _query("after", _COUNT, "Only entries with a higher number."),
        _query("limit", {"type": "integer", "maximum": PAGE_MAX}, "Of one page."),
        *(_query(name, _TEXT, f"Only entries with this {name}.") for name in FILTERS),
    ]
    return {
        "get": _operation(
            f"readJournal{suffix}",
            "What came in and went out, oldest first, in pages.",
            _content(_ref("ControlJournal")),
            refusals=(400, *missing),
            parameters=page,
        ),
        "delete": _operation(
            f"clearJournal{suffix}",
            "Forget what came in.",
            _content(_ref("ControlCleared")),
            refusals=missing,
            parameters=parameters,
        ),
    }


def _paths() -> dict[str, Value]:
    of_world = _faults_and_journal("OfWorld", [_path_parameter("world")])
    return {
        **_state_and_time(),
        **_what_happened(),
        **_faults_and_journal("", ()),
        **{f"worlds/{{world}}/{path}": value for path, value in of_world.items()},
    }


def _state_and_time() -> dict[str, Value]:
    status = _content(_ref("ControlStatus"))
    start = {"type": "object", "properties": {"at_s": {"type": "number"}}}
    return {
        "health": {
            "get": _operation(
                "getHealth",
                "How the mock is: what it holds, and what limits kept out.",
                _content(_ref("ControlHealth")),
            )
        },
        "openapi.json": {
            "get": _operation(
                "getOpenapi", "This document.", _content({"type": "object"})
            )
        },
        "script": {
            "get": _operation("getScript", "The script as given.", _content({})),
            "put": _operation(
                "putScript",
                "Take another script; faults, cursors and counts begin anew.",
                status,
                body=_document_body(_ref("MockScript")),
                refusals=_BODY_REFUSALS,
            ),
        },
        "start": {
            "post": _operation(
                "start",
                "Make this moment, or the one named, zero of scenario time.",
                status,
                body=_document_body(start, required=False),
                refusals=_BODY_REFUSALS,
            )
        },
    }


def _what_happened() -> dict[str, Value]:
    return {
        "events": {
            "get": _operation(
                "streamEvents",
                "Every event from here on, as server-sent events.",
                _content(_TEXT, "text/event-stream"),
                refusals=(503,),
            )
        },
        "metrics": {
            "get": _operation(
                "getMetrics",
                "Counters and histograms, for Prometheus.",
                _content(_TEXT, "text/plain"),
            )
        },
        "worlds": {
            "get": _operation(
                "listWorlds", "One for each API key.", _content(_ref("ControlWorlds"))
            )
        },
    }


@lru_cache(maxsize=1)
def openapi_document() -> Mapping[str, Any]:
    """
    Return the document; it is the same for every mock.
    """
    script = MockScript.model_json_schema(
        by_alias=True, ref_template="#/components/schemas/{model}"
    )
    definitions = script.pop("$defs", {})
    return {
        "openapi": "3.1.0",
        "info": {"title": "Control API of the mock", "version": VERSION},
        "security": [{}, {"token": []}],
        "paths": {f"/_mock/{path}": value for path, value in _paths().items()},
        "components": {
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
            "schemas": {**definitions, **_SCHEMAS, "MockScript": script},
        },
    }
