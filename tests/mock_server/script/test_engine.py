"""
Rules answer in their order, sequences move on, templates use what was asked.
"""

from collections.abc import Callable
from typing import Any

import pytest

from mock_server.script import ScriptError, Seen

Ask = Callable[..., Seen]
Play = Callable[[str], Any]


def loop(*results: str) -> list[dict[str, Any]]:
    """
    Return a transcript that ends with these tool results.
    """
    calls = [
        {
            "id": f"call_{number}",
            "type": "function",
            "function": {"name": f"tool_{number}", "arguments": "{}"},
        }
        for number in range(len(results))
    ]
    return [
        {"role": "user", "content": "go [#t1]"},
        {"role": "assistant", "tool_calls": calls},
        *(
            {"role": "tool", "tool_call_id": f"call_{number}", "content": result}
            for number, result in enumerate(results)
        ),
    ]


def test_first_match_wins(ask: Ask, play: Play) -> None:
    """
    Of two rules that match, the earlier one answers.
    """
    player = play("""
    upstream:
      script:
        - {match: {last_message: {contains: b}}, reply: {text: one}}
        - {match: {last_message: {contains: a}}, reply: {text: two}}
        - {reply: {text: three}}
    """)

    assert [player.text(ask(message)) for message in ("ab", "a", "c")] == [
        "one",
        "two",
        "three",
    ]
    assert player.decide(ask("a")).rule.number == 1


def test_without_rules_the_message_is_echoed(ask: Ask, play: Play) -> None:
    """
    An empty script answers sensibly, also after tools have run.
    """
    player = play("{}")

    assert player.text(ask("hello [#x]")) == "You said: hello"
    assert player.text(ask(messages=loop("22"))) == "The tools answered: 22"


def test_no_rule_matches(ask: Ask, play: Play) -> None:
    """
    The error names the nearest rule and what it asks for.
    """
    player = play("""
    upstream:
      script:
        - {match: {model: o9, stream: true}, reply: {text: a}}
        - name: weather
          match: {last_message: {role: user, contains: weather}}
          reply: {text: b}
    """)

    error = player.decide(ask("hello")).error

    assert (error.status, error.code) == (404, "no_matching_rule")
    assert error.message == (
        "No rule of the script matches this request. Nearest is rule 2 (weather), "
        "which asks for last_message.contains 'weather'; the last message is of role "
        "user and says 'hello'."
    )


@pytest.mark.parametrize(
    ("then", "texts"),
    [
        ("", ["a", "b", "b", "b"]),
        ("then: last", ["a", "b", "b", "b"]),
        ("then: first", ["a", "b", "a", "b"]),
        ("then: next_rule", ["a", "b", "rest", "rest"]),
    ],
)
def test_sequences(ask: Ask, play: Play, then: str, texts: list[str]) -> None:
    """
    A sequence gives one reply after the other, then what ``then`` says.
    """
    player = play(f"""
    upstream:
      script:
        - match: {{last_message: {{contains: x}}}}
          reply:
            sequence: [{{text: a}}, {{text: b}}]
            {then}
        - {{reply: {{text: rest}}}}
    """)

    assert [player.text(ask("x")) for _ in range(4)] == texts


def test_sequences_are_per_conversation(ask: Ask, play: Play) -> None:
    """
    Another conversation starts a sequence from its first reply.
    """
    player = play("upstream: {script: [{reply: [{text: a}, {text: b}]}]}")

    first = player.text(ask())
    player.new_conversation()

    assert (first, player.text(ask()), player.text(ask())) == ("a", "a", "b")


def test_undelivered_reply_comes_again(ask: Ask, play: Play) -> None:
    """
    What a fault kept from the client, the next attempt gets.
    """
    player = play("upstream: {script: [{reply: [{text: a}, {text: b}]}]}")

    player.decide(ask()).undelivered()

    assert [player.text(ask()) for _ in range(2)] == ["a", "b"]


def test_error_in_a_sequence(ask: Ask, play: Play) -> None:
    """
    An error is a reply like any other.
    """
    player = play("""
    upstream:
      script:
        - reply: [{error: {status: 503, message: "busy, {{ user }}"}}, {text: ok}]
    """)

    error = player.decide(ask("x", user="ann")).error

    assert (error.status, error.message) == (503, "busy, ann")
    assert player.text(ask("x")) == "ok"


TEMPLATES = [
    ("{{ message }}", "go"),
    ("{{ tool.temperature }} °C", "22 °C"),
    ("{{ tool.values }}", "[1, 2]"),
    ("{{ tools | length }} {{ tools[0].temperature }}", "2 21"),
    ("{{ results.tool_1.temperature }}", "22"),
    ("{{ turn }} {{ model }} {{ user }}", "2 gpt-4o ann"),
    ("{{ conversation }} {{ attempt }}", "conversation-1 1"),
    ("{{ request.messages | length }} {{ request.metadata.k }}", "4 v"),
    ("{% if tool.temperature > 20 %}warm{% else %}cold{% endif %}", "warm"),
    ("{{ tool | tojson }}", '{"temperature": 22, "values": [1, 2]}'),
    ("no template { } }}", "no template { } }}"),
]


@pytest.mark.parametrize(("template", "text"), TEMPLATES)
def test_templates(ask: Ask, play: Play, template: str, text: str) -> None:
    """
    Templates use the message, the tool results and the request.
    """
    player = play(f"upstream: {{script: [{{reply: {{text: '{template}'}}}}]}}")
    results = ('{"temperature": 21}', '{"temperature": 22, "values": [1, 2]}')

    seen = ask(messages=loop(*results), user="ann", metadata={"k": "v"})

    assert player.text(seen) == text


