"""Batches: columns that stay together."""

import pytest

from processor.records import (
    Batch,
    Headers,
    Offset,
    Partition,
    Record,
    Timestamp,
    TopicPartition,
    in_order,
)

H: Headers = (("h", b"1"),)


def make(*offsets: int, headers: bool = False, prefix: str = "") -> Batch[str, str]:
    """Rows whose every column shows their offset."""
    return Batch(
        [f"{prefix}k{offset}" for offset in offsets],
        [f"{prefix}v{offset}" for offset in offsets],
        [Timestamp(offset * 10) for offset in offsets],
        [Offset(offset) for offset in offsets],
        [H if offset % 2 else () for offset in offsets] if headers else None,
    )


def test_a_partition_prints_as_topic_and_number() -> None:
    assert str(TopicPartition("orders", Partition(3))) == "orders[3]"


def test_a_record_has_no_headers_by_default() -> None:
    assert Record("k", "v", Timestamp(1)) == ("k", "v", 1, ())


@pytest.mark.parametrize("headers", [False, True])
def test_select(headers: bool) -> None:  # noqa: FBT001
    batch = make(4, 5, 6, 7, headers=headers)
    assert batch.select([True, 0, "yes", None]) == make(4, 6, headers=headers)
    assert len(batch.select(())) == 0
    assert batch.select([True] * 4) == batch


@pytest.mark.parametrize("headers", [False, True])
def test_take_may_repeat_and_reorder(headers: bool) -> None:  # noqa: FBT001
    batch = make(4, 5, 6, headers=headers)
    assert batch.take([2, 0, 0]) == make(6, 4, 4, headers=headers)
    assert batch.take([]) == make(headers=headers)


def test_with_values_and_with_keys_leave_the_rest() -> None:
    batch = make(1, 2, headers=True)
    other = batch.with_values([8, 9]).with_keys([b"a", b"b"])
    assert (other.keys, other.values) == ([b"a", b"b"], [8, 9])
    assert (other.timestamps, other.offsets, other.headers) == (
        batch.timestamps,
        batch.offsets,
        batch.headers,
    )


def test_numbered() -> None:
    assert make(7, 7, 9).numbered().offsets == [0, 1, 2]


def test_records() -> None:
    assert make(1, 2, headers=True).records() == [
        Record("k1", "v1", Timestamp(10), H),
        Record("k2", "v2", Timestamp(20), ()),
    ]
    assert make(1).records() == [Record("k1", "v1", Timestamp(10))]
    assert make().records() == []


def test_in_order_joins_by_offset_and_keeps_the_order_of_the_batches() -> None:
    first, second = make(1, 3, 3, prefix="a"), make(0, 3, 4, prefix="b")
    joined = in_order([first, second])
    assert joined.keys == ["bk0", "ak1", "ak3", "ak3", "bk3", "bk4"]
    assert joined.headers is None


def test_in_order_fills_in_headers_where_some_batch_has_them() -> None:
    joined = in_order([make(2), make(1, headers=True), make(3)])
    assert joined.headers == [H, (), ()]


def test_one_batch_is_in_order() -> None:
    batch = make(1, 2)
    assert in_order([batch]) is batch
