"""
All settings as a page of the documentation.
"""

from collections.abc import Iterator
from typing import Any

from pydantic.fields import FieldInfo

from harness.settings.section import Section
from harness.settings.service_settings import ENVIRONMENT, ServiceSettings

_HEAD = """\
# Settings of the reference service

`harness serve --settings FILE` reads them from YAML, a scenario under `service:`. Durations and rates carry units: `250ms`, `30s`, `5m`, `100/s`, `600/min`. What has a variable can be told by the environment, which goes over the file; flags go over both. A key that does not exist and a value that makes no sense are refused, all at once, with their places.

| setting | default | variable | meaning |
| --- | --- | --- | --- |"""


_MASKED = "**********"
"""What pydantic shows of a secret, the default of one included."""


def settings_page() -> str:
    """
    Return the page, made from the settings themselves.
    """
    defaults = ServiceSettings().model_dump(mode="json")
    variables = {path: variable for variable, path in ENVIRONMENT.items()}
    rows = [
        f"| `{'.'.join(path)}` | {_shown(_value_at(defaults, path))} "
        f"| {_shown(variables.get(path))} | {_meaning(field)} |"
        for path, field in _fields(ServiceSettings)
    ]
    return "\n".join([_HEAD, *rows])


def _fields(
    section: type[Section], path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], FieldInfo]]:
    """
    Yield every setting with its path, those of the sections after their own.
    """
    inner = []
    for name, field in section.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, Section):
            inner.append(((*path, name), kind))
        else:
            yield (*path, name), field
    for where, kind in inner:
        yield from _fields(kind, where)


def _value_at(values: Any, path: tuple[str, ...]) -> Any:
    for name in path:
        values = values[name]
    return values


def _shown(value: Any) -> str:
    if value in (None, [], _MASKED):
        return ""
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return f"`{text}`"


def _meaning(field: FieldInfo) -> str:
    text = " ".join((field.description or "").split())
    return text.replace("``", "`").replace("|", "\\|")
