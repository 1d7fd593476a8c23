"""
Templates in the texts of a script: sandboxed, strict, and without chance.

A text is a template where it holds ``{{`` or ``{%``. Within values (arguments, tool
results) a text that is one expression and nothing else gives the expression's own
value, so that numbers stay numbers.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import ModuleType
from typing import Any

from mock_server.script.template_error import TemplateError

RENDERED_CHARACTERS_MAX = 4 * 1024 * 1024
"""A template that gives more is an error: it has run away."""

_ONE_EXPRESSION = re.compile(
    r"\s*\{\{(?P<expression>(?:(?!\}\}|\{\{).)*)\}\}\s*", re.DOTALL
)

Context = Mapping[str, Any]
Render = Callable[[Context], Any]


def is_template(text: str) -> bool:
    """
    Say whether a text holds a template.
    """
    return "{{" in text or "{%" in text


def unknown_names(text: str, known: frozenset[str]) -> list[str]:
    """
    Return the variables of a template that it will not be given.

    Raises:
        TemplateError: It is no template.
    """
    return sorted(_sandbox().names_in(text) - known)


def compile_text(text: str) -> Render:
    """
    Return what renders a text; one without a template renders as itself.

    Raises:
        TemplateError: It is no template.
    """
    if not is_template(text):
        return lambda _: text
    generate = _sandbox().parts_of(text)

    def render(context: Context) -> str:
        with _failures():
            parts = []
            length = 0
            for part in generate(context):
                length += len(part)
                if length > RENDERED_CHARACTERS_MAX:
                    message = f"gave more than {RENDERED_CHARACTERS_MAX} characters"
                    raise TemplateError(message)
                parts.append(part)
            return "".join(parts)

    return render


def compile_value(value: Any) -> Render:
    """
    Return what renders all texts within a value.

    Raises:
        TemplateError: One of them is no template.
    """
    if isinstance(value, str):
        return _compile_value_text(value)
    if isinstance(value, dict):
        parts = {key: compile_value(item) for key, item in value.items()}
        return lambda context: {key: part(context) for key, part in parts.items()}
    if isinstance(value, list):
        items = [compile_value(item) for item in value]
        return lambda context: [item(context) for item in items]
    return lambda _: value


def has_template(value: Any) -> bool:
    """
    Say whether any text within a value holds a template.
    """
    match value:
        case str():
            return is_template(value)
        case dict():
            return any(map(has_template, value.values()))
        case list():
            return any(map(has_template, value))
        case _:
            return False


def to_json(value: Any) -> str:
    """
    Return a value as JSON the way models write arguments.
    """
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=str)


def _compile_value_text(text: str) -> Render:
    found = _ONE_EXPRESSION.fullmatch(text)
    if found is None or not found["expression"].strip():
        return compile_text(text)
    evaluate = _sandbox().value_of(found["expression"].strip())

    def render(context: Context) -> Any:
        with _failures():
            return evaluate(context)

    return render


def _sandbox() -> ModuleType:
    from mock_server.script import sandbox  # noqa: PLC0415 - with the first template

    return sandbox


@contextmanager
def _failures() -> Iterator[None]:
    """
    Turn whatever a template raises into a :class:`TemplateError`.
    """
    try:
        yield
    except TemplateError:
        raise
    except Exception as error:
        raise TemplateError(str(error) or type(error).__name__) from error
