"""
One event log from several writers.
"""

from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest

from harness.bench.run_log import HOLD_BACK_S, RunLog, read_records
from harness.errors import EventLossError


class ManualClock:
    """
    A clock that stands still until it is set.
    """

    def __init__(self) -> None:
        self.now_s = 100.0

    def monotonic(self) -> float:
        """
        Return the time it was set to.
        """
        return self.now_s


@pytest.fixture
def manual() -> ManualClock:
    """
    A clock at 100 s.
    """
    return ManualClock()


@pytest.fixture
def log(tmp_path: Path, manual: ManualClock) -> Iterator[RunLog]:
    """
    A log whose zero is at 100 s, following files of the mock and the service.
    """
    log = RunLog(tmp_path / "events.jsonl", clock=manual)  # type: ignore[arg-type]
    log.follow(tmp_path / "mock.jsonl", host="mock")
    log.follow(tmp_path / "service.jsonl", host="service")
    log.set_zero(100.0)
    yield log
    log.abandon()


def append(file: Path, *lines: bytes) -> None:
    """
    Add raw bytes to a file, as another process would.
    """
    with file.open("ab") as stream:
        stream.write(b"".join(lines))


def raw(kind: str, at_s: float) -> bytes:
    """
    Return a raw record as a writer puts it.
    """
    return (
        orjson.dumps({"kind": kind, "at_us": round(at_s * 1e6), "trace_id": None})
        + b"\n"
    )


def kinds(file: Path) -> list[str]:
    """
    Return the kinds in a log, in order.
    """
    return [record["kind"] for record in read_records(file)]


def test_records_of_all_writers_are_merged_by_time(
    tmp_path: Path, manual: ManualClock, log: RunLog
) -> None:
    """
    Whoever wrote a record, it stands where its time puts it, numbered from one.
    """
    append(tmp_path / "service.jsonl", raw("s1", 100.2), raw("s2", 100.9))
    append(tmp_path / "mock.jsonl", raw("m1", 100.1), raw("m2", 100.5))
    manual.now_s = 100.3
    log.record("c1", call_id="call-1")
    log.close()

    records = read_records(tmp_path / "events.jsonl")

    assert [record["kind"] for record in records] == ["m1", "s1", "c1", "m2", "s2"]
    assert [record["seq"] for record in records] == [1, 2, 3, 4, 5]
    assert [record["time_us"] for record in records] == [
        100_000,
        200_000,
        300_000,
        500_000,
        900_000,
    ]
    assert records[2]["host"] == "caller"


def test_a_record_is_held_back_until_slower_files_had_their_chance(
    tmp_path: Path, manual: ManualClock, log: RunLog
) -> None:
    """
    While the run goes on, a record is written only when it is old enough.
    """
    append(tmp_path / "mock.jsonl", raw("m1", 100.0))
    log.pump()
    before = kinds(tmp_path / "events.jsonl")
    manual.now_s = 100.0 + HOLD_BACK_S + 0.01
    log.pump()

    assert before == []
    assert kinds(tmp_path / "events.jsonl") == ["m1"]


def test_what_comes_too_late_is_put_in_its_place_at_the_end(
    tmp_path: Path, manual: ManualClock, log: RunLog
) -> None:
    """
    A record that is older than what was written is sorted in when the log is closed.
    """
    append(tmp_path / "mock.jsonl", raw("m2", 100.5))
    manual.now_s = 102.0
    log.pump()
    append(tmp_path / "service.jsonl", raw("s1", 100.1))
    log.close()

    records = read_records(tmp_path / "events.jsonl")

    assert [record["kind"] for record in records] == ["s1", "m2"]
    assert [record["seq"] for record in records] == [1, 2]


def test_half_a_line_waits_for_its_other_half(
    tmp_path: Path, manual: ManualClock, log: RunLog
) -> None:
    """
    A line is taken only when it is whole.
    """
    line = raw("m1", 100.0)
    append(tmp_path / "mock.jsonl", line[:10])
    manual.now_s = 102.0
    log.pump()
    append(tmp_path / "mock.jsonl", line[10:])
    log.close()

    assert kinds(tmp_path / "events.jsonl") == ["m1"]


def test_one_line_cut_by_a_kill_is_forgiven(tmp_path: Path, log: RunLog) -> None:
    """
    A killed writer leaves half a line; the whole ones around it are kept.
    """
    append(tmp_path / "service.jsonl", raw("s1", 100.0), b'{"kind": "s', b"\n")
    append(tmp_path / "service.jsonl", raw("s2", 100.1))
    log.close()

    assert kinds(tmp_path / "events.jsonl") == ["s1", "s2"]


def test_a_run_that_ended_before_it_began_counts_from_its_first_record(
    tmp_path: Path, manual: ManualClock
) -> None:
    """
    Without a zero, times are small numbers all the same.
    """
    log = RunLog(tmp_path / "events.jsonl", clock=manual)  # type: ignore[arg-type]
    log.follow(tmp_path / "mock.jsonl", host="mock")
    append(tmp_path / "mock.jsonl", raw("m1", 99.0), raw("m2", 99.5))
    log.close()

    times = [record["time_us"] for record in read_records(tmp_path / "events.jsonl")]
    assert times == [0, 500_000]


def test_a_damaged_log_makes_the_run_invalid(tmp_path: Path, log: RunLog) -> None:
    """
    More than one broken line is a loss, and is not passed over.
    """
    append(tmp_path / "service.jsonl", b"{\n", b"{\n", raw("s1", 100.0))

    with pytest.raises(EventLossError) as caught:
        log.close()

    assert caught.value.lost_events == 2
    assert kinds(tmp_path / "events.jsonl") == ["s1"]
