"""Clients: what a program has of the stores of a running application, with and without asyncio."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from functools import partial
from itertools import cycle
from types import TracebackType
from typing import Any, Generic, Self, TypeVar, cast, overload

from processor.client.codecs import (
    LISTED,
    Codec,
    Counted,
    Entry,
    Named,
    Packed,
    Span,
    StoreInfo,
    listed,
)
from processor.client.transport import Address, AsyncTransport, Request, Response, Transport
from processor.errors import StoreUnavailable, UsageError
from processor.operators.tables.derived import Derived
from processor.queries.catalogue import catalogue, find
from processor.records import K, V
from processor.serdes.windowed import Windowed
from processor.state.keyvalue import StoreSpec
from processor.topology.global_table import GlobalTable
from processor.topology.plan import plan
from processor.topology.table import Table, values_of
from processor.topology.topology import Topology
from processor.topology.windowed import WindowedTable

R = TypeVar("R")

_TIMEOUT = 10.0
_PATIENCE = 10.0
_SHORTEST = 0.05
"""Seconds between two tries, at least."""


class _Access:
    """What both clients are given: nodes, and what they are shown."""

    def __init__(
        self,
        nodes: str | Sequence[str],
        topology: Topology | None,
        token: str,
        ca: str,
        certificate: str,
        key: str,
    ) -> None:
        urls = [nodes] if isinstance(nodes, str) else list(nodes)
        if not urls:
            raise UsageError("give the URL of a node at least, such as http://127.0.0.1:8080")
        self.addresses = [Address(url, token, ca, certificate, key) for url in urls]
        self._stores = None if topology is None else catalogue(plan(topology))

    def codec(self, store: Any, key: Any, value: Any) -> Codec:
        """How a store is asked.

        Raises:
            UsageError: Nothing says what it has.
            QueryError: The topology has no such store.
        """
        name, steps = _named(store)
        if self._stores is not None:
            return Packed(find(self._stores, name), steps)
        if not isinstance(store, str):
            raise UsageError(
                f"store {name}: give the client the topology that it is of, or name the store "
                "and the types of its keys and values"
            )
        return Named(name, key, value)


class Client:
    """Asks the stores of a running application.

    Args:
        nodes: URLs of nodes, `http://host:port`; any node answers for all of them.
        topology: The application's, for the types of its stores; without it stores are asked by
            name.
        token: The setting `http_token`.
        ca: File of the authorities (PEM) that sign the nodes' certificates.
        certificate: File of a client certificate (PEM).
        key: File of that one's key.
        timeout: Seconds that an answer may take.
        patience: Seconds for which to ask again while a slot moves, or a node is away.

    Raises:
        UsageError: A URL is malformed, or a file can't be used.
    """

    def __init__(
        self,
        nodes: str | Sequence[str],
        topology: Topology | None = None,
        *,
        token: str = "",
        ca: str = "",
        certificate: str = "",
        key: str = "",
        timeout: float = _TIMEOUT,
        patience: float = _PATIENCE,
    ) -> None:
        self._access = _Access(nodes, topology, token, ca, certificate, key)
        self._transports = [Transport(each, timeout) for each in self._access.addresses]
        self._patience = patience

    @overload
    def store(self, store: Table[K, V], *, stale: bool = False) -> "Store[K, V]": ...
    @overload
    def store(self, store: GlobalTable[K, V], *, stale: bool = False) -> "Store[K, V]": ...
    @overload
    def store(self, store: StoreSpec[K, V], *, stale: bool = False) -> "Store[K, V]": ...
    @overload
    def store(
        self, store: str, *, key: type[K], value: type[V], stale: bool = False
    ) -> "Store[K, V]": ...
    @overload
    def store(
        self, store: str, *, key: Any = Any, value: Any = Any, stale: bool = False
    ) -> "Store[Any, Any]": ...
    def store(
        self, store: Any, *, key: Any = Any, value: Any = Any, stale: bool = False
    ) -> "Store[Any, Any]":
        """A store with one value a key.

        Args:
            store: A table, a global table or a store of the topology; or its name.
            key: Of a store by name, the type of its keys.
            value: Likewise, that of its values.
            stale: Whether a backup may answer where there is no primary.

        Raises:
            QueryError: The topology has no such store.
        """
        return Store(self._call, self._access.codec(store, key, value), stale)

    @overload
    def windows(
        self, store: WindowedTable[K, Any, V], *, stale: bool = False
    ) -> "Windows[K, V]": ...
    @overload
    def windows(
        self, store: str, *, key: type[K], value: type[V], stale: bool = False
    ) -> "Windows[K, V]": ...
    @overload
    def windows(
        self, store: str, *, key: Any = Any, value: Any = Any, stale: bool = False
    ) -> "Windows[Any, Any]": ...
    def windows(
        self, store: Any, *, key: Any = Any, value: Any = Any, stale: bool = False
    ) -> "Windows[Any, Any]":
        """A store with one value a key and window; see `store`."""
        return Windows(self._call, self._access.codec(store, key, value), stale)

    def stores(self) -> list[StoreInfo]:
        """The stores that can be asked."""
        return self._call(LISTED, listed)

    def close(self) -> None:
        """Ends all connections."""
        for transport in self._transports:
            transport.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _call(self, request: Request, read: Callable[[Response], R]) -> R:
        """What comes of a request; made again, at the next node, while nobody can answer."""
        until = time.monotonic() + self._patience
        for number, transport in enumerate(cycle(self._transports), 1):
            try:
                return read(transport.send(request))
            except StoreUnavailable as error:
                pause = _pause(error, number, len(self._transports), until)
                if pause is None:
                    raise
                time.sleep(pause)
        raise AssertionError


class AsyncClient:
    """As `Client`, for asyncio; used by one event loop."""

    def __init__(
        self,
        nodes: str | Sequence[str],
        topology: Topology | None = None,
        *,
        token: str = "",
        ca: str = "",
        certificate: str = "",
        key: str = "",
        timeout: float = _TIMEOUT,
        patience: float = _PATIENCE,
    ) -> None:
        self._access = _Access(nodes, topology, token, ca, certificate, key)
        self._transports = [AsyncTransport(each, timeout) for each in self._access.addresses]
        self._patience = patience

    @overload
    def store(self, store: Table[K, V], *, stale: bool = False) -> "AsyncStore[K, V]": ...
    @overload
    def store(self, store: GlobalTable[K, V], *, stale: bool = False) -> "AsyncStore[K, V]": ...
    @overload
    def store(self, store: StoreSpec[K, V], *, stale: bool = False) -> "AsyncStore[K, V]": ...
    @overload
    def store(
        self, store: str, *, key: type[K], value: type[V], stale: bool = False
    ) -> "AsyncStore[K, V]": ...
    @overload
    def store(
        self, store: str, *, key: Any = Any, value: Any = Any, stale: bool = False
    ) -> "AsyncStore[Any, Any]": ...
    def store(
        self, store: Any, *, key: Any = Any, value: Any = Any, stale: bool = False
    ) -> "AsyncStore[Any, Any]":
        """A store with one value a key; see `Client.store`."""
        return AsyncStore(self._call, self._access.codec(store, key, value), stale)

    @overload
    def windows(
        self, store: WindowedTable[K, Any, V], *, stale: bool = False
    ) -> "AsyncWindows[K, V]": ...
    @overload
    def windows(
        self, store: str, *, key: type[K], value: type[V], stale: bool = False
    ) -> "AsyncWindows[K, V]": ...
    @overload
    def windows(
        self, store: str, *, key: Any = Any, value: Any = Any, stale: bool = False
    ) -> "AsyncWindows[Any, Any]": ...
    def windows(
        self, store: Any, *, key: Any = Any, value: Any = Any, stale: bool = False
    ) -> "AsyncWindows[Any, Any]":
        """A store with one value a key and window; see `Client.store`."""
        return AsyncWindows(self._call, self._access.codec(store, key, value), stale)

    async def stores(self) -> list[StoreInfo]:
        """The stores that can be asked."""
        return await self._call(LISTED, listed)

    async def close(self) -> None:
        """Ends all connections."""
        for transport in self._transports:
            await transport.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    async def _call(self, request: Request, read: Callable[[Response], R]) -> R:
        """What comes of a request; made again, at the next node, while nobody can answer."""
        until = time.monotonic() + self._patience
        for number, transport in enumerate(cycle(self._transports), 1):
            try:
                return read(await transport.send(request))
            except StoreUnavailable as error:
                pause = _pause(error, number, len(self._transports), until)
                if pause is None:
                    raise
                await asyncio.sleep(pause)
        raise AssertionError


class _View:
    """What all stores of a client have.

    Args:
        call: Gives what comes of a request; to be awaited where the client is asyncio's.
        codec: How the store is asked.
        stale: Whether a backup may answer where there is no primary.
    """

    def __init__(self, call: Callable[..., Any], codec: Codec, stale: bool) -> None:  # noqa: FBT001
        self._call = call
        self._codec = codec
        self._stale = stale


class Store(_View, Generic[K, V]):
    """A store with one value a key; all it says is committed."""

    def get(self, key: K) -> V | None:
        """The key's value; None: it has none.

        Raises:
            StoreUnavailable: Nobody can answer just now.
            QueryError: It is no key of the store, or a node refuses.
        """
        entry = self.entry(key)
        return None if entry is None else entry.value

    def entry(self, key: K) -> Entry[K, V] | None:
        """The key with its value and what is known of it; see `get`."""
        return next(iter(self._entries([key])), None)

    def get_many(self, keys: Sequence[K]) -> list[V | None]:
        """The values of the keys, None where there is none; see `get`."""
        found: list[V | None] = []
        for part in self._codec.parts(keys):
            entries = {_hashed(each.key): each.value for each in self._entries(part)}
            found += [entries.get(_hashed(key)) for key in part]
        return found

    def items(self, start: K | None = None, end: K | None = None) -> Iterator[tuple[K, V]]:
        """Keys from `start` to before `end` with their values, in order of the keys' bytes.

        They are asked for page by page, each as of its own moment.
        """
        for entry in _pages(self._call, self._codec, self._stale, start, end, Span()):
            yield entry.key, entry.value

    def count(self) -> Counted:
        """How many keys there are."""
        return self._call(self._codec.count(stale=self._stale), self._codec.counted)

    def _entries(self, keys: Sequence[K]) -> list[Entry[K, V]]:
        request = self._codec.lookup(keys, stale=self._stale)
        return self._call(request, partial(self._codec.found, keys=keys)).entries


class Windows(_View, Generic[K, V]):
    """A store with one value a key and window; all it says is committed."""

    def get(
        self, key: K, since: int | None = None, until: int | None = None
    ) -> list[tuple[Windowed[K], V]]:
        """The windows of a key, the first to end first.

        Args:
            key: Whose.
            since: Those with a part after this, milliseconds since 1970.
            until: Those with a part before this.

        Raises:
            StoreUnavailable: Nobody can answer just now.
            QueryError: It is no key of the store, or a node refuses.
        """
        span, after = Span(since, until), None
        found: list[tuple[Windowed[K], V]] = []
        while True:
            request = self._codec.windows(key, span, after, stale=self._stale)
            entries, after = self._call(request, self._codec.found)
            found += [(each.key, each.value) for each in entries]
            if after is None:
                return found

    def items(
        self, since: int | None = None, until: int | None = None
    ) -> Iterator[tuple[Windowed[K], V]]:
        """All windows with a part between two times, the first to end first; see `get`."""
        span = Span(since, until)
        for entry in _pages(self._call, self._codec, self._stale, None, None, span):
            yield entry.key, entry.value

    def count(self) -> Counted:
        """How many keys with a window there are."""
        return self._call(self._codec.count(stale=self._stale), self._codec.counted)


class AsyncStore(_View, Generic[K, V]):
    """As `Store`, for asyncio."""

    async def get(self, key: K) -> V | None:
        """The key's value; None: it has none."""
        entry = await self.entry(key)
        return None if entry is None else entry.value

    async def entry(self, key: K) -> Entry[K, V] | None:
        """The key with its value and what is known of it."""
        return next(iter(await self._entries([key])), None)

    async def get_many(self, keys: Sequence[K]) -> list[V | None]:
        """The values of the keys, None where there is none."""
        found: list[V | None] = []
        for part in self._codec.parts(keys):
            entries = {_hashed(each.key): each.value for each in await self._entries(part)}
            found += [entries.get(_hashed(key)) for key in part]
        return found

    async def items(
        self, start: K | None = None, end: K | None = None
    ) -> AsyncIterator[tuple[K, V]]:
        """Keys from `start` to before `end` with their values, in order of the keys' bytes."""
        async for entry in _async_pages(self._call, self._codec, self._stale, start, end, Span()):
            yield entry.key, entry.value

    async def count(self) -> Counted:
        """How many keys there are."""
        return await self._call(self._codec.count(stale=self._stale), self._codec.counted)

    async def _entries(self, keys: Sequence[K]) -> list[Entry[K, V]]:
        request = self._codec.lookup(keys, stale=self._stale)
        found = await self._call(request, partial(self._codec.found, keys=keys))
        return found.entries


