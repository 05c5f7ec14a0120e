"""Tables: one value per key, reduced batch by batch, the same as row by row."""

from collections.abc import Callable
from typing import Any

import pytest

from processor.operators.aggregates.by_key import (
    STAMPED,
    Aggregate,
    Count,
    Emit,
    Latest,
    TableOperator,
    stamped,
)
from processor.operators.base import AnyBatch, Context, Unattributed
from processor.records import Timestamp
from processor.serdes import Serde, float64, int64, json, key_json, text
from processor.state.keyvalue import StoreSpec
from tests.operators.rows import batch, context, failed, row, values


def spec(value: Serde[Any], key: Serde[Any] = text) -> StoreSpec[Any, Any]:
    return StoreSpec("table", key, stamped(value))


def table(at: Context) -> dict[Any, tuple[int, Any]]:
    return dict(at.stores["table"].items())


def run(step: TableOperator, rows: AnyBatch, at: Context) -> AnyBatch:
    at.clock.enter([rows], advance=True)
    (made,) = step.process(rows, at)
    for store in at.stores.values():
        store._overlay.accept()
    return made


def reduce(add: Callable[[Any, Any], Any], emit: Emit = "checkpoint") -> Aggregate:
    return Aggregate("table", emit, None, add, json)


def total(so_far: int, value: int) -> int:
    return so_far + value


ROWS = batch(row(1, "a", 5), row(2, "b", 3), row(4, "a", 2), row(8, "a", 4))


@pytest.mark.parametrize(
    ("step", "value", "emitted", "times"),
    [
        (Count("table", "change"), int64, [1, 1, 2, 3], [5, 3, 5, 5]),
        (reduce(total, "change"), json, [1, 2, 5, 13], [5, 3, 5, 5]),
        (
            Aggregate("table", "change", lambda: 100, total, json),
            json,
            [101, 102, 105, 113],
            [5, 3, 5, 5],
        ),
        (Latest("table", "change"), json, [1, 2, 4, 8], [5, 3, 2, 4]),
    ],
    ids=["count", "reduce", "aggregate", "latest"],
)
def test_every_change_is_emitted(
    step: TableOperator, value: Serde[Any], emitted: list[int], times: list[int]
) -> None:
    made = run(step, ROWS, context(spec(value)))
    assert (made.keys, made.values, made.timestamps) == (list("abaa"), emitted, times)
    assert made.offsets == ROWS.offsets


@pytest.mark.parametrize(
    ("step", "value", "kept"),
    [
        (Count("table", "checkpoint"), int64, {"a": (5, 3), "b": (3, 1)}),
        (reduce(total), json, {"a": (5, 13), "b": (3, 2)}),
        (Latest("table", "checkpoint"), json, {"a": (4, 8), "b": (3, 2)}),
    ],
    ids=["count", "reduce", "latest"],
)
def test_changes_wait_for_the_checkpoint(
    step: TableOperator, value: Serde[Any], kept: dict[str, tuple[int, int]]
) -> None:
    at = context(spec(value))
    assert len(run(step, ROWS, at)) == 0
    assert table(at) == kept
    changes = step.changes(at)
    assert changes is not None
    assert changes.keys == ["a", "b"]
    assert list(zip(changes.timestamps, changes.values, strict=True)) == [kept["a"], kept["b"]]
    assert changes.offsets == [0, 1]


def test_a_table_that_emits_every_change_emits_nothing_at_a_checkpoint() -> None:
    at = context(spec(int64))
    step = Count("table", "change")
    run(step, ROWS, at)
    assert step.changes(at) is None


def test_a_deletion_lets_the_time_of_a_value_start_over() -> None:
    at = context(spec(json))
    step = reduce(lambda so_far, value: so_far + value or None, "change")
    made = [run(step, batch(row(*each)), at) for each in [(5, "a", 9), (-5, "a", 3), (4, "a", 4)]]
    assert [(*each.values, *each.timestamps) for each in made] == [(5, 9), (None, 9), (4, 4)]


def test_a_count_keeps_the_highest_timestamp_across_batches() -> None:
    at = context(spec(int64))
    step = Count("table", "checkpoint")
    for times in ([3, 9, 4], [5, 2]):
        run(step, batch(*(row(key="k", timestamp=time) for time in times)), at)
    assert table(at) == {"k": (9, 5)}


