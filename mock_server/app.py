"""
The mock as a server: in a process, in a test, in a simulated loop.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from mock_server.clock import Clock
from mock_server.events import Record
from mock_server.listeners import Door, Gatekeeper
from mock_server.mock import Mock
from mock_server.options import MockOptions, OptionsError
from mock_server.script import MockScript
from mock_server.tls import load_tls
from mock_server.workers import Team, refusal_of


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningMock:
    """
    A mock that accepts requests.
    """

    mock: Mock
    host: str
    port: int
    """The real one, also when 0 was asked for."""

    control_port: int | None = None
    """That of the second listener, if there is one."""

    scheme: str = "http"

    @property
    def url(self) -> str:
        """
        Where it is, without a path.
        """
        return self._url_of(self.port)

    def _url_of(self, port: int) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{port}"

    @property
    def control_url(self) -> str:
        """
        Where control, tools and webhooks are, whatever becomes of the first listener.
        """
        return self._url_of(self.control_port or self.port)

    @property
    def base_url(self) -> str:
        """
        What an OpenAI client is given.
        """
        return f"{self.url}/v1"


@asynccontextmanager
async def running_mock(
    script: MockScript | None = None,
    options: MockOptions | None = None,
    *,
    clock: Clock | None = None,
    source: Any = None,
    listener: Callable[[Record], None] | None = None,
    workers: int = 1,
    lost: Callable[[], None] = lambda: None,
) -> AsyncIterator[RunningMock]:
    """
    Serve a mock while the context lasts.

    Args:
        script: What the outside does.
        options: Everything else.
        clock: Time; by default that of the running loop.
        source: The script as it was given.
        listener: Told every record, from the very first.
        workers: How many processes share the work, this one included.
        lost: Told that one of them has ended by itself.

    Raises:
        OSError: The port cannot be had.
        OptionsError: So many workers cannot be one mock here.
    """
    options = options or MockOptions()
    refusal = refusal_of(workers, speaks_tls=options.tls_cert is not None)
    if refusal is not None:
        raise OptionsError([refusal])
    mock = Mock(script, options, clock=clock, source=source)
    if listener is not None:
        mock.core.events.listen(listener)
    team = Team(mock, workers, lost=lost)
    tls = load_tls(options.tls_cert, options.tls_key)
    door = Door(
        mock.handle,
        options.host,
        options.port,
        at_once=mock.answer_at_once,
        hand_over=team.hand_over if workers > 1 else None,
        cut_elsewhere=team.cut,
        tls=tls,
    )
    async with mock.running(), team.running(), AsyncExitStack() as stack:
        await stack.enter_async_context(door.serving(mock.stop))
        control_port = None
        if options.control_port is not None:
            aside = Door(mock.handle_aside, options.host, options.control_port, tls=tls)
            await stack.enter_async_context(aside.serving(mock.stop))
            control_port = aside.port
            gatekeeper = Gatekeeper(mock.core, door)
            await stack.enter_async_context(gatekeeper.watching())
        yield RunningMock(
            mock=mock,
            host=options.host,
            port=door.port,
            control_port=control_port,
            scheme="http" if tls is None else "https",
        )


def create_app(
    script: MockScript | None = None,
    options: MockOptions | None = None,
    *,
    clock: Clock | None = None,
) -> web.Application:
    """
    Return every surface as one aiohttp application.

    Whoever runs it passes ``handler_cancellation=True`` to the runner, so that the
    mock notices clients that go away.
    """
    mock = Mock(script, options, clock=clock)
    app = web.Application()

    async def run(app: web.Application) -> AsyncIterator[None]:
        del app
        async with mock.running():
            yield

    async def stop(app: web.Application) -> None:
        del app
        mock.stop()

    app.cleanup_ctx.append(run)
    app.on_shutdown.append(stop)
    app.router.add_route("*", "/{path:.*}", mock.handle, expect_handler=_expect_nothing)
    return app


async def _expect_nothing(request: web.Request) -> None:
    """
    Leave ``Expect: 100-continue`` to whoever reads the body.
    """
    del request
