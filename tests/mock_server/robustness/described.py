"""
The model API's surfaces, described so that a fuzzer can find its way.

The shapes are loose on purpose: what a request must look like is for the mock to say.
"""

from typing import Any

TEXT = {"type": "string"}
COUNT = {"type": "integer"}
ANY: dict[str, Any] = {}
MODEL = {"type": "string", "enum": ["gpt-4o", "gpt-4o-mini", "text-embedding-3-small"]}
PARAMETERS = {
    "type": "object",
    "properties": {"type": {"const": "object"}, "properties": {"type": "object"}},
    "required": ["type"],
}
TOOL = {
    "type": "object",
    "properties": {
        "type": {"enum": ["function", "custom"]},
        "function": {
            "type": "object",
            "properties": {
                "name": TEXT,
                "description": TEXT,
                "parameters": PARAMETERS,
                "strict": {"type": "boolean"},
            },
            "required": ["name"],
        },
        "custom": {"type": "object", "properties": {"name": TEXT, "format": ANY}},
    },
    "required": ["type"],
}
MESSAGE = {
    "type": "object",
    "properties": {
        "role": {"enum": ["system", "developer", "user", "assistant", "tool"]},
        "content": {"anyOf": [TEXT, {"type": "null"}, {"type": "array", "items": ANY}]},
        "tool_call_id": TEXT,
        "tool_calls": {"type": "array", "items": {"type": "object"}},
    },
    "required": ["role", "content"],
}
CHAT = {
    "model": MODEL,
    "messages": {"type": "array", "items": MESSAGE, "maxItems": 4},
    "tools": {"type": "array", "items": TOOL, "maxItems": 2},
    "tool_choice": ANY,
    "parallel_tool_calls": {"type": "boolean"},
    "response_format": {"type": "object", "properties": {"type": TEXT}},
    "stream": {"type": "boolean"},
    "stream_options": {"type": "object"},
    "n": {"type": "integer", "maximum": 8},
    "logprobs": {"type": "boolean"},
    "top_logprobs": COUNT,
    "max_completion_tokens": COUNT,
    "temperature": {"type": "number"},
    "stop": ANY,
    "store": {"type": "boolean"},
    "metadata": {"type": "object", "additionalProperties": TEXT},
}
ITEM = {
    "type": "object",
    "properties": {
        "type": {"enum": ["message", "function_call", "function_call_output"]},
        "role": {"enum": ["user", "assistant", "system", "developer"]},
        "content": {"anyOf": [TEXT, {"type": "array", "items": ANY}]},
        "call_id": TEXT,
        "output": ANY,
    },
}
RESPONSE = {
    "model": MODEL,
    "input": {"anyOf": [TEXT, {"type": "array", "items": ITEM, "maxItems": 3}]},
    "instructions": TEXT,
    "tools": {"type": "array", "items": {"type": "object"}, "maxItems": 2},
    "tool_choice": ANY,
    "previous_response_id": TEXT,
    "conversation": ANY,
    "background": {"type": "boolean"},
    "stream": {"type": "boolean"},
    "store": {"type": "boolean"},
    "text": {"type": "object"},
    "reasoning": {"type": "object"},
    "include": {"type": "array", "items": TEXT},
    "max_output_tokens": COUNT,
    "truncation": TEXT,
}

