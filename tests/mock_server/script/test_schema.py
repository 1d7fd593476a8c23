"""
The JSON Schema of a script allows what the script allows.
"""

from typing import Any

import jsonschema
import pytest

from mock_server.attribute_docs import attribute_docs
from mock_server.faults import CATALOGUE
from mock_server.script import FaultScript, MockScript

SCHEMA = MockScript.model_json_schema()
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)

GOOD: list[dict[str, Any]] = [
    {},
    {"upstream": {"script": [{"match": {"turn": 1}, "reply": "auto"}]}},
    {"upstream": {"script": [{"match": {"turn": [1, 2]}, "reply": [{"text": "a"}]}]}},
    {"upstream": {"script": [{"match": {"header": {"a": "b"}}, "reply": {"text": "a"}}]}},
    {"upstream": {"script": [{"match": {"header": {"a": {"regex": "b"}}}, "reply": {"text": "a"}}]}},
    {"upstream": {"latency": {"time_to_first_token": {"median": "1s", "p99": "2s"}, "inter_token": "5ms"}}},
    {"upstream": {"faults": [{"fault": "status", "status": 500, "from": "1s", "to": "2s"}]}},
    {"tools": {"f": {"result": {"a": 1}, "latency": "20ms"}}},
]  # fmt: skip

BAD: list[dict[str, Any]] = [
    {"upstraem": {}},
    {"upstream": {"script": [{"match": {"trun": 1}, "reply": "auto"}]}},
    {"upstream": {"script": [{"reply": "automatic"}]}},
    {"upstream": {"latency": {"inter_token": 5}}},
    {"upstream": {"faults": [{"fault": "statsu"}]}},
    {"upstream": {"faults": [{"fault": "status", "statsu": 500}]}},
    {"webhook_endpoint": {"faults": [{"fault": "arguments"}]}},
]


def test_schema_is_one() -> None:
    """
    The schema is a JSON Schema, and knows every fault with its parameters.
    """
    jsonschema.Draft202012Validator.check_schema(SCHEMA)

    known = SCHEMA["$defs"]
    for name, fault in CATALOGUE.items():
        described = known[f"{fault.__name__}Fault"]["properties"]
        assert described["fault"]["const"] == name
        assert set(fault.model_fields) <= set(described)


@pytest.mark.parametrize("script", GOOD)
def test_allows_what_is_allowed(script: dict[str, Any]) -> None:
    """
    A good script fits the schema and the model, short forms included.
    """
    read = MockScript.model_validate(script)

    assert VALIDATOR.is_valid(script)
    assert set(read.model_fields_set) == set(script)


@pytest.mark.parametrize("script", BAD)
def test_refuses_what_is_refused(script: dict[str, Any]) -> None:
    """
    A mistake is one for the schema and for the model.
    """
    assert not VALIDATOR.is_valid(script)
    with pytest.raises(ValueError, match="validation error"):
        MockScript.model_validate(script)


def test_every_key_is_explained_or_plain() -> None:
    """
    What a key of a rule means stands beside it, for editors to show.
    """
    rule = SCHEMA["$defs"]["Match"]["properties"]

    assert rule["turn"]["description"].startswith("The round with the model")


def test_schema_says_what_the_keys_mean() -> None:
    """
    Docstrings of fields describe the keys, those that faults have from their base too.
    """
    definitions = SCHEMA["$defs"]
    described = FaultScript.model_fields["from_s"]
    text = attribute_docs(FaultScript)["from_s"]

    assert described.description is None
    assert definitions["StatusFault"]["properties"]["from"]["description"] == text
    assert text == "Scenario time at which it begins."


class _Base:
    """
    What a class says of its attributes.
    """

    first: int
    """Of the base."""

    second: int
    """Once."""

    third: int


class _Described(_Base):
    """
    Another that says more.
    """

    second: int
    """
    Again.
    """


def test_docs_of_attributes_are_those_below_them() -> None:
    """
    What stands below an attribute describes it, in a base too, unless it is said again.

    A class that was made while running has no source to say anything.
    """
    made = type("Made", (_Described,), {})

    assert attribute_docs(_Described) == {"first": "Of the base.", "second": "Again."}
    assert attribute_docs(made) == attribute_docs(_Described)
