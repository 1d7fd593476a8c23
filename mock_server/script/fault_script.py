"""
A fault as a script asks for it: which, when, how often, with which parameters.

For each surface there is a union of all faults that it can have, made from the
catalogue: so every wrong key and value of a fault is named at its place, and the JSON
Schema of a script lists them all.
"""

import copy
from collections.abc import Mapping
from functools import cache
from typing import Annotated, Any, Final, Literal, Self, Union

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    ModelWrapValidatorHandler,
    PrivateAttr,
    Tag,
    TypeAdapter,
    WithJsonSchema,
    create_model,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import PydanticCustomError, core_schema

from mock_server.faults import Fault, Level, Target, all_faults, faults_of
from mock_server.script.base import OneOrMore, OneOrMoreNumbers, ScriptModel
from mock_server.units import Duration


class EverySchedule(ScriptModel):
    """
    A square wave: on for a while, then off for a while, from ``from`` on.
    """

    on_s: Duration = Field(alias="on", gt=0)
    off_s: Duration = Field(alias="off", gt=0)


class RampSchedule(ScriptModel):
    """
    An injection rate that moves evenly over time, from ``from`` on, and then stays.
    """

    start: float = Field(default=0.0, ge=0, le=1)
    end: float = Field(default=1.0, ge=0, le=1)
    over_s: Duration = Field(alias="over", gt=0)


class OneOfSchedule(ScriptModel):
    """
    Some of many replicas of the API are broken.

    A request lands on a replica by chance; faults that name as many replicas agree on
    which one that is.
    """

    replicas: int = Field(ge=2, le=1000)
    broken: int = Field(default=1, ge=1)
    sticky: bool = False
    """A conversation stays on its replica; else each attempt lands anew."""

    @model_validator(mode="after")
    def _check_broken(self) -> Self:
        if self.broken > self.replicas:
            message = "more replicas are broken than there are"
            raise ValueError(message)
        return self


def _as_one_of(value: object) -> object:
    is_number = isinstance(value, int) and not isinstance(value, bool)
    return {"replicas": value} if is_number else value


OneOf = Annotated[
    OneOfSchedule,
    BeforeValidator(_as_one_of, json_schema_input_type=OneOfSchedule | int),
]
"""A number alone says how many replicas there are; one of them is broken."""


class FaultMatch(ScriptModel):
    """
    Which requests a fault is for; an empty match is for all.
    """

    model: str | None = None
    """``*`` stands for anything."""

    tool: OneOrMore | None = None
    """The tool that runs, or a tool that the reply calls."""

    endpoint: OneOrMore | None = None
    """The name of the webhook endpoint."""

    stream: bool | None = None
    header: dict[str, str] | None = None
    turn: OneOrMoreNumbers | None = None
    world: str | None = None


class FaultScript(ScriptModel):
    """
    One fault of a surface.

    This base takes any parameters; a script is checked by the model of its fault.
    """

    model_config = ConfigDict(extra="allow", frozen=True)

    fault: str
    """Its name in the catalogue."""

    from_s: Duration = Field(default=0.0, alias="from")
    """Scenario time at which it begins."""

    to_s: Duration | None = Field(default=None, alias="to")
    """Scenario time at which it ends; by default never."""

    times: int | None = Field(default=None, ge=1)
    """Only the first so many requests that it could hit."""

    attempts: OneOrMoreNumbers | None = None
    """Only these attempts of a call, from 1."""

    injection_rate: float = Field(default=1.0, ge=0, le=1)
    """The share of requests that it hits."""

    ramp: RampSchedule | None = None
    """The injection rate moves over time; ``injection_rate`` multiplies it."""

    every: EverySchedule | None = None
    one_of: OneOf | None = None
    """Only requests that land on a broken replica."""

    slower_than_s: Duration | None = Field(default=None, alias="slower_than")
    """Only requests whose planned time to the first output is longer than this."""

    match: FaultMatch = Field(default_factory=FaultMatch.empty)

    _given: dict[str, Any] = PrivateAttr(default_factory=dict)

    @model_validator(mode="wrap")
    @classmethod
    def _keep_parameters(
        cls, value: Any, handler: ModelWrapValidatorHandler[Self]
    ) -> Self:
        script = handler(value)
        if isinstance(value, Mapping):
            script._given.update(  # noqa: SLF001 - its own class
                {key: value[key] for key in value if key not in _SCHEDULE_KEYS}
            )
        return script

    @model_validator(mode="after")
    def _check_window(self) -> Self:
        if self.to_s is not None and self.to_s <= self.from_s:
            message = "to is not after from"
            raise ValueError(message)
        return self

    @model_validator(mode="after")
    def _check_listener(self) -> Self:
        kind = all_faults().get(self.fault)
        if kind is None or kind.level is not Level.LISTENER:
            return self
        picky = self.model_fields_set - {"fault", "from_s", "to_s", "every"}
        picky &= set(FaultScript.model_fields)
        if picky:
            message = (
                f"{self.fault} meets everybody: only from, to and every fit, "
                f"not {', '.join(sorted(picky))}"
            )
            raise ValueError(message)
        return self

    @property
    def parameters(self) -> Mapping[str, Any]:
        """
        The keys that belong to the fault itself, as they were written.
        """
        return dict(self._given)


