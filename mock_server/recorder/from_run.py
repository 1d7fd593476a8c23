"""
What a run or a journal kept becomes a script.
"""

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, TextIO

import orjson

from mock_server.documents import DocumentError, Mistake
from mock_server.recorder.reading import Taken, read_chat
from mock_server.recorder.recorded import (
    Asked,
    Recorded,
    RecordedCall,
    RecordedError,
    RecordedReply,
    UnreadableError,
)
from mock_server.recorder.recording import Recording, check_script_text
from mock_server.recorder.timing import spread_evenly
from mock_server.recorder.writing import replace_text
from mock_server.serving import EXIT_PASSED, EXIT_USAGE
from mock_server.wire import FinishReason

Record = Mapping[str, Any]

_EVENTS_FILE: Final = "events.jsonl"
_CHAT: Final = "chat_completions"
_SURFACES: Final = frozenset({_CHAT, "responses"})
_RECEIVED, _ENDED = "upstream_request_received", "upstream_request_ended"
_FIRST_ERROR: Final = 400
_JOURNAL_BLOT: Final = "[api key]"
_STREAM_START: Final = "data:"
FILE_BYTES_MAX: Final = 1024 * 1024 * 1024
"""A larger file is refused."""


def convert_run(
    source: Path,
    out: Path,
    *,
    output: TextIO | None = None,
    errors: TextIO | None = None,
) -> int:
    """
    Write the script of a run, and return the exit code.

    Args:
        source: A run's folder, its ``events.jsonl``, or a journal as
            ``GET /_mock/journal`` answers it.
        out: The script.
        output: Told what was written; by default standard output.
        errors: Told what is not in it; by default standard error.
    """
    output = output or sys.stdout
    errors = errors or sys.stderr
    file = source / _EVENTS_FILE if source.is_dir() else source
    try:
        recording = recording_of(file)
        text = recording.script_text(source=str(source))
        rules = check_script_text(text, file=str(out))
        replace_text(out, text)
    except DocumentError as error:
        print(error, file=errors)
        return EXIT_USAGE
    except OSError as error:
        print(f"{error.filename}: {error.strerror}", file=errors)
        return EXIT_USAGE
    for reason, count in recording.skipped.items():
        print(f"not recorded: {reason} ({count} times)", file=errors)
    print(f"{len(recording.exchanges)} exchanges in {rules} rules: {out}", file=output)
    return EXIT_PASSED


def recording_of(file: Path) -> Recording:
    """
    Return what a file of events or of journal entries holds.

    Raises:
        DocumentError: It is no such file.
        OSError: It cannot be read.
    """
    recording = Recording()
    recording.hide({_JOURNAL_BLOT})
    if file.stat().st_size > FILE_BYTES_MAX:
        raise _mistake(file, 1, f"has more than {FILE_BYTES_MAX} bytes")
    if file.name.endswith(".jsonl"):
        found = _exchanges_of_events(_records_in(file), recording)
    else:
        found = _exchanges_of_journal(_entries_in(file), recording)
    for recorded in found:
        try:
            recording.add(recorded)
        except UnreadableError as error:
            recording.skip(str(error))
    return recording


def _records_in(file: Path) -> Iterator[Record]:
    with file.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            # Only what the mock said of the model API is looked at closer.
            if b'"upstream_request_' not in line:
                if number == 1 and not line.startswith(b"{"):
                    raise _mistake(file, number, "is no event")
                continue
            try:
                record = orjson.loads(line)
            except orjson.JSONDecodeError as error:
                raise _mistake(file, number, f"is no JSON: {error}") from error
            if isinstance(record, dict) and record.get("kind") in {_RECEIVED, _ENDED}:
                yield record


def _entries_in(file: Path) -> list[Record]:
    try:
        value = orjson.loads(file.read_bytes())
    except orjson.JSONDecodeError as error:
        raise _mistake(file, 1, f"is no JSON: {error}") from error
    entries = value.get("entries") if isinstance(value, dict) else value
    if not isinstance(entries, list):
        raise _mistake(file, 1, "is no journal: it has no list of entries")
    return [entry for entry in entries if isinstance(entry, dict)]


def _mistake(file: Path, line: int, message: str) -> DocumentError:
    return DocumentError(
        [Mistake(file=str(file), line=line, column=1, path="", message=message)]
    )


