"""
Several processes behave as one mock.

Connections are handed out in turn, so that of two that are opened one after the other
one is served by the process that was started and one by its worker.
"""

import asyncio
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import aiohttp
import psutil
import pytest
from ruamel.yaml import YAML

from mock_server import MockOptions, running_mock, serve

pytestmark = [pytest.mark.sockets, pytest.mark.timeout(120)]

SCRIPT = """
upstream:
  script:
    - match: {last_message: {role: user, contains: paced}}
      reply: {text: "one two three four five six seven"}
      latency: {time_to_first_token: 4ms, inter_token: 1ms}
    - match: {last_message: {role: user, contains: sequence}}
      reply: {sequence: [{text: first}, {text: second}, {text: third}]}
    - match: {last_message: {role: user, contains: hang}}
      reply: {text: never}
      faults: [{fault: black_hole}]
    - match: {last_message: {role: user, contains: shaky}}
      reply: {text: "it went well"}
      faults:
        - {fault: status, status: 503, injection_rate: 0.3}
        - {fault: disconnect, after_events: 2, injection_rate: 0.3}
    - reply: {text: "hello {{ message }}, for the {{ attempt }}. time"}
  quotas: {requests: 100000/min}
tools:
  get_weather: {result: {temperature: 22}}
"""


class Served:
    """
    A mock with some workers.
    """

    def __init__(self, process: "subprocess.Popen[str]", port: int) -> None:
        self.process = process
        self.port = port

    @property
    def url(self) -> str:
        """
        Where it is.
        """
        return f"http://127.0.0.1:{self.port}"

    def raw(self, request: bytes) -> bytes:
        """
        Send bytes on a connection of their own and return all that comes back.
        """
        with socket.create_connection(("127.0.0.1", self.port), 10) as connection:
            connection.sendall(request)
            answer = b""
            try:
                while piece := connection.recv(65536):
                    answer += piece
            except ConnectionResetError:
                answer += b"[reset]"
            return answer

    def raw_pieces(self, pieces: Sequence[bytes], *, is_hasty: bool) -> bytes:
        """
        Send bytes in pieces on one connection and return all that comes back.

        Args:
            pieces: Each is read by itself.
            is_hasty: Only the first answer is waited for, and the rest sent at once.
        """
        answer = b""
        with socket.create_connection(("127.0.0.1", self.port), 10) as connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for number, piece in enumerate(pieces[:-1]):
                connection.sendall(piece)
                is_whole = piece.startswith(b"POST") and b"\r\n\r\n" in piece
                if is_whole and not (is_hasty and number):
                    answer += connection.recv(65536)
            connection.sendall(pieces[-1])
            while piece := connection.recv(65536):
                answer += piece
        return answer

    def ask(
        self, method: str, path: str, value: Any = None, *, key: str = "sk-one"
    ) -> tuple[int, bytes]:
        """
        Send a request on a connection of its own.
        """
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            body = None if value is None else json.dumps(value)
            headers = {"authorization": f"Bearer {key}"}
            connection.request(method, path, body, headers)
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()

    def journal(self) -> list[dict[str, Any]]:
        """
        Return all entries.
        """
        _, body = self.ask("GET", "/_mock/journal?limit=1000")
        entries: list[dict[str, Any]] = json.loads(body)["entries"]
        return entries


@contextmanager
def serving(script: Path, workers: int, *flags: str) -> Iterator[Served]:
    """
    Serve a script while the context lasts.
    """
    command = [sys.executable, "-m", "mock_server", "--port", "0", "--seed", "7"]
    command += ["--script", str(script), "--workers", str(workers), *flags]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)  # noqa: S603 - our own program
    try:
        assert process.stdout is not None
        first = process.stdout.readline()
        found = re.fullmatch(r"listening on http://127\.0\.0\.1:(\d+)\n", first)
        assert found is not None, first
        yield Served(process, int(found[1]))
    finally:
        process.terminate()
        process.communicate(timeout=20)


