"""
HTTP in front of the service: parse at the door, answer in one shape.
"""

from harness.web.app import WebOptions, WebParts, create_app
from harness.web.connection import Runner

__all__ = ["Runner", "WebOptions", "WebParts", "create_app"]
