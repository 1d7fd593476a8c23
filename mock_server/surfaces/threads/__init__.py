"""
Assistants, threads and runs: the API before responses.
"""

from mock_server.surfaces.threads.assistants import Assistants
from mock_server.surfaces.threads.runs import Runs
from mock_server.surfaces.threads.state import ThreadMemory
from mock_server.surfaces.threads.threads import Threads

__all__ = ["Assistants", "Runs", "ThreadMemory", "Threads"]