@pytest.fixture(scope="module")
def script(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """
    The script of this module, as a file.
    """
    file = tmp_path_factory.mktemp("workers") / "script.yaml"
    file.write_text(SCRIPT)
    return file


@pytest.fixture(scope="module")
def _one(script: Path) -> Iterator[Served]:
    with serving(script, 1) as served:
        yield served


@pytest.fixture(scope="module")
def _two(script: Path) -> Iterator[Served]:
    with serving(script, 2) as served:
        yield served


@pytest.fixture
def one(_one: Served) -> Served:
    """
    A mock of one process that remembers nothing.
    """
    _one.ask("POST", "/_mock/reset")
    return _one


@pytest.fixture
def two(_two: Served) -> Served:
    """
    A mock of two processes that remembers nothing.
    """
    _two.ask("POST", "/_mock/reset")
    return _two


def chat(text: str, *, stream: bool = False) -> dict[str, Any]:
    """
    Return a request.
    """
    messages = [{"role": "user", "content": text}]
    return {"model": "gpt-4o", "messages": messages, "stream": stream}


def steady(answer: bytes) -> bytes:
    """
    Return an answer without what tells the time, or how many came before.
    """
    answer = re.sub(rb'"created":\d+', b'"created":0', answer)
    answer = re.sub(
        rb"(?i)(openai-processing-ms|date|x-request-id): [^\r]*", rb"\1", answer
    )
    return re.sub(rb"x-ratelimit-[a-z-]+: [^\r]*", b"x-ratelimit", answer)


TOLD = (
    "number",
    "surface",
    "world",
    "method",
    "path",
    "request_headers",
    "request_body",
    "conversation",
    "turn",
    "attempt_number",
    "ambiguous",
    "facts",
    "status",
    "outcome",
    "faults",
    "planned_us",
    "answer_bytes",
)


def told(served: Served) -> list[dict[str, Any]]:
    """
    Return what the journal tells, but for what depends on time and on the port.
    """
    entries = [{name: e[name] for name in TOLD} for e in served.journal()]
    first = entries[0]["number"]
    for entry in entries:
        entry["number"] -= first
        del entry["request_headers"]["host"]
    return entries


def test_two_answer_as_one_does(one: Served, two: Served) -> None:
    """
    Whatever connection a request takes, replies, faults and journal are the same.
    """
    texts = ["hello", "sequence", "paced", "shaky", "sequence", "hello", "shaky"] * 3
    answers: list[list[tuple[int, bytes]]] = []
    for served in (one, two):
        got = []
        for number, text in enumerate(texts):
            for stream in (False, True):
                try:
                    status, body = served.ask(
                        "POST",
                        "/v1/chat/completions",
                        chat(text, stream=stream),
                        key=f"sk-{number % 2}",
                    )
                except http.client.IncompleteRead as error:
                    status, body = 0, error.partial
                got.append((status, steady(body)))
        answers.append(got)

    assert answers[0] == answers[1]
    assert {status for status, _ in answers[0]} == {0, 200, 503}
    assert told(one) == told(two)


async def _converse(served: Served) -> dict[int, list[tuple[int, bytes]]]:
    found: dict[int, list[tuple[int, bytes]]] = {}

    async def ask(number: int) -> None:
        connector = aiohttp.TCPConnector(force_close=True)
        headers = {"authorization": f"Bearer sk-{number % 3}"}
        async with aiohttp.ClientSession(
            headers=headers, connector=connector
        ) as session:
            got = found[number] = []
            for turn in range(6):
                text = "shaky" if turn % 2 else "sequence"
                body = chat(f"{text} [#c{number}]", stream=turn % 3 == 0)
                url = f"{served.url}/v1/chat/completions"
                async with session.post(url, json=body) as response:
                    data = b""
                    try:
                        async for piece in response.content.iter_any():
                            data += piece
                    except aiohttp.ClientPayloadError:
                        data += b"[cut]"
                    got.append((response.status, steady(data)))

    async with asyncio.TaskGroup() as group:
        for number in range(24):
            group.create_task(ask(number))
    return found


async def test_each_conversation_has_its_own_in_a_crowd(
    one: Served, two: Served
) -> None:
    """
    Conversations that run at once over both processes do not disturb each other.
    """
    assert await _converse(one) == await _converse(two)


def test_an_answer_has_ended_before_the_next_request(
    two: Served,
) -> None:
    """
    What a client does once it has its answer comes after the answer's end.
    """
    with socket.create_connection(("127.0.0.1", two.port), 10) as events:
        events.sendall(b"GET /_mock/events HTTP/1.1\r\nhost: localhost\r\n\r\n")
        assert b": subscribed" in _until(events, b": subscribed\n\n")
        for number in range(30):
            status, _ = two.ask(
                "POST", "/v1/chat/completions", chat(f"paced {number}", stream=True)
            )
            assert status == 200
        two.ask("POST", "/tools/get_weather", {})
        text = _until(events, b'"kind":"tool_executed"')

    kinds = re.findall(rb'"kind":"(upstream_[a-z_]+)"', text)
    assert kinds == [b"upstream_request_received", b"upstream_request_ended"] * 30


def _until(connection: socket.socket, wanted: bytes) -> bytes:
    text = b""
    while wanted not in text:
        piece = connection.recv(65536)
        assert piece, text
        text += piece
    return text


def posted(text: str, *headers: str, stream: bool = False) -> bytes:
    """
    Return a chat as bytes.
    """
    body = json.dumps(chat(text, stream=stream)).encode()
    lines = ["POST /v1/chat/completions HTTP/1.1", "host: localhost"]
    lines += ["authorization: Bearer sk-one", *headers, f"content-length: {len(body)}"]
    return "\r\n".join([*lines, "", ""]).encode() + body


LAST = "connection: close"


@pytest.mark.parametrize(
    "pieces",
    [
        (posted("hello"), posted("hello", LAST)),
        (posted("hello"), posted("paced", LAST, stream=True)),
        (posted("paced", stream=True), posted("paced", stream=True), posted("x", LAST)),
        (posted("hello") + posted("sequence", LAST),),
        (posted("hello"), posted("paced"), posted("sequence"), posted("hello", LAST)),
        (posted("paced"), posted("hello")[:40], posted("hello", LAST)[40:]),
        (posted("hello")[:80], posted("hello")[80:], posted("hello", LAST)),
        (posted("x" * 50_000), posted("hello", LAST)),
        (posted("hello", "expect: 100-continue"), posted("hello", LAST)),
        (b"GET /v1/models HTTP/1.0\r\n\r\n",),
        (posted("hello"), b"GET /_mock/time HTTP/1.1\r\nconnection: close\r\n\r\n"),
        (posted("hello"), b"no request at all\r\n\r\n"),
        (posted("hello"), posted("hello", "bad header")),
        (posted("hello"), posted("hello", "content-length: 1")),
        (posted("hello"), b"GET / HTTP/1.1\r\ncontent-length : 9\r\n\r\n"),
    ],
)
@pytest.mark.parametrize("is_hasty", [False, True], ids=["in turn", "at once"])
def test_a_connection_is_served_the_same_by_either(
    one: Served, two: Served, pieces: tuple[bytes, ...], *, is_hasty: bool
) -> None:
    """
    However its bytes come in, the same bytes go out, whichever process holds it.
    """
    wanted = steady(one.raw_pieces(pieces, is_hasty=is_hasty))
    two.ask("POST", "/_mock/reset")
    first = steady(two.raw_pieces(pieces, is_hasty=is_hasty))
    two.ask("POST", "/_mock/reset")
    # One connection is asked for the reset, so that this is the other process's.
    two.raw(b"GET /_mock/time HTTP/1.1\r\nconnection: close\r\n\r\n")
    second = steady(two.raw_pieces(pieces, is_hasty=is_hasty))

    assert wanted.startswith(b"HTTP/1.")
    assert [first, second] == [wanted, wanted]


def test_there_is_one_journal_and_one_count(two: Served) -> None:
    """
    The journal has no gap, and the metrics count what came to both.
    """
    before = _requests_counted(two)
    for number in range(10):
        two.ask("POST", "/v1/chat/completions", chat(f"hello {number}"))

    entries = two.journal()
    numbers = [entry["number"] for entry in entries]
    assert numbers == list(range(numbers[0], numbers[0] + 10))
    assert [entry["outcome"] for entry in entries] == ["complete"] * 10
    assert _requests_counted(two) == before + 10


def _requests_counted(served: Served) -> float:
    _, body = served.ask("GET", "/_mock/metrics")
    counted = re.findall(
        r'mock_requests_total\{[^}]*surface="chat_completions"[^}]*\} (\S+)',
        body.decode(),
    )
    return sum(map(float, counted))


def test_a_quota_is_one_for_both(two: Served, script: Path) -> None:
    """
    Three requests a minute are three, not three for each process.
    """
    text = script.read_text().replace("100000/min", "3/min")
    try:
        two.ask("PUT", "/_mock/script", _yaml(text))
        statuses = [
            two.ask("POST", "/v1/chat/completions", chat("hello"))[0] for _ in range(6)
        ]
    finally:
        two.ask("PUT", "/_mock/script", _yaml(script.read_text()))

    assert statuses == [200] * 3 + [429] * 3


def _yaml(text: str) -> Any:
    return YAML(typ="safe").load(text)


BYTES = [
    {"fault": "status", "status": 429},
    {"fault": "rate_limited"},
    {"fault": "close_before_headers"},
    {"fault": "reset_before_headers"},
    {"fault": "reset_in_body"},
    {"fault": "cut_at_byte", "byte": 300},
    {"fault": "missing_done"},
    {"fault": "truncate"},
    {"fault": "empty_body"},
    {"fault": "error_event"},
    {"fault": "html_page"},
]


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])
@pytest.mark.parametrize("fault", BYTES, ids=lambda fault: str(fault["fault"]))
def test_a_worker_sends_the_same_bytes(
    one: Served,
    two: Served,
    fault: dict[str, Any],
    stream: bool,  # noqa: FBT001 - a case
) -> None:
    """
    A fault is the same on the wire, whichever process writes it.
    """
    body = json.dumps(chat("hello", stream=stream)).encode()
    request = (
        b"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\n"
        b"connection: close\r\nauthorization: Bearer sk-bytes\r\n"
        b"content-length: %d\r\n\r\n%b" % (len(body), body)
    )
    found: list[list[bytes]] = []
    for served in (one, two):
        status, _ = served.ask("POST", "/_mock/faults", {"target": "upstream", **fault})
        assert status == 201
        # Two after each other, so that both processes have their turn.
        found.append([steady(served.raw(request)) for _ in range(2)])
        served.ask("DELETE", "/_mock/faults")

    assert found[0] == found[1]


