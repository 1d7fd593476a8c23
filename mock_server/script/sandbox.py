"""
The sandbox in which templates run: strict, and without chance.

Only a template loads it: most scripts have none, and jinja2 takes its time.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import jinja2
from jinja2 import StrictUndefined, Undefined, meta
from jinja2.sandbox import ImmutableSandboxedEnvironment

from mock_server.script.template_error import TemplateError


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


def names_in(text: str) -> set[str]:
    """
    Return the variables that a template has to be given.

    Raises:
        TemplateError: It is no template.
    """
    with _mistakes():
        tree = _ENVIRONMENT.parse(text)
    return meta.find_undeclared_variables(tree) - set(_ENVIRONMENT.globals)


def parts_of(text: str) -> Callable[[Mapping[str, Any]], Iterator[str]]:
    """
    Return what renders a template piece by piece.

    Raises:
        TemplateError: It is no template.
    """
    with _mistakes():
        template = _ENVIRONMENT.from_string(text)
    # jinja copies them for each rendering, and a chain of mappings is slow to copy.
    template.globals = dict(template.globals)
    return template.generate


def value_of(expression: str) -> Callable[[Mapping[str, Any]], Any]:
    """
    Return what evaluates an expression; it raises for a variable that is not there.

    Raises:
        TemplateError: It is no expression.
    """
    with _mistakes():
        evaluate = _ENVIRONMENT.compile_expression(expression, undefined_to_none=False)

    def find(context: Mapping[str, Any]) -> Any:
        value = evaluate(**context)
        if isinstance(value, Undefined):
            str(value)
        return value

    return find


@contextmanager
def _mistakes() -> Iterator[None]:
    try:
        yield
    except jinja2.TemplateError as error:
        raise TemplateError(str(error)) from error