class AsyncWindows(_View, Generic[K, V]):
    """As `Windows`, for asyncio."""

    async def get(
        self, key: K, since: int | None = None, until: int | None = None
    ) -> list[tuple[Windowed[K], V]]:
        """The windows of a key, the first to end first."""
        span, after = Span(since, until), None
        found: list[tuple[Windowed[K], V]] = []
        while True:
            request = self._codec.windows(key, span, after, stale=self._stale)
            entries, after = await self._call(request, self._codec.found)
            found += [(each.key, each.value) for each in entries]
            if after is None:
                return found

    async def items(
        self, since: int | None = None, until: int | None = None
    ) -> AsyncIterator[tuple[Windowed[K], V]]:
        """All windows with a part between two times, the first to end first."""
        span = Span(since, until)
        async for entry in _async_pages(self._call, self._codec, self._stale, None, None, span):
            yield entry.key, entry.value

    async def count(self) -> Counted:
        """How many keys with a window there are."""
        return await self._call(self._codec.count(stale=self._stale), self._codec.counted)


def _pages(
    call: Callable[..., Any],
    codec: Codec,
    stale: bool,  # noqa: FBT001 - as the views have it
    start: Any,
    end: Any,
    span: Span,
) -> Iterator[Entry[Any, Any]]:
    after: Any = None
    while True:
        request = codec.scan(start, end, span, after, stale=stale)
        entries, after = call(request, codec.found)
        yield from entries
        if after is None:
            return


