"""
Commands about what the webhook sender gave up on.

They ask a running service: its store has one owner.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Annotated, Any, Final
from urllib.parse import quote

import typer

from harness.cli.shared import app
from harness.errors import SubjectError, UsageError

_TIMEOUT_S: Final = 30.0
_SHOWN: Final = ("message_id", "type", "endpoint", "reason", "attempts", "last_error")

Letter = dict[str, Any]
Wanted = Mapping[str, str | None]
_Act = Callable[["_Operator", str], Awaitable[bool]]

letters_app = typer.Typer(
    help="What the webhook sender gave up on.", no_args_is_help=True
)
app.add_typer(letters_app, name="dead-letters")

_Service = Annotated[
    str | None,
    typer.Option(help="Where the service is; http://127.0.0.1 and PORT by default."),
]
_Token = Annotated[
    str | None, typer.Option(help="ADMIN_TOKEN by default; needed off loopback.")
]
_Ids = Annotated[
    list[str] | None, typer.Argument(help="Message ids.", metavar="MESSAGE_ID…")
]
_Type = Annotated[str | None, typer.Option("--type", help="Only this event type.")]
_Endpoint = Annotated[str | None, typer.Option(help="Only this endpoint.")]
_Reason = Annotated[str | None, typer.Option(help="Only what died of this.")]
_All = Annotated[bool, typer.Option("--all", help="Every one that the filters leave.")]
_DryRun = Annotated[bool, typer.Option("--dry-run", help="Only say which.")]


@letters_app.command("list")
def list_letters(
    service: _Service = None,
    admin_token: _Token = None,
    event_type: _Type = None,
    endpoint: _Endpoint = None,
    reason: _Reason = None,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Write them here, too.")
    ] = None,
) -> None:
    """
    List the dead letters of a service, oldest first.
    """
    import orjson

    wanted = {"type": event_type, "endpoint": endpoint, "reason": reason}

    async def ask() -> list[Letter]:
        async with _operator(service, admin_token) as operator:
            return _filtered(await operator.letters(), wanted)

    letters = asyncio.run(ask())
    if json_file is not None:
        json_file.write_bytes(orjson.dumps(letters, option=orjson.OPT_INDENT_2) + b"\n")
    for letter in letters:
        typer.echo("  ".join(str(letter[name]) for name in _SHOWN))
    typer.echo(f"dead letters: {len(letters)}")


@letters_app.command()
def redeliver(
    message_ids: _Ids = None,
    service: _Service = None,
    admin_token: _Token = None,
    event_type: _Type = None,
    endpoint: _Endpoint = None,
    reason: _Reason = None,
    rate: Annotated[str, typer.Option(help="No faster than this.")] = "20/s",
    *,
    everything: _All = False,
    dry_run: _DryRun = False,
) -> None:
    """
    Send dead letters again, each under its own id.
    """
    chosen = _Choice(
        ids=tuple(message_ids or ()),
        wanted={"type": event_type, "endpoint": endpoint, "reason": reason},
        everything=everything,
    )
    where = _operator(service, admin_token)
    _act("redelivered", _Operator.redeliver, chosen, where, rate, dry_run=dry_run)


@letters_app.command()
def purge(
    message_ids: _Ids = None,
    service: _Service = None,
    admin_token: _Token = None,
    event_type: _Type = None,
    endpoint: _Endpoint = None,
    reason: _Reason = None,
    *,
    everything: _All = False,
    dry_run: _DryRun = False,
) -> None:
    """
    Forget dead letters for good.
    """
    chosen = _Choice(
        ids=tuple(message_ids or ()),
        wanted={"type": event_type, "endpoint": endpoint, "reason": reason},
        everything=everything,
    )
    where = _operator(service, admin_token)
    _act("purged", _Operator.purge, chosen, where, "1000/s", dry_run=dry_run)


def _act(
    done: str,
    act: _Act,
    choice: "_Choice",
    where: AbstractAsyncContextManager["_Operator"],
    rate: str,
    *,
    dry_run: bool,
) -> None:
    """
    Do something with the letters that were chosen, and say with which.
    """
    from harness.clock import LoopClock
    from harness.units import parse_rate_per_s

    choice.check()
    try:
        pause_s = 1 / parse_rate_per_s(rate)
    except (ValueError, ZeroDivisionError) as error:
        message = f"--rate: {error}"
        raise UsageError(message) from error
    clock = LoopClock()

    async def run() -> int:
        count = 0
        async with where as operator:
            for message_id in choice.of(await operator.letters()):
                if not dry_run:
                    if count:
                        await clock.sleep(pause_s)
                    if not await act(operator, message_id):
                        # Somebody else was quicker.
                        continue
                count += 1
                typer.echo(message_id)
        return count

    count = asyncio.run(run())
    typer.echo(f"{'would be ' if dry_run else ''}{done}: {count}")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Choice:
    """
    Which letters are meant: some by name, or all that the filters leave.
    """

    ids: Sequence[str]
    wanted: Wanted
    everything: bool

    def check(self) -> None:
        """
        Refuse to guess.

        Raises:
            UsageError: Neither names nor all are meant, or both.
        """
        if bool(self.ids) == self.everything:
            message = "name messages, or say --all (with --type, --endpoint, --reason)"
            raise UsageError(message)

    def of(self, letters: list[Letter]) -> list[str]:
        """
        Return the ids of the letters that are meant.

        Raises:
            UsageError: Some names are of no such letter, all of them at once.
        """
        known = [letter["message_id"] for letter in _filtered(letters, self.wanted)]
        if self.everything:
            return known
        if unknown := [each for each in self.ids if each not in known]:
            message = "\n".join(f"{each}: no such dead letter" for each in unknown)
            raise UsageError(message)
        return list(dict.fromkeys(self.ids))


def _filtered(letters: list[Letter], wanted: Wanted) -> list[Letter]:
    return [
        letter
        for letter in letters
        if all(value in {None, letter[name]} for name, value in wanted.items())
    ]


class _Operator:
    """
    Speaks to the service as its operator.
    """

    def __init__(self, session: Any, url: str) -> None:
        self._session = session
        self._url = url

    async def letters(self) -> list[Letter]:
        """
        Return the dead letters, oldest first.
        """
        status, body = await self._ask("GET", "/dead-letters")
        if status != HTTPStatus.OK or not isinstance(body, list):
            message = f"{self._url} answers {status}: it has no dead letters to show"
            raise SubjectError(message)
        return body

    async def redeliver(self, message_id: str) -> bool:
        """
        Send a letter again; False if there is none.
        """
        path = f"/dead-letters/{quote(message_id, safe='')}/redeliver"
        return await self._did("POST", path)

    async def purge(self, message_id: str) -> bool:
        """
        Forget a letter; False if there is none.
        """
        return await self._did("DELETE", f"/dead-letters/{quote(message_id, safe='')}")

    async def _did(self, method: str, path: str) -> bool:
        status, _ = await self._ask(method, path)
        if status == HTTPStatus.NOT_FOUND:
            return False
        if status >= HTTPStatus.BAD_REQUEST:
            message = f"{self._url} answers {status} to {method} {path}"
            raise SubjectError(message)
        return True

    async def _ask(self, method: str, path: str) -> tuple[int, Any]:
        import aiohttp
        import orjson

        try:
            async with self._session.request(method, self._url + path) as response:
                status, text = response.status, await response.read()
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            message = f"no service answers at {self._url} ({type(error).__name__})"
            raise SubjectError(message) from error
        if status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
            message = f"{self._url} answers {status}: --admin-token is missing or wrong"
            raise UsageError(message)
        try:
            return status, orjson.loads(text)
        except orjson.JSONDecodeError:
            return status, None


@asynccontextmanager
async def _operator(
    service: str | None, admin_token: str | None
) -> AsyncIterator[_Operator]:
    import aiohttp

    token = admin_token or os.environ.get("ADMIN_TOKEN")
    url = service or f"http://127.0.0.1:{os.environ.get('PORT') or 8000}"
    async with aiohttp.ClientSession(
        headers={"Authorization": f"Bearer {token}"} if token else {},
        timeout=aiohttp.ClientTimeout(total=_TIMEOUT_S),
        trust_env=False,
    ) as session:
        yield _Operator(session, url.rstrip("/"))
