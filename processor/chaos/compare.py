"""Compares what an application wrote with what a reference run makes of the same input.

All is compared key by key. Where chance decides in which order a task reads its partitions, the
reference run is made twice, in two orders: only keys with which both end alike are compared.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, TypeAlias

from processor.chaos.replay import RawRecord
from processor.chaos.rules import Judgement, Rule
from processor.records import Partition

Fate: TypeAlias = Literal["lost", "doubled", "out of order", "wrong"]

_SHOWN_BYTES = 120


class Difference(NamedTuple):
    """What is wrong with one key."""

    key: bytes | None
    fate: Fate
    text: str

    def __str__(self) -> str:
        return f"key {shown(self.key)}: {self.text}"


class Expected(NamedTuple):
    """What one task should have written to a topic.

    `other` is what it makes of its input in another order; None where there is only one.
    """

    records: Sequence[RawRecord]
    other: Sequence[RawRecord] | None = None


@dataclass(frozen=True)
class Compared:
    """How a topic or a store came out.

    Attributes:
        name: The topic or store.
        judgement: How it was compared.
        found: How many records or keys there are.
        expected: How many the reference run has; for a table, its changes.
        undecided: Keys that could not be compared, as the reference runs differ.
        differences: What is wrong, key by key.
    """

    name: str
    judgement: Judgement
    found: int
    expected: int
    undecided: int
    differences: Sequence[Difference]


_Writers: TypeAlias = Sequence[Sequence[RawRecord]]
_ByKey: TypeAlias = Mapping[bytes | None, _Writers]


def compare_topic(
    topic: str,
    judgement: Judgement,
    found: Mapping[Partition, Sequence[RawRecord]],
    expected: Sequence[Expected],
) -> Compared:
    """Compares the records of a topic.

    Args:
        topic: Its name.
        judgement: How to compare.
        found: Its committed records, by partition in order.
        expected: What each task should have written.
    """
    wanted = _by_key([each.records for each in expected])
    other = _by_key([each.records if each.other is None else each.other for each in expected])
    there = _by_key(list(found.values()))
    differences: list[Difference] = []
    undecided = 0
    if judgement.rule is not Rule.NOTHING:
        for key in dict.fromkeys((*wanted, *other, *there)):
            writers = wanted.get(key, ())
            if _is_undecided(judgement.rule, writers, other.get(key, ())):
                undecided += 1
                continue
            rule = Rule.SET if key is None and judgement.rule is Rule.SEQUENCE else judgement.rule
            differences += _differences(rule, key, there.get(key, ()), writers)
    return Compared(
        topic,
        judgement,
        sum(map(len, found.values())),
        sum(len(each.records) for each in expected),
        undecided,
        differences,
    )


def compare_state(
    store: str,
    judgement: Judgement,
    found: Mapping[Partition, Mapping[bytes, bytes]],
    expected: Mapping[Partition, tuple[Mapping[bytes, bytes], Mapping[bytes, bytes] | None]],
) -> Compared:
    """Compares what the changelog of a store says at its end.

    Args:
        store: The name of the store.
        judgement: How to compare.
        found: By partition, the value of each key that has one.
        expected: The same from the reference runs.
    """
    differences: list[Difference] = []
    undecided = 0
    for partition, (wanted, other) in expected.items():
        there = found.get(partition, {})
        if judgement.rule is Rule.NOTHING:
            continue
        for key in dict.fromkeys((*wanted, *there)):
            value = wanted.get(key)
            if other is not None and other.get(key) != value:
                undecided += 1
            elif there.get(key) != value:
                text = f"is {shown(there.get(key))} and should be {shown(value)}"
                differences.append(Difference(key, "wrong", text))
    return Compared(
        store,
        judgement,
        sum(map(len, found.values())),
        sum(len(wanted) for wanted, _ in expected.values()),
        undecided,
        differences,
    )


def _by_key(logs: Sequence[Sequence[RawRecord]]) -> _ByKey:
    """For each key its records of each log that has some."""
    found: defaultdict[bytes | None, list[Sequence[RawRecord]]] = defaultdict(list)
    for log in logs:
        own: defaultdict[bytes | None, list[RawRecord]] = defaultdict(list)
        for record in log:
            own[record.key].append(record)
        for key, records in own.items():
            found[key].append(records)
    return found


def _is_undecided(rule: Rule, writers: _Writers, other: _Writers) -> bool:
    """Whether the reference runs differ in what is to be compared."""
    if rule is Rule.LAST:
        return _last(writers) != _last(other)
    return rule is Rule.SET and _counts(writers) != _counts(other)


def _counts(writers: _Writers) -> Counter[RawRecord]:
    return Counter(record for records in writers for record in records)


def _differences(
    rule: Rule, key: bytes | None, there: _Writers, writers: _Writers
) -> Iterable[Difference]:
    """What is wrong with a key.

    Args:
        rule: How to compare.
        key: The key.
        there: Its records in each partition that has some.
        writers: Its records from each task that should have written some.
    """
    found = [record for partition in there for record in partition]
    if rule in {Rule.SEQUENCE, Rule.SET}:
        yield from _all_of_them(key, found, [record for each in writers for record in each])
    if rule is Rule.SEQUENCE:
        if len(there) > 1:
            text = f"it is in {len(there)} partitions, so that its records have no order"
            yield Difference(key, "out of order", text)
        else:
            yield from _in_order(key, found, writers)
    elif rule in {Rule.CHANGES, Rule.SELECTION}:
        yield from _changes(key, found, writers)
    if rule in {Rule.CHANGES, Rule.LAST}:
        yield from _latest(key, found, writers)


def _all_of_them(
    key: bytes | None, found: Sequence[RawRecord], wanted: Sequence[RawRecord]
) -> Iterable[Difference]:
    """Whether each record is there once."""
    if found == wanted:
        return
    have, should = Counter(found), Counter(wanted)
    lost, extra = should - have, have - should
    doubled = Counter({record: n for record, n in extra.items() if record in should})
    fates: tuple[tuple[Fate, Counter[RawRecord], str], ...] = (
        ("lost", lost, "missing"),
        ("doubled", doubled, "there more than once"),
        ("wrong", extra - doubled, "there that should not be"),
    )
    for fate, records, what in fates:
        if records:
            first = _reported(next(iter(records)))
            text = f"{records.total()} of {len(wanted)} records {what}, such as {first}"
            yield Difference(key, fate, text)


def _in_order(
    key: bytes | None, found: Sequence[RawRecord], writers: _Writers
) -> Iterable[Difference]:
    """Whether the records of each task that are there are in the order in which it made them."""
    for records in writers:
        if list(found) == list(records):
            continue
        have = Counter(found)
        own = [record for record in records if have[record]]
        _, odd = _matched(own, found)
        if odd is not None:
            text = f"{_reported(odd)} does not come after those that it should follow"
            yield Difference(key, "out of order", text)


def _changes(
    key: bytes | None, found: Sequence[RawRecord], writers: _Writers
) -> Iterable[Difference]:
    """Whether the changes that were reported are some of those that were made, in their order."""
    values = [record.value for record in found]
    if len(writers) == 1:
        known = [record.value for record in writers[0]]
        matched, odd = _matched(values, known)
        if matched < len(values):
            again = odd in known
            fate: Fate = "doubled" if odd in values[:matched] else "out of order"
            why = "comes again or too late" if again else "is a value that the key never has"
            text = f"change number {matched + 1} of {len(values)} reported, {shown(odd)}, {why}"
            yield Difference(key, fate if again else "wrong", text)
        return
    known = [record.value for each in writers for record in each]
    for value in dict.fromkeys(values):
        if value not in known:
            yield Difference(key, "wrong", f"{shown(value)} is a value that the key never has")


def _latest(
    key: bytes | None, found: Sequence[RawRecord], writers: _Writers
) -> Iterable[Difference]:
    """Whether the last value is the right one; of several tasks any may have been the last."""
    last = _last(writers)
    if not found and last:
        yield Difference(key, "lost", f"no record is there; the last should be {_values(last)}")
    elif found and found[-1].value not in last:
        text = f"the last value is {shown(found[-1].value)} and should be {_values(last)}"
        yield Difference(key, "lost" if last else "wrong", text)


def _last(writers: _Writers) -> list[bytes | None]:
    return [records[-1].value for records in writers]


def _matched(selection: Sequence[Any], whole: Sequence[Any]) -> tuple[int, Any]:
    """How many of a selection are found in their order, and the first that is not, or None."""
    rest = iter(whole)
    for number, each in enumerate(selection):
        if each not in rest:  # goes on from where the one before was found
            return number, each
    return len(selection), None


def _reported(record: RawRecord) -> str:
    return f"{shown(record.value)} at {record.timestamp}"


def _values(values: Sequence[bytes | None]) -> str:
    return " or ".join(map(shown, values)) or "none"


def shown(data: bytes | None) -> str:
    """Bytes for a person: as text where they are some, shortened."""
    if data is None:
        return "null"
    try:
        text = data.decode()
    except UnicodeDecodeError:
        text = f"0x{data.hex()}"
    text = text if text.isprintable() else f"0x{data.hex()}"
    return text if len(text) <= _SHOWN_BYTES else f"{text[:_SHOWN_BYTES]}…"
