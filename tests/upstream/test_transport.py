import ssl
from typing import Any

import aiohttp
import pytest
from aiohttp.client_reqrep import ConnectionKey
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

from harness.errors import (
    HarnessError,
    OptionsError,
    UpstreamConnectionError,
    UpstreamError,
    UpstreamProtocolError,
    UpstreamStatusError,
    UsageError,
)
from harness.upstream import Breakage, UpstreamOptions
from harness.upstream.transport import explain, without_secret

KEY = "sk-secret-0123456789"

ADDRESS = ConnectionKey(
    host="127.0.0.1",
    port=1,
    is_ssl=False,
    ssl=True,
    proxy=None,
    proxy_auth=None,
    proxy_headers_hash=None,
)


def payload_error(cause: BaseException | None) -> aiohttp.ClientPayloadError:
    """
    Return what a body that broke off raises.
    """
    error = aiohttp.ClientPayloadError("Response payload is not completed")
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (aiohttp.ClientConnectorDNSError(ADDRESS, OSError(8, "no name")), "dns"),
        (
            aiohttp.ClientConnectorError(ADDRESS, ConnectionRefusedError(111, "no")),
            "refused",
        ),
        (aiohttp.ClientConnectorError(ADDRESS, OSError(113, "no route")), "other"),
        (aiohttp.ClientConnectorError(ADDRESS, ConnectionResetError()), "reset"),
        (aiohttp.ClientConnectorSSLError(ADDRESS, OSError(1, "handshake")), "tls"),
        (ssl.SSLError(1, "bad record"), "tls"),
        (aiohttp.ServerDisconnectedError(), "closed"),
        (payload_error(None), "closed"),
        (payload_error(ConnectionResetError()), "reset"),
        (aiohttp.ClientConnectionResetError("closing"), "reset"),
        (BrokenPipeError(), "reset"),
        (aiohttp.ConnectionTimeoutError(), "other"),
    ],
)
def test_names_reason(error: Exception, reason: str) -> None:
    """
    What happened to a connection has one of a few names, and its cause.
    """
    explained = explain(error)

    assert isinstance(explained, UpstreamConnectionError)
    assert explained.reason == reason
    assert explained.__cause__ is error


def test_hides_headers() -> None:
    """
    An error that shows the headers of the request is not kept as a cause.
    """
    headers = CIMultiDictProxy(CIMultiDict({"Authorization": KEY}))
    url = URL("http://host/")
    request = aiohttp.RequestInfo(url, "POST", headers, url)

    explained = explain(aiohttp.ClientResponseError(request, (), message="bad line"))

    assert isinstance(explained, UpstreamProtocolError)
    assert explained.reason == Breakage.NOT_HTTP
    assert explained.__cause__ is None


def test_blames_address() -> None:
    """
    An address that cannot be used is our own mistake.
    """
    assert isinstance(explain(aiohttp.InvalidURL("http://")), UsageError)


@pytest.mark.parametrize(
    "error",
    [
        UpstreamStatusError(status=401, message=f"bad {KEY}", code=KEY, request_id=KEY),
        UpstreamStatusError(status=401, error_type=KEY, message="x" * 495 + KEY),
        UpstreamProtocolError(reason=Breakage.WRONG_SHAPE, detail=KEY),
        UpstreamConnectionError(reason="other", detail=KEY),
    ],
)
def test_hides_secret(error: UpstreamError) -> None:
    """
    Whoever quotes the secret is quoted without it; what kind of error it is stays.
    """
    hidden = without_secret(error, KEY)

    assert type(hidden) is type(error)
    assert "sk-se" not in f"{hidden} {hidden!r} {vars(hidden)}"


def test_keeps_rest_of_message() -> None:
    """
    Only the secret goes; what else was said stays.
    """
    error = UpstreamStatusError(status=401, message=f"bad key {KEY}.", code="c")

    hidden = without_secret(error, KEY)

    assert isinstance(hidden, UpstreamStatusError)
    assert (hidden.message, hidden.code) == ("bad key [hidden].", "c")


@pytest.mark.parametrize("secret", [KEY, ""])
def test_leaves_others_alone(secret: str) -> None:
    """
    An error without the secret is the same object.
    """
    error = UpstreamStatusError(status=500, message="sorry")

    assert without_secret(error, secret) is error


@pytest.mark.parametrize(
    "wrong",
    [
        {"base_url": ""},
        {"base_url": "api.openai.com/v1"},
        {"base_url": "http://["},
        {"base_url": "ftp://host/v1"},
        {"base_url": "http://user:password@host/v1"},
        {"answer_bytes_max": 0},
        {"error_timeout_s": 0},
    ],
)
def test_refuses_options(wrong: dict[str, Any]) -> None:
    """
    Options that make no sense are refused when they are made.
    """
    with pytest.raises(OptionsError):
        UpstreamOptions(**{"base_url": "http://host/v1", "api_key": KEY, **wrong})


@pytest.mark.parametrize("key", ["sk-secret\n", "sk-sécret", "sk-\0secret"])
def test_refuses_key(key: str) -> None:
    """
    A key that fits no header is refused, and not shown.
    """
    with pytest.raises(HarnessError) as caught:
        UpstreamOptions(base_url="http://host/v1", api_key=key)

    assert "cret" not in str(caught.value)
