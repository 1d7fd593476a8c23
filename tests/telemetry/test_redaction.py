"""
Secrets do not leave the process.
"""

import io
import json
import logging

import pytest

from harness.telemetry import REDACTED, Redactor, configure_logging


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("key my-api-key-1 was refused", f"key {REDACTED} was refused"),
        ("Authorization: Bearer abc.def", f"Authorization: {REDACTED}"),
        ("secret whsec_c2VjcmV0LXNlY3JldA==", f"secret {REDACTED}"),
        ("Incorrect API key: sk-proj-123456.", f"Incorrect API key: {REDACTED}."),
        ("task-force of risk-aware people", "task-force of risk-aware people"),
    ],
)
def test_texts_lose_their_secrets(text: str, shown: str) -> None:
    """
    Known secrets and what looks like a credential are replaced, words are not.
    """
    assert Redactor(["my-api-key-1"]).text(text) == shown


def test_values_lose_their_secrets_at_any_depth() -> None:
    """
    Nested values, keys included, come out without secrets and bounded in depth.
    """
    redactor = Redactor(["topsecret"])
    endless: list[object] = []
    endless.append(endless)

    assert redactor.value({"a": [{"topsecret": "x topsecret"}, 1, None]}) == {
        "a": [{REDACTED: f"x {REDACTED}"}, 1, None]
    }
    assert REDACTED in str(redactor.value(endless))


def test_a_secret_inside_another_leaves_no_rest() -> None:
    """
    Of two secrets of which one contains the other, nothing is left.
    """
    assert Redactor(["abcd", "abcdefgh"]).text("abcdefgh") == REDACTED


def test_representation_shows_nothing() -> None:
    """
    The redactor itself does not show what it knows.
    """
    assert "topsecret" not in repr(Redactor(["topsecret"]))


def test_log_lines_are_json_without_secrets() -> None:
    """
    Messages, arguments and tracebacks are logged without secrets.
    """
    stream = io.StringIO()
    handler = configure_logging(redactor=Redactor(["topsecret"]), stream=stream)
    logger = logging.getLogger("harness.test")

    try:
        try:
            int("topsecret")
        except ValueError:
            logger.exception("failed with %s", "topsecret")
    finally:
        for name in ("harness", "aiohttp", "asyncio"):
            logging.getLogger(name).removeHandler(handler)
            logging.getLogger(name).propagate = True

    line = json.loads(stream.getvalue())
    assert line["message"] == f"failed with {REDACTED}"
    assert "ValueError" in line["traceback"]
    assert "topsecret" not in stream.getvalue()
