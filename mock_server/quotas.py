"""
Real limits per API key: requests, tokens and requests at once.

An account is a bucket for each limit. It holds what may be spent in one period and
refills continuously, so that what a refusal says about waiting is true.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Final

from msgspec.structs import replace

from mock_server.script import QuotaScript, QuotasScript
from mock_server.surfaces.ports import Answer, Demand, SurfaceRequest, WorldMemory
from mock_server.wire import ApiError, Head, Plan, error_plan

WINDOWS: Final[Mapping[str, int]] = {
    "gpt-3.5-turbo*": 16_385,
    "gpt-4-turbo*": 128_000,
    "gpt-4.1*": 1_047_576,
    "gpt-4o*": 128_000,
    "gpt-4-32k*": 32_768,
    "gpt-4": 8_192,
    "gpt-4-0*": 8_192,
    "gpt-5*": 400_000,
    "o1*": 200_000,
    "o3*": 200_000,
    "o4*": 200_000,
    "text-embedding-*": 8_192,
}
"""Tokens that well-known models hold."""

_DOCS: Final = "Visit https://platform.openai.com/account/rate-limits to learn more."
_ORGANIZATION: Final = "toolcall-harness"
_ROOM_PREFIX: Final = "x-ratelimit-"
_SLOT_RETRY_S: Final = 1.0
"""When to come back if too many are being answered: nobody knows when one ends."""


def window_of(model: str, scripted: Mapping[str, int]) -> int | None:
    """
    Return how many tokens a model holds; None if that is not known.
    """
    for windows in (scripted, WINDOWS):
        if model in windows:
            return windows[model]
        for pattern, tokens in windows.items():
            if fnmatchcase(model, pattern):
                return tokens
    return None


@dataclass(slots=True)
class Bucket:
    """
    What is left of one limit.
    """

    rate_per_s: float
    capacity: int
    level: float
    updated_s: float

    def refill(self, now_s: float) -> None:
        """
        Add what time has brought.
        """
        gained = (now_s - self.updated_s) * self.rate_per_s
        self.level = min(float(self.capacity), self.level + gained)
        self.updated_s = now_s

    def wait_s(self, amount: float) -> float:
        """
        Return how long until so much is there.
        """
        return max(0.0, (amount - self.level) / self.rate_per_s)

    @property
    def remaining(self) -> int:
        """
        What may be spent at once.
        """
        # Nine tenths of a billionth are lost in adding up what time has brought.
        return max(0, math.floor(self.level + 1e-9))


@dataclass(slots=True)
class Account:
    """
    What one API key has left.
    """

    requests: Bucket | None
    tokens: Bucket | None
    slots: int | None
    in_flight: int = 0

    def refill(self, now_s: float) -> None:
        """
        Add what time has brought.
        """
        for bucket in (self.requests, self.tokens):
            if bucket is not None:
                bucket.refill(now_s)

    def headers(self) -> tuple[tuple[str, str], ...]:
        """
        Return what the answer says of the limits there are.
        """
        return tuple(
            header
            for name, bucket in (("requests", self.requests), ("tokens", self.tokens))
            if bucket is not None
            for header in (
                (f"{_ROOM_PREFIX}limit-{name}", str(bucket.capacity)),
                (f"{_ROOM_PREFIX}remaining-{name}", str(bucket.remaining)),
                (
                    f"{_ROOM_PREFIX}reset-{name}",
                    go_duration(bucket.wait_s(bucket.capacity)),
                ),
            )
        )


@dataclass(slots=True)
class WorldAccounts:
    """
    The accounts of one API key, by the pattern of the model; empty for all others.
    """

    accounts: dict[str, Account] = field(default_factory=dict)


@dataclass(slots=True, kw_only=True)
class Admission:
    """
    What became of a request at the door.
    """

    answer: Answer
    """The surface's own, or a refusal in its place."""

    account: Account | None = None
    """Whose slot it holds until it is released."""

    def release(self) -> None:
        """
        Give the slot back.
        """
        if self.account is not None:
            self.account.in_flight -= 1
            self.account = None


class Quotas:
    """
    Lets requests in as far as their API key's account allows.

    Args:
        script: The limits.
    """

    def __init__(self, script: QuotasScript) -> None:
        self._script = script
        self.is_limited = script.is_limited
        """Whether there is anything to be asked of them."""

    def admit(
        self, answer: Answer, request: SurfaceRequest, world: WorldMemory
    ) -> Admission:
        """
        Take what the answer costs out of the account, or refuse it.

        A refused request costs nothing, so that what it is told to wait is enough.
        """
        demand = answer.demand or Demand(
            model=answer.received.get("model") or "", prompt_tokens=0
        )
        account = self._account_of(demand.model, world, request.received_s)
        account.refill(request.received_s)
        refusal = _refusal_of(account, demand)
        if refusal is not None:
            if answer.undelivered is not None:
                answer.undelivered()
            limit, error = refusal
            refused = Answer(
                keys=answer.keys,
                plan=error_plan(error, request.request_id),
                received={**answer.received, "quota": limit},
            )
            return Admission(answer=_marked(refused, account))
        if account.requests is not None:
            account.requests.level -= 1
        if account.tokens is not None:
            account.tokens.level -= demand.tokens
        account.in_flight += 1
        return Admission(answer=_marked(answer, account), account=account)

    def _account_of(self, model: str, world: WorldMemory, now_s: float) -> Account:
        found: tuple[str, QuotaScript] = next(
            (
                (pattern, quota)
                for pattern, quota in self._script.models.items()
                if fnmatchcase(model, pattern)
            ),
            ("", self._script),
        )
        pattern, quota = found
        accounts = world.recall(WorldAccounts, WorldAccounts).accounts
        if pattern not in accounts:
            accounts[pattern] = _open_account(quota, now_s)
        return accounts[pattern]


