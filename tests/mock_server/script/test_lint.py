"""
A script's mistakes are named with file, line, column and the nearest right word.
"""

from collections.abc import Callable
from pathlib import Path

import pytest

from mock_server.documents import DocumentError, parse_document
from mock_server.script import load_script, script_of, seed_of

Lint = Callable[[str], list[str]]

DESIGN = """\
scenario: upstream-outage
title: The upstream fails for 20 s; the breaker opens, probes and closes again.
seed: 7
upstream:
  script:
    - match: {last_message: {role: user, contains: weather}}
      reply: {tool_calls: [{name: get_weather, arguments: {city: Paris}}]}
    - match: {last_message: {role: tool}}
      reply: {text: "It is {{ tool.temperature }} °C in Paris."}
  latency: {time_to_first_token: {median: 40ms, p99: 200ms}, inter_token: 5ms}
  faults:
    - {fault: status, status: 503, from: 10s, to: 30s}
tools:
  get_weather: {result: {city: Paris, temperature: 22}, latency: 20ms}
webhook_endpoint:
  faults: [{fault: status, status: 500, injection_rate: 0.2}]
service:
  breaker: {failure_threshold: 5, break_duration: 5s}
workload:
  - {arrivals: 40/s, for: 60s, send: {message: "weather in Paris?"}}
expect:
  - {metric: webhooks.lost, is: 0}
"""


def test_a_whole_scenario_is_a_script(tmp_path: Path) -> None:
    """
    Of a scenario only what the outside does is read.
    """
    file = tmp_path / "scenario.yaml"
    file.write_text(DESIGN, encoding="utf-8")

    script = load_script(file)

    assert len(script.upstream.script) == 2
    assert script.upstream.faults[0].parameters == {"status": 503}
    assert (script.upstream.faults[0].from_s, script.upstream.faults[0].to_s) == (
        10.0,
        30.0,
    )
    assert script.tools["get_weather"].latency == pytest.approx(0.02)
    assert script.webhook_endpoint.faults[0].injection_rate == 0.2
    assert seed_of(parse_document(DESIGN, file="s")) == 7


def test_a_file_is_named_in_its_mistakes(tmp_path: Path) -> None:
    """
    What cannot be read says so, with the file.
    """
    with pytest.raises(DocumentError, match=r"nowhere.yaml:1:1: cannot be read"):
        load_script(tmp_path / "nowhere.yaml")


@pytest.mark.parametrize("text", ["", "{}", "upstream: {}"])
def test_nothing_is_a_script(text: str) -> None:
    """
    An empty file is a script without rules.
    """
    assert script_of(parse_document(text, file="s")).upstream.script == []


