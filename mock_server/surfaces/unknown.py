"""
Every path that the API does not have.
"""

from collections.abc import Sequence
from typing import ClassVar

from mock_server.faults import Target
from mock_server.surfaces.ports import Answer, SurfaceRequest, WorldMemory
from mock_server.wire import check_api_key, invalid_url


class Unknown:
    """
    Answers 404 in the API's own envelope, to whoever has a key.

    Args:
        api_keys: Which keys are accepted; None for any.
    """

    name: ClassVar[str] = "unknown"
    target: ClassVar[Target] = Target.UPSTREAM
    is_silent: ClassVar[bool] = True

    def __init__(self, api_keys: Sequence[str] | None) -> None:
        self._api_keys = api_keys

    async def handle(self, request: SurfaceRequest, world: WorldMemory) -> Answer:
        """
        Refuse the request.

        Raises:
            ApiError: Always.
        """
        del world
        check_api_key(request.api_key, self._api_keys)
        raise invalid_url(request.method, f"/v1{request.path}")