def test_what_a_regex_found_is_known(ask: Ask, play: Play) -> None:
    """
    Groups of the rule's regular expression are at hand, by number and name.
    """
    player = play(r"""
    upstream:
      script:
        - match: {last_message: {regex: 'order (?P<id>ORD-\d+) of (\w+)'}}
          reply: {text: "{{ match.id }} {{ match[2] }} {{ match[0] | length }}"}
    """)

    assert player.text(ask("my order ORD-7 of May [#k1]")) == "ORD-7 May 18"


def test_arguments_keep_their_types(ask: Ask, play: Play) -> None:
    """
    One expression gives its own value, text around it makes it a text.
    """
    player = play("""
    upstream:
      script:
        - reply:
            tool_calls:
              - name: f
                arguments:
                  turn: "{{ turn }}"
                  deep: [{text: "turn {{ turn }}"}]
                  none: null
                  city: Zürich
              - {name: g, arguments: '{"raw": '}
              - {name: h, id: "call_{{ turn }}"}
          match: {last_message: {role: user}}
    """)

    calls = player.decide(ask("x")).drawn.tool_calls

    assert calls[0].arguments == (
        '{"turn":1,"deep":[{"text":"turn 1"}],"none":null,"city":"Zürich"}'
    )
    assert calls[1].arguments == '{"raw": '
    assert (calls[2].arguments, calls[2].id) == ("{}", "call_1")


@pytest.mark.parametrize(
    ("template", "reason"),
    [
        ("{{ tool.humidity }}", "has no attribute 'humidity'"),
        ("{{ tools[9] }}", "has no element 9"),
        ("{{ 1 / 0 }}", "division by zero"),
        ("{{ match[1] }}", "'match' is undefined"),
        ("{{ message.__class__.__mro__ }}", "unsafe"),
        ("{{ 'x' * 9000000 }}", "more than"),
    ],
)
def test_template_errors(ask: Ask, play: Play, template: str, reason: str) -> None:
    """
    A template that fails is an error of the script that says why.
    """
    player = play(f'upstream: {{script: [{{reply: {{text: "{template}"}}}}]}}')

    with pytest.raises(ScriptError, match=reason):
        player.decide(ask(messages=loop('{"temperature": 22}')))


@pytest.mark.parametrize("template", ["{{ lipsum() }}", "{{ tools | random }}"])
def test_templates_know_no_chance(play: Play, template: str) -> None:
    """
    Nothing in a template may depend on chance that no seed rules.
    """
    with pytest.raises(Exception, match=r"lipsum|random"):
        play(f'upstream: {{script: [{{reply: {{text: "{template}"}}}}]}}')


def test_auto_calls_a_tool_and_then_answers(ask: Ask, play: Play) -> None:
    """
    ``auto`` calls the tool that fits best, by its schema, and ends with a text.
    """
    player = play("upstream: {script: [{reply: auto}]}")
    tools = [
        {
            "type": "function",
            "function": {
                "name": name,
                "parameters": {
                    "type": "object",
                    "properties": {"city": {"enum": ["Paris"]}, "n": {"minimum": 3}},
                    "required": ["city"],
                },
            },
        }
        for name in ("query_order", "get_weather")
    ]

    call = player.decide(ask("what is the weather?", tools=tools)).drawn.tool_calls[0]

    assert (call.name, call.arguments) == ("get_weather", '{"city":"Paris"}')
    assert player.text(ask("hello")) == "You said: hello"
    assert player.text(ask(messages=loop("22"), tools=tools)) == (
        "The tools answered: 22"
    )


@pytest.mark.parametrize(
    ("form", "text"),
    [
        ({"type": "text"}, "You said: json"),
        ({"type": "json_object"}, '{"message":"You said: json"}'),
        (
            {
                "type": "json_schema",
                "json_schema": {
                    "name": "w",
                    "schema": {
                        "type": "object",
                        "properties": {"n": {"type": "integer"}},
                    },
                },
            },
            '{"n":1}',
        ),
    ],
)
def test_unscripted_text_has_the_form_asked_for(
    ask: Ask, play: Play, form: dict[str, Any], text: str
) -> None:
    """
    Without a script a structured answer still follows its schema.
    """
    assert play("{}").text(ask("json", response_format=form)) == text


def test_templates_reach_into_the_offered_tools(ask: Ask, play: Play) -> None:
    """
    The request is known whole, the schemas of its tools included.
    """
    player = play("""
    upstream:
      script:
        - reply: {text: "{{ request.tools[0].function.parameters.type }}"}
    """)
    function = {"name": "f", "parameters": {"type": "object", "properties": {}}}

    seen = ask("x", tools=[{"type": "function", "function": function}])

    assert player.text(seen) == "object"


def test_a_regex_of_any_message_is_known(ask: Ask, play: Play) -> None:
    """
    What was found in an earlier message is at hand as well.
    """
    player = play(r"""
    upstream:
      script:
        - match: {any_message: {role: user, regex: 'g(.)'}, last_message: {role: tool}}
          reply: {text: "{{ match[1] }} {{ tool }}"}
    """)

    assert player.text(ask(messages=loop("no json"))) == "o no json"


def test_ended_sequence_is_named(ask: Ask, play: Play) -> None:
    """
    When the only rule has ended, the error says that.
    """
    player = play("""
    upstream: {script: [{reply: {sequence: [{text: a}], then: next_rule}}]}
    """)
    player.decide(ask())

    assert "whose sequence has ended" in player.decide(ask()).error.message
