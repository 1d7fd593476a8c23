"""
Containers that keep to their limit.
"""

from mock_server.limits import BoundedDict, Counts


def test_forgets_what_was_unused_for_longest() -> None:
    """
    A full mapping forgets the entry whose last use is longest ago, and counts that.
    """
    dropped: list[int] = []
    entries: BoundedDict[str, int] = BoundedDict(2, on_drop=dropped.append)
    entries.put("a", 1)
    entries.put("b", 2)
    entries.get("a")

    entries.put("c", 3)

    assert list(entries) == ["a", "c"]
    assert (entries.dropped, dropped) == (1, [2])


def test_makes_what_is_not_there() -> None:
    """
    A value is made once, and then the same is returned.
    """
    entries: BoundedDict[str, list[int]] = BoundedDict(2)

    entries.recall("a", list).append(1)

    assert entries.recall("a", list) == [1]


def test_counts_by_key() -> None:
    """
    Each key has its own count.
    """
    counts: Counts[str] = Counts(2)

    assert [counts.add("a"), counts.add("a"), counts.add("b")] == [1, 2, 1]
    assert (counts.of("a"), counts.of("never")) == (2, 0)


def test_a_forgotten_count_begins_anew() -> None:
    """
    Beyond the limit a count is lost, and the loss is counted.
    """
    counts: Counts[int] = Counts(2)
    for key in range(3):
        counts.add(key)

    assert counts.of(0) == 0
    assert counts.dropped == 1
