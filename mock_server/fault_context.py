"""
What faults may know of a request, for each of them with its own chance.
"""

from dataclasses import replace

from mock_server.core import Core
from mock_server.faults import Asked, FaultContext, Target
from mock_server.injector import ActiveFault
from mock_server.surfaces.ports import Answer, Surface, SurfaceRequest
from mock_server.wire import Plan, is_stream
from mock_server.worlds import World


class FaultContexts:
    """
    The contexts of one request, made when a fault asks.
    """

    def __init__(
        self,
        core: Core,
        surface: Surface,
        request: SurfaceRequest,
        world: World,
        answer: Answer,
    ) -> None:
        self._core = core
        self._surface = surface
        self._request = request
        self._world = world
        self._keys = answer.keys
        is_upstream = surface.target is Target.UPSTREAM
        self._asked = Asked(request.body if is_upstream else b"")
        self._contexts: dict[str, FaultContext] = {}
        # A streamed request may be refused with a plain answer.
        self.stream = bool(answer.received.get("stream")) and (
            answer.plan is None or is_stream(answer.plan)
        )

    def of(self, active: ActiveFault) -> FaultContext:
        """
        Return the context of a fault.
        """
        context = self._contexts.get(active.fault_id)
        if context is None:
            context = self._make(active.fault_id)
            self._contexts[active.fault_id] = context
        return context

    def apply(self, active: ActiveFault, plan: Plan) -> Plan | None:
        """
        Return what a fault makes of a plan; None if there is nothing that it fits.

        A fault before it may have put a plain answer in the place of a stream.
        """
        context = self.of(active)
        if context.stream and not is_stream(plan):
            if active.fault.streams_only:
                return None
            context = replace(context, stream=False)
        return active.fault.on_plan(plan, context)

    def _make(self, fault_id: str) -> FaultContext:
        keys, request = self._keys, self._request
        # It must not hold what holds it, or all of it stays until somebody looks for
        # garbage.
        draws, world = self._core.draws, self._world.name

        def draw(purpose: str) -> float:
            return draws.draw(
                "fault-detail",
                fault_id,
                purpose,
                world,
                keys.conversation,
                keys.turn,
                keys.attempt_number,
            )

        return FaultContext(
            target=self._surface.target,
            stream=self.stream,
            request_id=request.request_id,
            wall_s=self._core.clock.wall(),
            draw=draw,
            surface=self._surface.name,
            path=request.path,
            headers=request.headers,
            asked=self._asked,
            is_reused=request.is_reused,
            turn=keys.turn,
        )
