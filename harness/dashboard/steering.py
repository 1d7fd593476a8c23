"""
Keys that make something go wrong: the control API of a running mock.
"""

from dataclasses import dataclass
from typing import Any

import aiohttp

_TIMEOUT_S = 3.0


class SteeringError(Exception):
    """
    The mock did not do what was asked.
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class Steering:
    """
    Injects and stops faults while a run goes on.
    """

    mock_url: str
    control_token: str = ""

    async def inject(self, target: str, fault: dict[str, Any]) -> None:
        """
        Add a fault to a surface of the mock.

        Raises:
            SteeringError: The mock cannot be reached or refuses.
        """
        await self._ask("POST", "/_mock/faults", {"target": target, **fault})

    async def stop_all(self) -> None:
        """
        Remove every fault, those of the script included.

        Raises:
            SteeringError: The mock cannot be reached or refuses.
        """
        await self._ask("DELETE", "/_mock/faults", None)

    async def _ask(self, method: str, path: str, body: dict[str, Any] | None) -> None:
        headers = (
            {"Authorization": f"Bearer {self.control_token}"}
            if self.control_token
            else {}
        )
        timeout = aiohttp.ClientTimeout(total=_TIMEOUT_S)
        try:
            async with (
                aiohttp.ClientSession(timeout=timeout, headers=headers) as session,
                session.request(method, f"{self.mock_url}{path}", json=body) as answer,
            ):
                if not answer.ok:
                    raise SteeringError(f"{answer.status}: {await answer.text()}"[:200])
        except (aiohttp.ClientError, TimeoutError) as error:
            message = f"the mock at {self.mock_url} cannot be reached: {error}"
            raise SteeringError(message) from error
