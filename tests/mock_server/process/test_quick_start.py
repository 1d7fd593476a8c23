"""
How a process that is a command starts.
"""

import socket
import ssl
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import trustme

from mock_server.quick_start import read_later


def test_a_command_trusts_the_same_certificates_only_later(tmp_path: Path) -> None:
    """
    What a command trusts is read when it meets the first peer, and not with aiohttp.
    """
    authority = trustme.CA()
    trusted = tmp_path / "trusted.pem"
    authority.cert_pem.write_to_path(str(trusted))
    issued = tmp_path / "issued.pem"
    certificate = authority.issue_cert("127.0.0.1")
    certificate.private_key_and_cert_chain_pem.write_to_path(str(issued))
    program = (
        "import asyncio, os, ssl\n"
        "from mock_server.quick_start import start_quickly\n"
        "start_quickly()\n"
        # Too late for a context that has read what it trusts.
        "import aiohttp\n"
        f"os.environ['SSL_CERT_FILE'] = {str(trusted)!r}\n"
        "os.environ['SSL_CERT_DIR'] = '/nowhere'\n"
        "async def serve(reader, writer):\n"
        "    await reader.readuntil(b'\\r\\n\\r\\n')\n"
        "    writer.write(b'HTTP/1.1 200 OK\\r\\ncontent-length: 0\\r\\n'\n"
        "        b'connection: close\\r\\n\\r\\n')\n"
        "async def main():\n"
        "    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)\n"
        f"    context.load_cert_chain({str(issued)!r})\n"
        "    server = await asyncio.start_server(serve, '127.0.0.1', 0, ssl=context)\n"
        "    port = server.sockets[0].getsockname()[1]\n"
        "    async with aiohttp.ClientSession() as session:\n"
        "        for _ in range(2):\n"
        "            async with session.get(f'https://127.0.0.1:{port}/') as answer:\n"
        "                assert answer.status == 200\n"
        "asyncio.run(main())\n"
    )

    finished = subprocess.run(  # noqa: S603 - our own program
        [sys.executable, "-c", program],
        capture_output=True,
        check=False,
        text=True,
        timeout=60,
    )

    assert (finished.returncode, finished.stderr) == (0, "")


def wrap_socket(context: ssl.SSLContext) -> None:
    """
    Use a context as a blocking client does.
    """
    one, other = socket.socketpair()
    with other, context.wrap_socket(one, do_handshake_on_connect=False):
        pass


@pytest.mark.parametrize(
    "ask",
    [
        lambda context: context.wrap_bio(ssl.MemoryBIO(), ssl.MemoryBIO()),
        wrap_socket,
        lambda context: context.cert_store_stats(),
        lambda context: context.get_ca_certs(),
        lambda context: context.get_ca_certs(binary_form=True),
    ],
)
def test_a_context_that_trusts_later_is_like_any_other_once_it_is_asked(
    ask: Callable[[ssl.SSLContext], object],
) -> None:
    """
    Whatever asks a context for what it trusts finds it read.
    """
    authority = trustme.CA()
    with (
        authority.cert_pem.tempfile() as trusted,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setenv("SSL_CERT_FILE", trusted)
        patch.setattr(ssl.SSLContext, "set_default_verify_paths", read_later)
        context = ssl.create_default_context()
        context.check_hostname = False
        assert type(context) is not ssl.SSLContext
        ask(context)

    assert type(context) is ssl.SSLContext
    assert context.get_ca_certs() != []
