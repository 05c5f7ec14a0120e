"""How a slot answers: from what is committed, of all questions that have come at once."""

import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Final, NamedTuple, TypeAlias, TypeVar

from processor.errors import QueryError, StateError, StoreAway, StoreUnavailable
from processor.operators.windows.keyed import entries_serde
from processor.queries.asks import (
    AT_ONCE,
    Answer,
    Ask,
    Count,
    Lookup,
    Number,
    Refusal,
    Rows,
    Scan,
    Values,
    WindowsOf,
    furthest,
    merged,
)
from processor.queries.catalogue import Queryable, find
from processor.serdes.windowed import PREFIX, span_bytes, span_of, until
from processor.state.committed import Committed
from processor.state.store import PAGE_BYTES, Page

_CLOSED: Final = 0.5
"""Seconds after which a store that was closed may be open again, here or elsewhere."""

_MOST_SPANS: Final = 10_000
"""Windows of any keys that are looked through for those of one."""

_TRIES, _PAUSE = 20, 0.001
"""How often, and after how many seconds, windows and their index are read until they agree."""


class Open(NamedTuple):
    """A store that can be read now; `behind`: records that a backup has not replayed yet."""

    store: Committed
    behind: int | None = None


class Place(NamedTuple):
    """One partition of a store; `stale` if that of a backup is good enough."""

    store: str
    partition: int
    stale: bool


Opener: TypeAlias = Callable[[Place], Open]
"""Gives what can be read; it raises StoreUnavailable where that is not here, or not now."""


_R = TypeVar("_R")


class _Read(NamedTuple):
    """What some keys have."""

    values: Mapping[bytes, bytes | None]
    behind: int | None


class Answerer:
    """Answers what a slot is asked.

    Args:
        stores: What can be asked.
        partitions: Those of each store that the slot has.
        open_store: Gives them.
    """

    def __init__(
        self,
        stores: Mapping[str, Queryable],
        partitions: Mapping[str, Sequence[int]],
        open_store: Opener,
    ) -> None:
        self._stores = stores
        self._partitions = partitions
        self._open = open_store

    def answer(self, asks: Sequence[Ask]) -> list[Answer]:
        """The answer to each; lookups in the same partition are made at once."""
        wanted: defaultdict[Place, dict[bytes, None]] = defaultdict(dict)
        for ask in asks:
            if isinstance(ask, Lookup):
                for partition, key in ask.keys:
                    wanted[Place(ask.store, partition, ask.stale)][key] = None
        read = {place: self._read(place, list(keys)) for place, keys in wanted.items()}
        return [self._answer(ask, read) for ask in asks]

    def _read(self, place: Place, keys: Sequence[bytes]) -> "_Read | Refusal":
        def read() -> _Read:
            find(self._stores, place.store)
            store, behind = self._open(place)
            return _Read(dict(zip(keys, store.peek_many(keys), strict=True)), behind)

        return _guarded(read)

    def _answer(self, ask: Ask, read: Mapping[Place, "_Read | Refusal"]) -> Answer:
        if isinstance(ask, Lookup):
            return _values(ask, read)

        def answer() -> Answer:
            find(self._stores, ask.store)
            match ask:
                case Scan():
                    return self._scan(ask)
                case Count():
                    return self._count(ask)
                case WindowsOf():
                    return self._windows(ask)

        return _guarded(answer)

    def _scan(self, ask: Scan) -> Answer:
        store = self._stores[ask.store]
        start = ask.start
        if store.kind == "windows" and ask.since is not None:
            start = max(start, until(ask.since + 1))
        opened = self._all(ask.store, stale=ask.stale)
        pages = [each.store.peek(start, ask.end, ask.most) for each in opened]
        rows, follows = merged(pages, ask.most)
        if store.kind == "windows" and ask.until is not None:
            rows = [row for row in rows if span_of(row[0])[0] < ask.until]
        return Rows(rows, follows, furthest(*(each.behind for each in opened)))

    def _count(self, ask: Count) -> Answer:
        opened = self._all(ask.store, stale=ask.stale)
        pages = [each.store.peek(ask.start, None, AT_ONCE) for each in opened]
        follows = min((each.next for each in pages if each.next is not None), default=None)
        rows = (row for each in pages for row in each.rows)
        count = sum(follows is None or key < follows for key, _ in rows)
        return Number(count, follows, furthest(*(each.behind for each in opened)))

    def _windows(self, ask: WindowsOf) -> Answer:
        index = self._stores[ask.store].index
        store, behind = self._open(Place(ask.store, ask.partition, ask.stale))
        for _ in range(_TRIES):
            spans = self._indexed(index, ask) if index else _met(store, ask)
            names = sorted(span_bytes(*span) + ask.key for span in spans if _overlaps(span, ask))
            names = [name for name in names if name >= ask.start]
            values = store.peek_many(names[: ask.most])
            if not index or None not in values:
                break
            # A session was joined with another one, or left the store, in between.
            time.sleep(_PAUSE)
            store, behind = self._open(Place(ask.store, ask.partition, ask.stale))
        else:
            raise StoreUnavailable(f"store {ask.store} changes too fast", "busy", _CLOSED)
        follows = names[ask.most] if len(names) > ask.most else None
        rows = [(k, v) for k, v in zip(names, values, strict=False) if v is not None]
        found = merged([Page(rows, follows)], ask.most)
        return Rows(found.rows, found.next, behind)

    def _indexed(self, index: str, ask: WindowsOf) -> set[tuple[int, int]]:
        """The windows that the index has for the key."""
        opened = self._open(Place(index, ask.partition, ask.stale))
        (data,) = opened.store.peek_many([ask.key])
        entries = [] if data is None else entries_serde.decode(data)
        return {(start, end) for start, end, _ in entries}

    def _all(self, store: str, *, stale: bool) -> list[Open]:
        return [self._open(Place(store, each, stale)) for each in self._partitions[store]]


