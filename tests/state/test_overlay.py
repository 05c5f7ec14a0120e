"""The overlay against a plain dict with copies, whatever is done in whatever order."""

import random
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from processor.records import Offset
from processor.state.committed import Committed
from processor.state.overlay import Overlay
from processor.state.store import MemoryStore
from tests.suites import examples

KEYS = [bytes([letter]) * length for letter in b"abc" for length in (1, 2)] + [b""]
VALUES = [b"", b"1", b"2" * 50, None]
keys = st.sampled_from(KEYS)
values = st.sampled_from(VALUES)


class Model(RuleBasedStateMachine):
    """Three states of a dict: committed, accepted, and with the batch at work."""

    @initialize(cache=st.sampled_from([0, 400, 2**20]), stored=st.dictionaries(keys, values))
    def begin(self, cache: int, stored: dict[bytes, bytes | None]) -> None:
        self.store = MemoryStore()
        self.store.write(stored, Offset(0))
        self.overlay = Overlay(self.store, cache)
        self.committed = {key: value for key, value in stored.items() if value is not None}
        self.accepted = dict(self.committed)
        self.working = dict(self.committed)
        self.order: dict[bytes, None] = {}  # keys changed since the last checkpoint
        self.touched: dict[bytes, None] = {}  # by the batch at work

    def note(self, changes: Mapping[bytes, bytes | None]) -> None:
        for key, value in changes.items():
            self.touched[key] = None
            if value is None:
                self.working.pop(key, None)
            else:
                self.working[key] = value

    @rule(key=keys, value=values)
    def put(self, key: bytes, value: bytes | None) -> None:
        self.overlay.put(key, value)
        self.note({key: value})

    @rule(changes=st.dictionaries(keys, values))
    def put_many(self, changes: dict[bytes, bytes | None]) -> None:
        self.overlay.put_many(changes)
        self.note(changes)

    @rule()
    def accept(self) -> None:
        self.overlay.accept()
        self.accepted = dict(self.working)
        self.order |= self.touched
        self.touched = {}

    @rule()
    def rollback(self) -> None:
        self.overlay.rollback()
        self.working = dict(self.accepted)
        self.touched = {}

    @rule()
    def discard(self) -> None:
        self.overlay.discard()
        self.accepted, self.working = dict(self.committed), dict(self.committed)
        self.order, self.touched = {}, {}

    @rule()
    def commit(self) -> None:
        self.accept()
        position = Offset(self.overlay.position + 1)
        self.overlay.committed(position)
        assert self.overlay.position == position
        self.committed = dict(self.accepted)
        self.order = {}

    @rule()
    def save(self) -> None:
        unsaved, position = self.overlay.unsaved, self.overlay.position
        self.overlay.saved()  # as the core does, whose command is carried out afterwards
        self.check_committed()
        self.store.write(unsaved, position)
        assert dict(self.store.scan()) == self.committed

    @invariant()
    def check_committed(self) -> None:
        if hasattr(self, "overlay"):
            found = Committed.of(self.overlay).peek_many(KEYS)
            assert found == [self.committed.get(key) for key in KEYS]

    @rule(start=keys, end=st.one_of(st.none(), keys), most=st.integers(1, 5))
    def peek(self, start: bytes, end: bytes | None, most: int) -> None:
        expected = sorted(
            (key, value)
            for key, value in self.committed.items()
            if key >= start and (end is None or key < end)
        )
        committed, found = Committed.of(self.overlay), list[tuple[bytes, bytes]]()
        follows: bytes | None = start
        while follows is not None:
            rows, follows = committed.peek(follows, end, most)
            found += rows
        assert found == expected

    @rule(key=keys)
    def get(self, key: bytes) -> None:
        assert self.overlay.get(key) == self.working.get(key)

    @rule(some=st.lists(keys))
    def get_many(self, some: list[bytes]) -> None:
        assert self.overlay.get_many(some) == [self.working.get(key) for key in some]

    @rule(start=keys, end=st.one_of(st.none(), keys), reverse=st.booleans())
    def scan(self, start: bytes, end: bytes | None, *, reverse: bool) -> None:
        expected = sorted(
            (key, value)
            for key, value in self.working.items()
            if key >= start and (end is None or key < end)
        )
        found = list(self.overlay.scan(start, end, reverse=reverse))
        assert found == (expected[::-1] if reverse else expected)

    @invariant()
    def changes(self) -> None:
        if hasattr(self, "overlay"):
            expected = [(key, self.accepted.get(key)) for key in self.order]
            assert list(self.overlay.changes.items()) == expected


