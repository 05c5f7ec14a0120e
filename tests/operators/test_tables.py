"""Tables of tables: what was emitted before is taken back, exactly."""

from itertools import product
from typing import Any

import pytest

from processor import Topology
from processor.operators.aggregates.by_key import (
    Aggregate,
    Count,
    Emit,
    Latest,
    TableOperator,
    stamped,
)
from processor.operators.base import AnyBatch, Context
from processor.operators.changes import Change
from processor.operators.tables.derived import (
    AggregateChanges,
    CountChanges,
    Derived,
    FilterTable,
    MapTable,
    Regroup,
)
from processor.serdes import Serde, int64, json, text
from processor.state.keyvalue import StoreSpec
from processor.testing import TopologyDriver
from tests.operators.rows import batch, context, failed, row


def pairing(value: Serde[Any]) -> Context:
    at = context(StoreSpec("table", text, stamped(value)))
    at.paired = frozenset({"step"})
    return at


def run(step: TableOperator, rows: AnyBatch, at: Context) -> list[Change]:
    at.clock.enter([rows], advance=True)
    made = step.process(rows, at)
    for store in at.stores.values():
        store._overlay.accept()
    news, changes = made
    assert [change.new for change in changes.values] == news.values
    return list(changes.values)


def even(value: int) -> bool:
    return value % 2 == 0


ROWS = batch(row(1, "a"), row(2, "b"), row(4, "a"), row(None, "b"), row(8, "b"))


@pytest.mark.parametrize(
    ("step", "value", "emitted"),
    [
        (Latest("table", "change"), json, [(None, 1), (None, 2), (1, 4), (2, None), (None, 8)]),
        (Count("table", "change"), int64, [(None, 1), (None, 1), (1, 2), (1, 2), (2, 3)]),
    ],
    ids=["latest", "count"],
)
def test_a_table_emits_the_old_value_with_each_change(
    step: TableOperator, value: Serde[Any], emitted: list[tuple[Any, Any]]
) -> None:
    assert run(step, ROWS, pairing(value)) == emitted


def test_old_values_are_those_of_the_store_across_batches() -> None:
    at = pairing(json)
    step = Aggregate("table", "change", list, lambda held, value: [*held, value], json)
    assert run(step, batch(row(1), row(2)), at) == [(None, [1]), ([1], [1, 2])]
    assert run(step, batch(row(3)), at) == [([1, 2], [1, 2, 3])]


def test_an_old_value_is_nobody_elses_object() -> None:
    at = pairing(json)
    first, second = run(Latest("table", "change"), batch(row([1]), row([2])), at)
    first.new.append(5)
    assert second == ([1], [2])


def test_at_a_checkpoint_the_old_value_is_that_of_the_checkpoint_before() -> None:
    at = pairing(json)
    step = Latest("table", "checkpoint")
    overlay = at.stores["table"]._overlay
    for rows, emitted in [
        (batch(row(1, "a"), row(2, "a"), row(3, "b")), [("a", None, 2), ("b", None, 3)]),
        (batch(row(5, "a"), row(None, "b"), row(6, "a")), [("a", 2, 6), ("b", 3, None)]),
        (batch(row(7, "b")), [("b", None, 7)]),
    ]:
        at.clock.enter([rows], advance=True)
        assert [len(made) for made in step.process(rows, at)] == [0]
        overlay.accept()
        changes = step.changes(at)
        assert changes is not None
        pairs = zip(changes.keys, changes.values, strict=True)
        assert [(key, *change) for key, change in pairs] == emitted
        overlay.committed(overlay.position)


CHANGES = batch(
    row(Change(None, 2), "a"),
    row(Change(2, 3), "a"),
    row(Change(3, 5), "a"),
    row(Change(5, 4), "a"),
    row(Change(4, None), "a"),
    row(Change(None, None), "a"),
)


