"""
Values become a YAML file that people can read and change.

Every text stands in double quotes on a line of its own: whatever a model wrote, it
comes back as it was.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

_PLAIN_KEY: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")
_UNSAFE: Final = re.compile(
    "[^\\x20-\\x7e\\xa0-\\u2027\\u202a-\\ud7ff\\ue000-\\ufefe\\uff00-\\ufffd"
    "\\U00010000-\\U0010ffff]"
)
_NO_TEXT: Final = frozenset(
    {"true", "false", "null", "yes", "no", "on", "off", "y", "n"}
)
"""Words that YAML, in some version, reads as something else."""

_INDENT: Final = "  "


def yaml_text(values: Mapping[str, Any], *, comments: Sequence[str] = ()) -> str:
    """
    Return the values as a YAML document, with comments at its head.
    """
    lines = [f"# {_UNSAFE.sub('?', comment)}" for comment in comments]
    lines += _mapping_lines(values, "")
    return "\n".join(lines) + "\n"


def _mapping_lines(values: Mapping[str, Any], indent: str) -> Iterator[str]:
    for key, value in values.items():
        name = f"{indent}{_key(key)}:"
        match value:
            case dict() if value:
                yield name
                yield from _mapping_lines(value, indent + _INDENT)
            case list() if value:
                yield name
                yield from _list_lines(value, indent + _INDENT)
            case _:
                yield f"{name} {_scalar(value)}"


def _list_lines(values: Sequence[Any], indent: str) -> Iterator[str]:
    for value in values:
        if not isinstance(value, dict) or not value:
            yield f"{indent}- {_scalar(value)}"
            continue
        first, *others = _mapping_lines(value, indent + _INDENT)
        yield f"{indent}- {first.lstrip()}"
        yield from others


def _key(key: str) -> str:
    is_plain = _PLAIN_KEY.fullmatch(key) and key.lower() not in _NO_TEXT
    return key if is_plain else _scalar(key)


def _scalar(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return _UNSAFE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