BODIES: dict[str, tuple[dict[str, Any], list[str]]] = {
    "/v1/chat/completions": (CHAT, ["model", "messages"]),
    "/v1/chat/completions/{id}": ({"metadata": {"type": "object"}}, []),
    "/v1/responses": (RESPONSE, ["model", "input"]),
    "/v1/responses/input_tokens": (RESPONSE, []),
    "/v1/responses/compact": (RESPONSE, []),
    "/v1/responses/{id}/cancel": ({}, []),
    "/v1/conversations": ({"items": {"type": "array", "items": ITEM}}, []),
    "/v1/conversations/{id}": ({"metadata": {"type": "object"}}, []),
    "/v1/conversations/{id}/items": ({"items": {"type": "array", "items": ITEM}}, []),
    "/v1/embeddings": (
        {
            "model": MODEL,
            "input": ANY,
            "encoding_format": {"enum": ["float", "base64"]},
            "dimensions": {"type": "integer", "maximum": 3072},
        },
        ["model", "input"],
    ),
    "/v1/completions": (
        {"model": MODEL, "prompt": ANY, "stream": {"type": "boolean"}, "n": COUNT},
        ["model", "prompt"],
    ),
    "/v1/moderations": ({"input": ANY, "model": TEXT}, ["input"]),
    "/v1/files": ({"file": TEXT, "purpose": TEXT}, []),
    "/v1/batches": (
        {"input_file_id": TEXT, "endpoint": TEXT, "completion_window": TEXT},
        ["input_file_id"],
    ),
    "/v1/batches/{id}/cancel": ({}, []),
    "/v1/webhook_endpoints": (
        {"name": TEXT, "url": TEXT, "event_types": {"type": "array", "items": TEXT}},
        ["url"],
    ),
    "/v1/webhook_endpoints/{id}": ({"name": TEXT, "url": TEXT}, []),
    "/v1/webhook_endpoints/{id}/test": ({"event_type": TEXT}, []),
    "/v1/webhook_endpoints/{id}/rotate_secret": ({}, []),
    "/v1/runs/submit-tool-outputs": (
        {"run_id": TEXT, "tool_call_id": TEXT, "output": ANY},
        ["run_id"],
    ),
    "/v1/assistants": ({"model": MODEL, "tools": ANY, "instructions": TEXT}, []),
    "/v1/threads": ({"messages": {"type": "array", "items": MESSAGE}}, []),
    "/v1/threads/{id}/messages": ({"role": TEXT, "content": ANY}, []),
    "/v1/threads/{id}/runs": ({"assistant_id": TEXT, "stream": ANY}, []),
    "/v1/threads/{id}/runs/{run}/submit_tool_outputs": ({"tool_outputs": ANY}, []),
    "/tools/get_weather": ({"city": TEXT}, []),
    "/tools/{id}": ({"anything": ANY}, []),
    "/webhooks/{id}": ({"type": TEXT, "data": {"type": "object"}}, []),
}

READ = (
    "/v1/chat/completions",
    "/v1/chat/completions/{id}",
    "/v1/chat/completions/{id}/messages",
    "/v1/responses/{id}",
    "/v1/responses/{id}/input_items",
    "/v1/conversations/{id}",
    "/v1/conversations/{id}/items",
    "/v1/models",
    "/v1/models/{id}",
    "/v1/files",
    "/v1/files/{id}",
    "/v1/files/{id}/content",
    "/v1/batches",
    "/v1/batches/{id}",
    "/v1/webhook_endpoints",
    "/v1/webhook_endpoints/{id}",
    "/v1/webhook_event_types",
    "/v1/assistants",
    "/v1/threads/{id}",
    "/v1/threads/{id}/messages",
    "/v1/threads/{id}/runs",
    "/v1/nothing/{id}",
)
PAGE = ("after", "limit", "order", "include[]", "stream", "starting_after")


def _parameters(path: str) -> list[dict[str, Any]]:
    return [
        {"name": name, "in": "path", "required": True, "schema": TEXT}
        for name in ("id", "run")
        if f"{{{name}}}" in path
    ]


def _answers() -> dict[str, Any]:
    return {"default": {"description": "Anything but a failure."}}


def surfaces_document() -> dict[str, Any]:
    """
    Return the document.
    """
    paths: dict[str, dict[str, Any]] = {}
    for path, (properties, required) in BODIES.items():
        schema = {"type": "object", "properties": properties, "required": required}
        paths.setdefault(path, {})["post"] = {
            "parameters": _parameters(path),
            "requestBody": {"content": {"application/json": {"schema": schema}}},
            "responses": _answers(),
        }
    for path in READ:
        query = [{"name": name, "in": "query", "schema": TEXT} for name in PAGE]
        paths.setdefault(path, {})["get"] = {
            "parameters": [*_parameters(path), *query],
            "responses": _answers(),
        }
        if path.endswith("{id}"):
            paths[path]["delete"] = {
                "parameters": _parameters(path),
                "responses": _answers(),
            }
    return {
        "openapi": "3.1.0",
        "info": {"title": "The model API, as the mock plays it", "version": "1"},
        "paths": paths,
    }
