"""Queries over HTTP: what is asked by paths and bodies, and how it is answered.

Each answer is of committed state. What stores say is the business of `whole`, who has them of
`routing`.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from typing import Any, Final, TypeVar, cast

import msgspec
from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from processor.client.transport import Address
from processor.errors import KprocError, QueryError, StoreUnavailable
from processor.health import answers
from processor.health.routing import NODE, Router
from processor.health.whole import Whole
from processor.kafka.registry import Registry
from processor.queries.asks import (
    EVER,
    MOST_ROWS,
    Count,
    Lookup,
    Number,
    Refusal,
    Rows,
    Scan,
    Values,
    WindowsOf,
    decode_ask,
    encode,
)
from processor.queries.catalogue import ANY_PARTITION, Queryable, catalogue, find
from processor.queries.forms import cursor_of, key_of, time_of
from processor.serdes.registry import SchemasMissing
from processor.topology.plan import Plan

JSON: Final = "application/json"
PACKED: Final = "application/msgpack"
"""Questions and answers in the words of slots, with keys and values as they lie in the store."""

_PAGE: Final = 100
_STATUS: Final[Mapping[str, HTTPStatus]] = {
    "unknown-store": HTTPStatus.NOT_FOUND,
    "unknown-key": HTTPStatus.NOT_FOUND,
    "malformed": HTTPStatus.BAD_REQUEST,
    "large": HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    "unreachable": HTTPStatus.BAD_GATEWAY,
    "unreadable": HTTPStatus.INTERNAL_SERVER_ERROR,
}

R = TypeVar("R")


@dataclass(frozen=True)
class _Parameters:
    """What a path says after its question mark."""

    given: QueryParams

    def check(self, *names: str) -> None:
        """Refuses what is not known.

        Raises:
            QueryError: There is something else.
        """
        for name in self.given:
            if name not in names:
                raise QueryError(f"?{name}= is not known here: there are {', '.join(names)}")

    @property
    def stale(self) -> bool:
        """Whether a backup may answer."""
        text = self.given.get("stale", "no")
        if text not in ("ok", "no"):
            raise QueryError(f"stale={text}: it is ok, to be answered by a backup too, or no")
        return text == "ok"

    @property
    def most(self) -> int:
        """Rows of a page."""
        text = self.given.get("limit", str(_PAGE))
        if not text.isdecimal() or not 1 <= int(text) <= MOST_ROWS:
            raise QueryError(f"limit={text}: a page has 1 to {MOST_ROWS} entries")
        return int(text)

    @property
    def after(self) -> bytes:
        """Where the page begins."""
        return cursor_of(self.given.get("after", ""))

    def time(self, name: str, otherwise: int) -> int:
        """A time in milliseconds."""
        text = self.given.get(name)
        return otherwise if text is None else time_of(text, name)


class Stores:
    """The stores of an application, as a node serves them.

    Args:
        plan: The topology's.
        registry: Settings of the schema registry.
        access: What other nodes are shown, besides their addresses; None: nothing.
    """

    def __init__(
        self, plan: Plan, registry: Mapping[str, Any], access: Address | None = None
    ) -> None:
        self.router = Router(access)
        self._registry = Registry(dict(registry))
        self._whole = Whole(catalogue(plan), self.router, self._registry)

    @property
    def routes(self) -> list[Route]:
        """The paths that can be asked for."""
        return [
            Route("/stores", self._guarded(self._list)),
            Route("/stores/{name}", self._guarded(self._pages)),
            Route("/stores/{name}", self._guarded(self._packed), methods=["POST"]),
            Route("/stores/{name}/count", self._guarded(self._counted)),
            Route("/stores/{name}/{key:path}", self._guarded(self._keyed)),
            Route("/slots/{slot:int}", self._guarded(self._slot), methods=["POST"]),
        ]

    def _guarded(
        self, answer: Callable[[Request], Awaitable[Response]]
    ) -> Callable[[Request], Awaitable[Response]]:
        async def guarded(request: Request) -> Response:
            packed = request.method == "POST"
            try:
                return await answer(request)
            except QueryError as error:
                return _failed(error, packed=packed)
            except KprocError as error:  # of the schema registry
                return _failed(StoreUnavailable(str(error), "schemas"), packed=packed)

        return guarded

    async def _list(self, _request: Request) -> Response:
        routes = self.router.routes
        layout = None if routes is None else routes.layout
        return _json(answers.listed(self._whole.stores.values(), layout))

    async def _pages(self, request: Request) -> Response:
        """Rows of a store: those of keys that are named, or page by page."""
        store, given = self._asked(request)
        if "key" in request.query_params:
            given.check("key", "stale")
            texts = request.query_params.getlist("key")
            keys = [await self._key(store, text) for text in texts]
            return _json(await self._of_keys(store, keys, stale=given.stale))
        given.check("from", "to", "limit", "after", "stale")
        ask = Scan(store.name, given.after, most=given.most, stale=given.stale)
        if store.kind == "windows":
            since, until = given.time("from", -EVER), given.time("to", EVER)
            ask = msgspec.structs.replace(ask, since=since, until=until)
        else:
            texts = (request.query_params.get(name) for name in ("from", "to"))
            first, end = [text and await self._key(store, text) for text in texts]
            start = max(ask.start, cast("bytes", first or b""))
            ask = msgspec.structs.replace(ask, start=start, end=end or None)
        rows = cast("Rows", await self._whole.answer(ask))
        return _json(await self._resolved(partial(answers.entries, store, rows)))

    async def _keyed(self, request: Request) -> Response:
        """The value of a key, or its windows."""
        store, given = self._asked(request)
        key = await self._key(store, request.path_params["key"])
        if store.kind == "windows":
            given.check("from", "to", "limit", "after", "stale")
            ask = WindowsOf(
                store.name,
                ANY_PARTITION,
                key,
                given.time("from", -EVER),
                given.time("to", EVER),
                given.after,
                given.most,
                given.stale,
            )
            rows = cast("Rows", await self._whole.answer(ask))
            return _json(await self._resolved(partial(answers.entries, store, rows)))
        given.check("stale")
        found = await self._of_keys(store, [key], stale=given.stale)
        if not found.entries:
            raise QueryError(f"store {store.name} has no such key", "unknown-key")
        return _json(msgspec.structs.replace(found.entries[0], behind=found.behind))

    async def _counted(self, request: Request) -> Response:
        store, given = self._asked(request)
        given.check("stale")
        ask = Count(store.name, stale=given.stale)
        found = cast("Number", await self._whole.answer(ask))
        return _json(answers.Counted(found.count, found.next is None, found.behind))

    async def _packed(self, request: Request) -> Response:
        ask = _ask(await request.body())
        return _packed(await self._whole.answer(ask))

    async def _slot(self, request: Request) -> Response:
        """What this node's worker of a slot says, to another node."""
        routes = self.router.known
        meant = request.headers.get(NODE, "")
        if meant != routes.node:
            raise QueryError(f"this is node {routes.node}, not {meant or 'any'}", "unreachable")
        ask = _ask(await request.body())
        return _packed(await self.router.here(request.path_params["slot"], ask))

    async def _of_keys(
        self, store: Queryable, keys: list[bytes], *, stale: bool
    ) -> answers.Entries:
        if store.kind == "windows":
            raise QueryError(f"{store.name} has windows: ask for /stores/{store.name}/KEY")
        ask = Lookup(store.name, tuple((ANY_PARTITION, key) for key in keys), stale)
        found = cast("Values", await self._whole.answer(ask))
        pairs = zip(keys, found.values, strict=True)
        rows = Rows([(key, value) for key, value in pairs if value is not None], None, found.behind)
        return await self._resolved(partial(answers.entries, store, rows))

    def _asked(self, request: Request) -> tuple[Queryable, _Parameters]:
        store = find(self._whole.stores, request.path_params["name"])
        return store, _Parameters(request.query_params)

    async def _key(self, store: Queryable, text: str) -> bytes:
        """The bytes of the key that a text means."""
        return await self._resolved(partial(store.encoded, key_of(store.key, text)))

    async def _resolved(self, function: Callable[[], R]) -> R:
        """What the function gives, once the schemas are known that it needs."""
        try:
            return function()
        except SchemasMissing:
            return await asyncio.to_thread(self._registry.resolve, function)


def _ask(body: bytes) -> Any:
    try:
        return decode_ask(body)
    except msgspec.DecodeError as error:
        raise QueryError(f"the body is no question: {error}") from error


def _json(found: msgspec.Struct) -> Response:
    return Response(msgspec.json.encode(found), media_type=JSON)


def _packed(found: Values | Rows | Number | Refusal) -> Response:
    return Response(encode(found), media_type=PACKED)


def _failed(error: QueryError, *, packed: bool) -> Response:
    """Why there is no answer: those who ask in the words of slots get it in these."""
    refusal = Refusal.of(error)
    if packed:
        return _packed(refusal)
    status, headers = _STATUS.get(error.code, HTTPStatus.BAD_REQUEST), dict[str, str]()
    if refusal.retry_after is not None:
        status = HTTPStatus.SERVICE_UNAVAILABLE
        headers["Retry-After"] = str(max(1, round(refusal.retry_after)))
    body = answers.Failed(refusal.code, refusal.text, refusal.retry_after)
    return Response(msgspec.json.encode(body), status, headers, JSON)