def test_null_deletes_from_a_table_and_is_emitted_with_the_stream_time() -> None:
    at = context(spec(json))
    step = Latest("table", "checkpoint")
    run(step, batch(row(1, "a", 5), row(2, "b", 6)), at)
    run(step, batch(row(None, "a", 7), row(None, "never", 8)), at)
    at.clock.task_time = Timestamp(8)
    changes = step.changes(at)
    assert changes is not None
    assert list(zip(changes.keys, changes.values, changes.timestamps, strict=True)) == [
        ("a", None, 8),
        ("b", 2, 6),
        ("never", None, 8),
    ]
    assert table(at) == {"b": (6, 2)}


def test_an_aggregate_of_none_deletes_and_the_key_starts_over() -> None:
    at = context(spec(json))
    step = Aggregate("table", "change", list, lambda a, v: None if v == 0 else [*a, v], json)
    made = run(step, values(1, 2, 0, 3), at)
    assert made.values == [[1], [1, 2], None, [3]]
    assert table(at) == {"k": (0, [3])}


def test_each_change_is_emitted_as_it_was_although_the_function_changes_it_later() -> None:
    def add(so_far: list[int], value: int) -> list[int]:
        so_far.append(value)
        return so_far

    made = run(Aggregate("table", "change", list, add, json), values(1, 2), context(spec(json)))
    assert made.values == [[1], [1, 2]]


def test_the_records_own_value_is_not_changed_by_what_follows_it() -> None:
    def add(so_far: dict[str, int], value: dict[str, int]) -> dict[str, int]:
        if value.get("reset"):
            return value
        so_far["n"] += value["n"]
        return so_far

    rows = values({"n": 1}, {"n": 2}, {"n": 0, "reset": 1}, {"n": 4})
    at = context(spec(json))
    run(reduce(add), rows, at)
    assert rows.values == [{"n": 1}, {"n": 2}, {"n": 0, "reset": 1}, {"n": 4}]
    assert table(at) == {"k": (0, {"n": 4, "reset": 1})}


def test_a_function_that_raises_in_the_middle_leaves_its_row_out() -> None:
    def add(so_far: int, value: int) -> int:
        if value == 3:
            raise ValueError("three")
        return so_far + value

    at = context(spec(json))
    made = run(reduce(add, "change"), values(1, 2, 3, 4), at)
    assert made.values == [1, 3, 7]
    assert made.offsets == [0, 1, 3]
    assert failed(at) == [(2, "function", "ValueError: three")]


def test_a_start_that_raises() -> None:
    def start() -> int:
        raise ValueError("no start")

    at = context(spec(json))
    run(Aggregate("table", "checkpoint", start, total, json), values(1), at)
    assert failed(at) == [(0, "function", "ValueError: no start")]


@pytest.mark.parametrize(
    "step",
    [reduce(lambda _a, _v: object()), Latest("table", "checkpoint")],
    ids=["aggregate", "latest"],
)
def test_what_can_not_be_kept_is_to_be_found_row_by_row(step: TableOperator) -> None:
    at = context(spec(json))
    rows = values(1, object())
    with pytest.raises(Unattributed) as raised:
        run(step, rows, at)
    assert "no JSON form" in str(raised.value.__cause__)


@pytest.mark.parametrize(
    ("key", "serde", "reason", "error"),
    [
        (None, text, "null-key", "NullKeyError: the record has no key"),
        (5, text, "key", "TypeError: descriptor 'encode'"),
        ({1}, key_json, "key", "TypeError: a key of type set needs its type named"),
        (float("nan"), key_json, "key", "ValueError: nan can't be a key"),
        ("\ud800", text, "key", "UnicodeEncodeError"),
    ],
)
def test_keys_that_can_not_be_used(key: object, serde: Serde[Any], reason: str, error: str) -> None:
    at = context(spec(int64, serde))
    made = run(Count("table", "change"), batch(row(key="a"), row(key=key), row(key="a")), at)
    assert made.values == [1, 2]
    ((offset, why, message),) = failed(at)
    assert (offset, why) == (1, reason)
    assert message.startswith(error)


def test_keys_that_are_equal_meet_whatever_their_type() -> None:
    at = context(spec(int64, key_json))
    run(
        Count("table", "checkpoint"),
        batch(row(key=1), row(key=1.0), row(key=[1]), row(key=(1,))),
        at,
    )
    assert table(at) == {1: (0, 2), (1,): (0, 2)}


@pytest.mark.parametrize(
    ("serde", "value", "size"), [(int64, -7, 16), (float64, 0.5, 16), (json, {"a": [1]}, 17)]
)
def test_stamped_keeps_timestamp_and_value(serde: Serde[Any], value: object, size: int) -> None:
    both = stamped(serde)
    assert both.name == f"{STAMPED}{serde.name})"
    data = both.encode((Timestamp(-1), value))
    assert len(data) == size
    assert both.decode(data) == (-1, value)
