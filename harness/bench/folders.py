"""
Where runs are kept.
"""

import re
from datetime import UTC, datetime
from pathlib import Path

from harness.clock import Clock
from harness.errors import UsageError

_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")


def new_run_dir(parent: Path, scenario: str, *, clock: Clock) -> Path:
    """
    Make and return a folder ``<time>-<scenario>-<n>`` that nobody else has.

    Raises:
        UsageError: It cannot be made there.
    """
    stamp = datetime.fromtimestamp(clock.wall(), UTC).strftime("%Y%m%dT%H%M%SZ")
    name = _UNSAFE.sub("-", scenario)
    number = 1
    while True:
        folder = parent / f"{stamp}-{name}-{number}"
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            number += 1
        except OSError as error:
            message = f"runs cannot be kept in {parent}: {error.strerror}"
            raise UsageError(message) from error
        else:
            return folder