def _guarded(answer: Callable[[], "_R"]) -> "_R | Refusal":
    try:
        return answer()
    except QueryError as error:
        return Refusal.of(error)
    except StoreAway as error:
        return Refusal("moving", str(error), _CLOSED)
    except StateError as error:
        return Refusal("unreadable", str(error))
    except Exception as error:  # noqa: BLE001 - who has asked sees it, and all others have answers
        return Refusal("unreadable", f"{type(error).__name__}: {error}")


def _values(ask: Lookup, read: Mapping[Place, "_Read | Refusal"]) -> Answer:
    """Of what was read for all, what one has asked for."""
    values: list[bytes | None] = []
    behind: dict[Place, int | None] = {}
    for partition, key in ask.keys:
        place = Place(ask.store, partition, ask.stale)
        found = read[place]
        if isinstance(found, Refusal):
            return found
        values.append(found.values[key])
        behind[place] = found.behind
    if sum(map(len, filter(None, values))) > 4 * PAGE_BYTES:
        return Refusal("large", "the values are too large to be sent at once: ask for fewer keys")
    return Values(values, furthest(*behind.values()))


def _met(store: Committed, ask: WindowsOf) -> set[tuple[int, int]]:
    """The windows that may have the key, where all keys have the same ones.

    From each window that is there it goes on to the next one, and jumps over the keys that it has.
    Where windows are the same for all keys, they begin in the order in which they end.
    """
    spans = {span_of(name) for name in store.fresh if name[PREFIX:] == ask.key}
    start: bytes | None = max(ask.start[:PREFIX], until(ask.since + 1))
    while start is not None:
        rows = store.store.peek(start, None, 1).rows
        if not rows or (span := span_of(rows[0][0]))[0] >= ask.until:
            break
        spans.add(span)
        if len(spans) > _MOST_SPANS:
            text = f"more than {_MOST_SPANS:,} windows are there: give a shorter time"
            raise QueryError(f"{text} by from and to", "large")
        start = _after(span_bytes(*span))
    return spans


def _after(prefix: bytes) -> bytes | None:
    """The first bytes after all that begin with the prefix."""
    number = int.from_bytes(prefix, "big") + 1
    return number.to_bytes(PREFIX, "big") if number < 1 << 8 * PREFIX else None


def _overlaps(span: tuple[int, int], ask: WindowsOf) -> bool:
    start, end = span
    return end > ask.since and start < ask.until