@pytest.mark.parametrize(
    ("step", "emitted"),
    [
        (FilterTable(even), [(None, 2), (2, None), (None, 4), (4, None)]),
        (FilterTable(even, keep=False), [(None, 3), (3, 5), (5, None)]),
        (MapTable(str), [(None, "2"), ("2", "3"), ("3", "5"), ("5", "4"), ("4", None)]),
        (
            MapTable(lambda value: value // 2 or None),
            [(None, 1), (1, 1), (1, 2), (2, 2), (2, None)],
        ),
    ],
    ids=["filter", "filter-not", "map-values", "map to nothing"],
)
def test_a_derived_table_emits_tombstones_only_of_what_it_emitted(
    step: Derived, emitted: list[tuple[Any, Any]]
) -> None:
    news, changes = step.process(CHANGES, context())
    assert changes.values == emitted
    assert news.values == [new for _, new in emitted]
    assert len(news.offsets) == len(emitted)


def test_a_function_that_fails_makes_its_row_bad() -> None:
    at = context()
    rows = batch(row(Change(None, 1)), row(Change(None, "x")), row(Change("y", 1)))
    _, changes = MapTable(lambda value: value + 1).process(rows, at)
    assert changes.values == [(None, 2)]
    assert [offset for offset, _, _ in failed(at)] == [1, 2]


def test_a_change_goes_to_the_groups_of_both_values() -> None:
    (made,) = Regroup(even).process(CHANGES, context())
    assert list(zip(made.offsets, made.keys, made.values, strict=True)) == [
        (0, True, (None, 2)),
        (1, True, (2, None)),
        (1, False, (None, 3)),
        (2, False, (3, 5)),  # together: no one sees 3 gone and 5 not yet there
        (3, False, (5, None)),
        (3, True, (None, 4)),
        (4, True, (4, None)),
    ]


def changed(*changes: tuple[Any, Any]) -> AnyBatch:
    return batch(*(row(Change(*change), time) for time, change in enumerate(changes)))


def total(held: int, value: int) -> int:
    return held + value


def less(held: int, value: int) -> int:
    return held - value


@pytest.mark.parametrize(
    ("step", "emitted"),
    [
        (CountChanges("table", "change"), [1, 2, 2, 1, 0]),
        (AggregateChanges("table", "change", None, total, json, less), [5, 8, 10, 7, 0]),
        (
            AggregateChanges("table", "change", lambda: 100, total, json, less),
            [105, 108, 110, 107, 100],
        ),
        (
            AggregateChanges("table", "change", None, total, json, lambda a, b: a - b or None),
            [5, 8, 10, 7, None],
        ),
    ],
    ids=["count", "reduce", "aggregate", "deleted"],
)
def test_what_a_group_loses_is_taken_back(step: TableOperator, emitted: list[Any]) -> None:
    rows = changed((None, 5), (None, 3), (5, 7), (3, None), (7, None))
    rows = rows.with_keys(["k"] * 5)
    assert [change.new for change in run(step, rows, pairing(json))] == emitted


@pytest.mark.parametrize(
    "step",
    [
        CountChanges("table", "change"),
        AggregateChanges("table", "change", None, total, json, less),
    ],
    ids=["count", "reduce"],
)
def test_nothing_is_taken_back_from_nothing(step: TableOperator) -> None:
    at = pairing(json)
    rows = changed((5, None), (4, 7)).with_keys(["k", "k"])
    emitted = run(step, rows, at)
    assert emitted[0] == (None, None)
    assert emitted[1].old is None
    assert dict(at.stores["table"].items()) == {"k": (0, emitted[1].new)} or emitted[1].new == 7


def test_an_aggregate_is_an_object_of_its_own() -> None:
    at = pairing(json)
    step = AggregateChanges("table", "change", None, lambda held, more: [*held, *more], json, less)
    value = [1]
    run(step, changed((None, value)).with_keys(["k"]), at)
    value.append(2)
    assert at.stores["table"].get("k") == (0, [1])


@pytest.mark.parametrize("one_batch", [True, False])
def test_a_value_that_can_not_be_added_is_left_out_and_what_it_replaces_taken_back(
    *, one_batch: bool
) -> None:
    topology = Topology("app")
    table = topology.table("in", name="t", emit="change")
    grouped = table.group_by(lambda _: "g", name="g")
    grouped.aggregate(
        int, lambda so_far, n: so_far + n, lambda so_far, n: so_far - n, name="sum", emit="change"
    ).to_stream().to("out")
    driver = (
        TopologyDriver(topology, auto_checkpoint=False) if one_batch else TopologyDriver(topology)
    )
    for value in (1, "x", 5, 6, None):
        driver.pipe("in", key="k", value=value)
    driver.checkpoint()
    assert driver.store("sum") == {"g": 0}
    (letter,) = driver.dead_letters()
    assert b"unsupported operand" in (dict(letter.headers)["kproc.error"] or b"")


@pytest.mark.parametrize("one_batch", [True, False])
@pytest.mark.parametrize("emit", ["checkpoint", "change"])
def test_a_result_that_can_not_be_kept_is_a_bad_record(emit: Emit, *, one_batch: bool) -> None:
    topology = Topology("app")
    grouped = topology.table("in", name="t", emit="change").group_by(lambda _: "g", name="g")
    grouped.aggregate(
        int, lambda so_far, n: so_far + n, lambda so_far, n: {so_far, n}, name="sum", emit=emit
    ).to("out")
    driver = TopologyDriver(topology, auto_checkpoint=not one_batch)
    for value in (21, None):
        driver.pipe("in", key="k", value=value)
    driver.checkpoint()
    assert driver.store("sum") == {"g": 21}
    assert driver.read("out") == [("g", 21)]
    (letter,) = driver.dead_letters()
    assert dict(letter.headers)["kproc.step"] == b"sum"


@pytest.mark.parametrize("emit", ["checkpoint", "change"])
def test_a_row_is_judged_alike_whatever_fails_beside_it(emit: Emit) -> None:
    def add(so_far: Any, n: int) -> int:
        return n if so_far is None or isinstance(so_far, set) else so_far + 10 // n

    topology = Topology("app")
    grouped = topology.table("in", name="t", emit="change").group_by(lambda _: "g", name="g")
    grouped.aggregate(
        lambda: None, add, lambda so_far, n: {so_far, n}, name="sum", emit=emit, value=Any
    )
    driver = TopologyDriver(topology, auto_checkpoint=False)
    for key, value in (("k", 5), ("k", 6), ("other", 0)):
        driver.pipe("in", key=key, value=value)
    driver.checkpoint()
    assert driver.store("sum") == {"g": 6}
    assert len(driver.dead_letters()) == 1


@pytest.mark.parametrize("last", [None, 6])
@pytest.mark.parametrize("one_batch", [True, False])
@pytest.mark.parametrize("emits", list(product(["change", "checkpoint"], repeat=3)), ids="-".join)
def test_tables_of_tables_take_back_what_they_added_whenever_they_emit(
    emits: tuple[Any, Any, Any], *, one_batch: bool, last: int | None
) -> None:
    def add(so_far: int, n: int) -> int:
        return so_far + n

    def take(so_far: int, n: int) -> int:
        return so_far - n

    topology = Topology("app")
    table = topology.table("in", name="t", emit=emits[0])
    sums = table.group_by(lambda n: n if n == "x" else "g", name="g").aggregate(
        int, add, take, name="sums", emit=emits[1]
    )
    totals = sums.group_by(lambda _: "all", name="all")
    totals.aggregate(int, add, take, name="total", emit=emits[2]).to("out")
    driver = TopologyDriver(topology, auto_checkpoint=not one_batch)
    for value in (1, "x", 5, 7, last):
        driver.pipe("in", key="k", value=value)
        driver.pipe("in", key="other", value=10)
    driver.checkpoint()
    driver.restart()
    driver.pipe("in", key="other", value=None)
    driver.checkpoint()
    assert driver.store("sums").get("g", 0) == (last or 0)
    assert driver.store("total").get("all", 0) == (last or 0)
    assert driver.read("out")[-1] == ("all", last or 0)


def test_an_aggregate_that_was_changed_before_it_failed_is_as_it_was() -> None:
    def add(so_far: list[int], n: int) -> list[int]:
        so_far.append(n)
        if n == 7:
            raise ValueError("not 7")
        return so_far

    def take(so_far: list[int], n: int) -> list[int]:
        so_far.remove(n)
        return so_far

    topology = Topology("app")
    grouped = topology.table("in", name="t", emit="change").group_by(lambda _: "g", name="g")
    grouped.aggregate(list, add, take, name="all")
    driver = TopologyDriver(topology)
    for key, value in (("a", 1), ("b", 7), ("a", 2), ("b", 3)):
        driver.pipe("in", key=key, value=value)
    assert sorted(driver.store("all")["g"]) == [2, 3]


@pytest.mark.parametrize("emit", ["checkpoint", "change"])
def test_a_group_whose_first_value_fails_is_never_there(emit: Emit) -> None:
    def add(so_far: int, value: int) -> int:
        return so_far + 10 // value

    topology = Topology("app")
    table = topology.table("in", key=str, value=int)
    grouped = table.group_by(lambda value: "even" if even(value) else "odd")
    summed = grouped.aggregate(int, add=add, subtract=lambda a, v: a - 10 // v, emit=emit, name="s")
    summed.to("out")
    driver = TopologyDriver(topology)
    driver.pipe("in", key="a", value=0, timestamp=0)
    driver.checkpoint()
    assert driver.read_records("out") == []
    assert len(driver.dead_letters()) == 1
    driver.pipe("in", key="b", value=2, timestamp=0)
    driver.checkpoint()
    assert driver.read("out") == [("even", 5)]
