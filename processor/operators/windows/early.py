"""Which windows have changed since they were last emitted: what early results are made of.

Owns the store with the names of these windows. Knows nothing of what is in a window, nor when one
closes.
"""

from collections.abc import Collection, Iterable
from typing import Final, NamedTuple

from processor.operators.base import NO_TIME, Context, Unattributed
from processor.records import Timestamp
from processor.serdes import bytes_serde
from processor.state.keyvalue import EncodedStore, StoreSpec

_NEVER_EMITTED: Final = b""
_EMITTED: Final = b"\x01"
"""A window that was emitted as it was before; it may be gone, and that is to be emitted."""


class Early(NamedTuple):
    """Results before windows close: at each multiple of `every` milliseconds of stream time.

    The store has the windows that have changed since. One that is there and not in it was
    emitted as it is.
    """

    store: str
    every: int

    @property
    def spec(self) -> StoreSpec[bytes, bytes]:
        """Of the store."""
        return StoreSpec(self.store, bytes_serde, bytes_serde)


class Changed:
    """The changed windows as they are row by row in one pass; written by `save`.

    What a pass has once taken all stored ones out of is known without the store.
    """

    def __init__(self, early: Early, context: Context) -> None:
        self._context = context
        self._every = early.every
        self._store: EncodedStore[bytes, bytes] = context.stores[early.store]
        self._stored: dict[bytes, bytes] = {}
        self._marks: dict[bytes, bytes | None] = {}
        self._has_all = False

    def moments(self) -> list[Timestamp]:
        """The stream times of this pass at which results are emitted, once for each pass."""
        context, every = self._context, self._every
        since = max(context.clock.stream_time, context.clock.reached.get(context.step, NO_TIME))
        last, until = since // every, context.clock.end_time
        context.clock.reached[context.step] = until
        moments: list[Timestamp] = []
        for time in context.clock.moments(since, until) if until // every > last else ():
            if time // every > last:
                moments.append(time)
                last = time // every
        return moments

    def mark(
        self, windows: Iterable[bytes], before: Collection[bytes], now: Collection[bytes]
    ) -> None:
        """Takes these windows for changed; `before` and `now` have those that were and are there.

        A window that is gone is emitted only if it was emitted before.
        """
        windows = list(windows)
        self._load(windows)
        for window in windows:
            mark = self._marks.get(window)
            was_emitted = mark == _EMITTED or (mark is None and window in before)
            if window in now:
                self._marks[window] = _EMITTED if was_emitted else _NEVER_EMITTED
            else:
                self._marks[window] = _EMITTED if was_emitted else None

    def take(self, first: bytes) -> list[bytes]:
        """The changed windows from `first` on, which are emitted now, in order."""
        if not self._has_all:
            found = dict(self._store.items(first))
            self._stored |= found
            self._marks = {**found, **self._marks}
            self._has_all = True
        taken = sorted(name for name, mark in self._marks.items() if mark is not None)
        taken = [name for name in taken if name >= first]
        self._marks |= dict.fromkeys(taken)
        return taken

    def close(self, first: bytes, end: bytes) -> list[bytes]:
        """Those in a range that closes now, of which none is kept; the ones that were emitted."""
        found = self._store.scan(first, end)
        self._store.save(found, {})
        return [name for name, mark in found.items() if mark == _EMITTED]

    def save(self) -> None:
        """Writes what has changed."""
        stored = self._stored
        changed = {name: mark for name, mark in self._marks.items() if mark != stored.get(name)}
        there = {name: mark for name, mark in changed.items() if mark is not None}
        try:
            self._store.save(changed, there)
        except Exception as error:
            raise Unattributed from error

    def _load(self, windows: Iterable[bytes]) -> None:
        """Reads those that are not known yet."""
        if self._has_all:
            return
        found = self._store.load([each for each in windows if each not in self._marks])
        self._stored |= found
        self._marks |= found
