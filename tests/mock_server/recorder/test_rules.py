"""
Which rules are made of a record, and how they are written down.
"""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mock_server.documents import parse_document
from mock_server.recorder import (
    Asked,
    Recorded,
    RecordedCall,
    RecordedReply,
    Recording,
    RecordingLimits,
    Redactor,
    Timing,
    UnreadableError,
    check_script_text,
    convert_run,
)
from mock_server.recorder.document import yaml_text
from mock_server.recorder.redaction import secrets_in
from mock_server.script import (
    CompiledScript,
    Seen,
    script_of,
)
from mock_server.wire import parse_chat_request


def exchange(
    text: str, *users: str, turn: int = 1, conversation: str = "c", **asked: Any
) -> Recorded:
    """
    Return an exchange in which the user said this and the model that.
    """
    question = {
        "conversation": conversation,
        "model": "gpt-4o",
        "turn": turn,
        "last_role": "user",
        "last_text": users[-1],
        "user_texts": users,
        **asked,
    }
    return Recorded(
        asked=Asked(**question), reply=RecordedReply(text=text), timing=Timing()
    )


def rules_for(*exchanges: Recorded) -> list[Any]:
    """
    Return the rules, as they are read back from the file.
    """
    recording = Recording(exchanges=list(exchanges))
    text = recording.script_text(source="here")
    check_script_text(text, file="recorded.yaml")
    rules: list[Any] = parse_document(text, file="r").data["upstream"]["script"]
    return rules


def test_asks_for_no_more_than_it_must() -> None:
    """
    Questions that differ by what was said need nothing else to be told apart.
    """
    rules = rules_for(exchange("one", "a"), exchange("two", "b"))

    assert [rule["match"] for rule in rules] == [
        {"turn": 1, "last_message": {"role": "user", "text": "a"}},
        {"turn": 1, "last_message": {"role": "user", "text": "b"}},
    ]


@pytest.mark.parametrize(
    ("differs", "asked_for"),
    [
        ({"model": "gpt-[5]"}, {"model": "gpt-[[]5]"}),
        ({"tools": ("f",)}, {"tools": "f"}),
        ({"stream": True}, {"stream": True}),
        (
            {"system_text": "Be brief."},
            {"any_message": {"text": "Be brief."}},
        ),
    ],
    ids=["model", "tools", "stream", "system"],
)
def test_asks_for_what_tells_apart(
    differs: dict[str, Any], asked_for: dict[str, Any]
) -> None:
    """
    The same words, answered in two ways, are told apart by what else was different.
    """
    rules = rules_for(
        exchange("one", "a", system_text="Go."),
        exchange("two", "a", **{"system_text": "Go.", **differs}),
    )

    answers = {rule["reply"]["text"]: rule["match"] for rule in rules}
    expected = {
        name: [value] if name == "tools" else value for name, value in asked_for.items()
    }
    assert answers["two"].items() >= expected.items()


def test_the_earlier_words_tell_apart() -> None:
    """
    Two conversations that come to the same words differ by how they began.
    """
    rules = rules_for(
        exchange("one", "a", "yes", turn=2), exchange("two", "b", "yes", turn=2)
    )

    assert [rule["match"]["any_message"]["text"] for rule in rules] == ["a", "b"]


def test_equal_answers_share_a_rule() -> None:
    """
    A hundred chats that went the same way make one rule.
    """
    same = [exchange("one", "a", conversation=str(number)) for number in range(100)]

    assert len(rules_for(*same)) == 1


def test_conversations_do_not_share_ids() -> None:
    """
    Calls keep their recorded ids only where one conversation made them.
    """
    once, *often = [
        Recorded(
            asked=exchange("", "a", conversation=str(number)).asked,
            reply=RecordedReply(
                tool_calls=(RecordedCall(id=f"call_{number}", name="f", arguments=""),)
            ),
            timing=Timing(),
        )
        for number in range(3)
    ]

    [alone], [shared] = rules_for(once), rules_for(*often)

    assert alone["reply"]["tool_calls"][0]["id"] == "call_0"
    assert "id" not in shared["reply"]["tool_calls"][0]


def test_words_that_are_not_known_are_not_asked_for() -> None:
    """
    A log that does not say what the user said makes rules without it.
    """
    [rule] = rules_for(exchange("one", "a", last_text=None, user_texts=()))

    assert rule["match"] == {"turn": 1, "last_message": {"role": "user"}}


