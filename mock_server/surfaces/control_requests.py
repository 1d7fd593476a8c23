"""
What the control API is asked, as values.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from heapq import nsmallest
from typing import Any, Final

from mock_server.documents import Document, DocumentError, Mistake, parse_document
from mock_server.documents import validate_document as validate
from mock_server.entries import Told
from mock_server.faults import Target
from mock_server.script import FaultScript, MockScript
from mock_server.units import parse_duration_s

_START_MAX_S = 1e12
"""No clock shows more; infinity and NaN are beyond it too."""

_PAGE_DEFAULT, PAGE_MAX = 100, 1000
_ANY_NAME: Final = "any"
FILTERS: Final = (
    "surface",
    "method",
    "path",
    "status",
    "outcome",
    "conversation",
    "turn",
    "trace_id",
    "request_id",
    "fault",
)
_OWN_KEYS = frozenset({"target", "name", "for"})


class RequestError(Exception):
    """
    A request that the control API refuses.
    """

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code


@dataclass(frozen=True, slots=True, kw_only=True)
class WantedFault:
    """
    A fault that somebody wants to add.
    """

    target: Target
    name: str | None
    """A tool or an endpoint; None is for all of them."""

    script: FaultScript


def parse_fault(text: str, *, now_s: float) -> WantedFault:
    """
    Return the fault that a body describes.

    The body is a fault as in a script, with ``target`` beside it, perhaps ``name`` (a
    tool or an endpoint), and ``for``: how long from this moment on.

    Raises:
        DocumentError: Everything that is wrong with it.
        RequestError: It is no mapping, or has no known target.
    """
    document = parse_document(text, file="fault")
    if not isinstance(document.data, dict):
        raise RequestError(400, "not_an_object", "the body is a fault: a mapping")
    values = dict(document.data)
    target = _target_of(values.get("target"))
    name = values.get("name")
    if not isinstance(name, str | None):
        raise RequestError(422, "bad_name", "name is a text")
    fault = {key: value for key, value in values.items() if key not in _OWN_KEYS}
    if "for" in values:
        try:
            end_s = now_s + parse_duration_s(values["for"])
        except ValueError as error:
            raise RequestError(422, "bad_duration", f"for: {error}") from error
        fault = {**fault, "from": f"{now_s:.6f}s", "to": f"{end_s:.6f}s"}
    script = _validate(document, target, name or _ANY_NAME, fault)
    return WantedFault(target=target, name=name, script=script)


def parse_start(text: str) -> float | None:
    """
    Return the point of the monotonic clock that a body names as zero, if it does.

    Raises:
        RequestError: The body is not ``{"at_s": number}``.
    """
    if not text.strip():
        return None
    values = parse_document(text, file="start").data
    at_s = values.get("at_s") if isinstance(values, dict) else None
    if (
        not isinstance(at_s, int | float)
        or isinstance(at_s, bool)
        or not abs(at_s) < _START_MAX_S
    ):
        message = 'the body is {"at_s": seconds of the monotonic clock}, or empty'
        raise RequestError(422, "bad_start", message)
    return float(at_s)


def _target_of(value: object) -> Target:
    try:
        return Target(str(value))
    except ValueError:
        known = ", ".join(Target)
        message = f"target is one of {known}"
        raise RequestError(422, "bad_target", message) from None


def _validate(
    document: Document, target: Target, name: str, fault: Mapping[str, Any]
) -> FaultScript:
    """
    Check the fault as a script would, and name mistakes by their place in the body.
    """
    inner = {"faults": [fault]}
    is_tool = target is Target.TOOLS
    prefix = ("tools", name) if is_tool else (target.value,)
    wrapped = {"tools": {name: inner}} if is_tool else {target.value: inner}
    places = {
        (*prefix, "faults", 0, *path): place for path, place in document.places.items()
    }
    try:
        script = validate(
            Document(file=document.file, data=wrapped, places=places), MockScript
        )
    except DocumentError as error:
        start = len(f"{'.'.join(prefix)}.faults[0].")
        raise DocumentError(_inside(error.mistakes, start)) from error
    listed = {
        Target.UPSTREAM: script.upstream.faults,
        Target.TOOLS: script.tools[name].faults if is_tool else [],
        Target.WEBHOOK_ENDPOINT: script.webhook_endpoint.faults,
        Target.WEBHOOK_EMITTER: script.webhook_emitter.faults,
    }
    return listed[target][0]


def _inside(mistakes: Iterable[Mistake], start: int) -> Iterable[Mistake]:
    return [replace(mistake, path=mistake.path[start:]) for mistake in mistakes]


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """
    Which entries of the journal are wanted.
    """

    after: int
    """Only entries with a higher number."""

    limit: int
    filters: Mapping[str, str]
    """Fields that must have this value."""


def page_of(query: Mapping[str, str]) -> Page:
    """
    Return the page that a query asks for.

    Raises:
        RequestError: It asks for something that is not there.
    """
    unknown = sorted(set(query) - {"after", "limit", *FILTERS})
    if unknown:
        known = ", ".join(("after", "limit", *FILTERS))
        message = f"unknown parameter {unknown[0]!r}; there are {known}"
        raise RequestError(400, "bad_query", message)
    return Page(
        after=_whole(query, "after", 0, None),
        limit=_whole(query, "limit", _PAGE_DEFAULT, PAGE_MAX),
        filters={name: query[name] for name in FILTERS if name in query},
    )


def select(entries: Iterable[Told], page: Page) -> list[Told]:
    """
    Return the entries of a page, in the order in which they came in.
    """
    wanted = (
        entry
        for entry in entries
        if entry.number > page.after
        and all(_has(entry, name, value) for name, value in page.filters.items())
    )
    return nsmallest(page.limit, wanted, key=lambda entry: entry.number)


def _has(entry: Told, name: str, value: str) -> bool:
    if name == "fault":
        return any(hit["fault"] == value for hit in entry.faults)
    return str(getattr(entry, name)) == value


def _whole(query: Mapping[str, str], name: str, default: int, limit: int | None) -> int:
    text = query.get(name, str(default))
    if not text.isascii() or not text.isdecimal() or len(text) > 12:  # noqa: PLR2004 - more digits are no number of an entry
        raise RequestError(400, "bad_query", f"{name} is a whole number")
    number = int(text)
    return number if limit is None else max(1, min(number, limit))
