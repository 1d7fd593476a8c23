"""
Somebody's service, in a few lines: no webhooks, no retries, one tool by hand.
"""

import os
from typing import Any

import aiohttp
from aiohttp import web

BASE_URL = os.environ["OPENAI_BASE_URL"]
HEADERS = {"Authorization": f"Bearer {os.environ['OPENAI_API_KEY']}"}
TOOL = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    },
}


async def complete(
    session: aiohttp.ClientSession, messages: list[Any]
) -> dict[str, Any]:
    """
    Ask the model once.
    """
    body = {"model": "gpt-4o", "messages": messages, "tools": [TOOL]}
    async with session.post(
        f"{BASE_URL}/chat/completions", json=body, headers=HEADERS
    ) as response:
        response.raise_for_status()
        answer: dict[str, Any] = (await response.json())["choices"][0]["message"]
        return answer


async def run_tool(session: aiohttp.ClientSession, call: dict[str, Any]) -> str:
    """
    Ask the tool backend.
    """
    url = f"{os.environ['TOOLS_BASE_URL']}/tools/{call['function']['name']}"
    headers = {"Idempotency-Key": call["id"], "Content-Type": "application/json"}
    arguments = call["function"]["arguments"]
    async with session.post(url, data=arguments, headers=headers) as response:
        return await response.text()


async def ask(request: web.Request) -> web.Response:
    """
    Answer a question.
    """
    question = (await request.json())["question"]
    messages: list[Any] = [{"role": "user", "content": question}]
    async with aiohttp.ClientSession() as session:
        message = await complete(session, messages)
        while message.get("tool_calls"):
            messages.append(message)
            for call in message["tool_calls"]:
                content = await run_tool(session, call)
                messages.append(
                    {"role": "tool", "tool_call_id": call["id"], "content": content}
                )
            message = await complete(session, messages)
    return web.json_response({"text": message["content"]})


async def health(_request: web.Request) -> web.Response:
    """
    Say that it is well.
    """
    return web.Response(text="ok")


if __name__ == "__main__":
    app = web.Application()
    app.add_routes([web.post("/ask", ask), web.get("/healthz", health)])
    web.run_app(app, host="127.0.0.1", port=int(os.environ["PORT"]), print=None)
