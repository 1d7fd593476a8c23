"""
A scenario: what the outside does, what load comes, and what must hold.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Final, Self

from pydantic import Field, ModelWrapValidatorHandler, PrivateAttr, model_validator

from harness.scenario.expectation import Expectation
from harness.scenario.phase import OpenPhase, Phase
from harness.scenario.promise import Promise, promise_of_settings
from harness.settings import ServiceSettings
from mock_server.script import MockScript

MOCK_KEYS: Final = tuple(MockScript.model_fields)
"""The parts of a scenario that the mock is told."""


class Scenario(MockScript):
    """
    One file: the mock's script, the service's settings, the workload and what must hold.
    """

    scenario: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]*$", max_length=80)]
    """Its name, also that of its file and of the folders of its runs."""

    title: Annotated[str, Field(min_length=1, max_length=500)]
    """What it shows, in a sentence."""

    seed: Annotated[int, Field(ge=0, lt=2**63)] = 1
    """Where all chance comes from, unless another seed is given."""

    service: ServiceSettings = Field(default_factory=ServiceSettings)
    """Settings of the reference service; what is left out has its default."""

    promise: Promise = Field(default_factory=Promise)
    """What is judged; by default what the service's settings say."""

    workload: Annotated[list[Phase], Field(min_length=1)]
    """Phases of load, one after the other."""

    expect: list[Expectation] = Field(default_factory=list)
    """What must hold besides the invariants."""

    _source: dict[str, Any] = PrivateAttr(default_factory=dict)

    @model_validator(mode="wrap")
    @classmethod
    def _keep_source(
        cls, values: Any, handler: ModelWrapValidatorHandler[Self]
    ) -> Self:
        scenario = handler(values)
        if isinstance(values, Mapping):
            scenario.__pydantic_private__ = {"_source": dict(values)}
        return scenario

    @property
    def source(self) -> Mapping[str, Any]:
        """
        The plain values it was made of, durations and rates as they were written.
        """
        return self._source

    @property
    def phases(self) -> list[OpenPhase]:
        """
        The phases of the workload.
        """
        return [phase for phase in self.workload if isinstance(phase, OpenPhase)]

    @property
    def duration_s(self) -> float:
        """
        How long arrivals come.
        """
        return sum(phase.for_s for phase in self.phases)

    @property
    def warmup_s(self) -> float:
        """
        Until when the first phases are warm-up.
        """
        warmup_s = 0.0
        for phase in self.phases:
            if not phase.warmup:
                break
            warmup_s += phase.for_s
        return warmup_s

    def mock_document(self) -> dict[str, Any]:
        """
        Return the part that the mock is told, as plain values.
        """
        return {key: self._source[key] for key in MOCK_KEYS if key in self._source}

    def service_document(self) -> dict[str, Any]:
        """
        Return the part that the reference service is told, as plain values.
        """
        return dict(self._source.get("service") or {})

    def promised(self) -> Promise:
        """
        Return what the reference service promises in this scenario.
        """
        return promise_of_settings(self.service, named=self.promise)
