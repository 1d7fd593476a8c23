"""
One effect per idempotency key.

The first request with a key does the work; a repetition gets the first one's answer.
What failed before it had an effect is forgotten, so that it can be tried again.
"""

import hashlib

from harness.errors import IdempotencyConflictError, IdempotencyRunningError
from harness.stores import (
    IdempotencyBegun,
    IdempotencyMismatch,
    IdempotencyRunning,
    IdempotentAnswer,
    Store,
)


class IdempotencyKeys:
    """
    Claims keys in the store.
    """

    def __init__(self, *, store: Store) -> None:
        self._store = store

    async def begin(
        self, key: str, *, body: bytes, shown_key: str
    ) -> IdempotentAnswer | None:
        """
        Claim a key, or return the answer that was given to it.

        Args:
            key: As the store knows it.
            body: Of the request; a key belongs to one body.
            shown_key: As the caller knows it, for errors.

        Raises:
            IdempotencyConflictError: The key was used with another body.
            IdempotencyRunningError: The first request with it is still running.
        """
        body_sha256 = hashlib.sha256(body).hexdigest()
        state = await self._store.begin_idempotent(key, body_sha256=body_sha256)
        match state:
            case IdempotencyBegun():
                return None
            case IdempotencyRunning():
                raise IdempotencyRunningError(key=shown_key)
            case IdempotencyMismatch():
                raise IdempotencyConflictError(key=shown_key)
            case IdempotentAnswer():
                return state

    async def finish(self, key: str, answer: IdempotentAnswer) -> None:
        """
        Remember the answer to a claimed key.
        """
        await self._store.finish_idempotent(key, answer)

    async def release(self, key: str) -> None:
        """
        Give a claimed key back; nothing was done for it.
        """
        await self._store.release_idempotent(key)
