"""
When and how often faults hit.

Order: the faults of a surface as its script lists them, then those of the rule that
answered, then those that were added while running. Each changes what the ones before
it left; what the model says is changed before the bytes that carry it. Whether one hits is drawn from the seed and the request's own keys, so that
neither the order of arrival nor another fault changes it.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Any, Final

from mock_server.draws import Draws
from mock_server.faults import Fault, Level, Target, build_fault
from mock_server.limits import BoundedDict, Counts, Limits
from mock_server.schedule import is_due, rate_at
from mock_server.script import FaultMatch, FaultScript, MockScript, OneOfSchedule
from mock_server.surfaces.ports import CallKeys

_SCRIPT: Final = "script"
_CONTROL: Final = "control"


class TooManyFaultsError(Exception):
    """
    The mock holds as many faults as it may.
    """


class NoSecondListenerError(Exception):
    """
    A fault would close the only door that the mock has.
    """

    def __init__(self) -> None:
        super().__init__(
            "the fault refuse closes the listener: the mock needs a second one for "
            "control, tools and webhooks (--control-port)"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ActiveFault:
    """
    A fault with its schedule and the surface it belongs to.
    """

    fault_id: str
    target: Target
    fault: Fault
    script: FaultScript
    source: str
    """``script`` or ``control``."""

    name: str | None = None
    """The tool or the endpoint, unless it is for all of them."""

    spared: frozenset[str] = frozenset()
    """The endpoints that it is not for."""

    world: str | None = None
    """The world, unless it is for all of them."""

    rule: int | None = None
    """The rule whose replies it is for, unless it is for all of them."""

    def announce(self) -> dict[str, str]:
        """
        Return the fields of the event that says it was added.
        """
        return {
            "fault_id": self.fault_id,
            "fault": self.fault.name,
            "target": self.target,
            "source": self.source,
        }

    def describe(self) -> dict[str, Any]:
        """
        Return it as the control API shows it.
        """
        schedule = self.script.model_dump(
            by_alias=False, exclude_defaults=True, exclude={"fault"}
        )
        own = set(type(self.fault).model_fields)
        return {
            "fault_id": self.fault_id,
            "fault": self.fault.name,
            "target": self.target,
            "name": self.name,
            "world": self.world,
            "rule": self.rule,
            "source": self.source,
            "parameters": self.fault.model_dump(mode="json"),
            "schedule": {k: v for k, v in schedule.items() if k not in own},
        }


def _fits_always(active: ActiveFault) -> bool:
    del active
    return True


def _no_delay() -> float:
    return 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """
    A request at which faults may hit.
    """

    target: Target
    world: str
    keys: CallKeys
    scenario_s: float
    stream: bool = False
    model: str | None = None
    endpoint: str | None = None
    tools: Sequence[str] = ()
    """The tool that runs, or the tools that the reply calls."""

    calls_tools: bool = False
    headers: Mapping[str, str]
    rule: int | None = None
    fits: Callable[[ActiveFault], bool] = _fits_always
    """Says whether a fault can change anything about the answer."""

    first_delay_s: Callable[[], float] = _no_delay
    """The planned time to the first output."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hit:
    """
    A fault that hits, and the draw that let it.
    """

    active: ActiveFault
    draw: float