def _open_account(quota: QuotaScript, now_s: float) -> Account:
    def bucket(rate_per_s: float | None) -> Bucket | None:
        if rate_per_s is None:
            return None
        capacity = max(1, round(rate_per_s * quota.period_s))
        return Bucket(rate_per_s, capacity, capacity, now_s)

    return Account(
        bucket(quota.requests_per_s), bucket(quota.tokens_per_s), quota.concurrency
    )


def _refusal_of(account: Account, demand: Demand) -> tuple[str, ApiError] | None:
    """
    Return the limit that a request is beyond, and what it is told.
    """
    tokens, requests = account.tokens, account.requests
    if tokens is not None and demand.tokens > tokens.capacity:
        return "tokens", _too_large(demand, tokens)
    if account.slots is not None and account.in_flight >= account.slots:
        used = f"Limit {account.slots}, Used {account.in_flight}, Requested 1"
        name = "concurrent requests"
        return "concurrency", _refused(demand, "requests", name, used, _SLOT_RETRY_S)
    if requests is not None and requests.remaining < 1:
        name = "requests per min (RPM)"
        used = _used(requests, 1)
        return "requests", _refused(demand, "requests", name, used, requests.wait_s(1))
    if tokens is not None and tokens.remaining < demand.tokens:
        name = "tokens per min (TPM)"
        used = _used(tokens, demand.tokens)
        wait_s = tokens.wait_s(demand.tokens)
        return "tokens", _refused(demand, "tokens", name, used, wait_s)
    return None


def _used(bucket: Bucket, requested: int) -> str:
    used = bucket.capacity - bucket.remaining
    return f"Limit {bucket.capacity}, Used {used}, Requested {requested}"


def _refused(
    demand: Demand, kind: str, name: str, used: str, wait_s: float
) -> ApiError:
    message = (
        f"Rate limit reached for {demand.model} in organization {_ORGANIZATION} on "
        f"{name}: {used}. Please try again in {go_duration(wait_s)}. {_DOCS}"
    )
    # Rounded up, so that who waits as long as he is told is let in.
    milliseconds = math.ceil(wait_s * 1000)
    headers = {
        "retry-after": str(max(1, math.ceil(wait_s))),
        "retry-after-ms": str(milliseconds),
    }
    return ApiError(
        message, status=429, type=kind, code="rate_limit_exceeded", headers=headers
    )


def _too_large(demand: Demand, tokens: Bucket) -> ApiError:
    message = (
        f"Request too large for {demand.model} in organization {_ORGANIZATION} on "
        f"tokens per min (TPM): Limit {tokens.capacity}, Requested {demand.tokens}. "
        "The input or output tokens must be reduced in order to run successfully. "
        f"{_DOCS}"
    )
    return ApiError(message, status=429, type="tokens", code="rate_limit_exceeded")


def _marked(answer: Answer, account: Account) -> Answer:
    """
    Return the answer with what the account has left in its headers.
    """
    headers = account.headers()
    plan, encode = answer.plan, answer.encode
    if plan is not None:
        plan = _with_room(plan, headers)
    if encode is None:
        return replace(answer, plan=plan)
    return replace(
        answer, plan=plan, encode=lambda reply: _with_room(encode(reply), headers)
    )


def _with_room(plan: Plan, headers: tuple[tuple[str, str], ...]) -> Plan:
    return tuple(
        replace(step, headers=(*_without_room(step), *headers))
        if isinstance(step, Head)
        else step
        for step in plan
    )


def _without_room(head: Head) -> tuple[tuple[str, str], ...]:
    return tuple(h for h in head.headers if not h[0].startswith(_ROOM_PREFIX))


def go_duration(seconds: float) -> str:
    """
    Return a duration as Go prints it, like ``120ms``, ``1.5s``, ``6m0s``, ``1h2m3s``.
    """
    milliseconds = math.ceil(round(seconds * 1000, 6))
    if milliseconds < 1000:  # noqa: PLR2004 - a second
        return f"{milliseconds}ms" if milliseconds else "0s"
    minutes, rest = divmod(milliseconds, 60_000)
    hours, minutes = divmod(minutes, 60)
    text = f"{rest / 1000:g}s"
    if hours:
        return f"{hours}h{minutes}m{text}"
    return f"{minutes}m{text}" if minutes else text
