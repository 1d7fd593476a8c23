"""
Every fault there is, by name.
"""

import inspect
import textwrap
import types
import typing
from collections.abc import Iterable, Mapping
from enum import Enum
from typing import Any, Final

from pydantic.fields import FieldInfo

from mock_server.faults.answers import (
    EmptyBody,
    Gone,
    HtmlPage,
    QuotaExhausted,
    RateLimited,
    RedirectTo,
    Status,
)
from mock_server.faults.connection import (
    BlackHole,
    CloseBeforeHeaders,
    Disconnect,
    ResetBeforeHeaders,
    SlowHeaders,
)
from mock_server.faults.emitter import (
    BadSignature,
    BodyChanged,
    Delay,
    Drop,
    Duplicate,
    FutureTimestamp,
    MissingSignature,
    RivalResult,
    StaleTimestamp,
    UnknownCall,
    WrongSecret,
)
from mock_server.faults.fault import Fault, Target
from mock_server.faults.model_output import Arguments, UnknownTool
from mock_server.faults.stream import MalformedEvent, NotJson, Stall, Truncate
from mock_server.faults.tool_and_endpoint import LostAck, LostReply, NeverAnswers, Slow

_FAULTS: tuple[type[Fault], ...] = (
    Status,
    RateLimited,
    QuotaExhausted,
    HtmlPage,
    EmptyBody,
    RedirectTo,
    BlackHole,
    ResetBeforeHeaders,
    CloseBeforeHeaders,
    SlowHeaders,
    Disconnect,
    Truncate,
    Stall,
    MalformedEvent,
    Arguments,
    UnknownTool,
    Slow,
    NeverAnswers,
    LostReply,
    NotJson,
    LostAck,
    Gone,
    Delay,
    Duplicate,
    Drop,
    BadSignature,
    MissingSignature,
    WrongSecret,
    StaleTimestamp,
    FutureTimestamp,
    BodyChanged,
    RivalResult,
    UnknownCall,
)

CATALOGUE: Final[Mapping[str, type[Fault]]] = types.MappingProxyType(
    {fault.name: fault for fault in _FAULTS}
)
"""In the order of the documentation: answers, connection, stream, model, surfaces."""


def faults_of(target: Target) -> tuple[type[Fault], ...]:
    """
    Return the faults that a surface can have.
    """
    return tuple(fault for fault in _FAULTS if target in fault.targets)


def build_fault(name: str, target: Target, parameters: Mapping[str, Any]) -> Fault:
    """
    Return the fault of that name with these parameters.

    Raises:
        KeyError: There is no such fault, or not on that surface.
        pydantic.ValidationError: A parameter is unknown or out of range.
    """
    fault = CATALOGUE[name]
    if target not in fault.targets:
        raise KeyError(name)
    return fault.model_validate(dict(parameters))


def describe_catalogue(*, width: int = 88) -> str:
    """
    Return the catalogue as ``--faults`` prints it.
    """
    return "\n".join(
        line for fault in _FAULTS for line in (*_describe(fault, width), "")
    )


def _describe(fault: type[Fault], width: int) -> Iterable[str]:
    surfaces = ", ".join(target for target in Target if target in fault.targets)
    yield f"{fault.name}  [{surfaces}]"
    text = " ".join((inspect.getdoc(fault) or "").replace("``", "").split())
    yield from textwrap.wrap(
        text, width, initial_indent="    ", subsequent_indent="    "
    )
    if fault.plain:
        yield f"    Plain answers: {fault.plain.replace('`', '')}."
    for name, field in fault.model_fields.items():
        yield f"    - {name}: {_type_of(field)}, default {_default_of(field)}"


def _type_of(field: FieldInfo) -> str:
    if any("duration" in repr(part) for part in (field.metadata, field.annotation)):
        return "duration"
    return _type_name(field.annotation)


def _type_name(annotation: Any) -> str:
    if annotation is type(None):
        return "null"
    origin = typing.get_origin(annotation)
    if origin is typing.Literal:
        return " | ".join(map(str, typing.get_args(annotation)))
    if origin in {types.UnionType, typing.Union}:
        names = [_type_name(part) for part in typing.get_args(annotation)]
        return " | ".join(names)
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return " | ".join(str(member.value) for member in annotation)
    known = {float: "number", int: "whole number", str: "text", bool: "true | false"}
    if annotation in known:
        return known[annotation]
    return "mapping" if origin is dict else "any value"


def _default_of(field: FieldInfo) -> str:
    default = field.get_default(call_default_factory=True, validated_data={})
    if default is None:
        return "null"
    if isinstance(default, Enum):
        return str(default.value)
    if isinstance(default, float) and _type_of(field) == "duration":
        return f"{default:g}s"
    return str(default)
