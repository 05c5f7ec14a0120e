"""What a slot is asked and answers, as bytes: the way from whoever was asked to who has the keys.

Keys and values are as they lie in the store.
"""

from collections.abc import Sequence
from typing import Final, TypeAlias

import msgspec

from processor.errors import QueryError, StoreUnavailable
from processor.state.store import PAGE_BYTES, Page, page

MOST_KEYS: Final = 1000
"""Of one question."""

MOST_ROWS: Final = 1000
"""Of one page."""

EVER: Final = 2**62
"""Milliseconds: later than any time, and negative earlier."""

AT_ONCE: Final = 20_000
"""Rows that are counted in one go."""


class Lookup(msgspec.Struct, frozen=True, tag="lookup"):
    """The values of keys, each with its partition."""

    store: str
    keys: tuple[tuple[int, bytes], ...]
    stale: bool = False  # a backup may answer as well


class WindowsOf(msgspec.Struct, frozen=True, tag="windows"):
    """The windows of a key that have a part between two times, the first to end first."""

    store: str
    partition: int
    key: bytes
    since: int
    until: int
    start: bytes = b""
    most: int = MOST_ROWS
    stale: bool = False


class Scan(msgspec.Struct, frozen=True, tag="scan"):
    """Rows of all partitions that the slot has, in the order of their keys.

    Of windows those alone that have a part between the two times, if these are given.
    """

    store: str
    start: bytes = b""
    end: bytes | None = None
    since: int | None = None
    until: int | None = None
    most: int = MOST_ROWS
    stale: bool = False


class Count(msgspec.Struct, frozen=True, tag="count"):
    """How many rows there are from a key on; of about `AT_ONCE`."""

    store: str
    start: bytes = b""
    stale: bool = False


class Values(msgspec.Struct, frozen=True, tag="values"):
    """What a lookup has found; None: nothing."""

    values: Sequence[bytes | None]
    behind: int | None = None  # records of changelogs, if a backup answers


class Rows(msgspec.Struct, frozen=True, tag="rows"):
    """A page."""

    rows: Sequence[tuple[bytes, bytes]]
    next: bytes | None = None
    behind: int | None = None


class Number(msgspec.Struct, frozen=True, tag="number"):
    """A count, and from where to go on with it."""

    count: int
    next: bytes | None = None
    behind: int | None = None


class Refusal(msgspec.Struct, frozen=True, tag="refusal"):
    """Why there is no answer; with `retry_after` another try may do better then."""

    code: str
    text: str
    retry_after: float | None = None

    @staticmethod
    def of(error: QueryError) -> "Refusal":
        """What an error says."""
        retry_after = error.retry_after if isinstance(error, StoreUnavailable) else None
        return Refusal(error.code, str(error), retry_after)

    @property
    def error(self) -> QueryError:
        """The error that it is."""
        if self.retry_after is None:
            return QueryError(self.text, self.code)
        return StoreUnavailable(self.text, self.code, self.retry_after)


Ask: TypeAlias = Lookup | WindowsOf | Scan | Count
Answer: TypeAlias = Values | Rows | Number | Refusal

encode = msgspec.msgpack.Encoder().encode
decode_ask = msgspec.msgpack.Decoder(Ask).decode
decode_answer = msgspec.msgpack.Decoder(Answer).decode


def merged(pages: Sequence[Page], most: int) -> Page:
    """One page of those of several partitions or slots, each with other keys."""
    ends = [each.next for each in pages if each.next is not None]
    horizon = min(ends, default=None)
    rows = sorted(row for each in pages for row in each.rows if horizon is None or row[0] < horizon)
    found = page(rows, most)
    return found if found.next is not None else Page(found.rows, horizon)


def furthest(*behind: int | None) -> int | None:
    """How far behind all are together; None: none is."""
    known = [each for each in behind if each is not None]
    return sum(known) if known else None


class Frames:
    """Messages on a line: each has its length and a number before it."""

    HEAD: Final = 8
    LARGEST: Final = 16 * PAGE_BYTES

    def __init__(self) -> None:
        self._unread = bytearray()

    @staticmethod
    def framed(number: int, data: bytes) -> bytes:
        """A message as it goes over the line."""
        return len(data).to_bytes(4, "big") + number.to_bytes(4, "big") + data

    def take(self, data: bytes) -> list[tuple[int, bytes]]:
        """The messages that are whole by now.

        Raises:
            ValueError: One is longer than any is.
        """
        unread, found = self._unread, list[tuple[int, bytes]]()
        unread += data
        begin = 0
        while len(unread) >= begin + self.HEAD:
            size = int.from_bytes(unread[begin : begin + 4], "big")
            if size > self.LARGEST:
                raise ValueError(f"a message of {size} bytes")
            end = begin + self.HEAD + size
            if len(unread) < end:
                break
            number = int.from_bytes(unread[begin + 4 : begin + self.HEAD], "big")
            found.append((number, bytes(unread[begin + self.HEAD : end])))
            begin = end
        del unread[:begin]
        return found
