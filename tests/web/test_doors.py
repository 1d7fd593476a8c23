"""
What is parsed and checked at the door.
"""

import pytest

from harness.web.answers import RequestError
from harness.web.bodies import parse_chat
from harness.web.middleware import is_loopback


@pytest.mark.parametrize(
    ("host", "is_local"),
    [
        ("127.0.0.1", True),
        ("127.8.8.8", True),
        ("::1", True),
        ("[::1]", True),
        ("localhost", True),
        ("0.0.0.0", False),  # noqa: S104
        ("::", False),
        ("192.168.0.4", False),
        ("127.0.0.1.evil.example", False),
        ("", False),
    ],
)
def test_loopback_is_told_from_the_rest(host: str, is_local: bool) -> None:  # noqa: FBT001 - a column of the table
    """
    Only what cannot be reached from elsewhere passes for loopback.
    """
    assert is_loopback(host) == is_local


def test_chat_is_parsed_whole() -> None:
    """
    A body of the right shape becomes a command.
    """
    command = parse_chat(
        b'{"message": "hi", "user_id": "u", "session_id": "ses_1", "model": "gpt-4o"}',
        message_chars_max=10,
    )

    assert (command.message, command.user_id) == ("hi", "u")
    assert (command.session_id, command.model) == ("ses_1", "gpt-4o")


@pytest.mark.parametrize(
    ("body", "status"),
    [(b"{", 400), (b'"x"', 422), (b'{"message": "elevenchars", "user_id": "u"}', 422)],
)
def test_bad_chats_are_refused(body: bytes, status: int) -> None:
    """
    What is not JSON is 400, what has the wrong shape or size is 422.
    """
    with pytest.raises(RequestError) as caught:
        parse_chat(body, message_chars_max=10)

    assert caught.value.status == status
