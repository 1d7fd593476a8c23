"""
The servers that ``mock.py`` measures: the mock, and bare aiohttp.

    python mock_servers.py mock RULES [CHUNKS [WORKERS]]
    python mock_servers.py bare [CHUNKS]
"""

import asyncio
import json
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from aiohttp import web

from mock_server import MockOptions, serve
from mock_server.testing import RawAnswer, mock_in_test
from mock_server.wire import parse_chat_request

ANSWER = "It is 22 degrees and sunny in Paris. " * 2


def script_text(rules: int, chunks: int) -> dict[str, object]:
    """
    Return a script of which only the last rule fits; half contains, half regex.
    """
    text = " ".join(f"word{number}" for number in range(chunks)) if chunks else ANSWER
    return {
        "upstream": {
            "script": [
                {
                    "match": {"last_message": _match(number, rules)},
                    "reply": {"text": text},
                }
                for number in range(rules)
            ]
        }
    }


def _match(number: int, rules: int) -> dict[str, str]:
    words = f"question of rule {number},"
    if number % 2 and number != rules - 1:
        return {"regex": rf"question\s+of rule {number},"}
    return {"contains": words}


def serve_mock(rules: int, chunks: int, workers: int) -> int:
    """
    Serve the mock as its command does.
    """
    with TemporaryDirectory() as folder:
        script = Path(folder) / "script.json"
        script.write_text(json.dumps(script_text(rules, chunks)), encoding="utf-8")
        return serve(MockOptions(port=0), script_file=script, workers=workers)


async def answer_of(chunks: int) -> RawAnswer:
    """
    Return what the mock would answer, to be sent as it is.
    """
    document = script_text(10, chunks)
    async with mock_in_test(str(document).replace("'", '"')) as mock:
        return await mock.chat("the question of rule 9, please", stream=chunks > 0)


async def serve_bare(chunks: int) -> None:
    """
    Serve fixed bytes after parsing the body with the mock's own parser.
    """
    fixed = await answer_of(chunks)
    pieces = fixed.chunks[:-1] if chunks else []
    body = b"" if chunks else fixed.body

    async def handle(request: web.Request) -> web.StreamResponse:
        parse_chat_request(await request.read())
        return web.Response(body=body, content_type="application/json")

    async def stream(request: web.Request) -> web.StreamResponse:
        parse_chat_request(await request.read())
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        for piece in pieces:
            await response.write(piece)
        await response.write_eof()
        return response

    app = web.Application()
    app.router.add_post("/v1/chat/completions", stream if chunks else handle)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    print(f"listening on http://127.0.0.1:{runner.addresses[0][1]}", flush=True)
    await asyncio.Event().wait()


def main() -> None:
    """
    Serve what the command line asks for.
    """
    kind, *numbers = sys.argv[1:]
    counts = [int(number) for number in numbers]
    if kind == "mock":
        rules, chunks, workers = (*counts, *(10, 0, 1)[len(counts) :])
        sys.exit(serve_mock(rules, chunks, workers))
    else:
        asyncio.run(serve_bare(counts[0] if counts else 0))


if __name__ == "__main__":
    main()