MISTAKES: dict[str, tuple[str, list[str]]] = {
    "a misspelt surface": (
        "upstraem: {}",
        ["s.yaml:1:1: upstraem: unknown key; did you mean 'upstream'?"],
    ),
    "a misspelt surface of a scenario": (
        "scenario: x\nupstraem: {}\nworkload: []\n",
        ["s.yaml:2:1: upstraem: unknown key; did you mean 'upstream'?"],
    ),
    "no mapping": (
        "- a",
        [
            "s.yaml:1:1: a script is a mapping with upstream, tools, webhook_endpoint, webhook_emitter"
        ],
    ),
    "a misspelt key of a match": (
        "upstream:\n  script:\n    - match: {last_mesage: {role: user}}\n      reply: {text: a}\n",
        [
            "s.yaml:3:15: upstream.script[0].match.last_mesage: unknown key; did you mean 'last_message'?"
        ],
    ),
    "an unknown role": (
        "upstream: {script: [{match: {last_message: {role: usr}}, reply: {text: a}}]}",
        [
            "s.yaml:1:45: upstream.script[0].match.last_message.role: input should be 'developer', 'system', 'user', 'assistant', 'tool' or 'function'; did you mean 'user'?"
        ],
    ),
    "an empty reply": (
        "upstream: {script: [{reply: {}}]}",
        [
            "s.yaml:1:22: upstream.script[0].reply: a reply has one of text, tool_calls, refusal, error, auto, sequence"
        ],
    ),
    "two replies in one": (
        "upstream: {script: [{reply: {text: a, error: {status: 500}}}]}",
        [
            "s.yaml:1:22: upstream.script[0].reply: an answer and error exclude each other"
        ],
    ),
    "a broken regex": (
        "upstream: {script: [{match: {last_message: {regex: '('}}, reply: {text: a}}]}",
        [
            "s.yaml:1:45: upstream.script[0].match.last_message.regex: is no regular expression: missing ), unterminated subpattern at position 0"
        ],
    ),
    "a duration without unit": (
        "upstream: {latency: {inter_token: 5}}",
        [
            "s.yaml:1:22: upstream.latency.inter_token: 5 is no duration: write a number and a unit, like 250ms, 30s, 5m, 2h"
        ],
    ),
    "a distribution the wrong way round": (
        "upstream: {latency: {inter_token: {median: 2s, p99: 1s}}}",
        ["s.yaml:1:22: upstream.latency.inter_token: p99 is below the median"],
    ),
    "an unknown fault": (
        "tools: {f: {result: 1, faults: [{fault: lost_replay}]}}",
        [
            "s.yaml:1:34: tools.f.faults[0].fault: is not in the catalogue; tools has",
            "did you mean 'lost_reply'?",
        ],
    ),
    "a fault of another surface": (
        "webhook_endpoint: {faults: [{fault: arguments}]}",
        [
            "s.yaml:1:30: webhook_endpoint.faults[0].fault: is no fault of webhook_endpoint; there are"
        ],
    ),
    "a misspelt parameter of a fault": (
        "upstream: {faults: [{fault: disconnect, after_event: 3}]}",
        [
            "s.yaml:1:41: upstream.faults[0].after_event: unknown key; did you mean 'after_events'?"
        ],
    ),
    "a bad schedule of a fault": (
        "upstream: {faults: [{fault: status, status: 503, times: often}]}",
        ["s.yaml:1:50: upstream.faults[0].times: input should be a valid integer"],
    ),
    "a fault that never hits": (
        "upstream: {faults: [{fault: black_hole, from: 5s, to: 5s}]}",
        ["s.yaml:1:21: upstream.faults[0]: to is not after from"],
    ),
    "a broken template": (
        "upstream: {script: [{reply: {text: '{{ tool. }}'}}]}",
        ["s.yaml:1:30: upstream.script[0].reply.text: is no template: expected name"],
    ),
    "an unknown variable": (
        "upstream: {script: [{reply: {text: '{{ mesage }}'}}]}",
        [
            "s.yaml:1:30: upstream.script[0].reply.text: the template uses 'mesage', which is not known; did you mean 'message'?"
        ],
    ),
    "a broken template in arguments": (
        "upstream: {script: [{match: {turn: 1}, reply: {tool_calls: [{name: f, arguments: {a: ['{{ x']}}]}}]}",
        [
            "upstream.script[0].reply.tool_calls[0].arguments.a[0]: is no template: unexpected end of template"
        ],
    ),
    "a broken template of a tool": (
        "tools: {f: {result: {a: '{{ argument }}'}}}",
        [
            "s.yaml:1:22: tools.f.result.a: the template uses 'argument', which is not known; did you mean 'arguments'?"
        ],
    ),
    "a rule behind one for all": (
        "upstream:\n  script:\n    - {reply: {text: a}}\n    - {match: {model: x}, reply: {text: b}}\n",
        [
            "s.yaml:4:7: upstream.script[1]: can never be reached: rule 1 (line 3) already matches all that it matches"
        ],
    ),
    "a rule behind a wider one": (
        "upstream:\n  script:\n    - {match: {last_message: {contains: order}}, reply: {text: a}}\n    - {match: {last_message: {role: user, contains: my order}, turn: 1}, reply: {text: b}}\n",
        ["s.yaml:4:7: upstream.script[1]: can never be reached: rule 1 (line 3)"],
    ),
    "a rule that contradicts itself": (
        "upstream: {script: [{match: {last_message: {role: user}, tool_result: {}}, reply: {text: a}}]}",
        [
            "upstream.script[0].match.tool_result: can never match: a tool result ends the transcript, so the last message is not of role user"
        ],
    ),
    "a loop without end": (
        "upstream:\n  script:\n    - match: {any_message: {role: user, contains: weather}}\n      reply: {tool_calls: [{name: f}]}\n",
        [
            "s.yaml:3:7: upstream.script[0].match: matches its own tool result for ever: ask for the role of the last message or for a turn, or say endless: true; did you mean 'last_message: {role: user}'?"
        ],
    ),
    "a loop of its own result": (
        "upstream: {script: [{match: {tool_result: {tool: f}}, reply: {tool_calls: [{name: f}]}}]}",
        ["upstream.script[0].match: matches its own tool result for ever"],
    ),
    "a loop at the end of a sequence": (
        "upstream: {script: [{reply: [{text: a}, {tool_calls: [{name: f}]}]}]}",
        ["matches its own tool result for ever"],
    ),
    "a loop through the scripted result": (
        "upstream: {script: [{match: {last_message: {contains: sun}}, reply: {tool_calls: [{name: f}]}}]}\ntools: {f: {result: {sky: sun}}}",
        ["matches its own tool result for ever"],
    ),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes(lint: Lint, name: str) -> None:
    """
    Each mistake stands with its place, its reason and what may have been meant.
    """
    text, expected = MISTAKES[name]

    found = lint(text)

    assert len(found) == 1
    assert all(part in found[0] for part in expected), found


def test_all_mistakes_at_once(lint: Lint) -> None:
    """
    Whoever mends a script sees everything that is wrong with it, in its order.
    """
    found = lint("""
upstream:
  sript: []
  faults: [{fault: statsu}, {fault: disconnect, how: softly}]
tools: {f: {latency: soon}}
""")

    assert [line.split(": ")[0] for line in found] == [
        "s.yaml:3:3",
        "s.yaml:4:13",
        "s.yaml:4:49",
        "s.yaml:5:13",
    ]


GOOD = {
    "asks for the user": "[{match: {last_message: {role: user}}, reply: {tool_calls: [{name: f}]}}]",
    "asks for a turn": "[{match: {turn: 1}, reply: {tool_calls: [{name: f}]}}]",
    "result is caught before": "[{match: {last_message: {role: tool}}, reply: {text: a}}, {reply: {tool_calls: [{name: f}]}}]",
    "sequence ends in text": "[{reply: [{tool_calls: [{name: f}]}, {text: a}]}]",
    "sequence begins again": "[{reply: {sequence: [{tool_calls: [{name: f}]}, {text: a}], then: first}}]",
    "asked for": "[{reply: {tool_calls: [{name: f}]}, endless: true}]",
    "another tool": "[{match: {tool_result: {tool: g}}, reply: {tool_calls: [{name: f}]}}]",
    "narrow before wide": "[{match: {last_message: {contains: ab}}, reply: {text: a}}, {match: {last_message: {contains: a}}, reply: {text: b}}]",
    "sequence passes on": "[{reply: {sequence: [{text: a}], then: next_rule}}, {reply: {text: b}}]",
    "other headers": "[{match: {header: {a: x}}, reply: {text: a}}, {match: {header: {a: y}}, reply: {text: b}}]",
    "other tools": "[{match: {tools: [a, b]}, reply: {text: a}}, {match: {tools: [a]}, reply: {text: b}}]",
}


@pytest.mark.parametrize("name", GOOD)
def test_no_false_alarm(lint: Lint, name: str) -> None:
    """
    A script that can be right is not called wrong.
    """
    assert lint(f"upstream: {{script: {GOOD[name]}}}") == []


def test_long_scripts_are_linted_too(lint: Lint) -> None:
    """
    A script of hundreds of rules is still searched for dead ones.
    """
    rules = [
        f"{{match: {{last_message: {{contains: question {n}}}}}, reply: {{text: a}}}}"
        for n in range(450)
    ]
    script = f"upstream: {{script: [{', '.join([*rules, rules[7]])}]}}"

    found = lint(script)

    assert len(found) == 1
    assert "upstream.script[450]: can never be reached: rule 8" in found[0]
