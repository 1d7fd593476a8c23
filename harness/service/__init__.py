"""
The composition root: builds the reference service by hand and owns its tasks.
"""

from harness.service.graph import Service
from harness.service.running import running_service
from harness.service.serving import check_workers, serve

__all__ = ["Service", "check_workers", "running_service", "serve"]
