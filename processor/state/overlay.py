"""Uncommitted writes over a committed store: a task's state between checkpoints.

Writes of the batch at work are kept apart until the batch is accepted, so that it can be rolled
back; accepted ones are dropped when the transaction aborts. Committed ones wait to be written to
the store, where the same key often comes again. Knows bytes only, no serdes, no clients.
"""

from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice

from processor.records import Offset
from processor.state.store import Store

_ENTRY_OVERHEAD = 150
"""Bytes that a key and its value cost in a dict beyond their own lengths: two objects, one slot."""


class Overlay:
    """One store of one task as seen from inside the open transaction.

    Invariant: `_known` holds the accepted value of every key in it, committed or not; a key that
    is in `_changes` or `_unsaved` is in `_known` too. Reads go through `_batch`, `_known`, the
    store, in order.
    """

    def __init__(self, store: Store, cache_bytes: int) -> None:
        self.store = store
        self._cache_bytes = cache_bytes
        self._known: dict[bytes, bytes | None] = {}
        self._changes: dict[bytes, bytes | None] = {}
        self._unsaved: dict[bytes, bytes | None] = {}
        self._saving: dict[bytes, bytes | None] = {}
        self._batch: dict[bytes, bytes | None] = {}
        self.position = store.position
        """The changelog position that what is committed stands for."""
        self._seen_bytes = self._seen_entries = 1
        self._scans = 0  # since the keys that the store has not got have changed
        self._order: list[bytes] | None = None

    @property
    def changes(self) -> Mapping[bytes, bytes | None]:
        """The last accepted value of each key changed since the last checkpoint; None: deleted."""
        return self._changes

    @property
    def unsaved(self) -> Mapping[bytes, bytes | None]:
        """The committed values that the store has not got yet; None: deleted."""
        return self._unsaved

    @property
    def committed_lately(self) -> Sequence[Mapping[bytes, bytes | None]]:
        """What is committed and may not be in the store yet, the latest first; for any thread."""
        unsaved = self._unsaved  # first, see `saved`
        return unsaved, self._saving

    @property
    def memory_bytes(self) -> int:
        """About how much memory the overlay and its cache use."""
        entry = self._seen_bytes // self._seen_entries + _ENTRY_OVERHEAD
        return entry * (len(self._known) + (len(self._changes) + len(self._unsaved)) // 2)

    def get(self, key: bytes) -> bytes | None:
        """The key's value as of now, None where there is none."""
        if key in self._batch:
            return self._batch[key]
        if key not in self._known:
            self._load([key])
        return self._known[key]

    def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """The values of the keys as of now, None where there is none."""
        known = self._known
        if cold := [key for key in keys if key not in known]:
            self._load(cold)
        values = list(map(known.__getitem__, keys))
        if self._batch:
            return list(map(self._batch.get, keys, values))
        return values

    def put(self, key: bytes, value: bytes | None) -> None:
        """Sets the key's value; None deletes it."""
        self._batch[key] = value

    def put_many(self, changes: Mapping[bytes, bytes | None]) -> None:
        """Sets the values of many keys; None deletes."""
        self._batch.update(changes)

    def scan(
        self, start: bytes = b"", end: bytes | None = None, *, reverse: bool = False
    ) -> Iterator[tuple[bytes, bytes]]:
        """Keys from `start` to before `end` with their values as of now, in order of the bytes."""
        fresh = self._accepted(start, end) | _within(self._batch, start, end)
        stored = self.store.scan(start, end, reverse=reverse)
        return _merge(stored, fresh, reverse=reverse)

    def _accepted(self, start: bytes, end: bytes | None) -> dict[bytes, bytes | None]:
        """What the store has not got yet in this range, without the batch at work.

        The first scan goes through all of it; only where more follow it is put in order for them.
        """
        self._scans += 1
        if self._scans == 1:
            return _within(self._unsaved, start, end) | _within(self._changes, start, end)
        if self._order is None:
            self._order = sorted({*self._unsaved, *self._changes})
        first = bisect_left(self._order, start)
        last = len(self._order) if end is None else bisect_left(self._order, end)
        return {key: self._known[key] for key in self._order[first:last]}

    def changed(self, start: bytes, end: bytes) -> dict[bytes, bytes | None]:
        """The last value of each key in this range that has changed since the last checkpoint."""
        changed = _within(self._changes, start, end)
        changed.update(_within(self._batch, start, end))
        return changed

    def before_changes(self) -> list[bytes | None]:
        """The committed values of the keys in `changes`, in the same order."""
        unsaved = self._unsaved
        stored = [key for key in self._changes if key not in unsaved]
        found = dict(zip(stored, self.store.get_many(stored), strict=True)) | unsaved
        return [found[key] for key in self._changes]

    def accept(self) -> None:
        """Ends the batch: its writes will be part of the next checkpoint."""
        if not self._batch:
            return
        self._note(self._batch)
        self._known.update(self._batch)
        self._changes.update(self._batch)
        self._batch = {}
        self._scans, self._order = 0, None

    def rollback(self) -> None:
        """Undoes the writes of the batch at work."""
        self._batch = {}

    def discard(self) -> None:
        """Drops all uncommitted writes: the transaction was aborted."""
        for key in self._changes:
            if key in self._unsaved:
                self._known[key] = self._unsaved[key]
            else:
                del self._known[key]
        self._changes = {}
        self._batch = {}
        self._scans, self._order = 0, None

    def committed(self, position: Offset) -> None:
        """Takes all changes as committed, up to this position of the changelog."""
        self._unsaved.update(self._changes)
        self._changes = {}
        self.position = position

    def saved(self) -> None:
        """Takes what is committed as written to the store, and trims the cache to its limit."""
        self._saving = self._unsaved  # first: other threads find it in one of both
        self._unsaved = {}
        self._scans, self._order = 0, None
        if not self._changes:
            while self._known and self.memory_bytes > self._cache_bytes:
                self._known = dict(islice(self._known.items(), len(self._known) // 2 + 1, None))

    def _load(self, keys: Sequence[bytes]) -> None:
        found = dict(zip(keys, self.store.get_many(keys), strict=True))
        self._note(found)
        self._known.update(found)

    def _note(self, entries: Mapping[bytes, bytes | None]) -> None:
        """Learns how large entries are, from which `memory_bytes` is estimated."""
        values = filter(None, entries.values())
        self._seen_bytes += sum(map(len, entries)) + sum(map(len, values))
        self._seen_entries += len(entries)


def _within(
    layer: Mapping[bytes, bytes | None], start: bytes, end: bytes | None
) -> dict[bytes, bytes | None]:
    if end is None:
        return {key: value for key, value in layer.items() if key >= start}
    return {key: value for key, value in layer.items() if start <= key < end}


def _merge(
    stored: Iterator[tuple[bytes, bytes]],
    fresh: Mapping[bytes, bytes | None],
    *,
    reverse: bool,
) -> Iterator[tuple[bytes, bytes]]:
    """Both in key order; where a key is in both, the fresh value counts."""
    waiting = sorted(fresh, reverse=not reverse)  # the next one is at the end
    for key, value in stored:
        while waiting and (waiting[-1] > key if reverse else waiting[-1] < key):
            newer = waiting.pop()
            if (added := fresh[newer]) is not None:
                yield newer, added
        if key not in fresh:
            yield key, value
    for newer in reversed(waiting):
        if (added := fresh[newer]) is not None:
            yield newer, added
