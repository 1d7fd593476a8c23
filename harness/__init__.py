"""
The offline bench for services that call functions and speak by webhook.

``harness`` holds the reference service (everything from ``service`` down), the
bench that judges a service (``scenario``, ``judging``, ``report``, ``bench``), the
simulator and the dashboard. ``mock_server`` plays everything outside the service
and shares no code with it.
"""

__version__ = "0.1.0"