async def _async_pages(
    call: Callable[..., Any],
    codec: Codec,
    stale: bool,  # noqa: FBT001 - as the views have it
    start: Any,
    end: Any,
    span: Span,
) -> AsyncIterator[Entry[Any, Any]]:
    after: Any = None
    while True:
        request = codec.scan(start, end, span, after, stale=stale)
        entries, after = await call(request, codec.found)
        for entry in entries:
            yield entry
        if after is None:
            return


def _pause(error: StoreUnavailable, tries: int, nodes: int, until: float) -> float | None:
    """Seconds until the next try, at once as long as other nodes were not asked; None: enough."""
    pause = 0.0 if error.code == "unreachable" and tries < nodes else error.retry_after
    pause = max(pause, _SHORTEST) if tries >= nodes else pause
    return None if time.monotonic() + pause > until else pause


def _named(store: Any) -> tuple[str, tuple[Derived, ...]]:
    """The name of a store, and what is made of its values."""
    if isinstance(store, str):
        return store, ()
    if isinstance(store, StoreSpec):
        return store.name, ()
    if isinstance(store, GlobalTable):
        return store.store.name, ()  # pyright: ignore[reportUnknownMemberType]
    if isinstance(store, Table | WindowedTable):
        values = values_of(cast("Table[Any, Any]", store))
        return values.store.name, values.steps
    raise UsageError(f"{store!r} is no store: give a table, a store of the topology, or its name")


def _hashed(key: Any) -> Any:
    """What stands for a key in a dict: keys may be lists or dicts."""
    try:
        hash(key)
    except TypeError:
        return repr(key)
    return key
