"""Joins with tables, row by row; what they mean in a topology is in tests/topology."""

from typing import Any

from processor.operators.aggregates.by_key import stamped
from processor.operators.base import AnyBatch, Context, of_parent
from processor.operators.joins.tables import StreamTableJoin, TableTableJoin, joins
from processor.operators.joins.views import View
from processor.records import Record, Timestamp
from processor.serdes import json, text
from processor.state.keyvalue import StoreSpec
from tests.operators.rows import batch, context, failed, row

USERS = StoreSpec[Any, Any]("users", text, stamped(json))
CITIES = StoreSpec[Any, Any]("cities", text, stamped(json))
BOTH = StoreSpec[Any, Any]("both", text, stamped(json))


def pair(left: Any, right: Any) -> Any:
    if left == "bad":
        raise ValueError(left)
    return [left, right]


def stream_table(*rows: Record[Any, Any], left: bool = False) -> tuple[AnyBatch, Context]:
    at = context(USERS)
    at.stores["users"].put("ann", (50, {"name": "Ann"}))
    (made,) = StreamTableJoin(View("users"), pair, left).process(of_parent(0, batch(*rows)), at)
    return made, at


def test_a_row_is_joined_with_the_value_of_its_key() -> None:
    made, at = stream_table(
        row(1, "ann", 7, headers=(("h", b"1"),)), row(2, "bob"), row(None, "ann"), row(3, "ann", 9)
    )
    assert made.records() == [
        Record("ann", [1, {"name": "Ann"}], Timestamp(7), (("h", b"1"),)),
        Record("ann", [3, {"name": "Ann"}], Timestamp(9)),
    ]
    assert made.offsets == [0, 3]
    assert not at.failures.rejected


def test_rows_of_one_key_are_given_values_of_their_own() -> None:
    made, _ = stream_table(row(1, "ann"), row(2, "ann"))
    made.values[0][1]["name"] = "changed"
    assert made.values[1] == [2, {"name": "Ann"}]


def test_a_left_join_has_a_result_for_each_value() -> None:
    made, at = stream_table(row(1, "bob"), row(2, None), row(None, "ann"), row(3, "ann"), left=True)
    assert made.values == [[1, None], [2, None], [3, {"name": "Ann"}]]
    assert not at.failures.rejected


def test_rows_without_a_key_are_bad_in_an_inner_join() -> None:
    made, at = stream_table(row(1, "ann"), row(2, None), row(None, None))
    assert made.values == [[1, {"name": "Ann"}]]
    error = "NullKeyError: the record has no key, but this step keeps state by key"
    assert failed(at) == [(1, "null-key", error)]


def test_rows_with_keys_that_the_table_can_not_have_are_bad() -> None:
    for left in (False, True):
        made, at = stream_table(row(1, 5), row(2, "ann"), left=left)
        assert made.values == [[2, {"name": "Ann"}]]
        assert [(offset, reason) for offset, reason, _ in failed(at)] == [(0, "key")]


def test_rows_whose_joiner_fails_are_bad() -> None:
    made, at = stream_table(row("bad", "ann"), row(2, "ann"))
    assert made.values == [[2, {"name": "Ann"}]]
    assert failed(at) == [(0, "function", "ValueError: bad")]


def test_changes_of_the_table_have_no_result() -> None:
    at = context(USERS)
    (made,) = StreamTableJoin(View("users"), pair, left=True).process(
        of_parent(1, batch(row(1))), at
    )
    assert len(made) == 0


def test_who_has_a_result() -> None:
    cases = [(1, 2), (1, None), (None, 2), (None, None)]
    assert [joins("inner", *case) for case in cases] == [True, False, False, False]
    assert [joins("left", *case) for case in cases] == [True, True, False, False]
    assert [joins("outer", *case) for case in cases] == [True, True, True, False]


def test_tables_are_read_as_the_parent_of_the_row_demands() -> None:
    at = context(USERS, CITIES, BOTH)
    at.stores["users"].put("ann", (50, "Ann"))
    at.stores["cities"].put("ann", (9, "Rome"))
    step = TableTableJoin("both", "change", (View("users"), View("cities")), pair, "outer")
    rows = batch(row((0, "new"), "ann", 7), row((1, "Oslo"), "ann", 8), row((1, None), "bob", 3))
    (made,) = step.process(rows, at)
    assert made.records() == [
        Record("ann", ["new", "Rome"], Timestamp(9)),
        Record("ann", ["Ann", "Oslo"], Timestamp(50)),
    ]
    assert dict(at.stores["both"].items()) == {"ann": (50, ["Ann", "Oslo"])}


def test_a_key_that_comes_and_goes_in_one_batch_is_a_change() -> None:
    at = context(USERS, CITIES, BOTH)
    step = TableTableJoin("both", "checkpoint", (View("users"), View("cities")), pair, "left")
    (made,) = step.process(batch(row((0, 1), "a", 7), row((0, None), "a", 8)), at)
    assert len(made) == 0
    at.stores["both"]._overlay.accept()
    changes = step.changes(at)
    assert changes is not None
    assert changes.records() == [Record("a", None, Timestamp(-1))]
