"""
Room for many connections.
"""

import logging
import resource
from collections.abc import Iterator

import pytest

_WANTED = 8192


@pytest.fixture
def quiet(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """
    Nothing is logged as an error or a warning while the test runs.
    """
    yield
    loud = [r for r in caplog.get_records("call") if r.levelno >= logging.WARNING]
    assert not loud, loud[0].getMessage()


@pytest.fixture
def descriptors() -> Iterator[int]:
    """
    The limit of descriptors, raised as far as it may be.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _WANTED if hard == resource.RLIM_INFINITY else min(hard, _WANTED)
    limit = max(soft, wanted)
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
    yield limit
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
