"""
Where results of deferred tools come in.
"""

from collections.abc import Sequence

from aiohttp import web

from harness.clock import Clock
from harness.web.answers import json_answer
from harness.web.bodies import read_body
from harness.webhooks import BODY_BYTES_MAX, WebhookReceiver


class WebhookRoutes:
    """
    Hands incoming webhooks to the receiver, as the bytes they came in.
    """

    def __init__(self, *, receiver: WebhookReceiver, path: str, clock: Clock) -> None:
        self._receiver = receiver
        self._path = path
        self._clock = clock

    def routes(self) -> Sequence[web.RouteDef]:
        """
        Return what is served at which path.
        """
        return [web.post(self._path, self.post_webhook)]

    async def post_webhook(self, request: web.Request) -> web.StreamResponse:
        """
        Take a webhook; what it says is committed before it is answered.
        """
        body = await read_body(
            request, body_bytes_max=BODY_BYTES_MAX, clock=self._clock
        )
        answer = await self._receiver.receive(request.headers, body)
        return json_answer(answer.body, status=answer.status, headers=answer.headers)
