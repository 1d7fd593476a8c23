"""
A store from its URL.
"""

from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

from harness.clock import Clock
from harness.errors import UsageError
from harness.ids import IdMint
from harness.randomness import Randomness
from harness.stores.options import StoreOptions
from harness.stores.records import MessageFor, OnEnqueued
from harness.stores.sqlite import SqliteStore

_SQLITE: Final = "sqlite:///"


def parse_store_path(url: str) -> Path:
    """
    Return the file that a ``sqlite:///PATH`` names.

    As elsewhere, three slashes begin a relative path and four an absolute one.

    Raises:
        UsageError: It is another kind of store, or no file.
    """
    scheme = urlsplit(url).scheme
    if scheme in {"redis", "rediss"}:
        message = f"store {scheme}://…: Redis is not supported yet; use sqlite:///PATH"
        raise UsageError(message)
    path = unquote(url.removeprefix(_SQLITE))
    if not url.startswith(_SQLITE) or path.strip("/") in {"", ":memory:"}:
        message = "a store is sqlite:///PATH (relative) or sqlite:////PATH (absolute)"
        raise UsageError(message)
    return Path(path)


def open_store(
    url: str,
    *,
    clock: Clock,
    ids: IdMint,
    randomness: Randomness,
    options: StoreOptions | None = None,
    is_inline: bool = False,
    expiry_message: MessageFor | None = None,
    on_enqueued: OnEnqueued | None = None,
) -> SqliteStore:
    """
    Return the store that a URL names; its ``open`` is still to be awaited.

    Raises:
        UsageError: The URL names no store.
    """
    return SqliteStore(
        parse_store_path(url),
        clock=clock,
        ids=ids,
        randomness=randomness,
        options=options,
        is_inline=is_inline,
        expiry_message=expiry_message,
        on_enqueued=on_enqueued,
    )
