"""
What the SQLite store forgets, kind by kind.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import apsw
import pytest

from harness.stores.housekeeping import forget
from harness.stores.options import StoreOptions
from harness.stores.rows import to_us
from harness.stores.schema import SCHEMA

NOW_S = 1_000_000.0
OPTIONS = StoreOptions(
    dedupe_keep_s=100.0,
    dead_letter_keep_s=200.0,
    session_keep_s=300.0,
    idempotency_keep_s=400.0,
    sweep_rows_max=2,
)


@dataclass(frozen=True, kw_only=True)
class Kind:
    """
    One kind of rows that are forgotten.
    """

    table: str
    key: str
    """The column that names a row."""

    insert: tuple[str, ...]
    """Make a row of the kind, named ``:name``, that ended ``:at_us``."""

    keep_s: float
    """For how long it is kept after that."""

    in_use: tuple[str, ...] = ()
    """Makes of a row, which is old, one that is still needed."""


_MESSAGE = (
    "INSERT INTO messages VALUES (:name, 'type', x'00', :name, NULL, NULL, NULL, 0)"
)
_DELIVERY = """INSERT INTO deliveries (delivery_id, message_id, endpoint, state, due_us,
    ended_us) VALUES (:name, :name, 'ep', '{}', 0, :at_us)"""
_ATTEMPT = "INSERT INTO attempts VALUES (:name, 1, 1, 0, 0, 'failure', 'status', 500)"
_CALL = """INSERT INTO calls (tool_call_id, chat_id, tool, arguments_json, state,
    created_us, keep_until_us) VALUES (:name, 'chat', 'tool', '{{}}', 'completed',
    {}, {})"""
_CALLBACK = """INSERT INTO callbacks (callback_id, request_json, state, expires_us,
    keep_until_us) VALUES (:name, '{{}}', 'completed', {}, {})"""
_YOUNG = str(to_us(NOW_S))


def delivered(state: str) -> tuple[str, ...]:
    """
    Return what makes a message whose delivery is in that state.
    """
    return (_MESSAGE, _DELIVERY.format(state), _ATTEMPT)


def still(column: str, table: str, key: str) -> str:
    """
    Return what changes a column of one row.
    """
    return f"UPDATE {table} SET {column} WHERE {key} = :name"  # noqa: S608 - our own words


KINDS = {
    "delivered": Kind(
        table="messages",
        key="message_id",
        insert=delivered("delivered"),
        keep_s=OPTIONS.dedupe_keep_s,
        in_use=(
            still("state = 'waiting'", "deliveries", "delivery_id"),
            still("state = 'sending'", "deliveries", "delivery_id"),
            still("state = 'dead'", "deliveries", "delivery_id"),
            still("ended_us = NULL", "deliveries", "delivery_id"),
        ),
    ),
    "dead letters": Kind(
        table="messages",
        key="message_id",
        insert=delivered("dead"),
        keep_s=OPTIONS.dead_letter_keep_s,
        in_use=(
            still("state = 'waiting'", "deliveries", "delivery_id"),
            still("state = 'sending'", "deliveries", "delivery_id"),
        ),
    ),
    "inbox": Kind(
        table="inbox",
        key="message_id",
        insert=(
            """INSERT INTO inbox (message_id, event_type, body_sha256, state,
            received_us) VALUES (:name, 'type', '', 'applied', :at_us)""",
        ),
        keep_s=OPTIONS.dedupe_keep_s,
    ),
    "calls": Kind(
        table="calls",
        key="tool_call_id",
        insert=(_CALL.format(_YOUNG, ":at_us"),),
        keep_s=0.0,
        in_use=(still("keep_until_us = NULL", "calls", "tool_call_id"),),
    ),
    "calls never asked for": Kind(
        table="calls",
        key="tool_call_id",
        insert=(_CALL.format(":at_us", "NULL"),),
        keep_s=OPTIONS.dedupe_keep_s,
        in_use=(still("state = 'pending'", "calls", "tool_call_id"),),
    ),
    "callbacks": Kind(
        table="callbacks",
        key="callback_id",
        insert=(_CALLBACK.format(_YOUNG, ":at_us"),),
        keep_s=0.0,
        in_use=(still("keep_until_us = NULL", "callbacks", "callback_id"),),
    ),
    "callbacks never asked for": Kind(
        table="callbacks",
        key="callback_id",
        insert=(_CALLBACK.format(":at_us", "NULL"),),
        keep_s=OPTIONS.dedupe_keep_s,
        in_use=(still("state = 'pending'", "callbacks", "callback_id"),),
    ),
    "sessions": Kind(
        table="sessions",
        key="session_id",
        insert=("INSERT INTO sessions VALUES (:name, '[]', :at_us)",),
        keep_s=OPTIONS.session_keep_s,
    ),
    "idempotency keys": Kind(
        table="idempotency_keys",
        key="key",
        insert=(
            """INSERT INTO idempotency_keys (key, body_sha256, status, begun_us)
            VALUES (:name, '', 200, :at_us)""",
        ),
        keep_s=OPTIONS.idempotency_keep_s,
    ),
}


@pytest.fixture
def connection() -> Iterator[apsw.Connection]:
    """
    Return a store's tables, empty.
    """
    opened = apsw.Connection(":memory:")
    opened.execute("PRAGMA foreign_keys = ON")
    opened.execute(SCHEMA)
    yield opened
    opened.close()


def put(connection: apsw.Connection, kind: Kind, name: str, *, age_s: float) -> None:
    """
    Make a row that has been kept for so long.
    """
    for statement in kind.insert:
        values = {"name": name, "at_us": to_us(NOW_S - age_s)}
        connection.execute(statement, values)


def names(connection: apsw.Connection, kind: Kind) -> set[str]:
    """
    Return which rows there are.
    """
    listing = f"SELECT {kind.key} FROM {kind.table}"  # noqa: S608 - our own words
    return {str(name) for (name,) in connection.execute(listing)}


def forgotten(connection: apsw.Connection) -> int:
    """
    Forget once, and return how many rows that was.
    """
    return forget(connection, now_s=NOW_S, options=OPTIONS)


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_forgets_what_is_kept_no_longer(
    connection: apsw.Connection, kind: Kind
) -> None:
    """
    What is older than its limit goes and is counted; what is not older stays.
    """
    put(connection, kind, "older", age_s=kind.keep_s + 0.001)
    put(connection, kind, "as old", age_s=kind.keep_s)
    put(connection, kind, "younger", age_s=kind.keep_s - 0.001)

    assert forgotten(connection) == 1
    assert names(connection, kind) == {"as old", "younger"}
    assert forgotten(connection) == 0


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_forgets_a_bounded_number_the_oldest_first(
    connection: apsw.Connection, kind: Kind
) -> None:
    """
    One sweep deletes no more rows than it may, and the next goes on.
    """
    for number in (2, 4, 1, 3, 5):
        put(connection, kind, f"row {number}", age_s=kind.keep_s + number)

    assert forgotten(connection) == OPTIONS.sweep_rows_max
    assert names(connection, kind) == {"row 1", "row 2", "row 3"}
    assert [forgotten(connection) for _ in range(3)] == [2, 1, 0]


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        pytest.param(kind, change, id=f"{name}: {change.split(' SET ')[1]}")
        for name, kind in KINDS.items()
        for change in kind.in_use
    ],
)
def test_keeps_what_is_still_needed(
    connection: apsw.Connection, kind: Kind, change: str
) -> None:
    """
    However old it is, what is under way or waits for somebody stays.
    """
    put(connection, kind, "needed", age_s=kind.keep_s + 1)
    put(connection, kind, "over", age_s=kind.keep_s + 1)
    connection.execute(change, {"name": "needed"})

    assert forgotten(connection) == 1
    assert names(connection, kind) == {"needed"}


@pytest.mark.parametrize("name", ["delivered", "dead letters"])
def test_what_belongs_to_a_message_goes_with_it(
    connection: apsw.Connection, name: str
) -> None:
    """
    Deliveries and attempts of a forgotten message are gone, and those of another not.
    """
    kind = KINDS[name]
    put(connection, kind, "older", age_s=kind.keep_s + 1)
    put(connection, kind, "younger", age_s=kind.keep_s - 1)
    forgotten(connection)

    for table in ("deliveries", "attempts"):
        listing = f"SELECT delivery_id FROM {table}"  # noqa: S608 - our own words
        assert connection.execute(listing).fetchall() == [("younger",)]
