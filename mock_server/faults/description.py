"""
The catalogue in words: as ``--faults`` prints it, and as a page of the documentation.
"""

import inspect
import textwrap
import types
import typing
from collections.abc import Iterable, Iterator
from enum import Enum
from typing import Any

from pydantic.fields import FieldInfo

from mock_server.attribute_docs import attribute_docs
from mock_server.faults.catalogue import CATALOGUE, FAMILIES
from mock_server.faults.fault import Fault, Level, Target

_INTRODUCTION = """\
# Faults

What the mock can do wrong on purpose. This page is made from the catalogue itself:
`python -m mock_server.faults > docs/faults.md`; `harness mock --faults` prints the same.

A fault stands in a script, under the surface that it is for, or is added while the mock
runs with `POST /_mock/faults`:

```yaml
upstream:
  faults:
    - {fault: status, status: 503, from: 10s, to: 30s}
    - {fault: truncate, injection_rate: 0.1, match: {stream: true}}
```

## When and how often

| key | meaning |
| --- | --- |
| `from`, `to` | scenario time at which it begins and ends |
| `times` | only the first so many requests that it could hit, in each world |
| `attempts` | only these attempts of a call, from 1 |
| `injection_rate` | the share of requests that it hits, 0 to 1 |
| `ramp: {start, end, over}` | the share moves evenly from one value to the other |
| `every: {on, off}` | a square wave |
| `one_of: N` | only requests that land on the broken one of N replicas; `{replicas, broken, sticky}` says more |
| `slower_than` | only requests whose planned time to the first output is longer |
| `match` | `model`, `tool`, `endpoint`, `stream`, `header`, `turn`, `world` |

Whether a fault hits is drawn from the seed, the fault, the world, the conversation, the
turn and the attempt: the order of arrival changes nothing.

Several faults compose. Their order is: those of the surface as the script lists them,
those of the rule that answered, those that were added while running. All that change
what the model says come before all that change the bytes; within each kind a fault
changes what the ones before it left. The journal names those that hit, in that order,
with their draws.

Where a fault cannot change anything (a plain answer has no events, a reply without
calls has no arguments) it neither hits nor counts.

What each leaves of an answer on the wire, for a text and for a call, plain and streamed,
stands in `tests/mock_server/faults/matrix.txt`, which a test compares with the raw bytes.
"""


def catalogue_page() -> str:
    """
    Return the page of the documentation.
    """
    return "\n".join((_INTRODUCTION, *_page_lines()))


def describe_catalogue(*, width: int = 88) -> str:
    """
    Return the catalogue as ``--faults`` prints it.
    """
    return "\n".join(
        line for fault in CATALOGUE.values() for line in (*_describe(fault, width), "")
    )


def _page_lines() -> Iterator[str]:
    for family, faults in FAMILIES.items():
        yield f"## {family}\n"
        yield "| fault | surfaces | what it does | parameters |"
        yield "| --- | --- | --- | --- |"
        for fault in faults:
            cells = (
                f"`{fault.name}`",
                _surfaces(fault, ", "),
                " ".join((_summary(fault), *_notes(fault))),
                "<br>".join(
                    f"`{name}`: {kind}, default {default}{meaning}"
                    for name, kind, default, meaning in _parameters(fault)
                ),
            )
            yield f"| {' | '.join(cell.replace('|', '&#124;') for cell in cells)} |"
        yield ""


def _describe(fault: type[Fault], width: int) -> Iterable[str]:
    yield f"{fault.name}  [{_surfaces(fault, ', ')}]"
    text = " ".join((_summary(fault), *_notes(fault))).replace("`", "")
    yield from textwrap.wrap(
        text, width, initial_indent="    ", subsequent_indent="    "
    )
    for name, kind, default, _ in _parameters(fault):
        yield f"    - {name}: {kind}, default {default}".replace("`", "")


def _summary(fault: type[Fault]) -> str:
    text = " ".join((inspect.getdoc(fault) or "").split())
    return text.replace("``", "`")


def _notes(fault: type[Fault]) -> Iterator[str]:
    if fault.plain:
        yield f"Plain answers: {fault.plain}."
    if fault.streams_only:
        yield f"Streams only: {fault.streams_only}."
    if fault.chat_only:
        yield f"Chat completions only: {fault.chat_only}."
    if fault.needs_tool_calls:
        yield "Hits only replies that call tools."
    if fault.level is Level.LISTENER:
        yield "Takes `from`, `to` and `every` alone."


def _surfaces(fault: type[Fault], separator: str) -> str:
    return separator.join(target for target in Target if target in fault.targets)


def _parameters(fault: type[Fault]) -> Iterator[tuple[str, str, str, str]]:
    documented = _attribute_docs(fault)
    for name, field in fault.model_fields.items():
        meaning = documented.get(name, "")
        meaning = f": {meaning}" if meaning else ""
        yield name, _type_of(field), f"`{_default_of(field)}`", meaning


def _attribute_docs(fault: type[Fault]) -> dict[str, str]:
    return {
        name: text.rstrip(".").replace("``", "`")
        for name, text in attribute_docs(fault).items()
        if "\n" not in text
    }


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
    return repr(default) if isinstance(default, str) else str(default)
