"""
How a client of the model API treats each form of ``Retry-After``.

The mock answers 429 once or several times, each time asking for a wait; when the next
request comes says what the client made of it. The official Python client is measured
in virtual time, where half an hour costs nothing; any other client is a command that
asks for one completion, in real time and with as much patience as there is.
"""

import asyncio
import contextlib
import functools
import os
import shlex
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from harness.clock import Clock, LoopClock
from harness.errors import UsageError
from harness.simulation import run_virtual
from harness.testing.mocks import MockUpstream
from mock_server import MockOptions, RunningMock, running_mock

API_KEY: Final = "sk-retry-table"
AT_ONCE_S: Final = 0.1
"""A request that comes so soon comes at once."""

EARLY_SHARE: Final = 0.05
"""A client's timer may be early by so much of the wait."""

_UNUSABLE: Final = ("past_date", "zero", "negative", "nan", "garbage", "absent")

Ask = Callable[[MockUpstream], Awaitable[None]]


class Treatment(StrEnum):
    """
    What a client makes of a wait that it was asked for.
    """

    KEPT = "kept"
    """It waits as long as asked."""

    CAPPED = "capped"
    """It waits, longer than without being asked, but not as long as asked."""

    IGNORED = "ignored"
    """It waits as long as if nothing had been said."""

    HAMMERED = "hammered"
    """It comes back at once."""

    GAVE_UP = "gave up"
    """It does not come back."""

    WAITS = "still waiting"
    """The patience was over before it came back."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """
    One way to ask for a wait.
    """

    form: str
    """As the mock's faults call it."""

    asked_s: float

    @property
    def is_usable(self) -> bool:
        """
        Whether it says anything that a client can keep.
        """
        return self.form not in _UNUSABLE