def _exchanges_of_events(
    records: Iterator[Record], recording: Recording
) -> Iterator[Recorded]:
    received: dict[str, Record] = {}
    for record in records:
        if record["kind"] == _RECEIVED:
            received[str(record.get("request_id"))] = record
            continue
        asked = received.pop(str(record.get("request_id")), None)
        if asked is None:
            recording.skip("the event log does not say what was asked")
            continue
        try:
            yield _of_events(asked, record)
        except UnreadableError as error:
            recording.skip(str(error))


def _of_events(received: Record, ended: Record) -> Recorded:
    status = ended.get("status")
    surface = received.get("surface")
    if surface not in _SURFACES:
        message = f"the surface {surface} is not converted"
        raise UnreadableError(message)
    is_error = isinstance(status, int) and status >= _FIRST_ERROR
    if ended.get("outcome") != "complete" or not (
        is_error or ended.get("answer_valid", True)
    ):
        message = f"an answer that a fault broke ({_faults_of(ended)})"
        raise UnreadableError(message)
    reply = _error_of(ended) if is_error else _reply_of(ended)
    total_s = ended.get("planned_us", 0) / 1e6
    asked = _asked_of(received)
    return Recorded(
        asked=asked,
        reply=reply,
        timing=spread_evenly(reply, total_s, stream=asked.stream),
    )


def _faults_of(ended: Record) -> str:
    return ", ".join(map(str, ended.get("faults") or ())) or "cut off"


def _asked_of(received: Record) -> Asked:
    results = received.get("tool_results") or []
    said = received.get("message")
    text = said if isinstance(said, str) else None
    if results:
        text = str(results[-1].get("content", ""))
    return Asked(
        conversation=str(received.get("conversation")),
        model=str(received.get("model")),
        turn=int(received.get("turn") or 1),
        last_role="tool" if results else "user",
        last_text=text,
        user_texts=(said,) if isinstance(said, str) else (),
        tools=tuple(received.get("offered_tools") or ()),
        stream=bool(received.get("stream")),
    )


def _reply_of(ended: Record) -> RecordedReply:
    calls = tuple(
        RecordedCall(
            id=str(call.get("tool_call_id") or ""),
            name=str(call.get("name")),
            arguments=str(call.get("arguments") or ""),
        )
        for call in ended.get("tool_calls") or ()
    )
    text, refusal = ended.get("text"), ended.get("refusal")
    implied = FinishReason.TOOL_CALLS if calls else FinishReason.STOP
    finish_reason = ended.get("finish_reason")
    if text is None and refusal is None and not calls:
        text = ""
    return RecordedReply(
        text=text,
        tool_calls=calls,
        refusal=refusal,
        finish_reason=None if finish_reason == implied else finish_reason,
    )


def _error_of(ended: Record) -> RecordedReply:
    after_s = ended.get("retry_after_s")
    headers: tuple[tuple[str, str], ...] = ()
    if isinstance(after_s, int | float):
        headers = (("retry-after-ms", str(round(after_s * 1000))),)
    return RecordedReply(
        error=RecordedError(status=int(ended["status"]), headers=headers)
    )


def _exchanges_of_journal(
    entries: list[Record], recording: Recording
) -> Iterator[Recorded]:
    for entry in entries:
        try:
            yield _of_entry(entry)
        except UnreadableError as error:
            recording.skip(str(error))


def _of_entry(entry: Record) -> Recorded:
    surface = entry.get("surface")
    if surface != _CHAT:
        message = f"the surface {surface} is not converted"
        raise UnreadableError(message)
    if entry.get("outcome") != "complete":
        message = f"an answer that ended as {entry.get('outcome')}"
        raise UnreadableError(message)
    question, answer = str(entry["request_body"]), str(entry["answer_body"])
    if len(question.encode()) < entry.get("request_bytes", 0):
        message = "the journal kept only the start of the request"
        raise UnreadableError(message)
    is_stream = answer.startswith(_STREAM_START)
    total_s = (entry.get("planned_us") or 0) / 1e6
    recorded = read_chat(
        Taken(
            path="/chat/completions",
            request_headers=entry.get("request_headers") or {},
            request_body=question.encode(),
            trace_id=entry.get("trace_id"),
            started_s=0.0,
            status=int(entry.get("status") or 0),
            headers={"content-type": "text/event-stream"} if is_stream else {},
            pieces=((total_s, answer.encode()),),
        )
    )
    # A journal knows when an answer was whole, not when its parts came.
    timing = spread_evenly(recorded.reply, total_s, stream=is_stream)
    return Recorded(asked=recorded.asked, reply=recorded.reply, timing=timing)
