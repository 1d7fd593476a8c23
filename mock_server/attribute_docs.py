"""
The docstrings of the attributes of a class, which Python itself does not keep.
"""

import ast
import inspect
import sys
from collections.abc import Mapping
from functools import cache
from itertools import pairwise

Docs = Mapping[str, str]


def attribute_docs(described: type) -> dict[str, str]:
    """
    Return what a class and its bases say of their attributes, by name.

    Reading sources takes long: it is done for whoever asks, not where they are defined.
    """
    docs: dict[str, str] = {}
    for base in reversed(described.__mro__):
        # One that was made while running stands in no source.
        docs |= _docs_in(base.__module__).get(base.__qualname__, {})
    return docs


@cache
def _docs_in(module: str) -> Mapping[str, Docs]:
    """
    Return what the classes of a module say of their attributes, by class.
    """
    try:
        source = inspect.getsource(sys.modules[module])
    except (KeyError, OSError, TypeError):
        return {}
    return {
        statement.name: _docs_of(statement)
        for statement in ast.parse(source).body
        if isinstance(statement, ast.ClassDef)
    }


def _docs_of(definition: ast.ClassDef) -> Docs:
    return {
        statement.target.id: inspect.cleandoc(after.value.value)
        for statement, after in pairwise(definition.body)
        if isinstance(statement, ast.AnnAssign)
        and isinstance(statement.target, ast.Name)
        and isinstance(after, ast.Expr)
        and isinstance(after.value, ast.Constant)
        and isinstance(after.value.value, str)
    }