_SCHEDULE_KEYS: Final = frozenset(
    info.alias or name for name, info in FaultScript.model_fields.items()
)


class _KnownFault(FaultScript):
    """
    Base of the models that know their fault's parameters.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)


_UNKNOWN: Final = "<unknown>"


def _tag_of(name: object) -> str:
    # Tags stand in the place of a mistake and are dropped there, because no key of a
    # document is called so.
    return f"<{name}>"


def _model_of(fault: type[Fault]) -> Any:
    fields: dict[str, Any] = {
        name: (info.annotation, copy.copy(info))
        for name, info in fault.model_fields.items()
    }
    name_field = Field(description="Its name in the catalogue.")
    fields["fault"] = (Literal[fault.name], name_field)
    return create_model(
        f"{fault.__name__}Fault",
        __base__=_KnownFault,
        __doc__=fault.__doc__,
        **fields,
    )


def _unknown_model(target: Target) -> Any:
    names = tuple(fault.name for fault in faults_of(target))
    listed = ", ".join(f"'{name}'" for name in names)

    def refuse(name: str) -> str:
        kind, context = "literal_error", {"expected": listed, "target": target.value}
        if name in all_faults():
            text = "is no fault of {target}; there are {expected}"
        else:
            text = "is not in the catalogue; {target} has {expected}"
        raise PydanticCustomError(kind, text, context)

    # To the JSON Schema no fault is unknown: nothing fits it.
    name_type: Any = Annotated[str, AfterValidator(refuse), WithJsonSchema({"not": {}})]
    fields: dict[str, Any] = {"fault": (name_type, ...)}
    return create_model("UnknownFault", __config__=ConfigDict(extra="ignore"), **fields)


def _name_in(value: Any) -> Any:
    if isinstance(value, dict):
        return value.get("fault")
    return getattr(value, "fault", None)


class _FaultOf:
    """
    Validates a fault of a surface by the model of its name.

    A model is made when the first fault of its name is read: most scripts have few or
    none, and to make all hundred takes longer than all else before a mock serves.
    """

    def __init__(self, target: Target) -> None:
        self._target = target
        self._known = cache(lambda: {_tag_of(f.name): f for f in faults_of(target)})
        self._model = cache(self._make_model)
        self._adapter = cache(lambda tag: TypeAdapter(self._model(tag)))
        self.alternatives = cache(self._make_alternatives)

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> core_schema.CoreSchema:
        del source, handler
        return core_schema.no_info_plain_validator_function(self._validate)

    def __get_pydantic_json_schema__(
        self, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        del schema
        return handler(TypeAdapter(self.alternatives()).core_schema)

    def _validate(self, value: Any) -> FaultScript:
        fault: FaultScript = self._adapter(self._tag(value)).validate_python(value)
        return fault

    def _tag(self, value: Any) -> str:
        """
        Return what stands for the fault's model.
        """
        tag = _tag_of(_name_in(value))
        return tag if tag in self._known() else _UNKNOWN

    def _make_model(self, tag: str) -> Any:
        fault = self._known().get(tag)
        return _unknown_model(self._target) if fault is None else _model_of(fault)

    def _make_alternatives(self) -> Any:
        """
        Return the union of all the models, for whoever wants to know all.
        """
        members = [
            Annotated[self._model(tag), Tag(tag)] for tag in (*self._known(), _UNKNOWN)
        ]
        return Annotated[Union[tuple(members)], Discriminator(self._tag)]  # noqa: UP007 - members are made here


UpstreamFault = Annotated[FaultScript, _FaultOf(Target.UPSTREAM)]
ToolFault = Annotated[FaultScript, _FaultOf(Target.TOOLS)]
WebhookEndpointFault = Annotated[FaultScript, _FaultOf(Target.WEBHOOK_ENDPOINT)]
WebhookEmitterFault = Annotated[FaultScript, _FaultOf(Target.WEBHOOK_EMITTER)]
