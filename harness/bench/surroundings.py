"""
What a service under test is given to find its way.
"""

import base64
from pathlib import Path
from typing import Any, Final
from urllib.parse import urljoin

from harness.randomness import Randomness
from harness.scenario import Scenario

API_KEY: Final = "sk-bench-0000000000000000"
"""What the service shows the mock; it opens nothing."""

_SECRET_BYTES: Final = 32


def webhook_secret(seed: int) -> str:
    """
    Return the signing secret of a run, for both directions.
    """
    source = Randomness(seed).stream("webhook_secret")
    return "whsec_" + base64.b64encode(source.randbytes(_SECRET_BYTES)).decode()


def service_environment(
    *, mock_url: str, port: int, secret: str, data_dir: Path
) -> dict[str, str]:
    """
    Return the environment variables that a service under test is started with.
    """
    return {
        "PORT": str(port),
        "OPENAI_BASE_URL": urljoin(mock_url, "/v1"),
        "OPENAI_API_KEY": API_KEY,
        "WEBHOOK_URL": urljoin(mock_url, "/webhooks/default"),
        "WEBHOOK_SECRET": secret,
        "TOOLS_BASE_URL": mock_url,
        "DATA_DIR": str(data_dir.absolute()),
    }


def service_settings(scenario: Scenario) -> dict[str, Any]:
    """
    Return the settings of the reference service for a run on loopback.
    """
    settings = scenario.service_document()
    webhook = {"allow_private": ["127.0.0.0/8"], **(settings.get("webhook") or {})}
    return {**settings, "webhook": webhook}
