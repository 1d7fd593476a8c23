"""
Durable state: what was acknowledged survives.
"""

from harness.stores.group_commit import GroupCommit, InlineCommit
from harness.stores.open_store import open_store, parse_store_path
from harness.stores.options import StoreOptions
from harness.stores.ports import Store
from harness.stores.records import (
    AnsweredKey,
    CallbackRecord,
    CallbackState,
    CallResolution,
    CallState,
    ClaimedDelivery,
    DeadLetter,
    Delivered,
    DeliveryAttempt,
    DeliveryState,
    GiveUp,
    IdempotencyBegun,
    IdempotencyMismatch,
    IdempotencyRunning,
    IdempotencyState,
    IdempotentAnswer,
    IncomingMessage,
    MessageFor,
    NewMessage,
    NextStep,
    OnEnqueued,
    ReceiveOutcome,
    ReceiveResult,
    Recovery,
    RetryAt,
    StoreCounts,
    ToolCallRecord,
)
from harness.stores.schema import Durability
from harness.stores.sqlite import SqliteStore

__all__ = [
    "AnsweredKey",
    "CallResolution",
    "CallState",
    "CallbackRecord",
    "CallbackState",
    "ClaimedDelivery",
    "DeadLetter",
    "Delivered",
    "DeliveryAttempt",
    "DeliveryState",
    "Durability",
    "GiveUp",
    "GroupCommit",
    "IdempotencyBegun",
    "IdempotencyMismatch",
    "IdempotencyRunning",
    "IdempotencyState",
    "IdempotentAnswer",
    "IncomingMessage",
    "InlineCommit",
    "MessageFor",
    "NewMessage",
    "NextStep",
    "OnEnqueued",
    "ReceiveOutcome",
    "ReceiveResult",
    "Recovery",
    "RetryAt",
    "SqliteStore",
    "Store",
    "StoreCounts",
    "StoreOptions",
    "ToolCallRecord",
    "open_store",
    "parse_store_path",
]
