"""
What a surface is given and what it gives back.

A surface turns a request into an :class:`Answer` and touches no socket. The exchange
opens the journal entry, applies the faults, samples the latencies, writes the plan
and says what happened.
"""

from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Any, ClassVar, Protocol, TypeVar

from msgspec import Struct, field

from mock_server.faults import Target
from mock_server.wire import Pace, Plan, Whole

T = TypeVar("T")
Facts = Mapping[str, Any]
"""Fields of an event record, ready for JSON."""


class LazyFacts(Mapping[str, Any]):
    """
    Fields that are made once somebody asks for them.

    Args:
        make: Makes them.
        subject: Of it.
    """

    __slots__ = ("_made", "_make", "_subject")

    def __init__(self, make: Callable[[T], Facts], subject: T) -> None:
        self._make = make
        self._subject = subject
        self._made: Facts | None = None

    def __getitem__(self, name: str) -> Any:
        return self.made()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.made())

    def __len__(self) -> int:
        return len(self.made())

    def made(self) -> Facts:
        """
        Return them as they are kept: without what they are made of.
        """
        if self._made is None:
            self._made = self._make(self._subject)
        return self._made


def made(facts: Facts) -> Facts:
    """
    Return fields that need nothing to be made any more.
    """
    return facts.made() if isinstance(facts, LazyFacts) else facts


class SurfaceRequest(Struct, frozen=True, kw_only=True, gc=False):
    """
    A request as it came in, read whole.
    """

    request_id: str
    """``req_`` and 32 hex digits."""

    method: str
    path: str
    """Without the query and without a leading ``/v1``."""

    query: Mapping[str, str]
    headers: Mapping[str, str]
    """Looked up without regard to case."""

    body: bytes
    """As sent: nothing is inflated."""

    trace_id: str | None
    """The 32 hex digits of ``traceparent``, if it came with one that is well-formed."""

    api_key: str | None
    """The bearer key; it is never written down."""

    received_s: float
    """The clock's monotonic seconds."""

    received_wall_s: float
    is_reused: bool = False
    """The connection has served a request before."""


class CallKeys(Struct, frozen=True, kw_only=True, gc=False):
    """
    What chance is drawn from, besides the seed and the world.
    """

    conversation: str
    turn: int
    attempt_number: int
    """The nth identical body in that conversation and turn, from 1."""

    ambiguous: bool = False
    """It cannot be told apart from another conversation's request."""


class Latency(Protocol):
    """
    How long the chunks of an answer wait.
    """

    @property
    def depends_on(self) -> tuple[str, ...]:
        """
        What besides the seed decides: ``clock``, ``load``, or nothing.
        """

    def delay_s(
        self,
        pace: Pace,
        output_number: int,
        draw: Callable[[str], float],
        situation: Any = ...,
    ) -> float:
        """
        Return the wait before the nth paced chunk, counted from 0.
        """


class Demand(Struct, frozen=True, kw_only=True, gc=False):
    """
    What a request takes out of its account.
    """

    model: str
    prompt_tokens: int
    completion_tokens_max: int = 0
    """What the request allows the model to say, else what it does say."""

    @property
    def tokens(self) -> int:
        """
        All of them.
        """
        return self.prompt_tokens + self.completion_tokens_max


class Answer(Struct, frozen=True, kw_only=True):
    """
    What a surface wants to say, before anything goes wrong with it.

    Either ``plan`` is given, or ``reply`` and ``encode``: then faults may change the
    reply, and ``encode`` makes the plan of what is left.
    """

    keys: CallKeys
    plan: Plan | None = None
    reply: Any = None
    encode: Callable[[Any], Plan] | None = None
    whole: Callable[[Any, str], Whole] | None = None
    """Makes of the reply and the request id what ``encode`` makes, as it is sent."""

    received: Facts = field(default_factory=dict)
    """Fields of the event that says the request came in, the keys excepted."""

    describe: Callable[[Any], Facts] | None = None
    """The fields that the reply, as faults left it, adds to the event of its end."""

    ended: Facts = field(default_factory=dict)
    """Further fields of the event that says how it ended."""

    latency: Latency | None = None
    """The rule's own latency, instead of the surface's."""

    rule: int | None = None
    """The number of the rule that answered, in the order of the script from 0."""

    effect: Callable[[], Facts] | None = None
    """What happens unless a fault prevents it; its facts join the event of the end."""

    before: Callable[[], Awaitable[None]] | None = None
    """Awaited before the answer is written, if the effect happened."""

    after: Callable[[], None] | None = None
    """Called once the answer is out, or lost, if the effect happened."""

    undelivered: Callable[[], None] | None = None
    """Called if the answer did not arrive whole, or was broken by a fault."""

    script_error: str | None = None
    """A template failed: the text of the event ``script_error``."""

    fails: bool = False
    """The answer itself says that there is no reply, whatever its status is."""

    demand: Demand | None = None
    """What it takes out of the quotas; None is one request and no tokens."""

    def facts_of(self, reply: Any) -> Facts:
        """
        Return the fields of the event of the end.
        """
        if self.describe is None or reply is None:
            return self.ended
        return {**self.ended, **self.describe(reply)}


class WorldMemory(Protocol):
    """
    What a surface sees of a world.
    """

    @property
    def name(self) -> str:
        """
        The first 12 hex digits of the key's SHA-256.
        """

    def recall(self, kind: type[T], make: Callable[[], T]) -> T:
        """
        Return this world's object of that kind, made the first time it is asked for.

        A reset forgets it.
        """


class Surface(Protocol):
    """
    One part of the outside world.
    """

    name: ClassVar[str]
    """As events and metrics call it, like ``chat_completions``."""

    target: ClassVar[Target]
    """Which faults it can have."""

    is_silent: ClassVar[bool]
    """Its requests stand in the journal and are no events."""

    async def handle(self, request: SurfaceRequest, world: WorldMemory) -> Answer:
        """
        Return what to answer.
        """
