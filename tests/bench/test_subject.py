"""
Processes under the bench's care.
"""

import os
import signal
import socket
import sys
from pathlib import Path

import pytest

from harness.bench.ports import free_port
from harness.bench.subject import Subject, SubjectOptions, has_running_members
from harness.clock import LoopClock
from harness.errors import SubjectError

pytestmark = pytest.mark.sockets

_READY = "print('listening on http://127.0.0.1:1234', flush=True); "


def subject(tmp_path: Path, code: str, *, start_timeout_s: float = 20.0) -> Subject:
    """
    Return a Python program as a subject.
    """
    options = SubjectOptions(
        name="service",
        command=[sys.executable, "-c", code],
        output_file=tmp_path / "service.out",
        start_timeout_s=start_timeout_s,
        stop_grace_s=0.3,
    )
    return Subject(options, clock=LoopClock())


def is_alive(pid: int) -> bool:
    """
    Say whether a process runs; one that only waits to be collected does not.
    """
    try:
        os.kill(pid, 0)
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        # Gone between the two, or a system without this folder.
        return not Path("/proc").is_dir()
    except ProcessLookupError:
        return False
    return state != "Z"


async def test_a_service_without_a_health_path_is_ready_once_it_listens(
    tmp_path: Path,
) -> None:
    """
    Where a profile says ``health: null``, connections are what it is known by.
    """
    port = free_port()
    code = (
        "import socket, time; time.sleep(0.2); listener = socket.socket(); "
        "listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1); "
        f"listener.bind(('127.0.0.1', {port})); listener.listen(); time.sleep(60)"
    )
    program = Subject(
        SubjectOptions(
            name="service",
            command=[sys.executable, "-c", code],
            output_file=tmp_path / "service.out",
            port=port,
            stop_grace_s=0.3,
        ),
        clock=LoopClock(),
    )

    await program.start()

    with socket.create_connection(("127.0.0.1", port), timeout=5):
        pass
    await program.stop()
    assert program.pid is None


async def test_a_subject_is_ready_when_it_says_where_it_listens(tmp_path: Path) -> None:
    """
    The address comes from the first line of the output; stopping ends the process.
    """
    program = subject(tmp_path, _READY + "import time; time.sleep(60)")
    await program.start()
    pid = program.pid
    exit_code = await program.stop()

    assert program.url == "http://127.0.0.1:1234"
    assert pid is not None
    assert not is_alive(pid)
    assert exit_code == -15


async def test_a_subject_that_ends_before_it_is_ready_is_quoted(tmp_path: Path) -> None:
    """
    The error has the exit code and what was printed last.
    """
    program = subject(tmp_path, "print('port 80 is taken'); raise SystemExit(4)")

    with pytest.raises(SubjectError, match="exit code 4") as caught:
        await program.start()

    assert caught.value.last_lines == ("port 80 is taken",)


async def test_a_subject_that_never_gets_ready_is_stopped(tmp_path: Path) -> None:
    """
    After the start timeout nothing is left running.
    """
    program = subject(
        tmp_path,
        "import os, time; print(os.getpid(), flush=True); time.sleep(60)",
        start_timeout_s=1.0,
    )

    with pytest.raises(SubjectError, match="not ready within 1 s") as caught:
        await program.start()

    assert not is_alive(int(caught.value.last_lines[0]))


async def test_a_subject_that_ignores_the_request_to_end_is_killed(
    tmp_path: Path,
) -> None:
    """
    After the grace time the whole process group is killed.
    """
    code = (
        "import signal, subprocess, sys, time; "
        "signal.signal(signal.SIGTERM, signal.SIG_IGN); "
        "child = subprocess.Popen([sys.executable, '-c', 'import signal, time; "
        "signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(60)']); "
        "print(child.pid, flush=True); " + _READY + "time.sleep(60)"
    )
    program = subject(tmp_path, code)
    await program.start()
    child_pid = int(program.last_lines()[0])
    exit_code = await program.stop()

    assert exit_code == -9
    assert not is_alive(child_pid)


async def test_a_group_is_gone_once_none_of_it_runs(tmp_path: Path) -> None:
    """
    A group counts as long as one of its processes runs, the first one or not.
    """
    child = "import time; time.sleep(60)"
    code = (
        "import subprocess, sys, time; "
        f"subprocess.Popen([sys.executable, '-c', {child!r}]); "
        + _READY
        + "time.sleep(60)"
    )
    program = subject(tmp_path, code)
    await program.start()
    group = program.pid
    assert group is not None
    os.kill(group, signal.SIGKILL)
    async with LoopClock().timeout(20):
        while program.pid is not None:
            await LoopClock().sleep(0.01)

    assert has_running_members(group)
    await program.kill()
    assert not has_running_members(group)


async def test_a_command_that_does_not_exist_is_named(tmp_path: Path) -> None:
    """
    A wrong command is an error that quotes it.
    """
    options = SubjectOptions(
        name="service", command=["no-such-command"], output_file=tmp_path / "out"
    )

    with pytest.raises(SubjectError, match="'no-such-command': No such file"):
        await Subject(options, clock=LoopClock()).start()
