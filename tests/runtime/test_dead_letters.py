"""Dead letters read back: the record as it was, marks, filters, what can't be replayed."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processor.operators.base import Rejected
from processor.records import (
    Batch,
    Headers,
    Offset,
    Partition,
    RawBatch,
    Record,
    Timestamp,
    TopicPartition,
)
from processor.runtime.badrecords import BadRecords, Origin
from processor.runtime.dead_letters import (
    DeadLetter,
    Place,
    RawRecord,
    Wanted,
    dead_letter_of,
    obstacle,
    replay_marker,
    replayed_by,
    target,
)

PLACE = Place(Partition(0), Offset(7))
SOURCE = TopicPartition("in", Partition(3))


def dead(record: RawRecord, **more: Any) -> RawRecord:
    """The record in the topic for dead letters."""
    bad = BadRecords("dead-letter", "dead", 10_000)
    key, value, timestamp, headers = record
    batch: RawBatch = Batch([key], [value], [timestamp], [Offset(17)], [headers])
    rejected = Rejected(Offset(17), "check", "function", ValueError("no ü"))
    output = bad.handle(rejected, Origin(SOURCE, Offset(17), batch, **more))
    assert output is not None
    (made,) = output.records.records()
    return made


def letter(record: RawRecord, **more: Any) -> DeadLetter:
    found = dead_letter_of(PLACE, dead(record, **more))
    assert found is not None
    return found


def record(
    key: bytes | None = b"k", value: bytes | None = b"v", time: int = 5, headers: Headers = ()
) -> RawRecord:
    return Record(key, value, Timestamp(time), headers)


names = st.sampled_from(["own", "kproc.step", "kproc.topic", "kproc.replayed", "kproc.made"])
headers = st.lists(st.tuples(names, st.one_of(st.none(), st.binary(max_size=3))), max_size=12)


@given(
    st.one_of(st.none(), st.binary(max_size=3)),
    st.one_of(st.none(), st.binary(max_size=3)),
    st.integers(-1, 10),
    headers,
)
def test_a_letter_gives_back_the_record(
    key: bytes | None, value: bytes | None, time: int, own: list[tuple[str, bytes | None]]
) -> None:
    raw = record(key, value, time, tuple(own))
    found = letter(raw)
    if own and own[-1][0] == "kproc.made":
        return  # which nobody but kproc writes last
    assert found.record == raw
    assert (found.source, found.offset) == (SOURCE, 17)
    assert (found.step, found.reason, found.error) == ("check", "function", "ValueError: no ü")
    assert list(replayed_by(dead(raw))) == []


def test_a_letter_that_was_a_letter_before() -> None:
    once = dead(record(headers=(("own", b"1"),)))
    again = letter(once)
    assert again.record.headers == once.headers
    inner = dead_letter_of(PLACE, again.record)
    assert inner is not None
    assert inner.record.headers == (("own", b"1"),)


@pytest.mark.parametrize(
    "raw",
    [
        record(),
        record(headers=(("kproc.topic", b"in"),)),
        dead(record())._replace(headers=(*dead(record()).headers, ("more", None))),
        dead(record())._replace(
            headers=tuple(
                (name, b"x" if name == "kproc.offset" else value)
                for name, value in dead(record()).headers
            )
        ),
    ],
)
def test_what_is_no_letter(raw: RawRecord) -> None:
    assert dead_letter_of(PLACE, raw) is None


@given(st.sets(st.integers(0, 60)))
def test_marks_name_the_letters(offsets: set[int]) -> None:
    if offsets:
        raw = record(None, None, headers=replay_marker(map(Offset, offsets)))
        assert set(replayed_by(raw)) == offsets
        assert list(replayed_by(raw._replace(value=b""))) == []


def test_a_replay_marker_has_spans() -> None:
    assert replay_marker(map(Offset, [9, 3, 4, 5])) == (("kproc.replayed", b"3-5,9-9"),)


@pytest.mark.parametrize(
    ("wanted", "taken"),
    [
        (Wanted(), True),
        (Wanted(steps=frozenset({"check", "other"})), True),
        (Wanted(steps=frozenset({"other"})), False),
        (Wanted(reasons=frozenset({"decode"})), False),
        (Wanted(topics=frozenset({"in"}), partitions=frozenset({3})), True),
        (Wanted(topics=frozenset({"in"}), partitions=frozenset({0})), False),
        (Wanted(key=b"k"), True),
        (Wanted(key=b""), False),
        (Wanted(since=Timestamp(5), until=Timestamp(6)), True),
        (Wanted(since=Timestamp(6)), False),
        (Wanted(until=Timestamp(5)), False),
        (Wanted(places=frozenset({PLACE})), True),
        (Wanted(places=frozenset({Place(Partition(1), Offset(7))})), False),
    ],
)
def test_what_is_asked_for(wanted: Wanted, *, taken: bool) -> None:
    assert wanted.takes(letter(record())) == taken


def test_what_can_not_be_replayed() -> None:
    topics = {"in": 4, "other": 1}
    fine, large = letter(record()), letter(record(value=b"x" * 10_000))
    assert obstacle(fine, None, topics) is None
    assert large.is_truncated
    assert obstacle(large, None, topics) == (
        "it was too large to be kept whole; in[3] may still have it at offset 17"
    )
    assert "too large" in (obstacle(large, "other", topics) or "")
    assert "give --to TOPIC" in (obstacle(fine, None, {"other": 1}) or "")
    assert obstacle(fine, "other", {"other": 1}) is None
    made = letter(record(), is_made=True)
    assert "it was made by in" in (obstacle(made, None, topics) or "")
    assert obstacle(made, "other", topics) is None


def test_where_a_letter_goes() -> None:
    assert target(letter(record()), None, {"in": 4}) == ("in", 3)
    assert target(letter(record()), None, {"in": 3}) == ("in", None)
    assert target(letter(record()), "other", {"in": 4}) == ("other", None)


def test_places_as_they_are_shown() -> None:
    assert str(PLACE) == "7"
    assert str(Place(Partition(2), Offset(7))) == "2:7"