def test_the_order_of_one_conversation_is_kept() -> None:
    """
    What cannot be told apart is answered one after the other, then the last for ever.
    """
    rules = rules_for(exchange("one", "a"), exchange("two", "a"), exchange("two", "a"))

    assert [rule["reply"] for rule in rules] == [
        {"sequence": [{"text": "one"}], "then": "next_rule"},
        {"text": "two"},
    ]


@given(
    text=st.text(max_size=60),
    arguments=st.text(max_size=40),
    key=st.text(max_size=8),
)
def test_any_text_comes_back_as_it_was(text: str, arguments: str, key: str) -> None:
    """
    Whatever a model wrote, template marks and odd characters too, is replayed.
    """
    said = f"{{{{ {text} {{% {{# "
    reply = RecordedReply(
        text=text + said,
        tool_calls=(RecordedCall(id="call_1", name="f", arguments=arguments),),
    )
    asked = exchange("", text or "?").asked
    recording = Recording(
        exchanges=[Recorded(asked=asked, reply=reply, timing=Timing())]
    )

    script = script_of(parse_document(recording.script_text(source=key), file="r"))
    body = b'{"model":"gpt-4o","messages":[{"role":"user","content":"?"}]}'
    seen = Seen(parse_chat_request(body), {})
    rule = CompiledScript.of(script).rules[0]
    drawn = rule.draws[0](seen, dict)
    assert drawn.text == text + said
    assert drawn.tool_calls[0].arguments == arguments
    last = script.upstream.script[0].match.last_message
    assert last is not None
    assert last.text == (text or "?")


@settings(max_examples=50)
@given(
    st.dictionaries(st.text(), st.text() | st.integers() | st.booleans(), max_size=5)
)
def test_documents_come_back_as_they_were(values: dict[str, Any]) -> None:
    """
    What is written as YAML is read as the same values.
    """
    text = yaml_text({"outer": [values, {"inner": values}]}, comments=["a\nb"])

    assert parse_document(text, file="d").data == {"outer": [values, {"inner": values}]}


def test_secrets_are_found_in_headers() -> None:
    """
    Keys, tokens and cookies are secret; short values and other headers are not.
    """
    found = secrets_in(
        {
            "Authorization": "Bearer sk-one-two",
            "api-key": "azure-key",
            "Cookie": "a=b; session=abcdefgh",
            "User-Agent": "somebody",
        }
    )

    assert found == {"Bearer sk-one-two", "sk-one-two", "azure-key", "abcdefgh"}


def test_what_looks_like_a_key_is_blotted() -> None:
    """
    Also a key that was in no header is left out.
    """
    redact = Redactor({"hunter2-hunter2"})

    assert redact("sk-proj-0123456789abcdef, hunter2-hunter2, a sk-1") == (
        "[secret], [secret], a sk-1"
    )


def test_a_recording_is_bounded() -> None:
    """
    Beyond its limits nothing is kept, and reasons are counted, few of them by name.
    """
    recording = Recording(limits=RecordingLimits(exchanges_max=1, kept_bytes_max=50))
    recording.add(exchange("one", "a"))

    with pytest.raises(UnreadableError, match="1 exchanges already"):
        recording.add(exchange("two", "b"))
    with pytest.raises(UnreadableError, match="more than 50 bytes"):
        Recording(limits=recording.limits).add(exchange("x" * 60, "a"))
    with pytest.raises(UnreadableError, match="different secrets"):
        recording.hide(f"secret-{number}" for number in range(2000))
    for number in range(1000):
        recording.skip(f"reason {number}")
    assert len(recording.skipped) == 101
    assert sum(recording.skipped.values()) == 1000


def test_a_file_that_is_no_run_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    What cannot be converted is said with file and line, and the exit code is 2.
    """
    events, journal = tmp_path / "events.jsonl", tmp_path / "journal.json"
    events.write_text("nonsense\n", encoding="utf-8")
    journal.write_text("{}", encoding="utf-8")

    codes = [
        convert_run(file, tmp_path / "out.yaml")
        for file in (tmp_path, journal, tmp_path / "missing.json")
    ]

    assert codes == [2, 2, 2]
    said = capsys.readouterr().err
    assert "events.jsonl:1:1: is no event" in said
    assert "journal.json:1:1: is no journal" in said
    assert "missing.json: No such file" in said
