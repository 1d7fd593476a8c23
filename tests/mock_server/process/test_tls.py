"""
The mock behind TLS.
"""

import ssl
from pathlib import Path

import aiohttp
import openai
import pytest
import trustme

from mock_server import MockOptions, OptionsError, running_mock
from mock_server.__main__ import main

pytestmark = pytest.mark.sockets

CHAT = {"model": "gpt-4o", "messages": [{"role": "user", "content": "hello"}]}


class Files:
    """
    A certificate for loopback, and whom to trust for it.
    """

    def __init__(self, folder: Path) -> None:
        authority = trustme.CA()
        issued = authority.issue_cert("127.0.0.1", "localhost")
        self.cert = folder / "cert.pem"
        self.key = folder / "key.pem"
        for blob in issued.cert_chain_pems:
            blob.write_to_path(str(self.cert), append=True)
        issued.private_key_pem.write_to_path(str(self.key))
        self.trust = ssl.create_default_context()
        authority.configure_trust(self.trust)


@pytest.fixture
def files(tmp_path: Path) -> Files:
    """
    Return what a mock behind TLS is started with.
    """
    return Files(tmp_path)


async def test_the_official_client_chats_over_tls(files: Files) -> None:
    """
    A client that trusts the certificate is answered, plain and streamed.
    """
    options = MockOptions(port=0, tls_cert=files.cert, tls_key=files.key)
    async with (
        running_mock(options=options) as mock,
        openai.AsyncOpenAI(
            base_url=mock.base_url,
            api_key="sk-test",
            http_client=openai.DefaultAsyncHttpxClient(verify=files.trust),
        ) as client,
    ):
        plain = await client.chat.completions.create(
            model="gpt-4o", messages=[{"role": "user", "content": "hello"}]
        )
        stream = await client.chat.completions.create(
            model="gpt-4o",
            messages=[{"role": "user", "content": "hello"}],
            stream=True,
        )
        chunks = [chunk async for chunk in stream]

    assert mock.base_url.startswith("https://127.0.0.1:")
    assert plain.choices[0].message.content
    assert chunks[-1].choices[0].finish_reason == "stop"


async def test_both_listeners_speak_tls_alone(files: Files) -> None:
    """
    Control is encrypted, too; whoever speaks plain HTTP gets no answer.
    """
    options = MockOptions(
        port=0, control_port=0, tls_cert=files.cert, tls_key=files.key
    )
    async with (
        running_mock(options=options) as mock,
        aiohttp.ClientSession() as session,
    ):
        async with session.get(
            f"{mock.control_url}/_mock/health", ssl=files.trust
        ) as answer:
            status = answer.status
        plain_url = f"{mock.url}/_mock/health".replace("https://", "http://")
        with pytest.raises(aiohttp.ClientConnectionError):
            await session.get(plain_url)

    assert status == 200


@pytest.mark.parametrize(
    "fault", ["reset_before_headers", "reset_in_body", "close_before_headers"]
)
async def test_faults_work_behind_tls(files: Files, fault: str) -> None:
    """
    A connection is cut or reset below the encryption: no client takes it for an end.
    """
    options = MockOptions(port=0, tls_cert=files.cert, tls_key=files.key)
    async with (
        running_mock(options=options) as mock,
        aiohttp.ClientSession() as session,
    ):
        target = {"target": "upstream", "fault": fault}
        added = await session.post(
            f"{mock.url}/_mock/faults", json=target, ssl=files.trust
        )
        with pytest.raises(aiohttp.ClientError):
            await read_chat(session, mock.base_url, files.trust)

    assert added.status == 201


async def read_chat(
    session: aiohttp.ClientSession, base_url: str, trust: ssl.SSLContext
) -> bytes:
    """
    Ask for a chat and read the whole answer.
    """
    async with session.post(
        f"{base_url}/chat/completions",
        json=CHAT,
        headers={"Authorization": "Bearer sk-test"},
        ssl=trust,
    ) as answer:
        return await answer.read()


def test_a_certificate_needs_its_key(files: Files, tmp_path: Path) -> None:
    """
    Half a pair, files that are missing and keys of others are told before anything runs.
    """
    other = Files(_folder(tmp_path / "other"))
    wrong = {
        "needs both": None,
        "cannot be read": tmp_path / "none.pem",
        "no certificate": other.key,
    }
    for reason, key in wrong.items():
        with pytest.raises(OptionsError, match=reason):
            MockOptions(tls_cert=files.cert, tls_key=key)


def _folder(folder: Path) -> Path:
    folder.mkdir()
    return folder


async def test_no_mock_in_a_test_shares_them_either(files: Files) -> None:
    """
    Whoever runs the mock from code is told the same before it listens.
    """
    options = MockOptions(port=0, tls_cert=files.cert, tls_key=files.key)
    with pytest.raises(OptionsError, match="only 1 is possible with TLS"):
        async with running_mock(options=options, workers=2):
            pass


def test_workers_cannot_share_encrypted_connections(
    files: Files, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    What cannot be handed over is refused at start, with the reason.
    """
    flags = ["--tls-cert", str(files.cert), "--tls-key", str(files.key)]
    exit_code = main(["--port", "0", "--workers", "2", *flags])

    assert exit_code == 2
    assert "only 1 is possible with TLS" in capsys.readouterr().err
