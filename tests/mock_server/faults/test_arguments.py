"""
What can be wrong with the arguments of a tool call.
"""

import json

import pytest

from mock_server.faults import ArgumentsKind, break_arguments

GOOD = '{"city":"Paris","days":3}'


@pytest.mark.parametrize(
    ("kind", "broken"),
    [
        ("truncated", '{"city":"Par'),
        ("trailing_comma", '{"city":"Paris","days":3,}'),
        ("single_quotes", "{'city':'Paris','days':3}"),
        ("encoded_twice", r'"{\"city\":\"Paris\",\"days\":3}"'),
        ("code_fence", '```json\n{"city":"Paris","days":3}\n```'),
        (
            "text_around",
            'Here are the arguments:\n{"city":"Paris","days":3}\nDone.',
        ),
        ("nan", '{"city":"Paris","days":3,"score":NaN}'),
        (
            "doubled_keys",
            '{"city":"Paris","city":null,"days":3,"days":null}',
        ),
        ("empty", ""),
        ("null", "null"),
        ("not_object", '[{"city":"Paris","days":3}]'),
    ],
)
def test_breaks_arguments_like_this(kind: str, broken: str) -> None:
    """
    Each kind gives exactly this text.
    """
    assert break_arguments(GOOD, ArgumentsKind(kind)) == broken


@pytest.mark.parametrize("kind", sorted(set(ArgumentsKind) - {"deep", "huge"}))
@pytest.mark.parametrize("good", [GOOD, "{}", '{"a":{"b":[1]}}'])
def test_nobody_can_take_them_for_good(kind: ArgumentsKind, good: str) -> None:
    """
    Whatever the arguments were, a strict reader does not get an object from them.
    """

    def refuse(pairs: list[tuple[str, object]]) -> dict[str, object]:
        if len(dict(pairs)) != len(pairs):
            message = "doubled key"
            raise ValueError(message)
        return dict(pairs)

    def constant(text: str) -> None:
        raise ValueError(text)

    broken = break_arguments(good, kind)
    try:
        value = json.loads(broken, object_pairs_hook=refuse, parse_constant=constant)
    except ValueError:
        return
    assert not isinstance(value, dict)


def test_is_so_deep_that_readers_give_up() -> None:
    """
    Deep arguments are JSON of 10,000 levels, which a recursive reader cannot take.
    """
    broken = break_arguments(GOOD, ArgumentsKind.DEEP)

    assert broken.startswith('{"city":"Paris","days":3,"deep":[[[')
    assert broken.count("[") == broken.count("]") == 10_000
    with pytest.raises(RecursionError):
        json.loads(broken)


def test_is_so_huge() -> None:
    """
    Huge arguments are correct JSON of more than a megabyte.
    """
    values = json.loads(break_arguments("{}", ArgumentsKind.HUGE))

    assert len(values["huge"]) == 1_000_000
