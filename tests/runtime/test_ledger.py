"""Where a partition begins by what the group and the ledger say."""

import pytest

from processor.errors import KprocError, StateError, StateMismatch
from processor.operators.base import NO_TIME
from processor.records import Offset, Partition, Timestamp, TopicPartition
from processor.runtime.commands import Position
from processor.runtime.ledger import Entry, Start, Topic, begin, decoded, encoded

SOURCE = TopicPartition("in", Partition(1))


def at(offset: int, time: int = NO_TIME) -> Position:
    return Position(Offset(offset), Timestamp(time))


def entry(offset: int, time: int = 7, topic: str = "id", *, exact: bool = True) -> Entry:
    return Entry(Offset(offset), str(time), topic, exact)


def topic(
    first: int = 0, fresh: int = 9, *, is_new: bool = False, is_reported: bool = True
) -> Topic:
    return Topic("id", Offset(first), Offset(fresh), is_new, is_reported)


@pytest.mark.parametrize(
    ("group", "known", "facts", "expected"),
    [
        (None, None, topic(), Start(at(9), settled=False)),
        (None, None, topic(is_new=True), Start(at(0), settled=False)),
        (at(5, 3), None, topic(), Start(at(5, 3), settled=False)),
        (at(5), entry(5), topic(), Start(at(5, 7), settled=True)),
        (at(6), entry(5, exact=False), topic(), Start(at(6), settled=False)),
    ],
    ids=["fresh", "new partition", "group alone", "both", "the group was ahead"],
)
def test_where_it_begins(
    group: Position | None, known: Entry | None, facts: Topic, expected: Start
) -> None:
    assert begin(SOURCE, group, known, facts, exactly_once=True) == expected


@pytest.mark.parametrize(
    ("group", "known", "facts", "position", "cause"),
    [
        (None, entry(5), topic(), at(5, 7), "the group has no offset any more"),
        (at(8), entry(5), topic(first=8), at(8, 7), "the group was set past them"),
    ],
    ids=["the group forgot", "records are gone"],
)
def test_why_it_begins_there(
    group: Position | None, known: Entry, facts: Topic, position: Position, cause: str
) -> None:
    start = begin(SOURCE, group, known, facts, exactly_once=True)
    assert (start.position, start.settled) == (position, False)
    assert cause in start.cause


@pytest.mark.parametrize(
    ("group", "known", "facts", "error", "text"),
    [
        (at(6), entry(5), topic(), StateMismatch, "by another tool"),
        (at(4), entry(5, exact=False), topic(), StateMismatch, "by another tool"),
        (at(5), entry(5, topic="other"), topic(), StateMismatch, "was deleted and created again"),
        (None, None, topic(is_reported=False), StateMismatch, "it is not known how far"),
        (at(5), entry(5), topic(first=6), StateError, "but begins at 6 now"),
    ],
    ids=["set forward", "set back", "another topic", "forgotten", "deleted"],
)
def test_what_is_refused(
    group: Position | None,
    known: Entry | None,
    facts: Topic,
    error: type[KprocError],
    text: str,
) -> None:
    with pytest.raises(error, match=text):
        begin(SOURCE, group, known, facts, exactly_once=True)


def test_at_least_once_the_group_may_be_ahead() -> None:
    assert begin(SOURCE, at(6), entry(5), topic(), exactly_once=False).position == at(6)


def test_entries_come_back_and_others_are_refused() -> None:
    assert decoded(SOURCE, encoded(entry(5))) == entry(5)
    with pytest.raises(StateError, match="can't be understood"):
        decoded(SOURCE, b"{}")
