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
from typing import Any

import jinja2
from jinja2 import StrictUndefined, Undefined, meta
from jinja2.sandbox import ImmutableSandboxedEnvironment

RENDERED_CHARACTERS_MAX = 4 * 1024 * 1024
"""A template that gives more is an error: it has run away."""

_ONE_EXPRESSION = re.compile(
    r"\s*\{\{(?P<expression>(?:(?!\}\}|\{\{).)*)\}\}\s*", re.DOTALL
)

Context = Mapping[str, Any]
Render = Callable[[Context], Any]


class TemplateError(Exception):
    """
    A template that cannot be read, or that failed on a request.
    """


class _Environment(ImmutableSandboxedEnvironment):
    """
    Attribute access finds the keys of a mapping before its methods.
    """

    def getattr(self, obj: Any, attribute: str) -> Any:
        """
        Return a key of a mapping, or an attribute that the sandbox allows.
        """
        if isinstance(obj, Mapping):
            if attribute in obj:
                return obj[attribute]
            return self.undefined(obj=obj, name=attribute)
        return super().getattr(obj, attribute)


def _make_environment() -> _Environment:
    environment = _Environment(
        undefined=StrictUndefined, autoescape=False, keep_trailing_newline=True
    )
    # Both would make the reply depend on chance that no seed rules.
    del environment.filters["random"]
    del environment.globals["lipsum"]
    environment.policies["json.dumps_kwargs"] = {
        "ensure_ascii": False,
        "sort_keys": False,
    }
    return environment


_ENVIRONMENT = _make_environment()


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
    try:
        tree = _ENVIRONMENT.parse(text)
    except jinja2.TemplateSyntaxError as error:
        raise TemplateError(str(error)) from error
    names = meta.find_undeclared_variables(tree) - known
    return sorted(names - set(_ENVIRONMENT.globals))


def compile_text(text: str) -> Render:
    """
    Return what renders a text; one without a template renders as itself.

    Raises:
        TemplateError: It is no template.
    """
    if not is_template(text):
        return lambda _: text
    try:
        template = _ENVIRONMENT.from_string(text)
    except jinja2.TemplateError as error:
        raise TemplateError(str(error)) from error

    def render(context: Context) -> str:
        with _failures():
            parts = []
            length = 0
            for part in template.generate(context):
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
    try:
        evaluate = _ENVIRONMENT.compile_expression(
            found["expression"].strip(), undefined_to_none=False
        )
    except jinja2.TemplateError as error:
        raise TemplateError(str(error)) from error

    def render(context: Context) -> Any:
        with _failures():
            value = evaluate(**context)
            if isinstance(value, Undefined):
                str(value)
            return value

    return render


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