def test_requests_on_one_connection_are_answered_in_their_order(two: Served) -> None:
    """
    Several requests that are sent before the first answer get theirs in turn.
    """
    bodies = [json.dumps(chat(text)).encode() for text in ("a", "paced", "b", "c")]
    request = b"".join(
        b"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\n"
        b"authorization: Bearer k\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)
        for body in bodies
    )
    end = b"GET /_mock/health HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n"

    for _ in range(2):
        answer = two.raw(request + end)

        texts = re.findall(rb'"content":"([^"]*?)[",]', answer)
        assert [text.split()[0] for text in texts] == [b"hello", b"one"] + [
            b"hello"
        ] * 2
        assert answer.endswith(b"}")


CHAT_START = b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nconnection: close\r\n"


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"\x00\x01\x02\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: x\r\n\r\n",
        CHAT_START + b"content-length: 3\r\n\r\n{x}",
        CHAT_START + b"transfer-encoding: chunked\r\n\r\nzz\r\n",
        b"GET /v1/m\xf6dels?a=%ff HTTP/1.1\r\nhost: x\r\nx: \xff\r\nconnection: close\r\n\r\n",
        b"HEAD /v1/models HTTP/1.0\r\n\r\n",
    ],
)
def test_garbage_gets_the_same_answer(
    one: Served, two: Served, request_bytes: bytes
) -> None:
    """
    Bytes that are no request are refused alike, and no process fails.
    """
    expected = steady(one.raw(request_bytes))

    got = [steady(two.raw(request_bytes)) for _ in range(2)]

    assert got == [expected, expected]
    assert not expected.startswith(b"HTTP/1.1 5")


