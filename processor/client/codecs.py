"""From what a program asks to requests, and from responses to what it gets.

A store of a topology that is at hand is asked in the words of slots, and gives the very values that
the topology keeps; one that is known by its name alone is asked by JSON.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final, Generic, NamedTuple, Protocol
from urllib.parse import quote, urlencode

import msgspec

from processor.client.transport import Request, Response
from processor.errors import QueryError, StoreUnavailable
from processor.operators.tables.derived import Derived
from processor.queries.asks import (
    EVER,
    MOST_KEYS,
    MOST_ROWS,
    Ask,
    Count,
    Lookup,
    Number,
    Refusal,
    Rows,
    Scan,
    Values,
    WindowsOf,
    decode_answer,
    encode,
)
from processor.queries.catalogue import ANY_PARTITION, Queryable
from processor.records import K, V
from processor.serdes import Serde, json, json_of
from processor.serdes.windowed import Windowed

PACKED: Final = "application/msgpack"
_SOON: Final = 1.0
_LOT_BYTES, _PATH_BYTES, _KEY_BYTES = 500_000, 1500, 8
"""Of the keys in one body, or one path, and what each has besides."""


class Entry(NamedTuple, Generic[K, V]):
    """A key, or a key and window, with its value.

    Attributes:
        timestamp: The event time that a table's value is from, milliseconds; None: it has none.
        behind: Records of the changelogs that the backup had not replayed yet that has answered;
            None: what has answered was up to date.
    """

    key: K
    value: V
    timestamp: int | None = None
    behind: int | None = None


@dataclass(frozen=True)
class Counted:
    """How many keys there are; unless it is exact, there are more."""

    count: int
    exact: bool


class StoreInfo(msgspec.Struct, frozen=True):
    """A store that can be asked."""

    name: str
    kind: str  # table, windows, key-value or global
    key: str  # the type of its keys
    value: str  # and of its values
    partitions: int


class _Stores(msgspec.Struct):
    stores: list[StoreInfo]


LISTED: Final = Request("GET", "/stores")
"""Asks which stores there are."""


def listed(response: Response) -> list[StoreInfo]:
    """Which there are."""
    return msgspec.json.decode(_good(response).body, type=_Stores).stores


class Found(NamedTuple):
    """Entries, and from where to go on; None: that is all."""

    entries: list[Entry[Any, Any]]
    next: Any = None


class Span(NamedTuple):
    """From `since` to before `until`, milliseconds; None: from the first, to the last."""

    since: int | None = None
    until: int | None = None


class Codec(Protocol):
    """How one store is asked."""

    def lookup(self, keys: Sequence[Any], *, stale: bool) -> Request:
        """Asks for the values of keys."""
        ...

    def parts(self, keys: Sequence[Any]) -> Iterator[Sequence[Any]]:
        """The keys in lots of as many as may be looked up at once."""
        ...

    def windows(self, key: Any, span: Span, after: Any, *, stale: bool) -> Request:
        """Asks for the windows of a key."""
        ...

    def scan(self, first: Any, end: Any, span: Span, after: Any, *, stale: bool) -> Request:
        """Asks for a page of entries."""
        ...

    def count(self, *, stale: bool) -> Request:
        """Asks how many there are."""
        ...

    def found(self, response: Response, keys: Sequence[Any] = ()) -> Found:
        """What has come; `keys` are those that were looked up."""
        ...

    def counted(self, response: Response) -> Counted:
        """What has come of a count."""
        ...


@dataclass(frozen=True)
class Packed:
    """A store of a topology.

    Args:
        store: Which.
        steps: What a table that is made of the store's makes of its values.
    """

    store: Queryable
    steps: tuple[Derived, ...] = ()

    def lookup(self, keys: Sequence[Any], *, stale: bool) -> Request:
        """Asks for the values of keys."""
        names = tuple((ANY_PARTITION, self.store.encoded(key)) for key in keys)
        return self._request(Lookup(self.store.name, names, stale))

    def parts(self, keys: Sequence[Any]) -> Iterator[Sequence[Any]]:
        """The keys in lots of as many as may be looked up at once."""
        return _lots(keys, map(len, map(self.store.encoded, keys)), _LOT_BYTES)

    def windows(self, key: Any, span: Span, after: Any, *, stale: bool) -> Request:
        """Asks for the windows of a key."""
        since, until = _whole(span)
        name, start = self.store.encoded(key), after or b""
        ask = WindowsOf(self.store.name, ANY_PARTITION, name, since, until, start, MOST_ROWS, stale)
        return self._request(ask)

    def scan(self, first: Any, end: Any, span: Span, after: Any, *, stale: bool) -> Request:
        """Asks for a page of entries."""
        start = after or (b"" if first is None else self.store.encoded(first))
        last = None if end is None else self.store.encoded(end)
        since, until = _whole(span) if self.store.kind == "windows" else (None, None)
        ask = Scan(self.store.name, start, last, since, until, MOST_ROWS, stale)
        return self._request(ask)

    def count(self, *, stale: bool) -> Request:
        """Asks how many there are."""
        return self._request(Count(self.store.name, stale=stale))

    def found(self, response: Response, keys: Sequence[Any] = ()) -> Found:
        """What has come; `keys` are those that were looked up."""
        answer = _unpacked(response)
        if isinstance(answer, Values):
            pairs = zip(keys, answer.values, strict=True)
            there = [(key, data) for key, data in pairs if data is not None]
            entries = [self._entry(key, data, answer.behind) for key, data in there]
            return Found([each for each in entries if each is not None])
        if isinstance(answer, Rows):
            decode = self.store.spec.key.decode
            rows = answer.rows
            entries = [self._entry(decode(name), data, answer.behind) for name, data in rows]
            return Found([each for each in entries if each is not None], answer.next)
        raise _strange(response)

    def counted(self, response: Response) -> Counted:
        """What has come of a count."""
        answer = _unpacked(response)
        if not isinstance(answer, Number):
            raise _strange(response)
        return Counted(answer.count, answer.next is None)

    def _request(self, ask: Ask) -> Request:
        return Request("POST", f"/stores/{quote(self.store.name)}", encode(ask), PACKED)

    def _entry(self, key: Any, data: bytes, behind: int | None) -> Entry[Any, Any] | None:
        value, timestamp = self.store.spec.value.decode(data), None
        if self.store.kind in ("table", "windows"):
            timestamp, value = value
        for step in self.steps:
            if value is not None:
                value = step.value(value)
        return None if value is None else Entry(key, value, timestamp, behind)


class _Line(msgspec.Struct):
    """An entry in JSON."""

    key: msgspec.Raw
    value: msgspec.Raw
    timestamp: int | None = None
    start: int | None = None
    end: int | None = None


class _Lines(msgspec.Struct):
    entries: list[_Line]
    next: str | None = None
    behind: int | None = None


class _Counted(msgspec.Struct):
    count: int
    exact: bool


class _Failed(msgspec.Struct):
    error: str
    text: str
    retry_after: float | None = None


class Named:
    """A store by its name.

    Args:
        name: The store's.
        key: The type of its keys; Any: as JSON has them.
        value: The type of its values, likewise.
    """

    def __init__(self, name: str, key: Any = Any, value: Any = Any) -> None:
        self._name = name
        self._key = _json(key)
        self._value = _json(value)

    def lookup(self, keys: Sequence[Any], *, stale: bool) -> Request:
        """Asks for the values of keys."""
        return self._request("", {"key": list(map(self._text, keys))}, stale=stale)

    def parts(self, keys: Sequence[Any]) -> Iterator[Sequence[Any]]:
        """The keys in lots of as many as may be looked up at once."""
        texts = (quote(self._text(key), safe="") for key in keys)
        return _lots(keys, map(len, texts), _PATH_BYTES)

    def windows(self, key: Any, span: Span, after: Any, *, stale: bool) -> Request:
        """Asks for the windows of a key."""
        given = {"from": span.since, "to": span.until, "after": after, "limit": MOST_ROWS}
        return self._request(f"/{quote(self._text(key), safe='')}", given, stale=stale)

    def scan(self, first: Any, end: Any, span: Span, after: Any, *, stale: bool) -> Request:
        """Asks for a page of entries."""
        since = span.since if first is None else self._text(first)
        until = span.until if end is None else self._text(end)
        given = {"from": since, "to": until, "after": after, "limit": MOST_ROWS}
        return self._request("", given, stale=stale)

    def count(self, *, stale: bool) -> Request:
        """Asks how many there are."""
        return self._request("/count", {}, stale=stale)

    def found(self, response: Response, keys: Sequence[Any] = ()) -> Found:
        """What has come; `keys` are those that were looked up."""
        del keys
        lines = msgspec.json.decode(_good(response).body, type=_Lines)
        return Found([self._entry(each, lines.behind) for each in lines.entries], lines.next)

    def counted(self, response: Response) -> Counted:
        """What has come of a count."""
        found = msgspec.json.decode(_good(response).body, type=_Counted)
        return Counted(found.count, found.exact)

    def _request(self, path: str, given: Mapping[str, Any], *, stale: bool) -> Request:
        there = {name: value for name, value in given.items() if value is not None}
        if stale:
            there["stale"] = "ok"
        text = urlencode(there, doseq=True)
        return Request("GET", f"/stores/{quote(self._name)}{path}{'?' if text else ''}{text}")

    def _text(self, key: Any) -> str:
        return key if isinstance(key, str) else self._key.encode(key).decode()

    def _entry(self, line: _Line, behind: int | None) -> Entry[Any, Any]:
        key = self._key.decode(bytes(line.key))
        if line.start is not None and line.end is not None:
            key = Windowed(key, line.start, line.end)
        return Entry(key, self._value.decode(bytes(line.value)), line.timestamp, behind)


def _lots(keys: Sequence[Any], sizes: Iterable[int], most: int) -> Iterator[Sequence[Any]]:
    """The keys in lots of no more than so many bytes, or of one key."""
    first, used = 0, 0
    for row, size in enumerate(sizes):
        used += size + _KEY_BYTES
        if row > first and (used > most or row - first == MOST_KEYS):
            yield keys[first:row]
            first, used = row, size + _KEY_BYTES
    if first < len(keys):
        yield keys[first:]


def _json(annotation: Any) -> Serde[Any]:
    return json if annotation is Any else json_of(annotation)


def _whole(span: Span) -> tuple[int, int]:
    since, until = span
    return -EVER if since is None else since, EVER if until is None else until


def _unpacked(response: Response) -> Values | Rows | Number:
    answer = decode_answer(_good(response).body)
    if isinstance(answer, Refusal):
        raise answer.error
    return answer


def _good(response: Response) -> Response:
    """The response, if it is an answer.

    Raises:
        QueryError: It is a refusal.
    """
    if response.status == HTTPStatus.OK:
        return response
    text = response.body.decode(errors="replace").strip()
    if response.headers.get("content-type", "").startswith("application/json"):
        found = msgspec.json.decode(response.body, type=_Failed)
        raise Refusal(found.error, found.text, found.retry_after).error
    if response.status == HTTPStatus.TOO_MANY_REQUESTS:
        raise StoreUnavailable(text, "busy", _SOON)
    raise QueryError(f"the node refuses ({response.status}): {text}", "refused")


def _strange(response: Response) -> QueryError:
    return QueryError(f"the node answers something else than asked: {response.body[:60]!r}")
