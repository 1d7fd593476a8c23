"""
The tables of the SQLite store, and how a file is opened.

Every table is STRICT. Times are integer microseconds of Unix time, so that what was
written as due is due exactly then. The partial indexes hold only what is still to be
done: a claim or a sweep never walks over finished rows.
"""

from enum import StrEnum
from pathlib import Path
from typing import Final

import apsw

from harness.errors import StoreDamagedError, StoreUnavailableError

SCHEMA_VERSION: Final = 1
"""Kept in ``user_version``; a file with a higher one is refused."""

APPLICATION_ID: Final = 0x54434831
"""``TCH1``, kept in ``application_id``, so that other databases are refused."""

STATEMENT_CACHE_MAX: Final = 200

SCHEMA: Final = """
CREATE TABLE messages (
    message_id    TEXT PRIMARY KEY,
    event_type    TEXT NOT NULL,
    body          BLOB NOT NULL,
    dedupe_key    TEXT NOT NULL UNIQUE,
    tool_call_id  TEXT,
    callback_id   TEXT,
    trace_id      TEXT,
    created_us    INTEGER NOT NULL
) STRICT;

CREATE TABLE deliveries (
    delivery_id     TEXT PRIMARY KEY,
    message_id      TEXT NOT NULL REFERENCES messages ON DELETE CASCADE,
    endpoint        TEXT NOT NULL,
    state           TEXT NOT NULL
                    CHECK (state IN ('waiting', 'sending', 'delivered', 'dead')),
    due_us          INTEGER NOT NULL,
    attempts        INTEGER NOT NULL DEFAULT 0,
    fence           INTEGER NOT NULL DEFAULT 0,
    crashes         INTEGER NOT NULL DEFAULT 0,
    owner           TEXT,
    claimed_us      INTEGER,
    lease_until_us  INTEGER,
    reason          TEXT,
    last_error      TEXT,
    ended_us        INTEGER
) STRICT;
CREATE INDEX deliveries_of_message ON deliveries (message_id);
CREATE INDEX deliveries_waiting ON deliveries (endpoint, due_us)
    WHERE state = 'waiting';
CREATE INDEX deliveries_sending ON deliveries (lease_until_us)
    WHERE state = 'sending';
CREATE INDEX deliveries_delivered ON deliveries (ended_us)
    WHERE state = 'delivered';
CREATE INDEX deliveries_dead ON deliveries (ended_us)
    WHERE state = 'dead';

CREATE TABLE attempts (
    delivery_id     TEXT NOT NULL REFERENCES deliveries ON DELETE CASCADE,
    fence           INTEGER NOT NULL,
    attempt_number  INTEGER NOT NULL,
    started_us      INTEGER NOT NULL,
    duration_us     INTEGER NOT NULL,
    outcome         TEXT NOT NULL,
    reason          TEXT NOT NULL,
    status          INTEGER,
    PRIMARY KEY (delivery_id, fence)
) STRICT, WITHOUT ROWID;

CREATE TABLE inbox (
    message_id    TEXT PRIMARY KEY,
    event_type    TEXT NOT NULL,
    body_sha256   TEXT NOT NULL,
    state         TEXT NOT NULL CHECK (state IN ('applied', 'late', 'unknown')),
    tool_call_id  TEXT,
    call_state    TEXT,
    result_json   TEXT,
    outgoing      TEXT,
    received_us   INTEGER NOT NULL
) STRICT;
CREATE INDEX inbox_unknown ON inbox (tool_call_id, received_us)
    WHERE state = 'unknown';
CREATE INDEX inbox_age ON inbox (received_us);

CREATE TABLE calls (
    tool_call_id    TEXT PRIMARY KEY,
    chat_id         TEXT NOT NULL,
    tool            TEXT NOT NULL,
    arguments_json  TEXT NOT NULL,
    state           TEXT NOT NULL
                    CHECK (state IN ('pending', 'completed', 'failed', 'expired')),
    deadline_us     INTEGER,
    result_json     TEXT,
    late_json       TEXT,
    trace_id        TEXT,
    created_us      INTEGER NOT NULL,
    keep_until_us   INTEGER
) STRICT;
CREATE INDEX calls_pending ON calls (deadline_us) WHERE state = 'pending';
CREATE INDEX calls_kept ON calls (keep_until_us) WHERE keep_until_us IS NOT NULL;
CREATE INDEX calls_age ON calls (created_us) WHERE state <> 'pending';

CREATE TABLE callbacks (
    callback_id    TEXT PRIMARY KEY,
    request_json   TEXT NOT NULL,
    state          TEXT NOT NULL CHECK (state IN
                   ('pending', 'completed', 'failed', 'cancelled', 'expired')),
    expires_us     INTEGER NOT NULL,
    result_json    TEXT,
    error_json     TEXT,
    progress_json  TEXT,
    trace_id       TEXT,
    keep_until_us  INTEGER
) STRICT;
CREATE INDEX callbacks_pending ON callbacks (expires_us) WHERE state = 'pending';
CREATE INDEX callbacks_kept ON callbacks (keep_until_us)
    WHERE keep_until_us IS NOT NULL;
CREATE INDEX callbacks_age ON callbacks (expires_us) WHERE state <> 'pending';

CREATE TABLE sessions (
    session_id         TEXT PRIMARY KEY,
    conversation_json  TEXT NOT NULL,
    saved_us           INTEGER NOT NULL
) STRICT;
CREATE INDEX sessions_age ON sessions (saved_us);

CREATE TABLE idempotency_keys (
    key           TEXT PRIMARY KEY,
    body_sha256   TEXT NOT NULL,
    status        INTEGER,
    body          BLOB,
    content_type  TEXT,
    begun_us      INTEGER NOT NULL
) STRICT;
CREATE INDEX idempotency_keys_running ON idempotency_keys (key) WHERE status IS NULL;
CREATE INDEX idempotency_keys_age ON idempotency_keys (begun_us);
"""


