"""Typed stores: what goes in comes out, inside the transaction, or it raises."""

from typing import Any

import pytest

from processor.errors import StateUnreadable
from processor.records import Offset
from processor.serdes import bytes_serde, int64, json, key_json, text
from processor.state.keyvalue import EncodedStore, StoreSpec
from processor.state.overlay import Overlay
from processor.state.store import MemoryStore


def make(key: Any = text, value: Any = json, limit: int = 100) -> EncodedStore[Any, Any]:
    return EncodedStore(StoreSpec("store", key, value), Overlay(MemoryStore(), 2**20), limit)


def test_what_is_put_is_there() -> None:
    store = make()
    assert store.get("a") is None
    assert store.get("a", 5) == 5
    store.put("a", {"n": 1})
    assert store.get("a") == {"n": 1}
    assert store.get("a", 5) == {"n": 1}
    assert "a" in store
    assert "b" not in store
    assert store.get_many(["b", "a"]) == [None, {"n": 1}]


def test_falsy_values_are_values() -> None:
    store = make()
    store.put("a", 0)
    assert store.get("a", 5) == 0
    assert "a" in store


def test_none_and_delete_remove() -> None:
    store = make()
    for remove in (lambda: store.put("a", None), lambda: store.delete("a")):
        store.put("a", 1)
        remove()
        assert "a" not in store
        remove()


def test_what_a_read_returns_is_a_copy() -> None:
    store = make()
    store.put("a", [1])
    (store.get("a") or []).append(2)
    assert store.get("a") == [1]


def test_items_in_order_of_the_keys_bytes() -> None:
    store = make(int64, text)
    for key in (3, -1, 2, 1):
        store.put(key, f"v{key}")
    assert list(store.items()) == [(1, "v1"), (2, "v2"), (3, "v3"), (-1, "v-1")]
    assert list(store.items(2)) == [(2, "v2"), (3, "v3"), (-1, "v-1")]
    assert list(store.items(end=2)) == [(1, "v1")]
    assert list(store.items(1, 3, reverse=True)) == [(2, "v2"), (1, "v1")]


def test_items_may_be_changed_on_the_way() -> None:
    store = make(text, int64)
    for number, key in enumerate("abcd"):
        store.put(key, number)
    for key, value in store.items():
        if value % 2:
            store.delete(key)
        store.put("z", 9)
    assert [key for key, _ in store.items()] == ["a", "c", "z"]


def test_load_and_save_whole_batches() -> None:
    store = make(text, int64)
    store.save([b"a", b"b"], {b"a": 1, b"b": 2})
    store.save([b"a", b"c"], {b"c": 3})
    assert store.load([b"a", b"b", b"c"]) == {b"b": 2, b"c": 3}


def test_changes_are_the_accepted_ones_once_each() -> None:
    store = make(key_json, json)
    for value in (1, 2, None):
        store.put(("a", 1), value)
        store.put("b", value)
        store._overlay.accept()
    store.put("b", 4)
    assert store.changes() == [(("a", 1), None), ("b", None)]
    store._overlay.accept()
    assert store.changes() == [(("a", 1), None), ("b", 4)]


@pytest.mark.parametrize(
    ("key", "value", "error"),
    [(5, 1, TypeError), ("a", object(), TypeError), ("\ud800", 1, UnicodeEncodeError)],
)
def test_what_serdes_refuse(key: Any, value: Any, error: type[Exception]) -> None:
    store = make()
    with pytest.raises(error):
        store.put(key, value)
    assert list(store.items()) == []


def test_what_the_changelog_could_not_take_is_refused() -> None:
    store = make(bytes_serde, bytes_serde)
    store.put(b"k", b"v" * 99)
    with pytest.raises(ValueError, match=r"101 bytes, of 100 .* of store store may have"):
        store.put(b"k", b"v" * 100)
    store.save([b"k" * 60, b"k"], {b"k" * 60: b"v", b"k": b"v" * 60})
    with pytest.raises(ValueError, match="101 bytes"):
        store.save([b"a", b"k" * 60], {b"a": b"v", b"k" * 60: b"v" * 41})
    assert "a" not in {key.decode() for key, _ in store.items()}


def test_committed_state_is_read() -> None:
    committed = MemoryStore()
    committed.write({b"a": b"1", b"b": b"2"}, Offset(2))
    spec = StoreSpec("store", text, json)
    store = EncodedStore(spec, Overlay(committed, 2**20), 100)
    store.delete("a")
    assert list(store.items()) == [("b", 2)]
    assert store.get_many(["a", "b"]) == [None, 2]


READS = [
    lambda store: store.get("b"),
    lambda store: store.get_many(["a", "b"]),
    lambda store: store.read([b"a", b"b"]),
    lambda store: store.load([b"a", b"b"]),
    lambda store: list(store.items()),
    lambda store: list(store.scan(b"", b"z")),
    lambda store: store.changed(b"", b"z"),
    lambda store: store.changes(),
]


@pytest.mark.parametrize("read", [lambda store: list(store.items()), lambda store: store.changes()])
def test_a_key_that_can_not_be_read_is_reported_with_its_store(read: Any) -> None:
    store = make(key=bytes_serde, value=text)
    store.put(b"1", "a")
    store.put(b"{", "b")
    store._overlay.accept()
    spec = StoreSpec("store", json, text)
    with pytest.raises(StateUnreadable) as caught:
        read(EncodedStore(spec, store._overlay, 1_000_000))
    text_of = str(caught.value)
    assert "store store has a key b'{' that can't be read as json" in text_of
    assert "kproc reset FILE.py --store store" in text_of


@pytest.mark.parametrize("read", READS)
def test_a_value_that_can_not_be_read_is_reported_with_its_store_and_key(read: Any) -> None:
    store = make(value=bytes_serde)
    store.put("a", b"1")
    store.put("b", b"{")
    store._overlay.accept()
    with pytest.raises(StateUnreadable) as caught:
        read(store.holding(json))
    text_of = str(caught.value)
    assert "store store has a value for key b'b' that can't be read as json" in text_of
    assert "kproc reset FILE.py --store store" in text_of
    assert caught.value.exit_code == 5
