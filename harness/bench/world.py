"""
What a run asks of the place where mock and service live.
"""

from typing import Protocol

from harness.bench.run_log import RunLog


class World(Protocol):
    """
    The mock and the service under test, as processes or simulated.

    Attributes:
        mode: ``live`` or ``virtual``.
        mock_url: Where the mock listens, once started.
        service_url: Where the service under test listens, once started.
    """

    mode: str
    mock_url: str
    service_url: str

    def attach(self, log: RunLog) -> None:
        """
        Let what mock and service say go to this log.
        """

    async def start(self) -> None:
        """
        Start the mock, then the service, each ready before the next step.

        Raises:
            SubjectError: One of them did not get ready.
        """

    async def stop(self) -> None:
        """
        Stop the service, then the mock; what never started is passed over.
        """

    async def start_scenario(self, zero_s: float) -> None:
        """
        Tell the mock which point of the monotonic clock is scenario time zero.

        Raises:
            SubjectError: The mock does not answer.
        """

    async def kill_service(self) -> None:
        """
        End the service as a power cut would.

        Raises:
            SubjectError: The service is not the bench's own.
        """

    async def restart_service(self) -> None:
        """
        Start the service again at the same address, over what its disk kept.
        """

    @property
    def is_settled(self) -> bool:
        """
        Whether nothing is about to be restarted.
        """

    async def watch(self) -> None:
        """
        Make sure, until cancelled, that neither mock nor service ends by itself.

        Raises:
            SubjectError: One did; its last lines are in the error.
        """