class Durability(StrEnum):
    """
    What a commit survives.
    """

    POWER_LOSS = "power_loss"
    """Each commit is on the disk before anyone is told. The default."""

    PROCESS = "process"
    """Each commit survives ``kill -9``; power loss may take the last ones."""

    SIMULATED = "simulated"
    """For stores in simulation, whose machine never fails: nothing is ever synced."""


_SYNCHRONOUS: Final = {
    Durability.POWER_LOSS: "FULL",
    Durability.PROCESS: "NORMAL",
    Durability.SIMULATED: "OFF",
}


def connect(
    path: Path, *, durability: Durability, busy_timeout_s: float
) -> apsw.Connection:
    """
    Open a store file, make it if it is not there, and check that it is whole.

    Raises:
        StoreDamagedError: It is damaged, or no store of ours.
        StoreUnavailableError: It cannot be opened or written.
    """
    try:
        connection = apsw.Connection(str(path), statementcachesize=STATEMENT_CACHE_MAX)
    except apsw.Error as error:
        raise StoreUnavailableError(reason=f"cannot open {path}: {error}") from error
    try:
        connection.set_busy_timeout(int(busy_timeout_s * 1000))
        _prepare(connection, path, durability)
    except (apsw.NotADBError, apsw.CorruptError) as error:
        connection.close()
        raise StoreDamagedError(path=str(path), reason=str(error)) from error
    except apsw.Error as error:
        connection.close()
        raise StoreUnavailableError(reason=f"cannot open {path}: {error}") from error
    except StoreDamagedError:
        connection.close()
        raise
    return connection


def _prepare(connection: apsw.Connection, path: Path, durability: Durability) -> None:
    is_empty = connection.pragma("schema_version") == 0
    if not is_empty:
        _check(connection, path)
    if is_empty:
        # It takes effect only before the first table is made.
        connection.pragma("auto_vacuum", "INCREMENTAL")
    if durability is Durability.SIMULATED:
        # Nobody else reads the file, so locks need not be taken each time.
        connection.pragma("locking_mode", "EXCLUSIVE")
    # A plan does not hang on the values bound: otherwise SQLite compares them with the
    # conditions of the partial indexes and prepares the statement anew each time.
    connection.config(apsw.SQLITE_DBCONFIG_ENABLE_QPSG, 1)
    # First, or going over to the log ahead would wait for a disk whatever was asked for.
    connection.pragma("synchronous", _SYNCHRONOUS[durability])
    connection.pragma("journal_mode", "WAL")
    connection.pragma("foreign_keys", 1)
    if is_empty:
        _create(connection)


def _check(connection: apsw.Connection, path: Path) -> None:
    """
    Refuse what is not ours, what is newer than us, and what is damaged.
    """
    if connection.pragma("application_id") != APPLICATION_ID:
        raise StoreDamagedError(path=str(path), reason="another program's database")
    version = connection.pragma("user_version")
    if version != SCHEMA_VERSION:
        reason = (
            f"its schema has version {version}, this program knows {SCHEMA_VERSION}"
        )
        raise StoreDamagedError(path=str(path), reason=reason)
    found = next(iter(connection.execute("PRAGMA quick_check(1)")))[0]
    if found != "ok":
        raise StoreDamagedError(path=str(path), reason=str(found))


def _create(connection: apsw.Connection) -> None:
    connection.execute("BEGIN IMMEDIATE")
    for statement in SCHEMA.split(";\n"):
        if statement.strip():
            connection.execute(statement)
    connection.pragma("application_id", APPLICATION_ID)
    connection.pragma("user_version", SCHEMA_VERSION)
    connection.execute("COMMIT")
