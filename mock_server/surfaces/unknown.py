"""
Every path that the API does not have.
"""

from typing import ClassVar

from mock_server.faults import Target
from mock_server.surfaces.ports import Answer, SurfaceRequest, WorldMemory
from mock_server.wire import invalid_url


class Unknown:
    """
    Answers 404 in the API's own envelope.
    """

    name: ClassVar[str] = "unknown"
    target: ClassVar[Target] = Target.UPSTREAM
    is_silent: ClassVar[bool] = True

    async def handle(self, request: SurfaceRequest, world: WorldMemory) -> Answer:
        """
        Refuse the request.

        Raises:
            ApiError: Always.
        """
        del world
        raise invalid_url(request.method, f"/v1{request.path}")