def test_a_client_that_leaves_is_noticed(two: Served) -> None:
    """
    A request that hangs ends when its client goes away, in either process.
    """
    body = json.dumps(chat("hang")).encode()
    request = (
        b"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\n"
        b"authorization: Bearer k\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)
    )
    for _ in range(2):
        with socket.create_connection(("127.0.0.1", two.port), 10) as connection:
            connection.sendall(request)
            while not two.journal() or two.journal()[-1]["outcome"]:
                continue
        while two.journal()[-1]["outcome"] is None:
            continue
        assert two.journal()[-1]["outcome"] == "abandoned"


def test_a_fault_cuts_the_connections_of_both(script: Path) -> None:
    """
    While the listener is closed nobody is connected, wherever they were.
    """
    text = "upstream: {script: [{reply: {text: hello}}]}"
    script = script.with_name("refuse.yaml")
    script.write_text(text)
    with serving(script, 2, "--control-port", "0") as served:
        assert served.process.stdout is not None
        line = served.process.stdout.readline()
        control = Served(served.process, int(line.rsplit(":", 1)[1]))
        connections = [
            socket.create_connection(("127.0.0.1", served.port), 10) for _ in range(4)
        ]
        control.ask("POST", "/_mock/faults", {"target": "upstream", "fault": "refuse"})

        for connection in connections:
            with connection:
                try:
                    assert connection.recv(1) == b""
                except ConnectionResetError:
                    continue
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", served.port), 10)


