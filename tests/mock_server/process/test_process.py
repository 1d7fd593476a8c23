"""
The mock as a process of its own, on real sockets.
"""

import asyncio
import json
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from mock_server import MockOptions, running_mock, serve
from mock_server.__main__ import main
from mock_server.faults import CATALOGUE
from mock_server.testing import Ending, mock_in_test

pytestmark = [pytest.mark.sockets, pytest.mark.timeout(60)]

COMMAND = [sys.executable, "-m", "mock_server"]
CHAT = json.dumps(
    {"model": "gpt-4o", "messages": [{"role": "user", "content": "hello"}]}
).encode()


@contextmanager
def _started(*flags: str) -> Iterator[tuple[subprocess.Popen[str], int]]:
    process = subprocess.Popen(  # noqa: S603 - our own program
        [*COMMAND, "--port", "0", *flags], stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        first = process.stdout.readline()
        found = re.fullmatch(r"listening on http://127\.0\.0\.1:(\d+)\n", first)
        assert found is not None, first
        yield process, int(found[1])
    finally:
        process.kill()
        process.communicate()


def _ask(port: int, request: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(request)
        answer = b""
        while piece := connection.recv(65536):
            answer += piece
        return answer


def _chat_request() -> bytes:
    return (
        b"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n"
        b"authorization: Bearer sk-test\r\ncontent-length: %d\r\n\r\n%b"
        % (len(CHAT), CHAT)
    )


@pytest.mark.parametrize(
    ("number", "exit_code"), [(signal.SIGINT, 130), (signal.SIGTERM, 0)]
)
def test_starts_answers_and_stops(number: int, exit_code: int) -> None:
    """
    The first line says where it listens; a signal ends it in an orderly way.
    """
    with _started() as (process, port):
        answer = _ask(port, _chat_request())
        process.send_signal(number)

        assert process.wait(10) == exit_code

    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")


def test_stops_while_requests_hang(tmp_path: Path) -> None:
    """
    Requests that hang do not keep it from stopping.
    """
    script = tmp_path / "script.yaml"
    script.write_text("upstream: {faults: [{fault: black_hole}]}")
    with (
        _started("--script", str(script)) as (process, port),
        socket.create_connection(("127.0.0.1", port), timeout=10) as connection,
    ):
        connection.sendall(_chat_request())
        _ask(
            port,
            b"GET /_mock/health HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n",
        )
        process.send_signal(signal.SIGINT)

        assert process.wait(10) == 130
        assert connection.recv(1) == b""


def test_a_kill_loses_no_event(tmp_path: Path) -> None:
    """
    What was answered stands in the log even if the process is killed right then.
    """
    log = tmp_path / "events.jsonl"
    with _started("--event-log", str(log)) as (process, port):
        _ask(port, _chat_request())
        process.kill()
        process.wait(10)

    kinds = [json.loads(line)["kind"] for line in log.read_text().splitlines()]
    assert kinds == [
        "mock_started",
        "scenario_started",
        "upstream_request_received",
        "upstream_request_ended",
    ]


def test_a_taken_port_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    """
    A taken port is one clear line and exit 4.
    """
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        exit_code = main(["--port", str(port)])

    said = capsys.readouterr()
    assert exit_code == 4
    assert said.err == f"port {port} on 127.0.0.1 is taken\n"
    assert said.out == ""


def test_a_broken_script_is_said_whole(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    Every mistake of a script is listed with its place, and exit is 2.
    """
    script = tmp_path / "script.yaml"
    script.write_text("upstream:\n  skript: []\ntools:\n  t: {result: 1, latency: 5}\n")

    exit_code = main(["--script", str(script), "--port", "0"])

    assert exit_code == 2
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith(f"{script}:2:3: upstream.skript: unknown key")
    assert lines[1].startswith(f"{script}:4:")
    assert len(lines) == 2


@pytest.mark.parametrize(
    "flags",
    [
        ["--host", "0.0.0.0"],  # noqa: S104 - that is the point
        ["--workers", "65"],
        ["--port", "99999"],
        ["--webhook-secret", "plain"],
        ["--script", "/nowhere/script.yaml"],
    ],
)
def test_mistakes_of_the_user_end_with_two(
    flags: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """
    What cannot be started is refused with its reason and exit 2.
    """
    exit_code = main(["--port", "0", *flags])

    said = capsys.readouterr()
    assert exit_code == 2
    assert said.err.strip()
    assert said.out == ""


def test_an_unwritable_log_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    """
    A log that cannot be written is one clear line and exit 2.
    """
    exit_code = main(["--port", "0", "--event-log", "/nowhere/events.jsonl"])

    assert exit_code == 2
    said = capsys.readouterr().err
    assert said.startswith("cannot write /nowhere/events.jsonl: ")


def test_lists_the_catalogue(capsys: pytest.CaptureFixture[str]) -> None:
    """
    ``--faults`` names every fault with its surfaces.
    """
    exit_code = main(["--faults"])

    said = capsys.readouterr().out
    assert exit_code == 0
    for name in CATALOGUE:
        assert re.search(rf"^{name}  \[\w", said, re.MULTILINE)


def test_takes_a_whole_scenario(tmp_path: Path) -> None:
    """
    The script may be a scenario: what is not about the outside is left alone.
    """
    script = tmp_path / "scenario.yaml"
    script.write_text(
        "scenario: s\nworkload: []\nupstream: {script: [{reply: {text: from here}}]}\n"
    )
    with _started("--script", str(script)) as (_, port):
        assert b'"from here"' in _ask(port, _chat_request())


async def test_resets_with_a_real_rst() -> None:
    """
    A reset is an RST of the kernel, before the headers and in the middle.
    """
    script = """
upstream:
  script: [{reply: {text: "one two three"}}]
  faults:
    - {fault: reset_before_headers, attempts: 1}
    - {fault: disconnect, how: reset, attempts: 2}
"""
    trace = {"traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"}
    async with mock_in_test(script) as mock:
        before = await mock.chat(headers=trace, stream=True)
        middle = await mock.chat(headers=trace, stream=True)
        ended = [record["outcome"] for record in mock.of("upstream_request_ended")]

    assert (before.raw, before.ending) == (b"", Ending.RESET)
    assert middle.ending is Ending.RESET
    assert ended == ["reset", "reset"]


async def test_a_cut_delivers_what_was_sent() -> None:
    """
    On a real socket too, everything before a cut arrives.
    """
    script = """
upstream:
  script: [{reply: {text: "one two three"}}]
  faults: [{fault: disconnect, after_events: 3}]
"""
    async with mock_in_test(script) as mock:
        answer = await mock.chat(stream=True)

    assert len(answer.events) == 3
    assert answer.ending is Ending.CLOSED
    assert not answer.is_whole


async def test_notices_a_real_client_leaving() -> None:
    """
    The close of a real connection ends the exchange.
    """
    script = "upstream: {faults: [{fault: black_hole}]}"
    async with mock_in_test(script) as mock:
        left = asyncio.Event()

        def listen(record: object) -> None:
            if "upstream_request_ended" in str(record):
                left.set()

        mock.running.mock.core.events.listen(listen)
        await mock.chat(wait_s=0.05)
        await left.wait()
        [ended] = mock.of("upstream_request_ended")

    assert ended["outcome"] == "abandoned"


async def test_a_taken_port_raises_in_process(
    unused_tcp_port: int,
) -> None:
    """
    In a process of its own or not, a taken port is an :class:`OSError`.
    """
    options = MockOptions(port=unused_tcp_port)
    async with running_mock(options=options):
        with pytest.raises(OSError, match="address already in use"):
            async with running_mock(options=options):
                pytest.fail("two mocks on one port")


def test_serve_says_mistakes_where_it_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    ``serve`` returns the exit code to whoever calls it.
    """
    script = tmp_path / "script.yaml"
    script.write_text("toools: {}\n")

    assert serve(MockOptions(port=0), script_file=script) == 2
    assert "did you mean 'tools'?" in capsys.readouterr().err