FORMS: Final = (
    Form(form="absent", asked_s=0.0),
    *(Form(form="seconds", asked_s=wait) for wait in (2.0, 20.0, 60.0, 61.0, 120.0)),
    Form(form="seconds", asked_s=1800.0),
    Form(form="decimals", asked_s=2.5),
    *(Form(form="milliseconds", asked_s=wait) for wait in (1.5, 20.0, 120.0)),
    Form(form="both", asked_s=20.0),
    Form(form="disagreeing", asked_s=3.0),
    *(Form(form="date", asked_s=wait) for wait in (20.0, 120.0)),
    *(Form(form=form, asked_s=20.0) for form in _UNUSABLE[:-1]),
)
"""The rows of the table; the first says how long the client waits by itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """
    What came of one form.
    """

    form: Form
    treatment: Treatment
    waited_s: float | None
    """From the first request to the second."""

    requests: int


async def measure_form(
    form: Form,
    ask: Ask,
    *,
    clock: Clock,
    options: MockOptions,
    own_s: float | None,
) -> Row:
    """
    Let a client ask once, and see when it comes back.

    Args:
        form: What the first answer asks for.
        ask: Lets the client ask; it may raise what the client raises.
        clock: The time of the mock.
        options: How the mock is set up.
        own_s: How long the client waits by itself, None if that is what is measured.
    """
    async with running_mock(options=options) as running:
        upstream = MockUpstream(running, api_key=API_KEY)
        upstream.script([{"reply": {"text": "It is 22 °C in Paris."}}])
        wait: dict[str, Any] = (
            {} if form.form == "absent" else {"retry_after": f"{form.asked_s:g}s"}
        )
        upstream.fault("rate_limited", retry_after_form=form.form, times=1, **wait)
        came_s = _arrivals(running, clock)
        is_out_of_patience = False
        try:
            await ask(upstream)
        except TimeoutError:
            is_out_of_patience = True
        except Exception:  # noqa: BLE001, S110 - how the client gives up is its affair
            pass
    waited_s = came_s[1] - came_s[0] if len(came_s) > 1 else None
    if not came_s:
        message = "the client sent no request to OPENAI_BASE_URL"
        raise UsageError(message)
    return Row(
        form=form,
        treatment=judge(
            form, waited_s, own_s=own_s, is_out_of_patience=is_out_of_patience
        ),
        waited_s=waited_s,
        requests=len(came_s),
    )


def judge(
    form: Form,
    waited_s: float | None,
    *,
    own_s: float | None,
    is_out_of_patience: bool = False,
) -> Treatment:
    """
    Say what a client made of a wait.
    """
    if waited_s is None:
        return Treatment.WAITS if is_out_of_patience else Treatment.GAVE_UP
    if waited_s < AT_ONCE_S:
        return Treatment.HAMMERED
    if not form.is_usable:
        return Treatment.IGNORED
    if waited_s >= form.asked_s * (1 - EARLY_SHARE):
        return Treatment.KEPT
    # Its own wait is random: twice the one that was seen is still its own.
    if own_s is not None and waited_s > 2 * max(own_s, 1.0):
        return Treatment.CAPPED
    return Treatment.IGNORED


def measure_openai() -> tuple[Row, ...]:
    """
    Measure the official Python client, in virtual time.
    """
    rows: list[Row] = []
    for number, form in enumerate(FORMS):
        measure = functools.partial(
            measure_form,
            form,
            _ask_openai,
            clock=LoopClock(),
            options=MockOptions(port=0, seed=number),
            own_s=rows[0].waited_s if rows else None,
        )
        rows.append(run_virtual(measure, seed=number))
    return tuple(rows)


async def measure_command(
    command: str, *, patience_s: float, forms: Sequence[Form] = FORMS
) -> tuple[Row, ...]:
    """
    Measure a client that is a command, in real time.

    Args:
        command: Asks for one completion at ``OPENAI_BASE_URL`` with
            ``OPENAI_API_KEY``.
        patience_s: How long it is waited for, for each form.
        forms: The rows; the first says how long the client waits by itself.
    """
    clock = LoopClock()

    async def ask(upstream: MockUpstream) -> None:
        process = await asyncio.create_subprocess_exec(
            *shlex.split(command),
            stdout=asyncio.subprocess.DEVNULL,
            env={
                **os.environ,
                "OPENAI_BASE_URL": upstream.base_url,
                "OPENAI_API_KEY": API_KEY,
            },
        )
        try:
            async with clock.timeout(patience_s):
                await process.wait()
        finally:
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
                await process.wait()

    rows: list[Row] = []
    for form in forms:
        own_s = rows[0].waited_s if rows else None
        options = MockOptions(port=0, seed=1)
        rows.append(
            await measure_form(form, ask, clock=clock, options=options, own_s=own_s)
        )
    return tuple(rows)


def as_markdown(rows: Sequence[Row]) -> str:
    """
    Return the table.
    """
    lines = ["| form | asked | treatment | waited |", "| --- | ---: | --- | ---: |"]
    for row in rows:
        form = row.form
        asked = f"{form.asked_s:g} s" if form.is_usable else "nothing usable"
        if row.waited_s is None:
            waited = "no retry"
        elif row.treatment is Treatment.KEPT:
            waited = "as asked"
        else:
            waited = f"{row.waited_s:.1f} s"
        lines.append(f"| {form.form} | {asked} | {row.treatment} | {waited} |")
    return "\n".join(lines)


def _arrivals(running: RunningMock, clock: Clock) -> list[float]:
    """
    Return a list that grows with the times of the requests.
    """
    came_s: list[float] = []

    def note(record: Any) -> None:
        if record["kind"] == "upstream_request_received":
            came_s.append(clock.monotonic())

    running.mock.core.events.listen(note)
    return came_s


async def _ask_openai(upstream: MockUpstream) -> None:
    import openai  # noqa: PLC0415 - an extra that only this needs

    async with openai.AsyncOpenAI(
        base_url=upstream.base_url, api_key=upstream.api_key, timeout=30.0
    ) as client:
        await client.chat.completions.create(
            model="gpt-4o", messages=[{"role": "user", "content": "weather?"}]
        )
