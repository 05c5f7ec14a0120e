"""Deduplicate: by stream time, per key and identity, and it forgets what can drop nothing."""

from typing import Any

import pytest

from processor.operators.base import AnyBatch, Context
from processor.operators.deduplicate import Deduplicate
from processor.records import Record
from processor.serdes import bytes_serde, int64, text
from processor.state.keyvalue import StoreSpec
from tests.operators.rows import batch, context, failed, row

SEEN = StoreSpec("seen", bytes_serde, int64)
STEP = Deduplicate("seen", 10, None, text)


def run(rows: AnyBatch, at: Context, step: Deduplicate = STEP) -> list[Any]:
    """The values that pass."""
    at.clock.enter([rows], advance=True)
    (made,) = step.process(rows, at)
    step.advance(at)
    at.stores["seen"]._overlay.accept()
    at.clock.task_time = at.clock.end_task_time
    return list(made.values)


def records(*keys_and_times: tuple[str, int]) -> list[Record[Any, Any]]:
    return [row(time, key, time) for key, time in keys_and_times]


def test_the_first_passes_and_others_within_the_time_are_dropped() -> None:
    rows = records(("a", 0), ("a", 9), ("b", 9), ("a", 10), ("a", 19), ("b", 19))
    assert run(batch(*rows), context(SEEN)) == [0, 9, 10, 19]


def test_time_is_the_stream_time() -> None:
    rows = records(("b", 50), ("a", 3), ("a", 20))
    assert run(batch(*rows), context(SEEN)) == [50, 3]


def test_equal_by_identity() -> None:
    step = Deduplicate("seen", 10, lambda value: value.encode(), text)
    rows = [row("x", "a"), row("y", "a"), row("x", "a", 5), row("x", "b")]
    assert run(batch(*rows), context(SEEN), step) == ["x", "y", "x"]


def test_key_and_identity_are_kept_apart() -> None:
    step = Deduplicate("seen", 10, lambda value: value.encode(), text)
    assert run(batch(row("bc", "a"), row("c", "ab")), context(SEEN), step) == ["bc", "c"]


def test_an_identity_that_raises_makes_the_record_bad() -> None:
    step = Deduplicate("seen", 10, lambda value: value.encode(), text)
    at = context(SEEN)
    assert run(batch(row("x"), row(5), row("x")), at, step) == ["x"]
    assert failed(at) == [(1, "function", "AttributeError: 'int' object has no attribute 'encode'")]


def test_a_record_without_key_is_bad() -> None:
    at = context(SEEN)
    assert run(batch(row(1, None), row(2, "a")), at) == [2]
    assert failed(at)[0][:2] == (0, "null-key")


@pytest.mark.parametrize("sizes", [(1, 1, 1, 1, 1, 1), (6,), (2, 4), (3, 3), (5, 1)])
def test_it_forgets_the_same_wherever_batches_end(sizes: tuple[int, ...]) -> None:
    rows = records(("a", 1), ("b", 8), ("c", 11), ("d", 19), ("e", 22), ("e", 29))
    at = context(SEEN)
    for number, size in enumerate(sizes):
        start = sum(sizes[:number])
        run(batch(*rows[start : start + size], start=start), at)
    # At 22 the second multiple is entered: what passed up to 12 can drop nothing more.
    assert dict(at.stores["seen"].items()) == {b"d": 19, b"e": 22}
