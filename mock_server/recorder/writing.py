"""
The script's file, while a recording goes on.
"""

import asyncio
import os
from dataclasses import dataclass, field
from pathlib import Path

from mock_server.clock import Clock
from mock_server.recorder.recording import Recording


@dataclass(slots=True)
class ScriptFile:
    """
    The script as it grows; each version replaces the one before at once.
    """

    path: Path
    source: str
    recording: Recording
    _has_changed: asyncio.Event = field(default_factory=asyncio.Event)

    def note_change(self) -> None:
        """
        Say that there is something to write.
        """
        self._has_changed.set()

    def write(self) -> str:
        """
        Write down everything so far, and return it.
        """
        self._has_changed.clear()
        text = self.recording.script_text(source=self.source)
        replace_text(self.path, text)
        return text

    async def keep_written(self, clock: Clock, every_s: float) -> None:
        """
        Write whenever there is something to write, but not more often than that.
        """
        while True:
            await self._has_changed.wait()
            await clock.sleep(every_s)
            self.write()


def replace_text(path: Path, text: str) -> None:
    """
    Put a text into a file at once: a reader sees the old one or the whole text.

    Raises:
        OSError: It cannot be written.
    """
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        draft.write_text(text, encoding="utf-8", newline="\n")
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