TestModel: Any = Model.TestCase
TestModel.settings = settings(
    max_examples=examples(50, 5_000), stateful_step_count=30, deadline=None, derandomize=True
)


class Reads:
    """A store that counts what it is asked for."""

    def __init__(self) -> None:
        self.asked: list[bytes] = []
        self.store = MemoryStore()

    @property
    def position(self) -> Offset:
        return self.store.position

    def get_many(self, some: list[bytes]) -> list[bytes | None]:
        self.asked += some
        return self.store.get_many(some)


def counted(cache: int) -> tuple[Any, Overlay]:
    store: Any = Reads()
    return store, Overlay(store, cache)


def test_what_was_read_or_written_is_not_asked_for_again() -> None:
    store, overlay = counted(2**20)
    overlay.get(b"a")
    overlay.get_many([b"a", b"b"])
    overlay.put(b"c", b"1")
    overlay.accept()
    overlay.committed(Offset(1))
    overlay.saved()
    overlay.get_many([b"a", b"b", b"c"])
    assert store.asked == [b"a", b"b"]


def test_after_an_abort_what_was_changed_is_read_again() -> None:
    store, overlay = counted(2**20)
    overlay.get_many([b"a", b"b"])
    overlay.put(b"a", b"1")
    overlay.accept()
    overlay.discard()
    assert overlay.get_many([b"a", b"b"]) == [None, None]
    assert store.asked == [b"a", b"b", b"a"]


@pytest.mark.parametrize("limit", [0, 10_000, 100_000])
def test_the_cache_keeps_to_its_limit_and_keeps_the_newest(limit: int) -> None:
    _, overlay = counted(limit)
    names = [b"%06d" % number for number in range(1000)]
    for name in names:
        overlay.put(name, b"v" * 44)
        overlay.accept()
    before = overlay.memory_bytes
    assert before > 150_000
    overlay.committed(Offset(1))
    assert overlay.memory_bytes >= before  # the store does not have them yet
    overlay.saved()
    assert overlay.memory_bytes <= limit
    kept = list(overlay._known)
    assert kept == names[len(names) - len(kept) :]


def test_uncommitted_changes_are_never_trimmed() -> None:
    store, overlay = counted(0)
    overlay.put(b"a", b"1")
    overlay.accept()
    overlay.get(b"b")
    assert overlay.get(b"a") == b"1"
    assert overlay.changes == {b"a": b"1"}
    assert store.asked == [b"b"]


@settings(max_examples=30, derandomize=True, deadline=None)
@given(st.integers(20, 300), st.integers(0, 500), st.integers(0, 2**32))
def test_memory_is_estimated_from_what_entries_were_like(count: int, size: int, seed: int) -> None:
    _, overlay = counted(2**30)
    random_bytes = random.Random(seed).randbytes
    for _ in range(count):
        overlay.put(random_bytes(8), random_bytes(size))
    overlay.accept()
    raw = count * (8 + size)
    assert raw * 0.9 <= overlay.memory_bytes <= 2 * raw + count * 300


@pytest.mark.parametrize("seed", range(20))
def test_scans_see_everything_however_many_there_are(seed: int) -> None:
    chance = random.Random(seed)
    store = MemoryStore()
    overlay = Overlay(store, 2**20)
    expected: dict[bytes, bytes] = {}
    accepted = dict(expected)
    for number in range(300):
        name = b"%02d" % chance.randrange(40)
        match chance.choice(["put", "put", "delete", "scan", "scan", "scan", "end", "keep"]):
            case "put":
                overlay.put(name, b"%d" % number)
                expected[name] = b"%d" % number
            case "delete":
                overlay.put(name, None)
                expected.pop(name, None)
            case "scan":
                end = chance.choice([None, b"%02d" % chance.randrange(40)])
                inside = [key for key in sorted(expected) if key >= name]
                inside = [key for key in inside if end is None or key < end]
                assert list(overlay.scan(name, end)) == [(key, expected[key]) for key in inside]
            case "end" if chance.random() < 0.5:
                overlay.accept()
                accepted = dict(expected)
            case "end":
                overlay.rollback()
                expected = dict(accepted)
            case _:
                overlay.accept()
                overlay.committed(Offset(number))
                if chance.random() < 0.5:
                    store.write(overlay.unsaved, Offset(number))
                    overlay.saved()
                accepted = dict(expected)
