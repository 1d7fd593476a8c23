"""
``harness serve``: the service as a process of its own.
"""

import asyncio
import contextlib
import logging
import signal
import sys
from pathlib import Path

from harness.bus import EventBus
from harness.clock import LoopClock
from harness.errors import StoreError, SubjectError, UsageError
from harness.ids import IdMint
from harness.randomness import Randomness
from harness.service.running import running_service
from harness.settings import ServiceSettings
from harness.telemetry import EventLog, Redactor, configure_logging

PASSED, MISTAKE, INVALID, INTERRUPTED = 0, 2, 4, 130

_LOG = logging.getLogger(__name__)


def check_workers(workers: int, *, store_url: str) -> None:
    """
    Refuse more processes than the store serves.

    Raises:
        UsageError: Several workers on a store that only one process may write to.
    """
    if workers > 1 and not store_url.startswith(("redis://", "rediss://")):
        message = f"{workers} workers need a store that they can share, like redis://…; {store_url} serves one"
        raise UsageError(message)


def serve(
    settings: ServiceSettings,
    *,
    event_log_file: Path | None = None,
    seed: int | None = None,
) -> int:
    """
    Run the service until SIGINT or SIGTERM; return the exit code of the process.

    Args:
        settings: What it is told.
        event_log_file: Where every event is written to, if anywhere.
        seed: For jitter and ids; None takes both from the operating system.
    """
    redactor = Redactor(settings.secret_texts())
    configure_logging(redactor=redactor)
    for doubt in settings.doubts():
        _LOG.warning("%s", doubt)
    try:
        return asyncio.run(_serve(settings, event_log_file, seed))
    except UsageError as error:
        return _say(redactor.text(str(error)), MISTAKE)
    except (SubjectError, StoreError) as error:
        return _say(redactor.text(str(error)), INVALID)
    except (KeyboardInterrupt, asyncio.CancelledError):
        return INTERRUPTED
    except Exception:  # noqa: BLE001 - the traceback is for the log only
        _LOG.exception("the service ended by a mistake of its own")
        return _say("the service ended by a mistake of its own", INVALID)


async def _serve(
    settings: ServiceSettings, event_log_file: Path | None, seed: int | None
) -> int:
    clock = LoopClock(loop=asyncio.get_running_loop())
    bus = EventBus(clock=clock)
    randomness = Randomness(seed)
    code, stopping = _handle_signals()
    with contextlib.ExitStack() as stack:
        log = None
        if event_log_file is not None:
            log = stack.enter_context(EventLog(event_log_file, bus=bus))
        async with running_service(
            settings,
            clock=clock,
            randomness=randomness,
            ids=IdMint() if seed is None else seeded_ids(settings, randomness),
            bus=bus,
        ) as service:
            print(f"listening on {service.url}", flush=True)  # noqa: T201 - the contract of servers
            await stopping.wait()
        if log is not None and log.lost_events:
            return _say(f"{log.lost_events} events could not be written", INVALID)
    return code[-1]


def _handle_signals() -> tuple[list[int], asyncio.Event]:
    """
    Let the first signal stop in order and the second one at once.
    """
    loop = asyncio.get_running_loop()
    main = asyncio.current_task()
    stopping = asyncio.Event()
    codes = [PASSED]

    def stop(code: int) -> None:
        if stopping.is_set() and main is not None:
            main.cancel()
        codes.append(code)
        stopping.set()

    loop.add_signal_handler(signal.SIGTERM, stop, PASSED)
    loop.add_signal_handler(signal.SIGINT, stop, INTERRUPTED)
    return codes, stopping


def seeded_ids(settings: ServiceSettings, randomness: Randomness) -> IdMint:
    """
    Return ids from the seed that no earlier life of the service has used.

    A store outlives its process: after a restart the same ids once more would be
    taken for the same messages.
    """
    file = Path(settings.data_dir) / "starts"
    file.parent.mkdir(parents=True, exist_ok=True)
    starts = len(file.read_bytes()) if file.exists() else 0
    with file.open("ab") as marks:
        marks.write(b".")
    return IdMint(randomness.stream(f"ids/{starts}"))


def _say(text: str, code: int) -> int:
    sys.stderr.write(f"{text}\n")
    return code
