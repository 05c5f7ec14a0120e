"""Comparison: what is right passes, and each fault is named for what it is."""

from collections.abc import Mapping, Sequence
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from processor import Record, Timestamp
from processor.chaos.compare import Compared, Expected, compare_state, compare_topic, shown
from processor.chaos.replay import RawRecord
from processor.chaos.rules import Judgement, Rule
from processor.records import Partition

P0, P1 = Partition(0), Partition(1)


def rows(values: str, key: bytes | None = b"k") -> list[RawRecord]:
    return [Record(key, each.encode(), Timestamp(1)) for each in values]


def compared(rule: Rule, found: Mapping[int, Sequence[RawRecord]], *expected: Expected) -> Compared:
    logs = {Partition(number): log for number, log in found.items()}
    return compare_topic("out", Judgement(rule), logs, expected)


def fates(rule: Rule, found: str, *wanted: str) -> list[str]:
    result = compared(rule, {0: rows(found)}, *(Expected(rows(each)) for each in wanted))
    return [each.fate for each in result.differences]


@pytest.mark.parametrize(
    ("rule", "found", "wanted", "expected"),
    [
        (Rule.SEQUENCE, "abc", ["abc"], []),
        (Rule.SEQUENCE, "ab", ["abc"], ["lost"]),
        (Rule.SEQUENCE, "abbc", ["abc"], ["doubled"]),
        (Rule.SEQUENCE, "abxc", ["abc"], ["wrong"]),
        (Rule.SEQUENCE, "acb", ["abc"], ["out of order"]),
        (Rule.SEQUENCE, "axbyc", ["abc", "xy"], []),
        (Rule.SEQUENCE, "ayxbc", ["abc", "xy"], ["out of order"]),
        (Rule.SEQUENCE, "axbc", ["abc", "xy"], ["lost"]),
        (Rule.SEQUENCE, "", ["a"], ["lost"]),
        (Rule.SEQUENCE, "a", [], ["wrong"]),
        (Rule.SET, "cab", ["abc"], []),
        (Rule.SET, "caab", ["abc"], ["doubled"]),
        (Rule.CHANGES, "bd", ["abcd"], []),
        (Rule.CHANGES, "d", ["abcd"], []),
        (Rule.CHANGES, "bc", ["abcd"], ["lost"]),
        (Rule.CHANGES, "", ["abcd"], ["lost"]),
        (Rule.CHANGES, "bbd", ["abcd"], ["doubled"]),
        (Rule.CHANGES, "cbd", ["abcd"], ["out of order"]),
        (Rule.CHANGES, "bxd", ["abcd"], ["wrong"]),
        (Rule.CHANGES, "aybd", ["abd", "xy"], []),
        (Rule.CHANGES, "abz", ["abd", "xy"], ["wrong", "lost"]),
        (Rule.SELECTION, "bc", ["abcd"], []),
        (Rule.SELECTION, "cb", ["abcd"], ["out of order"]),
        (Rule.SELECTION, "bx", ["abcd"], ["wrong"]),
        (Rule.LAST, "zzd", ["abcd"], []),
        (Rule.LAST, "zzc", ["abcd"], ["lost"]),
        (Rule.NOTHING, "zz", ["abcd"], []),
    ],
)
def test_each_fault_is_reported(
    rule: Rule, found: str, wanted: list[str], expected: list[str]
) -> None:
    assert fates(rule, found, *wanted) == expected


def test_timestamps_and_headers_belong_to_a_record() -> None:
    (record,) = rows("a")
    for other in (record._replace(timestamp=Timestamp(2)), record._replace(headers=(("h", b""),))):
        result = compared(Rule.SEQUENCE, {0: [other]}, Expected([record]))
        assert [each.fate for each in result.differences] == ["lost", "wrong"]


def test_a_key_in_two_partitions_has_no_order() -> None:
    result = compared(Rule.SEQUENCE, {0: rows("a"), 1: rows("b")}, Expected(rows("ab")))
    assert [each.fate for each in result.differences] == ["out of order"]


def test_records_without_a_key_are_anywhere() -> None:
    found = {0: rows("c", None), 1: rows("ab", None)}
    assert not compared(Rule.SEQUENCE, found, Expected(rows("abc", None))).differences


def test_keys_whose_end_depends_on_the_order_of_reading_are_left_out() -> None:
    expected = Expected(rows("ab") + rows("x", b"sure"), rows("ba") + rows("x", b"sure"))
    result = compared(Rule.LAST, {0: rows("z") + rows("y", b"sure")}, expected)
    assert result.undecided == 1
    assert [each.key for each in result.differences] == [b"sure"]


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from("klm"), st.integers(0, 3)), min_size=1),
    st.sampled_from(["lose", "double", "swap"]),
    st.randoms(use_true_random=False),
)
def test_no_fault_in_a_sequence_goes_unseen(
    items: list[tuple[str, int]], fault: str, random: Random
) -> None:
    wanted: list[RawRecord] = [
        Record(key.encode(), b"%d" % value, Timestamp(number))
        for number, (key, value) in enumerate(items)
    ]
    found = list(wanted)
    row = random.randrange(len(found))
    if fault == "lose":
        del found[row]
    elif fault == "double":
        found.insert(random.randrange(len(found)), found[row])
    else:
        found.insert(random.randrange(len(found)), found.pop(row))

    def orders(log: list[RawRecord]) -> dict[bytes | None, list[RawRecord]]:
        return {each.key: [one for one in log if one.key == each.key] for each in log}

    result = compared(Rule.SEQUENCE, {0: found}, Expected(wanted))
    assert bool(result.differences) == (orders(found) != orders(wanted))


@settings(deadline=None)
@given(st.lists(st.integers(0, 3), min_size=1), st.data())
def test_what_a_table_may_emit_passes(changes: list[int], data: st.DataObject) -> None:
    emitted = [each for each in changes[:-1] if data.draw(st.booleans())] + [changes[-1]]
    wanted = "".join(map(str, changes))
    assert fates(Rule.CHANGES, "".join(map(str, emitted)), wanted) == []


def test_state_is_compared_by_partition() -> None:
    found = {P0: {b"a": b"1", b"b": b"2"}, P1: {b"c": b"3"}}
    expected = {P0: ({b"a": b"1", b"b": b"1"}, None), P1: ({b"d": b"4"}, None)}
    result = compare_state("store", Judgement(Rule.SEQUENCE), found, expected)
    assert [str(each) for each in result.differences] == [
        "key b: is 2 and should be 1",
        "key d: is null and should be 4",
        "key c: is 3 and should be null",
    ]


def test_state_that_depends_on_the_order_of_reading_is_left_out() -> None:
    expected = {P0: ({b"a": b"1", b"b": b"2"}, {b"a": b"1", b"b": b"9"})}
    result = compare_state("s", Judgement(Rule.LAST), {P0: {b"a": b"0", b"b": b"7"}}, expected)
    assert result.undecided == 1
    assert [each.key for each in result.differences] == [b"a"]


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (None, "null"),
        (b"abc", "abc"),
        (b"\x00\xff", "0x00ff"),
        (b"a\nb", "0x610a62"),
        (b"x" * 121, "x" * 120 + "…"),
    ],
)
def test_bytes_are_shown_so_that_a_person_can_read_them(data: bytes | None, text: str) -> None:
    assert shown(data) == text
