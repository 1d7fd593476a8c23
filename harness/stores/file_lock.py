"""
One writer per store: a lock file beside it, held by the operating system.

The lock is gone when its holder is, also after ``kill -9``; the file stays and means
nothing by itself.
"""

import fcntl
import os
from pathlib import Path
from typing import Self

from harness.errors import StoreLockedError, StoreUnavailableError


class FileLock:
    """
    The right to write to a store, held until :meth:`release`.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor: int | None = descriptor

    @classmethod
    def acquire_nowait(cls, store: Path) -> Self:
        """
        Take the lock of a store.

        Raises:
            StoreLockedError: Another holder has it.
            StoreUnavailableError: The lock file cannot be made.
        """
        file = store.with_name(store.name + ".lock")
        try:
            descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            reason = f"cannot open {file}: {error.strerror}"
            raise StoreUnavailableError(reason=reason) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(descriptor)
            raise StoreLockedError(path=str(store)) from error
        return cls(descriptor)

    def release(self) -> None:
        """
        Let others write; doing it twice is harmless.
        """
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