class Injector:
    """
    Holds the faults and says which of them hit a request.
    """

    def __init__(
        self,
        *,
        draws: Draws,
        limits: Limits | None = None,
        may_close: bool = False,
    ) -> None:
        self._draws = draws
        self._limits = limits or Limits()
        self._may_close = may_close
        self._faults: dict[str, ActiveFault] = {}
        self._times: Counts[tuple[str, str]] = Counts(self._limits.executions_max)
        self._since_s: BoundedDict[tuple[str, str], float] = BoundedDict(
            self._limits.executions_max
        )
        self._added = 0
        self._watchers: list[Callable[[], None]] = []

    def __len__(self) -> int:
        return len(self._faults)

    def __iter__(self) -> Iterator[ActiveFault]:
        return iter(self._faults.values())

    def watch(self, watcher: Callable[[], None]) -> None:
        """
        Call ``watcher`` whenever the faults are others.
        """
        self._watchers.append(watcher)

    @property
    def closures(self) -> tuple[ActiveFault, ...]:
        """
        The faults that keep everybody from connecting.
        """
        return tuple(
            active
            for active in self._faults.values()
            if active.fault.level is Level.LISTENER
        )

    def get(self, fault_id: str) -> ActiveFault | None:
        """
        Return the fault of that id.
        """
        return self._faults.get(fault_id)

    def load(self, script: MockScript) -> None:
        """
        Hold the faults of a script instead of all there were.

        Raises:
            TooManyFaultsError: The script has more than fit.
            NoSecondListenerError: It closes the only listener.
        """
        for active in script_faults(script):
            self._check_door(active)
        self._faults.clear()
        self._times.clear()
        self._since_s.clear()
        self._added = 0
        for active in script_faults(script):
            self._put(active)
        self._tell()

    def add(
        self,
        script: FaultScript,
        *,
        target: Target,
        name: str | None = None,
        world: str | None = None,
    ) -> ActiveFault:
        """
        Hold one more, after all others.

        Raises:
            TooManyFaultsError: There are too many.
            NoSecondListenerError: It closes the only listener.
        """
        self._added += 1
        active = ActiveFault(
            fault_id=f"fault-{self._added}",
            target=target,
            fault=build_fault(script.fault, target, script.parameters),
            script=script,
            source=_CONTROL,
            name=name,
            world=world,
        )
        self._put(active)
        self._tell()
        return active

    def remove(self, fault_id: str) -> ActiveFault | None:
        """
        Drop a fault and return it, if there was one.
        """
        removed = self._faults.pop(fault_id, None)
        self._tell()
        return removed

    def choose(self, moment: Moment) -> tuple[Hit, ...]:
        """
        Return the faults that hit, in their order.
        """
        if not self._faults:
            return ()
        return tuple(
            hit
            for active in self._faults.values()
            if (hit := self._try(active, moment)) is not None
        )

    def _tell(self) -> None:
        for watcher in self._watchers:
            watcher()

    def _check_door(self, active: ActiveFault) -> None:
        if active.fault.level is Level.LISTENER and not self._may_close:
            raise NoSecondListenerError

    def _put(self, active: ActiveFault) -> None:
        self._check_door(active)
        if len(self._faults) >= self._limits.faults_max:
            raise TooManyFaultsError
        self._faults[active.fault_id] = active

    def _try(self, active: ActiveFault, moment: Moment) -> Hit | None:
        script = active.script
        if not (
            _is_meant(active, moment)
            and is_due(script, moment.scenario_s)
            and (
                script.attempts is None or moment.keys.attempt_number in script.attempts
            )
            and self._lands(script.one_of, moment)
            and self._lasts(active, moment)
        ):
            return None
        times = script.times
        if times is not None and (
            self._times.add((active.fault_id, moment.world)) > times
        ):
            return None
        keys = moment.keys
        draw = self._draws.draw(
            "fault",
            active.fault_id,
            moment.world,
            keys.conversation,
            keys.turn,
            keys.attempt_number,
        )
        if draw >= rate_at(script, moment.scenario_s):
            return None
        return Hit(active=active, draw=draw)

    def _lands(self, one_of: OneOfSchedule | None, moment: Moment) -> bool:
        """
        Say whether the request lands on a broken replica.
        """
        if one_of is None:
            return True
        keys = moment.keys
        place: tuple[str | int, ...] = (moment.world, keys.conversation)
        if not one_of.sticky:
            place = (*place, keys.turn, keys.attempt_number)
        draw = self._draws.draw("replica", one_of.replicas, *place)
        return int(draw * one_of.replicas) < one_of.broken

    def _lasts(self, active: ActiveFault, moment: Moment) -> bool:
        """
        Say whether a fault that ends by itself still goes on.
        """
        lasts_s = active.fault.lasts_s
        if lasts_s is None:
            return True
        key = (active.fault_id, moment.world)
        since_s = self._since_s.recall(key, lambda: moment.scenario_s)
        return moment.scenario_s < since_s + lasts_s


def script_faults(script: MockScript) -> Iterator[ActiveFault]:
    """
    Return the faults of a script, each under the place where it stands as its id.
    """
    upstream = script.upstream
    yield from _listed(upstream.faults, Target.UPSTREAM, "upstream")
    for number, rule in enumerate(upstream.script):
        place = f"upstream.script.{number}"
        yield from _listed(rule.faults, Target.UPSTREAM, place, rule=number)
    for name, tool in script.tools.items():
        yield from _listed(tool.faults, Target.TOOLS, f"tools.{name}", name=name)
    default = script.webhook_endpoint
    place = "webhook_endpoint"
    for active in _listed(default.faults, Target.WEBHOOK_ENDPOINT, place):
        # What a named endpoint says replaces everything said beside it.
        yield replace(active, spared=frozenset(default.endpoints))
    for name, endpoint in default.endpoints.items():
        yield from _listed(
            endpoint.faults,
            Target.WEBHOOK_ENDPOINT,
            f"webhook_endpoint.endpoints.{name}",
            name=name,
        )
    yield from _listed(
        script.webhook_emitter.faults, Target.WEBHOOK_EMITTER, "webhook_emitter"
    )


def _listed(
    faults: Iterable[FaultScript],
    target: Target,
    place: str,
    *,
    name: str | None = None,
    rule: int | None = None,
) -> Iterator[ActiveFault]:
    for number, script in enumerate(faults):
        yield ActiveFault(
            fault_id=f"{place}.faults.{number}",
            target=target,
            fault=build_fault(script.fault, target, script.parameters),
            script=script,
            source=_SCRIPT,
            name=name,
            rule=rule,
        )


def _is_meant(active: ActiveFault, moment: Moment) -> bool:
    """
    Say whether the request is of the kind that the fault is for.
    """
    names = {*moment.tools, moment.endpoint}
    return (
        active.target is moment.target
        and active.fault.level is not Level.LISTENER
        and (active.name is None or active.name in names)
        and moment.endpoint not in active.spared
        and active.world in {None, moment.world}
        and active.rule in {None, moment.rule}
        and (moment.calls_tools or not active.fault.needs_tool_calls)
        and _is_matched(active.script.match, moment)
        and (
            active.script.slower_than_s is None
            or moment.first_delay_s() > active.script.slower_than_s
        )
        and moment.fits(active)
    )


def _is_matched(match: FaultMatch, moment: Moment) -> bool:
    wanted_headers = match.header or {}
    return (
        (match.model is None or fnmatchcase(moment.model or "", match.model))
        and (match.tool is None or bool(set(match.tool) & set(moment.tools)))
        and (match.endpoint is None or moment.endpoint in match.endpoint)
        and (match.stream is None or match.stream is moment.stream)
        and (match.turn is None or moment.keys.turn in match.turn)
        and (match.world is None or match.world == moment.world)
        and all(
            fnmatchcase(moment.headers.get(name, ""), wanted)
            for name, wanted in wanted_headers.items()
        )
    )
