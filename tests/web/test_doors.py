"""
What is parsed and checked at the door.
"""

import pytest

from harness.web.answers import RequestError
from harness.web.bodies import parse_chat


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
