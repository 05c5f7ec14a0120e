"""What queries are answered over HTTP, as JSON; their types are the schemas in `/openapi.json`."""

from collections.abc import Iterable
from typing import Any

import msgspec

from processor.errors import QueryError
from processor.queries.asks import Rows
from processor.queries.catalogue import Kind, Queryable
from processor.queries.forms import cursor_text, json_form
from processor.serdes.types import type_name
from processor.topology.plan import Layout


class Entry(msgspec.Struct, frozen=True, omit_defaults=True):
    """A key with its value, in their JSON forms.

    `timestamp` is the event time that a table's value is from; `start` and `end` are those of the
    window; all in milliseconds since 1970.
    """

    key: Any
    value: Any
    timestamp: int | None = None
    start: int | None = None
    end: int | None = None
    behind: int | None = None  # records of the changelogs that a backup has not replayed yet


class Entries(msgspec.Struct, frozen=True, omit_defaults=True):
    """A page of entries."""

    entries: list[Entry]
    next: str | None = None  # what `after` is for the next page; without it this is the last
    behind: int | None = None


class Counted(msgspec.Struct, frozen=True, omit_defaults=True):
    """How many keys there are, or of windows keys with their windows."""

    count: int
    exact: bool  # false: there are more, and the time was up
    behind: int | None = None


class StoreInfo(msgspec.Struct, frozen=True):
    """A store that can be asked."""

    name: str
    kind: Kind
    key: str  # the type of its keys
    value: str  # and of its values
    partitions: int


class StoreList(msgspec.Struct, frozen=True):
    """All of them."""

    stores: list[StoreInfo]


class Failed(msgspec.Struct, frozen=True, omit_defaults=True):
    """Why there is no answer."""

    error: str  # a word for programs
    text: str
    retry_after: float | None = None  # seconds


def listed(stores: Iterable[Queryable], layout: Layout | None) -> StoreList:
    """What can be asked; partitions are 0 before they are known, and of global tables."""
    return StoreList(
        [
            StoreInfo(
                each.name,
                each.kind,
                _named(each.key),
                _named(each.spec.value),
                0 if layout is None else len(each.partitions(layout)),
            )
            for each in stores
        ]
    )


def entry(store: Queryable, key: bytes, value: bytes, behind: int | None = None) -> Entry:
    """A row of a store.

    Raises:
        QueryError: It has none of the topology's types.
    """
    try:
        made, kept = store.spec.key.decode(key), store.spec.value.decode(value)
    except Exception as error:
        text = f"store {store.name} has a row that can't be read: {error}"
        raise QueryError(text, "unreadable") from error
    if store.kind == "windows":
        return Entry(json_form(made.key), json_form(kept[1]), kept[0], made.start, made.end, behind)
    if store.kind == "table":
        return Entry(json_form(made), json_form(kept[1]), kept[0], behind=behind)
    return Entry(json_form(made), json_form(kept), behind=behind)


def entries(store: Queryable, rows: Rows) -> Entries:
    """A page of a store.

    Raises:
        QueryError: A row has none of the topology's types.
    """
    found = [entry(store, key, value) for key, value in rows.rows]
    after = None if rows.next is None else cursor_text(rows.next)
    return Entries(found, after, rows.behind)


def _named(serde: Any) -> str:
    """The type of what a serde reads, as far as it is known."""
    inner = getattr(serde, "value", serde)
    return inner.name if inner.type is None else type_name(inner.type)


SCHEMAS = (StoreList, Entry, Entries, Counted, Failed)
"""All that queries are answered."""
