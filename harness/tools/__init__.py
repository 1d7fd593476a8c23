"""
The functions that a model may call: what they take, what runs them, who answers.
"""

from harness.tools.backend import ToolBackend, ToolBackendOptions, backend_function
from harness.tools.model import (
    DESCRIPTION_CHARACTERS_MAX,
    Deferred,
    ToolAnswer,
    ToolContext,
    ToolFunction,
    ToolResult,
    ToolSpec,
)
from harness.tools.registry import ToolRegistry, by_name, schema_of
from harness.tools.samples import (
    APPROVE_REFUND,
    GET_WEATHER,
    QUERY_ORDER,
    Approve,
    sample_tools,
)
from harness.tools.schema import ArgumentsSchema, parse_json

__all__ = [
    "APPROVE_REFUND",
    "DESCRIPTION_CHARACTERS_MAX",
    "GET_WEATHER",
    "QUERY_ORDER",
    "Approve",
    "ArgumentsSchema",
    "Deferred",
    "ToolAnswer",
    "ToolBackend",
    "ToolBackendOptions",
    "ToolContext",
    "ToolFunction",
    "ToolRegistry",
    "ToolResult",
    "ToolSpec",
    "backend_function",
    "by_name",
    "parse_json",
    "sample_tools",
    "schema_of",
]
