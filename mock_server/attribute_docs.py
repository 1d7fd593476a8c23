"""
The docstrings of the attributes of a class, which Python itself does not keep.
"""

import ast
import inspect
import textwrap
from itertools import pairwise


def attribute_docs(described: type) -> dict[str, str]:
    """
    Return what a class and its bases say of their attributes, by name.

    Reading sources takes long: it is done for whoever asks, not where they are defined.
    """
    docs: dict[str, str] = {}
    for base in reversed(described.__mro__):
        docs |= _docs_within(base)
    return docs


def _docs_within(described: type) -> dict[str, str]:
    try:
        source = inspect.getsource(described)
    except (OSError, TypeError):
        # It was made while running.
        return {}
    (definition,) = ast.parse(textwrap.dedent(source)).body
    if not isinstance(definition, ast.ClassDef):
        return {}
    return {
        statement.target.id: inspect.cleandoc(after.value.value)
        for statement, after in pairwise(definition.body)
        if isinstance(statement, ast.AnnAssign)
        and isinstance(statement.target, ast.Name)
        and isinstance(after, ast.Expr)
        and isinstance(after.value, ast.Constant)
        and isinstance(after.value.value, str)
    }
