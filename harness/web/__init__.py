"""
HTTP in front of the service: parse at the door, answer in one shape.
"""

from harness.web.app import WebOptions, WebParts, create_app

__all__ = ["WebOptions", "WebParts", "create_app"]
