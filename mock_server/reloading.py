"""
Takes a script's file again when it changes.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Final, Protocol

from mock_server.clock import Clock
from mock_server.documents import Document, DocumentError, read_document
from mock_server.events import Events
from mock_server.injector import NoSecondListenerError, TooManyFaultsError

POLL_EVERY_S: Final = 0.5
"""How often the file is looked at; it is read once it stays the same so long."""

Stamp = tuple[int, int, int] | None
"""What changes with a file: its time, size and place; None while there is none."""


class Loadable(Protocol):
    """
    What takes another script.
    """

    def load_document(self, document: Document) -> None:
        """
        Take the script of a document.

        Raises:
            DocumentError: It has mistakes; nothing changed.
        """


class ScriptWatch:
    """
    Looks at a script's file, and loads it when it changed.

    A script with mistakes is reported and the old one stays.

    Args:
        file: The script.
        mock: Takes it.
        clock: Says when to look.
        events: Told what came of it.
        say: Told of it in lines for people.
        loaded: The stamp of what is loaded, taken before it was read; by default that
            of this moment.
    """

    def __init__(
        self,
        file: Path,
        mock: Loadable,
        *,
        clock: Clock,
        events: Events,
        say: Callable[[str], None],
        loaded: Stamp = None,
    ) -> None:
        self._file = file
        self._mock = mock
        self._clock = clock
        self._events = events
        self._say = say
        self._loaded = loaded or stamp_of(file)

    @asynccontextmanager
    async def watching(self) -> AsyncIterator[None]:
        """
        Watch while the context lasts.
        """
        failure: Exception | None = None
        async with asyncio.TaskGroup() as tasks:
            watch = tasks.create_task(self._watch(), name="watch script")
            try:
                yield
            except Exception as error:  # noqa: BLE001 - raised again, out of the group
                failure = error
            finally:
                watch.cancel()
        if failure is not None:
            raise failure

    async def _watch(self) -> None:
        before = stamp_of(self._file)
        while True:
            await self._clock.sleep(POLL_EVERY_S)
            stamp = stamp_of(self._file)
            # A file that changes again is still being written.
            if stamp == before and stamp != self._loaded:
                self._loaded = stamp
                self._load()
            before = stamp

    def _load(self) -> None:
        file = str(self._file)
        try:
            self._mock.load_document(read_document(self._file))
        except DocumentError as error:
            mistakes = [asdict(mistake) for mistake in error.mistakes]
            self._refuse(str(error), mistakes=mistakes)
        except (TooManyFaultsError, NoSecondListenerError) as error:
            self._refuse(f"{file}: {str(error) or type(error).__name__}", mistakes=[])
        else:
            self._events.publish("script_reloaded", file=file)
            self._say(f"reloaded {file}")

    def _refuse(self, message: str, *, mistakes: list[dict[str, object]]) -> None:
        self._events.publish(
            "script_refused", file=str(self._file), message=message, mistakes=mistakes
        )
        self._say(f"{message}\nthe script before it stays")


def stamp_of(file: Path) -> Stamp:
    """
    Return what tells whether a file has changed.
    """
    try:
        status = file.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino
