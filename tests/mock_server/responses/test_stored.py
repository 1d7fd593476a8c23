"""
Responses and conversations that are kept: chains, retrieval, items, limits.
"""

from typing import Any

import pytest

from mock_server import Limits, LoopClock, MockOptions
from mock_server.testing import MockInTest, RawAnswer, mock_in_test

pytestmark = pytest.mark.virtual_time

SCRIPT = """
upstream:
  script:
    - match: {last_message: {role: tool}}
      reply: {text: "It is {{ results.f }} in turn {{ turn }}."}
    - match: {last_message: {contains: call}}
      reply: {tool_calls: [{name: f, id: "call_{{ turn }}"}]}
    - match: {any_message: {role: system, contains: pirate}}
      reply: {text: "Arr"}
    - match: {last_message: {contains: count}}
      reply: [{text: "one"}, {text: "two"}, {text: "three"}]
    - reply: {text: "turn {{ turn }}"}
"""
TOOLS = [{"type": "function", "name": "f", "parameters": {"type": "object"}}]
KEY = {"authorization": "Bearer sk-test"}


def text_of(answer: RawAnswer) -> str:
    """
    Return what a response says.
    """
    return str(answer.json["output"][-1]["content"][0]["text"])


def result_of(call_id: str, output: Any) -> list[dict[str, Any]]:
    """
    Return the input that answers one call.
    """
    return [{"type": "function_call_output", "call_id": call_id, "output": output}]


async def get(mock: MockInTest, path: str, method: str = "GET") -> RawAnswer:
    """
    Return the answer to a request without a body.
    """
    return await mock.send(method, f"/v1/{path}", headers=KEY)


async def post(mock: MockInTest, path: str, body: object) -> RawAnswer:
    """
    Return the answer to a request with a body.
    """
    return await mock.send("POST", f"/v1/{path}", body, headers=KEY)


@pytest.mark.parametrize("stream", [False, True])
async def test_chain_continues_a_tool_loop(clock: LoopClock, *, stream: bool) -> None:
    """
    With a previous response only the result is sent: the call is known.
    """
    async with mock_in_test(SCRIPT, clock=clock) as mock:
        asked = await mock.respond("call", tools=TOOLS, stream=stream)
        value = asked.named_events[-1][1]["response"] if stream else asked.json
        [call] = value["output"]
        answered = await mock.respond(
            result_of(call["call_id"], "22 °C"),
            previous_response_id=value["id"],
            tools=TOOLS,
        )
        wrong = await mock.respond("and?", previous_response_id=value["id"])
        received = mock.of("upstream_request_received")

    assert text_of(answered) == "It is 22 °C in turn 2."
    assert answered.json["previous_response_id"] == value["id"]
    message = "No tool output found for function call call_1."
    assert wrong.json["error"]["message"] == message
    assert [r["turn"] for r in received] == [1, 2, 0]
    assert received[0]["conversation"] == received[1]["conversation"]
    assert received[1]["tool_results"] == [
        {"tool_call_id": "call_1", "content": "22 °C"}
    ]


async def test_same_loop_without_a_chain(clock: LoopClock) -> None:
    """
    Sending everything again says the same as continuing.
    """
    async with mock_in_test(SCRIPT, clock=clock) as mock:
        asked = await mock.respond("call", tools=TOOLS)
        [call] = asked.json["output"]
        given = [{"role": "user", "content": "call"}, call]
        answered = await mock.respond([*given, *result_of("call_1", "22")], tools=TOOLS)

    assert text_of(answered) == "It is 22 in turn 2."


async def test_result_may_be_a_list_of_parts(clock: LoopClock) -> None:
    """
    The text parts of a result are what the model reads.
    """
    parts = [{"type": "input_text", "text": "a"}, {"type": "input_text", "text": "b"}]
    async with mock_in_test(SCRIPT, clock=clock) as mock:
        asked = await mock.respond("call", tools=TOOLS)
        answered = await mock.respond(
            result_of("call_1", parts), previous_response_id=asked.json["id"]
        )

    assert text_of(answered) == "It is ab in turn 2."


async def test_instructions_are_not_carried_over(clock: LoopClock) -> None:
    """
    Instructions are a system message of this request alone.
    """
    async with mock_in_test(SCRIPT, clock=clock) as mock:
        first = await mock.respond("hello", instructions="Be a pirate.")
        second = await mock.respond("hello", previous_response_id=first.json["id"])

    assert [text_of(first), text_of(second)] == ["Arr", "turn 2"]


async def test_chains_do_not_disturb_each_other(clock: LoopClock) -> None:
    """
    Two chains that run at once each have their own place in a sequence.
    """
    async with mock_in_test(SCRIPT, clock=clock) as mock:
        texts: dict[str, list[str]] = {}
        last: dict[str, str | None] = {"red": None, "blue": None}
        for _ in range(3):
            for name in ("red", "blue"):
                more: dict[str, Any] = {}
                if last[name]:
                    more = {"previous_response_id": last[name]}
                answer = await mock.respond(f"count {name}", **more)
                last[name] = answer.json["id"]
                texts.setdefault(name, []).append(text_of(answer))

    assert texts == {"red": ["one", "two", "three"], "blue": ["one", "two", "three"]}


async def test_chain_keeps_the_conversation_of_its_root(clock: LoopClock) -> None:
    """
    A chain that began under a trace or a name goes on under it.
    """
    named: dict[str, Any] = {"metadata": {"conversation": "mine"}}
    async with mock_in_test(SCRIPT, clock=clock) as mock:
        first = await mock.respond("hello", **named)
        await mock.respond("hello", previous_response_id=first.json["id"])
        received = mock.of("upstream_request_received")

    assert [r["conversation"] for r in received] == ["mine", "mine"]
    assert not any(r.get("ambiguous") for r in received)


async def test_retrieval_gives_the_same_response(clock: LoopClock) -> None:
    """
    A stored response is handed out as it was answered, until it is deleted.
    """
    async with mock_in_test(SCRIPT, clock=clock) as mock:
        answer = await mock.respond("hello", metadata={"a": "b"})
        path = f"responses/{answer.json['id']}"
        found = await get(mock, path)
        elsewhere = await mock.send(
            "GET", f"/v1/{path}", headers={"authorization": "Bearer sk-other"}
        )
        deleted = await get(mock, path, "DELETE")
        gone = await get(mock, path)

    assert found.json == answer.json
    assert elsewhere.status == 404
    expected = {"id": answer.json["id"], "object": "response", "deleted": True}
    assert deleted.json == expected
    assert gone.status == 404
    assert gone.json["error"]["message"] == (
        f"Response with id '{answer.json['id']}' not found."
    )


async def test_what_is_not_stored_cannot_be_continued(clock: LoopClock) -> None:
    """
    With ``store: false`` nothing is kept.
    """
    async with mock_in_test(SCRIPT, clock=clock) as mock:
        answer = await mock.respond("hello", store=False)
        found = await get(mock, f"responses/{answer.json['id']}")
        continued = await mock.respond("x", previous_response_id=answer.json["id"])

    assert answer.json["store"] is False
    assert found.status == 404
    assert continued.json["error"]["code"] == "previous_response_not_found"


async def test_only_background_work_is_cancelled_or_streamed_again(
    clock: LoopClock,
) -> None:
    """
    What was answered at once can neither be cancelled nor streamed again.
    """
    async with mock_in_test(SCRIPT, clock=clock) as mock:
        answer = await mock.respond("hello", stream=True)
        response_id = answer.named_events[0][1]["response"]["id"]
        cancelled = await get(mock, f"responses/{response_id}/cancel", "POST")
        streamed = await get(mock, f"responses/{response_id}?stream=true")

    assert cancelled.status == 400
    message = "Cannot cancel a synchronous response."
    assert cancelled.json["error"]["message"] == message
    assert (streamed.status, streamed.json["error"]["param"]) == (400, "stream")


async def test_input_items_are_paged(clock: LoopClock) -> None:
    """
    Items come newest first, with ids, in pages; or the other way round.
    """
    given = [{"role": "user", "content": f"m{number}"} for number in range(5)]
    async with mock_in_test(SCRIPT, clock=clock) as mock:
        answer = await mock.respond(given)
        path = f"responses/{answer.json['id']}/input_items"
        first = (await get(mock, f"{path}?limit=2")).json
        rest = (await get(mock, f"{path}?limit=9&after={first['last_id']}")).json
        ascending = (await get(mock, f"{path}?order=asc")).json
        bad = await get(mock, f"{path}?order=sideways")

    assert first["object"] == "list"
    assert [len(first["data"]), len(rest["data"])] == [2, 3]
    assert (first["has_more"], rest["has_more"]) == (True, False)
    newest = first["data"][0]
    assert newest["content"] == [{"type": "input_text", "text": "m4"}]
    assert (newest["type"], newest["role"], newest["status"]) == (
        "message",
        "user",
        "completed",
    )
    assert first["first_id"] == newest["id"]
    assert newest["id"].startswith("msg_")
    assert ascending["data"][::-1] == first["data"] + rest["data"]
    assert bad.status == 400


async def test_references_stand_for_items(clock: LoopClock) -> None:
    """
    An item that is stored may be sent by its id.
    """
    async with mock_in_test(SCRIPT, clock=clock) as mock:
        asked = await mock.respond("call", tools=TOOLS)
        [call] = asked.json["output"]
        given: list[dict[str, Any]] = [
            {"role": "user", "content": "call"},
            {"type": "item_reference", "id": call["id"]},
            *result_of("call_1", "22"),
        ]
        answered = await mock.respond(given, tools=TOOLS)
        unknown = await mock.respond([{"type": "item_reference", "id": "fc_X"}])

    assert text_of(answered) == "It is 22 in turn 2."
    assert unknown.status == 404
    assert unknown.json["error"]["message"] == "Item with id 'fc_X' not found."


async def test_input_tokens_are_those_of_the_response(clock: LoopClock) -> None:
    """
    Counting beforehand gives what the response then says.
    """
    body = {"input": "hello there", "instructions": "Be kind.", "tools": TOOLS}
    async with mock_in_test(SCRIPT, clock=clock) as mock:
        counted = await post(mock, "responses/input_tokens", body)
        answer = await mock.respond("hello there", instructions="Be kind.", tools=TOOLS)

    assert counted.json["object"] == "response.input_tokens"
    tokens = answer.json["usage"]["input_tokens"]
    assert counted.json["input_tokens"] == tokens > 0


async def test_conversation_is_a_second_memory(clock: LoopClock) -> None:
    """
    Responses of a conversation read what it holds, and add to it.
    """
    items = [{"role": "user", "content": "call"}]
    async with mock_in_test(SCRIPT, clock=clock) as mock:
        made = await post(mock, "conversations", {"metadata": {"a": "b"}})
        conversation = made.json["id"]
        asked = await mock.respond(items, conversation=conversation, tools=TOOLS)
        answered = await mock.respond(
            result_of("call_1", "22"), conversation={"id": conversation}
        )
        listed = await get(mock, f"conversations/{conversation}/items?order=asc")
        received = mock.of("upstream_request_received")

    assert (made.json["object"], made.json["metadata"]) == ("conversation", {"a": "b"})
    assert conversation.startswith("conv_")
    assert asked.json["conversation"] == {"id": conversation}
    assert text_of(answered) == "It is 22 in turn 2."
    kinds = [item["type"] for item in listed.json["data"]]
    assert kinds == ["message", "function_call", "function_call_output", "message"]
    assert [r["conversation"] for r in received] == [conversation, conversation]


async def test_items_of_a_conversation(clock: LoopClock) -> None:
    """
    Items are added, found and deleted one by one.
    """
    items = [{"role": "user", "content": f"m{number}"} for number in range(3)]
    async with mock_in_test(SCRIPT, clock=clock) as mock:
        made = await post(mock, "conversations", {"items": items[:1]})
        path = f"conversations/{made.json['id']}"
        added = await post(mock, f"{path}/items", {"items": items[1:]})
        item_id = added.json["last_id"]
        found = await get(mock, f"{path}/items/{item_id}")
        deleted = await get(mock, f"{path}/items/{item_id}", "DELETE")
        gone = await get(mock, f"{path}/items/{item_id}")
        listed = await get(mock, f"{path}/items")
        updated = await post(mock, path, {"metadata": {"c": "d"}})
        shown = await get(mock, path)
        removed = await get(mock, path, "DELETE")
        refused = await mock.respond("x", conversation=made.json["id"])

    assert len(added.json["data"]) == 2
    assert found.json["content"] == [{"type": "input_text", "text": "m2"}]
    assert deleted.json["object"] == "conversation"
    assert gone.status == 404
    texts = [item["content"][0]["text"] for item in listed.json["data"]]
    assert texts == ["m1", "m0"]
    assert updated.json == shown.json
    assert shown.json["metadata"] == {"c": "d"}
    assert removed.json["object"] == "conversation.deleted"
    assert refused.status == 404


async def test_oldest_make_room(clock: LoopClock) -> None:
    """
    Only so many responses and conversations are kept, and what made room is counted.
    """
    limits = Limits(responses_max=3, conversations_max=2)
    options = MockOptions(port=0, limits=limits)
    async with mock_in_test(SCRIPT, options, clock=clock) as mock:
        ids = [(await mock.respond(f"m{n}")).json["id"] for n in range(5)]
        for _ in range(3):
            await post(mock, "conversations", {})
        found = [(await get(mock, f"responses/{i}")).status for i in ids]
        health = mock.running.mock.health()

    assert found == [404, 404, 200, 200, 200]
    assert health["holds"]["responses"] == 3
    assert health["holds"]["conversations"] == 2
    assert health["dropped"]["responses_max"] == 2
    assert health["dropped"]["conversations_max"] == 1


async def test_weight_is_bounded_too(clock: LoopClock) -> None:
    """
    A long chain holds no more bytes than all responses together may.
    """
    options = MockOptions(port=0, limits=Limits(response_bytes_max=100_000))
    async with mock_in_test(SCRIPT, options, clock=clock) as mock:
        previous: dict[str, Any] = {}
        for _ in range(20):
            answer = await mock.respond("x" * 10_000, **previous)
            previous = {"previous_response_id": answer.json["id"]}
        held = mock.running.mock.health()["holds"]["responses"]

    assert answer.status == 200
    assert held < 5


async def test_too_many_items_are_too_long(clock: LoopClock) -> None:
    """
    What no model could read is refused as a model's window would.
    """
    options = MockOptions(port=0, limits=Limits(response_items_max=3))
    async with mock_in_test(SCRIPT, options, clock=clock) as mock:
        first = await mock.respond([{"role": "user", "content": "a"}] * 2)
        second = await mock.respond("b", previous_response_id=first.json["id"])

    assert first.status == 200
    error = second.json["error"]
    assert (error["param"], error["code"]) == ("input", "context_length_exceeded")


async def test_reset_forgets_everything(clock: LoopClock) -> None:
    """
    After a reset nothing is kept.
    """
    async with mock_in_test(SCRIPT, clock=clock) as mock:
        answer = await mock.respond("hello")
        mock.running.mock.reset()
        found = await get(mock, f"responses/{answer.json['id']}")

    assert found.status == 404


async def test_same_seed_gives_the_same_ids(clock: LoopClock) -> None:
    """
    The same request to two mocks of one seed is answered byte by byte the same.
    """
    bodies = []
    for _ in range(2):
        async with mock_in_test(SCRIPT, clock=clock) as mock:
            bodies.append((await mock.respond("call", tools=TOOLS)).body)
            other = await mock.respond("call me", tools=TOOLS)

    assert bodies[0] == bodies[1] != other.body
