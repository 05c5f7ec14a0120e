"""Stores as a whole: questions to all slots that have a part of the answer, and what comes of them.

Asks in the words that slots are asked in, and answers in theirs: a partition of `ANY_PARTITION` is
found here.
"""

import asyncio
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Final, cast

import msgspec

from processor.errors import QueryError
from processor.health.routing import Router
from processor.kafka.registry import Registry
from processor.queries.asks import (
    MOST_KEYS,
    MOST_ROWS,
    Answer,
    Ask,
    Count,
    Lookup,
    Number,
    Rows,
    Scan,
    Values,
    WindowsOf,
    furthest,
    merged,
)
from processor.queries.catalogue import ANY_PARTITION, Queryable, find
from processor.records import Partition
from processor.serdes.registry import SchemasMissing
from processor.state.store import Page
from processor.topology.plan import Layout, TaskId
from processor.topology.slots import slot_partitions

_LONGEST: Final = 3.0
"""Seconds that a page may take whose rows are mostly left out, and a count."""

_AT_ONCE: Final = 8
"""Questions that go through stores, at once: more wait."""


class Whole:
    """Answers for the application.

    Args:
        stores: What can be asked.
        router: To the slots.
        registry: Has the schemas that keys may need.
    """

    def __init__(self, stores: Mapping[str, Queryable], router: Router, registry: Registry) -> None:
        self.stores = stores
        self._router = router
        self._registry = registry
        self._slots: _Slots | None = None
        self._walks = asyncio.Semaphore(_AT_ONCE)

    async def answer(self, ask: Ask) -> Values | Rows | Number:
        """What the slots that have it say.

        Raises:
            QueryError: One refuses, or the question is wrong.
        """
        store = find(self.stores, ask.store)
        match ask:
            case Lookup():
                return await self._look_up(store, ask)
            case WindowsOf():
                if store.kind != "windows":
                    raise QueryError(f"{store.name} has no windows: ask for the key alone")
                async with self._walks:
                    return await self._windows(store, ask)
            case Scan():
                async with self._walks:
                    return await self._scan(store, ask)
            case Count():
                async with self._walks:
                    return await self._count(store, ask)

    async def _look_up(self, store: Queryable, ask: Lookup) -> Values:
        if len(ask.keys) > MOST_KEYS:
            raise QueryError(f"{MOST_KEYS} keys at once, at most", "large")
        names = [name for _, name in ask.keys]
        places = [(await self._place(store, name), name) for name in names]
        found, behind = await self._found(store, places, stale=ask.stale)
        missing = [place for place in places if found[place] is None]
        if missing and not store.is_own:
            # Their producer may have put them elsewhere.
            others = [
                (partition, name)
                for own, name in missing
                for partition in store.partitions(self._layout)
                if partition != own
            ]
            more, further = await self._found(store, others, stale=ask.stale)
            there = {name: value for (_, name), value in more.items() if value is not None}
            found |= {(own, name): there.get(name) for own, name in missing}
            behind = furthest(behind, further)
        return Values([found[place] for place in places], behind)

    async def _found(
        self, store: Queryable, places: Iterable[tuple[int, bytes]], *, stale: bool
    ) -> tuple[dict[tuple[int, bytes], bytes | None], int | None]:
        by_slot: defaultdict[int, list[tuple[int, bytes]]] = defaultdict(list)
        for place in dict.fromkeys(places):
            by_slot[self._slot(store, place[0])].append(place)
        asks = [(slot, Lookup(store.name, tuple(keys), stale)) for slot, keys in by_slot.items()]
        answers = [cast("Values", each) for each in await self._ask_all(asks)]
        found: dict[tuple[int, bytes], bytes | None] = {}
        for (_, ask), answer in zip(asks, answers, strict=True):
            found |= zip(ask.keys, answer.values, strict=True)
        return found, furthest(*(answer.behind for answer in answers))

    async def _windows(self, store: Queryable, ask: WindowsOf) -> Rows:
        most = max(1, min(ask.most, MOST_ROWS))
        own = await self._place(store, ask.key)
        found = await self._windows_in(store, ask, [own], most)
        if not found.rows and not store.is_own:
            others = [each for each in store.partitions(self._layout) if each != own]
            found = await self._windows_in(store, ask, others, most)
        return found

    async def _windows_in(
        self, store: Queryable, ask: WindowsOf, partitions: Iterable[int], most: int
    ) -> Rows:
        asks = [
            (self._slot(store, each), msgspec.structs.replace(ask, partition=each, most=most))
            for each in partitions
        ]
        return _page([cast("Rows", each) for each in await self._ask_all(asks)], most)

    async def _scan(self, store: Queryable, ask: Scan) -> Rows:
        most = max(1, min(ask.most, MOST_ROWS))
        rows: list[tuple[bytes, bytes]] = []
        start: bytes | None = ask.start
        behind: int | None = None
        until = time.monotonic() + _LONGEST
        while start is not None and not rows:
            part = msgspec.structs.replace(ask, start=start, most=most)
            asks = [(slot, part) for slot in self._all(store)]
            found = _page([cast("Rows", each) for each in await self._ask_all(asks)], most)
            rows, start, behind = list(found.rows), found.next, found.behind
            if time.monotonic() > until:
                break
        return Rows(rows, start, behind)

    async def _count(self, store: Queryable, ask: Count) -> Number:
        until = time.monotonic() + _LONGEST

        async def count(slot: int) -> Number:
            total, part = 0, ask
            while True:
                found = cast("Number", await self._router.ask(slot, part))
                total += found.count
                if found.next is None or time.monotonic() > until:
                    return Number(total, found.next, found.behind)
                part = msgspec.structs.replace(part, start=found.next)

        numbers = await asyncio.gather(*map(count, self._all(store)))
        return Number(
            sum(each.count for each in numbers),
            next((each.next for each in numbers if each.next is not None), None),
            furthest(*(each.behind for each in numbers)),
        )

    async def _ask_all(self, asks: Sequence[tuple[int, Ask]]) -> list[Answer]:
        return await asyncio.gather(*(self._router.ask(slot, ask) for slot, ask in asks))

    async def _place(self, store: Queryable, name: bytes) -> int:
        """The partition of a key, or where it is looked for first."""
        if store.placed is None:
            return ANY_PARTITION
        place = partial(_place, store, name, self._layout)
        try:
            return place()
        except SchemasMissing:
            return await asyncio.to_thread(self._registry.resolve, place)

    @property
    def _layout(self) -> Layout:
        return self._router.known.layout

    def _slot(self, store: Queryable, partition: int) -> int:
        """The slot that has a partition of a store."""
        if store.part is None:  # each slot has all of it
            routes = self._router.known
            own = (slot for slot, peer in routes.holders.items() if peer.node == routes.node)
            return min(own, default=0)
        return self._placed.slot(store.part.number, partition)

    def _all(self, store: Queryable) -> list[int]:
        """The slots that have a part of a store."""
        if store.part is None:
            return [self._slot(store, ANY_PARTITION)]
        partitions = store.partitions(self._layout)
        return sorted({self._placed.slot(store.part.number, each) for each in partitions})

    @property
    def _placed(self) -> "_Slots":
        layout = self._layout
        if self._slots is None or self._slots.layout is not layout:
            self._slots = _Slots(layout)
        return self._slots


@dataclass(frozen=True)
class _Slots:
    """Which slot has which task."""

    layout: Layout

    @cached_property
    def _owners(self) -> Mapping[TaskId, int]:
        layout = self.layout
        return {
            layout.task_of(source): slot
            for slot in range(layout.slots)
            for source in slot_partitions(slot, layout.slots, layout.partitions)
        }

    def slot(self, part: int, partition: int) -> int:
        """The slot of a task."""
        return self._owners[TaskId(part, Partition(partition))]


def _place(store: Queryable, name: bytes, layout: Layout) -> int:
    assert store.placed is not None
    try:
        key = store.key.decode(name)
        return store.partition(key, layout)
    except Exception as error:
        raise store.no_key(error) from error


def _page(found: Sequence[Rows], most: int) -> Rows:
    rows = merged([Page(each.rows, each.next) for each in found], most)
    return Rows(rows.rows, rows.next, furthest(*(each.behind for each in found)))
