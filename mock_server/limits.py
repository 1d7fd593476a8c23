"""
What the mock holds at most, and containers that keep to it.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """
    Every limit of the mock.
    """

    request_body_bytes_max: int = 16 * 1024 * 1024
    """A larger request is answered 413."""

    request_read_timeout_s: float = 60.0
    """A body that is not whole by then is answered 408."""

    worlds_max: int = 1000
    """API keys with a state of their own; the one unused for longest is forgotten."""

    journal_entries_max: int = 10_000
    """Entries of one world's journal; the oldest are dropped."""

    journal_bytes_max: int = 64 * 1024 * 1024
    """Bodies in all journals together; beyond it entries are kept without them."""

    journal_body_bytes_max: int = 64 * 1024
    """Of one body, request or answer; the rest is cut off."""

    faults_max: int = 1000
    """Faults at once, script and control together."""

    subscribers_max: int = 64
    """Readers of the event stream at once."""

    subscriber_events_max: int = 10_000
    """Events that wait for one slow reader; beyond it they are dropped, and counted."""

    executions_max: int = 50_000
    """Idempotency keys whose executions are counted, and messages whose attempts are."""

    traces_max: int = 20_000
    """Traces whose world is remembered."""

    emissions_max: int = 10_000
    """Webhooks that wait to be sent; beyond it they are dropped, and counted."""

    emissions_at_once_max: int = 200
    """Webhooks on their way at once."""

    chores_max: int = 10_000
    """What is to be done later, like the steps of batches; one more is not done."""

    stored_completions_max: int = 10_000
    """Chat completions that are kept for ``store: true``; the oldest make room."""

    responses_max: int = 10_000
    """Responses that are kept, background ones included; the oldest make room."""

    conversations_max: int = 10_000
    """Conversations that are kept; the oldest make room."""

    response_bytes_max: int = 64 * 1024 * 1024
    """All responses together, and all conversations; the oldest make room."""

    response_items_max: int = 5000
    """Items that a model is asked to read at once; more are refused as too long."""

    webhook_endpoints_max: int = 1000
    """Registered webhook endpoints; one more is refused."""

    files_max: int = 1000
    """Uploaded and written files; the oldest make room."""

    file_bytes_max: int = 256 * 1024 * 1024
    """All files together; the oldest make room."""

    batches_max: int = 1000
    """Batches that are kept; the oldest make room."""

    batch_requests_max: int = 50_000
    """Requests in one batch; a larger one fails, as it does at the real API."""

    threads_max: int = 10_000
    """Threads that are kept; the oldest make room."""

    thread_messages_max: int = 10_000
    """Messages of one thread; one more is refused."""

    assistants_max: int = 1000
    """Assistants that are kept; the oldest make room."""

    runs_max: int = 10_000
    """Runs of threads that are kept; the oldest make room."""


class BoundedDict(Generic[K, V]):
    """
    A mapping that forgets what was unused for longest, and counts that.
    """

    def __init__(
        self, entries_max: int, *, on_drop: Callable[[V], None] | None = None
    ) -> None:
        self._entries_max = entries_max
        self._on_drop = on_drop
        self._entries: OrderedDict[K, V] = OrderedDict()
        self.dropped = 0

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, key: object) -> bool:
        return key in self._entries

    def __iter__(self) -> Iterator[K]:
        return iter(self._entries)

    def values(self) -> Iterator[V]:
        """
        Return what is kept, the one unused for longest first.
        """
        return iter(self._entries.values())

    def get(self, key: K) -> V | None:
        """
        Return the value, which counts as a use.
        """
        value = self._entries.get(key)
        if value is not None:
            self._entries.move_to_end(key)
        return value

    def put(self, key: K, value: V) -> None:
        """
        Keep the value, and forget another one if there are too many.
        """
        self._entries[key] = value
        self._entries.move_to_end(key)
        if len(self._entries) > self._entries_max:
            _, dropped = self._entries.popitem(last=False)
            self.dropped += 1
            if self._on_drop is not None:
                self._on_drop(dropped)

    def recall(self, key: K, make: Callable[[], V]) -> V:
        """
        Return the value, made if it is not there.
        """
        value = self._entries.get(key)
        if value is None:
            value = make()
            self.put(key, value)
        else:
            self._entries.move_to_end(key)
        return value

    def clear(self) -> None:
        """
        Forget everything.
        """
        self._entries.clear()


class Counts(Generic[K]):
    """
    Counters by key, bounded.
    """

    def __init__(self, entries_max: int) -> None:
        self._counts: BoundedDict[K, int] = BoundedDict(entries_max)

    @property
    def dropped(self) -> int:
        """
        Keys that were forgotten.
        """
        return self._counts.dropped

    def __len__(self) -> int:
        return len(self._counts)

    def of(self, key: K) -> int:
        """
        Return the count.
        """
        return self._counts.get(key) or 0

    def add(self, key: K) -> int:
        """
        Count one more and return the count.
        """
        count = self.of(key) + 1
        self._counts.put(key, count)
        return count

    def clear(self) -> None:
        """
        Forget everything.
        """
        self._counts.clear()
