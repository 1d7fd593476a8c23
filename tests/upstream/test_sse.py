import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import UpstreamProtocolError
from harness.upstream import Breakage, SseEvent, SseParser

STREAM = (
    b"\xef\xbb\xbf: hello\r\n"
    b'event: first\r\ndata: {"a":\r\ndata:  1}\r\n\r\n'
    b"data: \xe2\x82\xac and \xf0\x9f\x8c\xa7\n\n"
    b"id: 7\rdata: carriage returns\r\r"
    b": ping\n\nevent: ping\n\n"
    b"data\n\nretry: 20\nunknown: field\ndata:last\n\n"
    b"data: dropped because no blank line follows\n"
)
EVENTS = [
    SseEvent('{"a":\n 1}', event="first"),
    SseEvent("€ and 🌧"),
    SseEvent("carriage returns", id="7"),
    SseEvent("", id="7"),
    SseEvent("last", id="7"),
]


def parse(*fragments: bytes, event_bytes_max: int = 1000) -> list[SseEvent]:
    """
    Return the events of a stream.
    """
    parser = SseParser(event_bytes_max=event_bytes_max)
    return [event for fragment in fragments for event in parser.feed(fragment)]


def cut(data: bytes, places: list[int]) -> list[bytes]:
    """
    Return the data in pieces, cut at the places.
    """
    edges = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[start:end] for start, end in itertools.pairwise(edges)]


def test_reads_a_stream() -> None:
    """
    A stream with everything the specification allows gives the events it says.
    """
    assert parse(STREAM) == EVENTS


def test_reads_single_bytes() -> None:
    """
    Bytes that come one at a time give the same events.
    """
    assert parse(*[STREAM[n : n + 1] for n in range(len(STREAM))]) == EVENTS


@given(places=st.lists(st.integers(min_value=0, max_value=len(STREAM))))
def test_reads_any_fragmentation(places: list[int]) -> None:
    """
    However a stream is cut, its events are the same.
    """
    assert parse(*cut(STREAM, places)) == EVENTS


@given(
    texts=st.lists(
        st.text(st.characters(exclude_characters="\r\n\0", exclude_categories=["Cs"]))
    ),
    end=st.sampled_from(["\n", "\r", "\r\n"]),
    places=st.lists(st.integers(min_value=0)),
)
def test_round_trips(texts: list[str], end: str, places: list[int]) -> None:
    """
    What is written as events is read as those, whatever the line ends and the cuts.
    """
    data = "".join(f"data: {text}{end}{end}" for text in texts).encode()

    events = parse(*cut(data, places), event_bytes_max=100_000)

    assert [event.data for event in events] == texts


@given(data=st.binary(), places=st.lists(st.integers(min_value=0)))
def test_takes_anything(data: bytes, places: list[int]) -> None:
    """
    Any bytes give the same events or the same refusal, however they are cut.
    """

    def outcome(fragments: list[bytes]) -> tuple[list[SseEvent], str]:
        parser = SseParser(event_bytes_max=50)
        events: list[SseEvent] = []
        try:
            for fragment in fragments:
                # One by one: those before a refusal count.
                for event in parser.feed(fragment):
                    events.append(event)  # noqa: PERF402
        except UpstreamProtocolError as error:
            return events, error.reason
        return events, ""

    assert outcome(cut(data, places)) == outcome([data])


@pytest.mark.parametrize(
    "fragments",
    [
        [b"data: " + b"x" * 60 + b"\n\n"],
        [b"data: ", *[b"x"] * 60],
        [b"data: 1\n" * 10],
        [b": " + b"x" * 60],
    ],
)
def test_refuses_large_event(fragments: list[bytes]) -> None:
    """
    An event above the limit is refused as soon as that is known.
    """
    with pytest.raises(UpstreamProtocolError) as caught:
        parse(*fragments, event_bytes_max=50)

    assert caught.value.reason == Breakage.TOO_LARGE


def test_takes_endless_comments() -> None:
    """
    Comments keep a stream alive for as long as they like.
    """
    assert parse(*[b": ping\n"] * 100, b"data: x\n\n", event_bytes_max=20) == [
        SseEvent("x")
    ]


def test_refuses_broken_text() -> None:
    """
    Bytes that are no UTF-8 are refused and not repaired.
    """
    with pytest.raises(UpstreamProtocolError) as caught:
        parse(b"data: \xff\n\n")

    assert caught.value.reason == Breakage.INVALID_UTF8


def test_skips_byte_order_mark_once() -> None:
    """
    A byte order mark is skipped at the start and is text anywhere else.
    """
    mark = b"\xef\xbb\xbf"

    events = parse(mark + b"data: a\n\n" + mark + b"data: b\n\ndata: " + mark + b"\n\n")

    assert events == [SseEvent("a"), SseEvent("\ufeff")]


def test_takes_event_at_the_limit() -> None:
    """
    An event may have as many bytes as allowed, and so may the next one.
    """
    assert len(parse(*[b"data: 1234\n\n"] * 3, event_bytes_max=10)) == 3
