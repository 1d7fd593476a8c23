"""
Several processes that are one mock.
"""

from mock_server.workers.team import WORKERS_MAX, Team, WorkerError, refusal_of

__all__ = ["WORKERS_MAX", "Team", "WorkerError", "refusal_of"]
