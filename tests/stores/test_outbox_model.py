"""
The outbox against a model of it, over random histories with crashes.
"""

import asyncio
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from harness.clock import LoopClock
from harness.ids import IdMint, MessageId
from harness.randomness import Randomness
from harness.stores import (
    ClaimedDelivery,
    Delivered,
    DeliveryAttempt,
    Durability,
    GiveUp,
    NewMessage,
    NextStep,
    RetryAt,
    SqliteStore,
    StoreOptions,
)

START_S = 1_700_000_000.0
LEASE_S = 30.0
ENDPOINTS = ("a", "b")


@dataclass(slots=True)
class Modelled:
    """
    What is known of a delivery.
    """

    endpoint: str
    due_min_s: float
    state: str = "waiting"
    attempts: int = 0
    lease_until_s: float = 0.0
    claim: ClaimedDelivery | None = None
    outcomes: list[str] = field(default_factory=list)


class SetClock(LoopClock):
    """
    A wall clock that stands still until it is moved.
    """

    wall_s = START_S

    def wall(self) -> float:
        """
        Return the time that was set.
        """
        return self.wall_s


class Outbox(RuleBasedStateMachine):
    """
    Enqueues, claims, finishes, gives back, redelivers, waits and crashes in any order.
    """

    @initialize()
    def begin(self) -> None:
        """
        Open an empty store.
        """
        self.folder = tempfile.TemporaryDirectory()
        self.loop = asyncio.new_event_loop()
        self.clock = SetClock()
        self.ids = IdMint(Randomness(1).stream("ids"))
        self.known: dict[str, Modelled] = {}
        self.stale: list[ClaimedDelivery] = []
        self.open()

    def teardown(self) -> None:
        """
        Close what was opened.
        """
        if hasattr(self, "store"):
            self.run(self.store.close())
            self.loop.close()
            self.folder.cleanup()

    def run(self, awaitable: Any) -> Any:
        """
        Return what a coroutine comes to.
        """
        return self.loop.run_until_complete(awaitable)

    def open(self) -> None:
        """
        Open the store over what is on its disk.
        """
        self.store = SqliteStore(
            Path(self.folder.name) / "store.db",
            clock=self.clock,
            ids=self.ids,
            randomness=Randomness(1),
            options=StoreOptions(durability=Durability.SIMULATED, crashes_max=10_000),
            is_inline=True,
        )
        self.run(self.store.open())

    @rule(name=st.integers(0, 9), endpoint=st.sampled_from(ENDPOINTS))
    def enqueue(self, name: int, endpoint: str) -> None:
        """
        Enqueue a message under one of a few keys.
        """
        message_id = f"msg_{name}"
        is_added = self.run(
            self.store.enqueue(
                NewMessage(
                    message_id=MessageId(message_id),
                    event_type="a.b",
                    body=message_id.encode(),
                    endpoint=endpoint,
                    dedupe_key=message_id,
                )
            )
        )

        assert is_added is (message_id not in self.known)
        if is_added:
            self.known[message_id] = Modelled(endpoint, self.clock.wall_s)

    @rule(seconds=st.sampled_from([0.5, 5.0, LEASE_S]))
    def wait(self, seconds: float) -> None:
        """
        Let time go by.
        """
        self.clock.wall_s += seconds

    @rule(room=st.dictionaries(st.sampled_from(ENDPOINTS), st.integers(0, 3)))
    def claim(self, room: dict[str, int]) -> None:
        """
        Claim, and compare each lease with what the model allows.
        """
        now_s = self.clock.wall_s
        for each in self.known.values():
            if each.state == "sending" and each.lease_until_s <= now_s:
                self.release(each, due_min_s=now_s)
        due = {
            name: [
                message_id
                for message_id, each in self.known.items()
                if (each.state, each.endpoint) == ("waiting", name)
                and each.due_min_s <= now_s
            ]
            for name in room
        }

        claims = self.run(self.store.claim(owner="me", lease_s=LEASE_S, room=room))

        for claimed in claims:
            each = self.known[claimed.message_id]
            assert claimed.message_id in due[claimed.endpoint]
            assert claimed.body == claimed.message_id.encode()
            each.state, each.lease_until_s = "sending", now_s + LEASE_S
            each.attempts += 1
            each.claim = claimed
            assert claimed.attempt_number == each.attempts
        for name, places in room.items():
            taken = [each for each in claims if each.endpoint == name]
            assert len(taken) <= places
            # What a crash left is due within five seconds; all else is due exactly.
            sure = [
                message_id
                for message_id in due[name]
                if "crash" not in self.known[message_id].outcomes[-1:]
                or self.known[message_id].due_min_s + 5.0 <= now_s
            ]
            assert len(taken) >= min(places, len(sure))

    @rule(
        data=st.data(),
        kind=st.sampled_from(["delivered", "retry", "dead"]),
        is_old=st.booleans(),
    )
    def finish(self, data: st.DataObject, kind: str, *, is_old: bool) -> None:
        """
        Finish a lease; an overtaken one changes nothing.
        """
        live = [each.claim for each in self.known.values() if each.state == "sending"]
        claims = self.stale if is_old else live
        if not claims:
            return
        claimed = data.draw(st.sampled_from(claims))
        assert claimed is not None
        steps: dict[str, NextStep] = {
            "delivered": Delivered(),
            "retry": RetryAt(due_s=self.clock.wall_s + 5.0),
            "dead": GiveUp(reason="attempts_max"),
        }
        attempt = DeliveryAttempt(
            started_s=self.clock.wall_s, duration_s=0.1, outcome="x", reason="x"
        )

        is_ours = self.run(
            self.store.finish_delivery(claimed, attempt=attempt, step=steps[kind])
        )

        assert is_ours is not is_old
        if is_ours:
            each = self.known[claimed.message_id]
            each.outcomes.append("x")
            each.state = "waiting" if kind == "retry" else kind
            each.due_min_s = self.clock.wall_s + 5.0
            self.stale.append(claimed)

    @rule(data=st.data(), is_old=st.booleans())
    def give_back(self, data: st.DataObject, *, is_old: bool) -> None:
        """
        Undo a claim; an overtaken one changes nothing.
        """
        live = [each.claim for each in self.known.values() if each.state == "sending"]
        claims = self.stale if is_old else live
        if not claims:
            return
        claimed = data.draw(st.sampled_from(claims))
        assert claimed is not None

        is_ours = self.run(self.store.give_back(claimed))

        assert is_ours is not is_old
        if is_ours:
            each = self.known[claimed.message_id]
            each.state, each.claim = "waiting", None
            each.attempts -= 1
            self.stale.append(claimed)

    @rule(name=st.integers(0, 9))
    def redeliver(self, name: int) -> None:
        """
        Put a message back, which works for dead letters only.
        """
        message_id = MessageId(f"msg_{name}")
        each = self.known.get(message_id)
        was_dead = each is not None and each.state == "dead"

        letter = self.run(self.store.redeliver(message_id))

        assert (letter is not None) is was_dead
        if each is not None and was_dead:
            each.state, each.attempts = "waiting", 0
            each.due_min_s = self.clock.wall_s

    @rule()
    def crash(self) -> None:
        """
        Die without a word and start again.
        """
        self.store.abandon()
        for each in self.known.values():
            if each.state == "sending":
                self.release(each, due_min_s=self.clock.wall_s)
        self.open()

    def release(self, each: Modelled, *, due_min_s: float) -> None:
        """
        Take a lease back in the model.
        """
        assert each.claim is not None
        self.stale.append(each.claim)
        each.outcomes.append("crash")
        each.state, each.due_min_s, each.claim = "waiting", due_min_s, None

    @invariant()
    def loses_nothing(self) -> None:
        """
        What was enqueued is waiting, being sent, delivered or dead, as the model says.
        """
        if not hasattr(self, "store"):
            return
        counts = self.run(self.store.counts())
        states = [each.state for each in self.known.values()]

        assert counts.dead_letters == states.count("dead")
        assert counts.waiting_deliveries == (
            states.count("waiting") + states.count("sending")
        )

    @invariant()
    def records_every_attempt(self) -> None:
        """
        Every attempt that ended is on record, in order, also those that were cut off.
        """
        if not hasattr(self, "store"):
            return
        for message_id, each in self.known.items():
            attempts = self.run(self.store.load_attempts(MessageId(message_id)))
            outcomes = [
                "crash" if attempt.outcome == "unknown_crash" else "x"
                for attempt in attempts
            ]
            # A lease that is over is released by the next claim, not by the clock.
            assert outcomes == each.outcomes


TestOutbox = Outbox.TestCase
TestOutbox.settings = settings(
    max_examples=40,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
