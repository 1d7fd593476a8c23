"""
Between rows and values: times, and the one way to ask for rows.

The modules ``outbox``, ``calls``, ``chats`` and ``housekeeping`` hold all SQL. Their
functions are given a connection inside a transaction and neither begin nor end one.
"""

from collections.abc import Iterator
from typing import Any, Final, TypeAlias

import apsw

Value: TypeAlias = str | bytes | int | float | None
Row: TypeAlias = tuple[Any, ...]

US_PER_S: Final = 1_000_000


def to_us(time_s: float) -> int:
    """
    Return seconds as whole microseconds.
    """
    return round(time_s * US_PER_S)


def to_s(time_us: int) -> float:
    """
    Return microseconds as seconds.
    """
    return time_us / US_PER_S


def rows(connection: apsw.Connection, sql: str, **values: Value) -> Iterator[Row]:
    """
    Run a statement with named values and yield its rows.
    """
    yield from connection.execute(sql, values)


def row(connection: apsw.Connection, sql: str, **values: Value) -> Row | None:
    """
    Return the first row, or None.
    """
    return next(iter(connection.execute(sql, values)), None)


def change(connection: apsw.Connection, sql: str, **values: Value) -> int:
    """
    Run a statement and return how many rows it changed.
    """
    connection.execute(sql, values)
    return connection.changes()
