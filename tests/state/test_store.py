"""What every store has to do, asked of each one alike."""

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from processor.records import Offset
from processor.state.store import MemoryStore, Store, outlived
from processor.storage.rocksdb import BULK_RECORDS, RocksResources, RocksStore


@pytest.fixture(scope="module")
def resources() -> Iterator[RocksResources]:
    shared = RocksResources()
    yield shared
    shared.close()


@pytest.fixture(params=["memory", "rocksdb"])
def store(
    request: pytest.FixtureRequest, tmp_path: Path, resources: RocksResources
) -> Iterator[Store]:
    made: Store = (
        MemoryStore() if request.param == "memory" else RocksStore(tmp_path / "data", resources)
    )
    yield made
    made.close()


def test_a_new_store_is_empty_and_stands_at_zero(store: Store) -> None:
    assert store.position == 0
    assert store.get_many([b"a", b""]) == [None, None]
    assert list(store.scan()) == []
    assert list(store.scan(reverse=True)) == []


def test_written_values_are_read_in_the_order_asked_for(store: Store) -> None:
    store.write({b"a": b"1", b"b": b"", b"": b"empty"}, Offset(7))
    assert store.position == 7
    assert store.get_many([b"b", b"x", b"a", b"", b"a"]) == [b"", None, b"1", b"empty", b"1"]
    assert store.get_many(()) == []


def test_none_deletes_and_a_later_write_wins(store: Store) -> None:
    store.write({b"a": b"1", b"b": b"2"}, Offset(1))
    store.write({b"a": None, b"b": b"3", b"never": None}, Offset(2))
    assert store.get_many([b"a", b"b", b"never"]) == [None, b"3", None]
    assert list(store.scan()) == [(b"b", b"3")]


def test_a_position_alone_can_be_written(store: Store) -> None:
    store.write({}, Offset(2**40))
    assert store.position == 2**40
    assert list(store.scan()) == []


def test_scan_bounds_are_from_start_to_before_end(store: Store) -> None:
    store.write({key: key for key in (b"a", b"ab", b"b", b"b\0", b"c", b"\xff\xff")}, Offset(1))

    def keys(start: bytes = b"", end: bytes | None = None, *, reverse: bool = False) -> list[bytes]:
        return [key for key, value in store.scan(start, end, reverse=reverse) if key == value]

    assert keys(b"ab", b"c") == [b"ab", b"b", b"b\0"]
    assert keys(b"ab", b"c", reverse=True) == [b"b\0", b"b", b"ab"]
    assert keys(b"b\0") == [b"b\0", b"c", b"\xff\xff"]
    assert keys(b"aa", b"aaa") == []
    assert keys(b"c", b"a") == []
    assert keys(b"c", b"c", reverse=True) == []
    assert keys(b"", b"") == []
    assert keys(reverse=True) == keys()[::-1]


def test_keys_of_zero_bytes_are_keys_like_any_other(store: Store) -> None:
    """The position must not collide with any key, nor disturb the order."""
    keys = [b"", b"\0", b"\0\0", b"\0\0\0\0\0\0\0\0", b"\0\0\0\0\0\0\0\0\x01", b"\0\x01", b"\x01"]
    store.write({key: key + b"!" for key in keys}, Offset(3))
    assert store.get_many(keys) == [key + b"!" for key in keys]
    assert list(store.scan()) == [(key, key + b"!") for key in keys]
    assert [key for key, _ in store.scan(reverse=True)] == keys[::-1]
    assert [key for key, _ in store.scan(b"\0", b"\0\0\0")] == [b"\0", b"\0\0"]
    assert [key for key, _ in store.scan(b"\0\0\0", reverse=True)] == keys[:2:-1]
    store.write(dict.fromkeys(keys), Offset(4))
    assert list(store.scan()) == []
    assert store.position == 4


def test_a_scan_sees_the_store_as_it_was_when_it_began(store: Store) -> None:
    before = {b"%04d" % number: b"old" for number in range(1000)}
    store.write(before, Offset(1))
    scan = store.scan()
    first = next(scan)
    store.write({**dict.fromkeys(before), b"0500": b"new", b"9999": b"new"}, Offset(2))
    assert [first, *scan] == sorted(before.items())


@pytest.mark.parametrize("seed", range(5))
def test_random_writes_and_reads_equal_those_of_a_dict(store: Store, seed: int) -> None:
    chance = random.Random(seed)
    expected: dict[bytes, bytes] = {}

    def key() -> bytes:
        return bytes(chance.choices((0, 0, 1, 255), k=chance.randrange(6)))

    for step in range(60):
        changes = {
            key(): None if chance.random() < 0.3 else chance.randbytes(chance.randrange(9))
            for _ in range(chance.randrange(40))
        }
        store.write(changes, Offset(step))
        expected.update((k, v) for k, v in changes.items() if v is not None)
        for deleted in (k for k, v in changes.items() if v is None):
            expected.pop(deleted, None)
        if chance.random() < 0.2:
            store.flush()
        keys = [key() for _ in range(20)]
        assert store.get_many(keys) == [expected.get(k) for k in keys]
        start, end, reverse = key(), chance.choice((key(), None)), chance.random() < 0.5
        wanted = [
            pair for pair in sorted(expected.items()) if start <= pair[0] and (
                end is None or pair[0] < end
            )
        ]  # fmt: skip
        assert list(store.scan(start, end, reverse=reverse)) == wanted[:: -1 if reverse else 1]
        assert store.position == step


@pytest.mark.parametrize("records", [10, BULK_RECORDS])
def test_a_restore_leaves_what_was_written(store: Store, records: int) -> None:
    store.write({b"before": b"1", b"gone": b"1"}, Offset(1))
    store.begin_restore(records)
    store.write({b"a": b"1", b"gone": None}, Offset(2))
    store.write({b"a": b"2", b"": b"3"}, Offset(3))
    assert store.position == 3
    store.end_restore()
    assert store.position == 3
    assert list(store.scan()) == [(b"", b"3"), (b"a", b"2"), (b"before", b"1")]
    store.write({b"a": None}, Offset(4))
    assert store.get_many([b"a", b"before"]) == [None, b"1"]


def test_end_restore_without_a_begin_changes_nothing(store: Store) -> None:
    store.write({b"a": b"1"}, Offset(1))
    store.end_restore()
    assert store.get_many([b"a"]) == [b"1"]


def test_closing_twice_is_allowed_and_a_scan_may_be_left_behind(store: Store) -> None:
    store.write({b"%04d" % number: b"v" for number in range(1000)}, Offset(1))
    abandoned = store.scan()
    next(abandoned)
    store.close()
    store.close()


@pytest.mark.parametrize(
    ("behind", "age", "expected"),
    [(0, 10**9, False), (1, 10**9, False), (2, 901, True), (2, 900, False), (10**6, 0, False)],
)
def test_a_store_outlives_the_deletions_that_it_has_not_seen(
    behind: int, age: int, *, expected: bool
) -> None:
    assert outlived(behind, age, retention=1000) is expected
