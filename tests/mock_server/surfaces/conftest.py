"""
The official client against a mock with a script of the test's own.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass

import openai
import pytest

from mock_server import MockOptions
from mock_server.testing import MockInTest, mock_in_test


@dataclass(slots=True)
class Served:
    """
    A mock and an official client of it that believes no answer it cannot validate.
    """

    mock: MockInTest
    client: openai.AsyncOpenAI


Serve = Callable[..., AbstractAsyncContextManager[Served]]


@pytest.fixture
def serve() -> Serve:
    """
    Give what serves a script to the official client.
    """

    @asynccontextmanager
    async def serve_script(
        script: str = "{}",
        *,
        options: MockOptions | None = None,
        api_key: str = "sk-surfaces",
        strict: bool = True,
    ) -> AsyncIterator[Served]:
        async with (
            mock_in_test(script, options) as mock,
            openai.AsyncOpenAI(
                base_url=mock.running.base_url,
                api_key=api_key,
                max_retries=0,
                _strict_response_validation=strict,
            ) as client,
        ):
            yield Served(mock, client)

    return serve_script
