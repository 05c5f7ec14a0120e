"""The rows of one side of a join of streams, in pages.

A page has rows of one key and one stretch of time. When it is full, further ones follow, so that
neither a hot key nor a long time makes a value of the store large. Knows no joins.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from operator import itemgetter
from struct import Struct
from typing import Any, TypeAlias

from processor.records import Timestamp
from processor.serdes import Serde
from processor.state.keyvalue import EncodedStore

PAGE_BYTES = 16 * 1024
"""A page with more than that is full."""

Row: TypeAlias = tuple[Timestamp, bytes]
"""The time of a row and its value."""
_NAME = Struct(">QI")  # of a page: its stretch and number; the key follows
_FULL = Struct(">I")
_ROW = Struct(">qI")  # its time and the length of its value, which follows


@dataclass(slots=True)
class Page:
    """Rows of one key in the order in which they came.

    The first page of a stretch, number 0, is the one that takes rows; `full` others, numbered from
    1 on, were filled before it.
    """

    full: int = 0
    rows: list[Row] = field(default_factory=list[Row])
    size: int = 0


def _encode(page: Page) -> bytes:
    parts = (part for time, data in page.rows for part in (_ROW.pack(time, len(data)), data))
    return b"".join((_FULL.pack(page.full), *parts))


def _decode(data: bytes) -> Page:
    page, at = Page(*_FULL.unpack_from(data), size=len(data) - _FULL.size), _FULL.size
    while at < len(data):
        time, length = _ROW.unpack_from(data, at)
        at += _ROW.size + length
        page.rows.append((time, data[at - length : at]))
    return page


def pages_of(value: Serde[Any]) -> Serde[Page]:
    """The serde of pages with rows of such values; the operator reads the values themselves."""
    return Serde(f"pages({value.name})", _encode, _decode, shape=value.shape)


def before(stretch: int, time: int) -> bytes:
    """In a store's order, what has the pages of whole stretches before that time in front of it."""
    return _NAME.pack(time // stretch, 0)


class Pages:
    """The pages of one side, as far as a batch needs them; each is for `stretch` milliseconds."""

    def __init__(self, store: EncodedStore[Any, Page], stretch: int) -> None:
        self._store = store
        self._stretch = stretch
        self._pages: dict[bytes, Page] = {}
        self._changed: dict[bytes, None] = {}

    def load(self, heads: Iterable[bytes], searched: Iterable[bytes]) -> None:
        """Reads first pages, and all that belong to those that are searched."""
        searched = dict.fromkeys(searched)
        self._pages = self._store.load(list(dict.fromkeys((*searched, *heads))))
        more = [
            _NAME.pack(_NAME.unpack_from(head)[0], number) + head[_NAME.size :]
            for head in searched
            if head in self._pages
            for number in range(1, self._pages[head].full + 1)
        ]
        if more:
            self._pages |= self._store.load(more)

    def heads(self, key: bytes, first: int, last: int) -> list[bytes]:
        """The names of the first pages that have rows from one time to another."""
        stretches = range(first // self._stretch, last // self._stretch + 1)
        return [_NAME.pack(each, 0) + key for each in stretches]

    def head(self, key: bytes, time: int) -> bytes:
        """The name of the first page that has rows of that time."""
        return before(self._stretch, time) + key

    def add(self, key: bytes, row: Row) -> None:
        """Adds a row, whose first page was loaded."""
        head = self.head(key, row[0])
        page = self._pages.setdefault(head, Page())
        page.rows.append(row)
        page.size += len(row[1]) + _ROW.size
        self._changed[head] = None
        if page.size > PAGE_BYTES:
            full = _NAME.pack(row[0] // self._stretch, page.full + 1) + key
            self._pages[full], self._pages[head] = Page(0, page.rows), Page(page.full + 1)
            self._changed[full] = None

    def find(self, key: bytes, first: int, last: int) -> list[Row]:
        """The rows from one time to another, by time and then as they came; they were searched."""
        found: list[Row] = []
        for stretch in range(first // self._stretch, last // self._stretch + 1):
            page = self._pages.get(_NAME.pack(stretch, 0) + key)
            if page is None:
                continue
            for number in range(1, page.full + 1):
                found += _between(self._pages[_NAME.pack(stretch, number) + key], first, last)
            found += _between(page, first, last)
        if len(found) > 1:
            found.sort(key=itemgetter(0))
        return found

    def save(self) -> None:
        """Writes the pages that have changed."""
        self._store.save(self._changed, self._pages)


def _between(page: Page, first: int, last: int) -> list[Row]:
    return [row for row in page.rows if first <= row[0] <= last]
