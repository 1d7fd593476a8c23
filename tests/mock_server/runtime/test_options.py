"""
Which set-ups are refused.
"""

import pytest

from mock_server import MockOptions, OptionsError


def test_another_host_needs_a_token() -> None:
    """
    A mock that others can reach is not started without a control token.
    """
    with pytest.raises(OptionsError, match="control token"):
        MockOptions(host="0.0.0.0")  # noqa: S104 - that is the point

    assert not MockOptions(host="0.0.0.0", control_token="t").is_loopback  # noqa: S104, S106 - a test's


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "::1", "localhost"])
def test_loopback_needs_none(host: str) -> None:
    """
    On loopback the token may be left out.
    """
    assert MockOptions(host=host).is_loopback


def test_names_all_mistakes() -> None:
    """
    Everything that is wrong is said at once.
    """
    with pytest.raises(OptionsError) as caught:
        MockOptions(
            host="example.org",
            port=70000,
            webhook_secret="plain",  # noqa: S106 - a test's
            service_url="ftp:",
        )

    assert len(caught.value.mistakes) == 4


def test_hides_its_secrets() -> None:
    """
    Neither secret nor token is in the text of the options.
    """
    options = MockOptions(webhook_secret="whsec_c2VjcmV0", control_token="hush")  # noqa: S106 - a test's

    assert "c2VjcmV0" not in repr(options)
    assert "hush" not in repr(options)