def test_a_mock_that_lost_a_worker_ends(script: Path) -> None:
    """
    Without one of its processes the mock is not whole: it says so and ends.
    """
    command = [sys.executable, "-m", "mock_server", "--port", "0", "--workers", "2"]
    process = subprocess.Popen(  # noqa: S603 - our own program
        [*command, "--script", str(script)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    process.stdout.readline()
    (worker,) = psutil.Process(process.pid).children()
    worker.kill()

    _, errors = process.communicate(timeout=20)

    assert process.returncode == 4
    assert errors == "a worker ended by itself: the mock is not whole\n"


def test_a_worker_ends_with_its_mock(script: Path) -> None:
    """
    A mock that is killed leaves no process behind.
    """
    with serving(script, 2) as served:
        (worker,) = psutil.Process(served.process.pid).children()
        os.kill(served.process.pid, signal.SIGKILL)

        worker.wait(20)

    assert not worker.is_running()


@pytest.mark.parametrize("workers", [0, -1, 65])
def test_refuses_a_number_of_workers_that_makes_no_sense(
    workers: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    What cannot be one mock is refused at the start, with the reason.
    """
    assert serve(MockOptions(port=0), workers=workers) == 2
    assert f"--workers {workers} is not between 1 and 64" in capsys.readouterr().err


async def test_a_mock_in_this_process_may_have_workers() -> None:
    """
    A mock that is built by hand shares its work in the same way.
    """
    async with (
        running_mock(options=MockOptions(port=0), workers=2) as running,
        aiohttp.ClientSession() as session,
    ):
        for _ in range(2):
            async with session.get(
                f"{running.url}/v1/models",
                headers={"authorization": "Bearer k", "connection": "close"},
            ) as response:
                assert response.status == 200


def test_a_worker_that_cannot_start_is_told(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """
    A mock that cannot have all its processes does not begin with fewer.
    """
    monkeypatch.setattr(sys, "executable", "/bin/false")

    assert serve(MockOptions(port=0), workers=2) == 4
    assert "a worker could not be started" in capfd.readouterr().err
