"""
When and how often faults hit.
"""

from collections.abc import Mapping

import pytest

from mock_server import Limits
from mock_server.documents import parse_document
from mock_server.draws import Draws
from mock_server.faults import Target
from mock_server.injector import Injector, Moment, TooManyFaultsError
from mock_server.script import script_of
from mock_server.surfaces.ports import CallKeys


def _injector(faults: str, *, seed: int = 1, limits: Limits | None = None) -> Injector:
    injector = Injector(draws=Draws(seed), limits=limits)
    text = f"upstream: {{faults: [{faults}]}}"
    injector.load(script_of(parse_document(text, file="script")))
    return injector


def _moment(
    *,
    at_s: float = 0.0,
    conversation: str = "c",
    turn: int = 1,
    attempt_number: int = 1,
    world: str = "w",
    stream: bool = False,
    model: str | None = "gpt-4o",
    tools: tuple[str, ...] = (),
    headers: Mapping[str, str] | None = None,
) -> Moment:
    return Moment(
        target=Target.UPSTREAM,
        world=world,
        keys=CallKeys(
            conversation=conversation, turn=turn, attempt_number=attempt_number
        ),
        scenario_s=at_s,
        stream=stream,
        model=model,
        tools=tools,
        calls_tools=bool(tools),
        headers=headers or {},
    )


def _hits(injector: Injector, moment: Moment) -> bool:
    return bool(injector.choose(moment))


@pytest.mark.parametrize(
    ("at_s", "hits"),
    [(0, False), (9.999, False), (10, True), (29.999, True), (30, False)],
)
def test_hits_within_its_window(at_s: float, hits: bool) -> None:  # noqa: FBT001 - a parameter of the table
    """
    A fault hits from ``from`` on, and at ``to`` no longer.
    """
    injector = _injector("{fault: status, from: 10s, to: 30s}")

    assert _hits(injector, _moment(at_s=at_s)) is hits


@pytest.mark.parametrize(
    ("at_s", "hits"), [(10, True), (11.9, True), (12, False), (14.9, False), (15, True)]
)
def test_comes_and_goes(at_s: float, hits: bool) -> None:  # noqa: FBT001 - a parameter of the table
    """
    ``every`` is a square wave that begins with ``from``.
    """
    injector = _injector("{fault: status, from: 10s, every: {on: 2s, off: 3s}}")

    assert _hits(injector, _moment(at_s=at_s)) is hits


def test_hits_the_first_so_many() -> None:
    """
    ``times`` counts for each world by itself.
    """
    injector = _injector("{fault: status, times: 2}")

    first = [_hits(injector, _moment(conversation=str(n))) for n in range(4)]
    other = [_hits(injector, _moment(world="other")) for _ in range(3)]

    assert first == [True, True, False, False]
    assert other == [True, True, False]


def test_hits_only_these_attempts() -> None:
    """
    ``attempts`` counts the attempts of one call.
    """
    injector = _injector("{fault: status, attempts: [1, 3]}")

    hits = [_hits(injector, _moment(attempt_number=number)) for number in range(1, 5)]

    assert hits == [True, False, True, False]


@pytest.mark.parametrize(
    ("match", "moment", "hits"),
    [
        ("{model: gpt-4o}", _moment(model="gpt-4o"), True),
        ("{model: gpt-4o}", _moment(model="gpt-5"), False),
        ("{model: 'gpt-*'}", _moment(model="gpt-5"), True),
        ("{tool: get_weather}", _moment(tools=("get_weather",)), True),
        ("{tool: [a, b]}", _moment(tools=("c",)), False),
        ("{stream: true}", _moment(stream=True), True),
        ("{stream: true}", _moment(), False),
        ("{turn: 2}", _moment(turn=2), True),
        ("{turn: [2, 3]}", _moment(turn=1), False),
        ("{world: w}", _moment(), True),
        ("{world: other}", _moment(), False),
        ("{header: {x-tenant: a}}", _moment(headers={"x-tenant": "a"}), True),
        ("{header: {x-tenant: a}}", _moment(headers={"x-tenant": "b"}), False),
        ("{header: {x-tenant: a}}", _moment(), False),
    ],
)
def test_hits_what_it_matches(match: str, moment: Moment, hits: bool) -> None:  # noqa: FBT001 - a parameter of the table
    """
    A fault with a match spares every other request.
    """
    injector = _injector(f"{{fault: status, match: {match}}}")

    assert _hits(injector, moment) is hits


def test_hits_a_share() -> None:
    """
    The injection rate is the share of the requests that are hit.
    """
    injector = _injector("{fault: status, injection_rate: 0.3}")

    hits = sum(_hits(injector, _moment(conversation=str(n))) for n in range(4000))

    assert 1100 < hits < 1300


@pytest.mark.parametrize(("rate", "hits"), [(0, 0), (1, 200)])
def test_hits_none_or_all(rate: float, hits: int) -> None:
    """
    A rate of 0 never hits and a rate of 1 always does.
    """
    injector = _injector(f"{{fault: status, injection_rate: {rate}}}")

    found = sum(_hits(injector, _moment(conversation=str(n))) for n in range(200))

    assert found == hits


def test_order_of_arrival_changes_nothing() -> None:
    """
    Whether a request is hit depends on its keys and the seed alone.
    """
    moments = [
        _moment(conversation=str(n), attempt_number=a)
        for n in range(50)
        for a in (1, 2)
    ]
    forth = _injector("{fault: status, injection_rate: 0.5}")
    back = _injector("{fault: status, injection_rate: 0.5}")

    hits = [_hits(forth, moment) for moment in moments]
    reversed_hits = [_hits(back, moment) for moment in reversed(moments)]

    assert hits == reversed_hits[::-1]


def test_another_fault_changes_nothing() -> None:
    """
    A fault that is added after another one leaves that one's hits as they were.
    """
    alone = _injector("{fault: status, injection_rate: 0.5}")
    two = _injector(
        "{fault: status, injection_rate: 0.5}, {fault: slow_headers, injection_rate: 0.5}"
    )

    for number in range(100):
        moment = _moment(conversation=str(number))
        both = [hit.active.fault.name for hit in two.choose(moment)]
        assert ("status" in both) is _hits(alone, moment)


def test_another_seed_hits_others() -> None:
    """
    The seed decides who is hit.
    """
    moments = [_moment(conversation=str(number)) for number in range(64)]
    fault = "{fault: status, injection_rate: 0.5}"
    one, two = _injector(fault, seed=1), _injector(fault, seed=2)

    assert [_hits(one, m) for m in moments] != [_hits(two, m) for m in moments]


def test_holds_no_more_than_its_limit() -> None:
    """
    Too many faults are refused.
    """
    with pytest.raises(TooManyFaultsError):
        _injector("{fault: status}, {fault: status}", limits=Limits(faults_max=1))
