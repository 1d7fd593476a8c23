"""
Values as people write them in a file: durations, rates, addresses.
"""

import ipaddress
from typing import Annotated, Final

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    PlainSerializer,
    ValidationInfo,
    WithJsonSchema,
)

from harness.units import parse_duration_s, parse_rate_per_s

ALREADY_PARSED: Final = {"already_parsed": True}
"""Validation context in which seconds may come as numbers: they were parsed before."""


def _is_parsed(value: object, info: ValidationInfo) -> bool:
    return info.context == ALREADY_PARSED and isinstance(value, float)


def _to_seconds(value: object, info: ValidationInfo) -> object:
    return value if _is_parsed(value, info) else parse_duration_s(value)


def _to_rate(value: object, info: ValidationInfo) -> object:
    return value if _is_parsed(value, info) else parse_rate_per_s(value)


def _as_text(value: float) -> str:
    return f"{value:.9f}".rstrip("0").rstrip(".")


def _check_network(text: str) -> str:
    try:
        return str(ipaddress.ip_network(text))
    except ValueError as error:
        message = f"{text!r} is no network: write one like 127.0.0.0/8"
        raise ValueError(message) from error


def _check_http_url(text: str) -> str:
    scheme, separator, rest = text.partition("://")
    if scheme not in {"http", "https"} or not separator or not rest.strip("/"):
        message = f"{text!r} is no URL: write one like http://127.0.0.1:4010"
        raise ValueError(message)
    return text.rstrip("/")


def _check_path(text: str) -> str:
    if not text.startswith("/"):
        message = f"{text!r} is no path: it starts with /"
        raise ValueError(message)
    return text


Duration = Annotated[
    float,
    BeforeValidator(_to_seconds),
    PlainSerializer(lambda value: f"{_as_text(value)}s", when_used="json"),
    WithJsonSchema(
        {"type": "string", "pattern": r"^\s*\d+(\.\d+)?\s*(us|µs|ms|s|m|min|h|d)\s*$"}
    ),
]
"""Seconds; written with a unit, like ``250ms``."""

PositiveDuration = Annotated[Duration, Field(gt=0)]

Rate = Annotated[
    float,
    BeforeValidator(_to_rate),
    Field(gt=0),
    PlainSerializer(lambda value: f"{_as_text(value)}/s", when_used="json"),
    WithJsonSchema(
        {"type": "string", "pattern": r"^\s*\d+(\.\d+)?\s*/\s*(us|ms|s|m|min|h|d)\s*$"}
    ),
]
"""Events per second; written per unit of time, like ``600/min``."""

HttpUrl = Annotated[str, AfterValidator(_check_http_url)]
Count = Annotated[int, Field(ge=1)]
Path = Annotated[str, AfterValidator(_check_path)]
Network = Annotated[str, AfterValidator(_check_network)]
