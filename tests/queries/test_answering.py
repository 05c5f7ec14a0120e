"""What a slot answers, from stores in memory that hold what a topology's steps have written."""

import json
from datetime import date
from decimal import Decimal
from typing import Any
from uuid import UUID

import msgspec
import pytest
from pydantic import BaseModel, Field

from processor import Topology, key_value, session, tumbling
from processor.errors import QueryError, StoreAway, StoreUnavailable
from processor.health import answers
from processor.operators.windows.keyed import entries_serde
from processor.queries.answering import Answerer, Open, Place
from processor.queries.asks import (
    Count,
    Frames,
    Lookup,
    Number,
    Refusal,
    Rows,
    Scan,
    Values,
    WindowsOf,
    decode_answer,
    decode_ask,
    encode,
    merged,
)
from processor.queries.catalogue import catalogue, find
from processor.queries.forms import cursor_of, cursor_text, json_form, key_of, time_of
from processor.records import Offset
from processor.runtime.partitioning import partition_of
from processor.serdes import key_serde_for
from processor.serdes.windowed import Windowed
from processor.state.committed import Committed
from processor.state.store import PAGE_BYTES, MemoryStore, Page
from processor.topology.plan import lay_out, plan


def _topology() -> Topology:
    topology = Topology("orders")
    source = topology.stream("in", value=dict[str, Any])
    source.group_by_key().count(name="counts")
    source.group_by_key().window(tumbling("10s"), emit="change", retention="1h").count(name="tens")
    source.group_by_key().window(session("5s", grace="1h")).count(name="visits")
    source.group_by("user").count(name="users")
    source.deduplicate(within="1h", name="unique")
    source.process(
        lambda record, context: (), stores=[key_value("last", key=int, value=str)], name="p"
    )  # type: ignore[arg-type]
    topology.global_table("names", name="names", value=str)
    return topology


PLAN = plan(_topology())
STORES = catalogue(PLAN)


class Slot:
    """Two partitions of each store."""

    def __init__(self) -> None:
        self.stores: dict[tuple[str, int], MemoryStore] = {}
        self.away: dict[str, Exception] = {}
        self.behind: int | None = None
        partitions = {name: [0, 1] for name in STORES}
        self.answerer = Answerer(STORES, partitions, self._open)

    def _open(self, place: Place) -> Open:
        if place.store in self.away:
            raise self.away[place.store]
        return Open(Committed(self.store(place.store, place.partition)), self.behind)

    def store(self, name: str, partition: int) -> MemoryStore:
        return self.stores.setdefault((name, partition), MemoryStore())

    def put(self, name: str, partition: int, key: Any, value: Any) -> None:
        spec = STORES[name].spec
        data = spec.value.encode(value)
        self.store(name, partition).write({spec.key.encode(key): data}, Offset(1))

    def ask(self, ask: Any) -> Any:
        (answer,) = self.answerer.answer([decode_ask(encode(ask))])
        return decode_answer(encode(answer))


@pytest.fixture
def slot() -> Slot:
    return Slot()


def test_what_can_be_asked() -> None:
    kinds = {name: store.kind for name, store in STORES.items()}
    assert kinds == {
        "counts": "table",
        "last": "key-value",
        "names": "global",
        "tens": "windows",
        "users": "table",
        "visits": "windows",
    }
    assert {name for name, store in STORES.items() if store.is_own} == {"users", "names"}
    with pytest.raises(QueryError, match="there are counts, last") as raised:
        find(STORES, "nothing")
    assert raised.value.code == "unknown-store"


def test_a_key_is_where_kafkas_partitioner_puts_it() -> None:
    layout = lay_out(PLAN, {"in": 8})
    assert STORES["counts"].partition("ann", layout) == partition_of(b"ann", 8)
    assert STORES["users"].partition("ann", layout) == partition_of(b'"ann"', 8)
    assert list(STORES["names"].partitions(layout)) == []


def test_keys_of_several_questions_are_looked_up_at_once(slot: Slot) -> None:
    slot.put("counts", 0, "ann", (5, 1))
    slot.put("counts", 1, "bob", (6, 2))
    one = Lookup("counts", ((0, b"ann"), (1, b"bob"), (1, b"ann")))
    two, unknown = Lookup("counts", ((1, b"bob"),)), Lookup("nothing", ((0, b""),))
    first, second, third = slot.answerer.answer([one, two, unknown])
    decode = STORES["counts"].spec.value.decode
    assert isinstance(first, Values)
    assert [data and decode(data) for data in first.values] == [(5, 1), (6, 2), None]
    assert isinstance(second, Values)
    assert len(second.values) == 1
    assert isinstance(third, Refusal)
    assert third.code == "unknown-store"


def test_pages_of_a_scan_have_every_key_once_and_in_order(slot: Slot) -> None:
    for n in range(50):
        slot.put("counts", n % 2, f"{n:02}", (n, n))
    seen, start = list[bytes](), b"05"
    while True:
        page = slot.ask(Scan("counts", start, b"45", most=7))
        assert isinstance(page, Rows)
        seen += [key for key, _ in page.rows]
        if page.next is None:
            break
        start = page.next
    assert seen == [b"%02d" % n for n in range(5, 45)]
    assert slot.ask(Count("counts")) == Number(50)


def test_windows_of_a_key(slot: Slot) -> None:
    for number, start in enumerate((0, 10_000, 20_000, 30_000)):
        slot.put("tens", 0, Windowed("ann", start, start + 10_000), (start, number))
        slot.put("tens", 0, Windowed("bob", start, start + 10_000), (start, -1))

    def spans(since: int, until: int, start: bytes = b"", most: int = 100) -> Any:
        page = slot.ask(WindowsOf("tens", 0, b"ann", since, until, start, most))
        decode = STORES["tens"].spec.key.decode
        return [decode(key)[1] for key, _ in page.rows], page.next

    assert spans(-1, 10**9) == ([0, 10_000, 20_000, 30_000], None)
    assert spans(10_000, 20_000) == ([10_000], None)
    assert spans(9_999, 20_001) == ([0, 10_000, 20_000], None)
    first, follows = spans(-1, 10**9, most=3)
    assert (first, spans(-1, 10**9, follows)[0]) == ([0, 10_000, 20_000], [30_000])
    page = slot.ask(Scan("tens", since=10_000, until=20_000))
    assert len(page.rows) == 2


def test_windows_that_an_index_has(slot: Slot) -> None:
    slot.put("visits", 1, Windowed("ann", 3, 9), (8, 2))
    slot.put("visits", 1, Windowed("bob", 3, 9), (8, 2))
    index = {b"ann": entries_serde.encode([(3, 9, 0)])}
    slot.store("visits-windows", 1).write(index, Offset(1))
    page = slot.ask(WindowsOf("visits", 1, b"ann", 0, 10))
    assert [STORES["visits"].spec.key.decode(key) for key, _ in page.rows] == [("ann", 3, 9)]
    # As while a session grows: what the index names is not there yet.
    slot.store("visits-windows", 1).write({b"ann": entries_serde.encode([(3, 12, 0)])}, Offset(2))
    assert slot.ask(WindowsOf("visits", 1, b"ann", 0, 10)).code == "busy"


@pytest.mark.parametrize(
    ("error", "code", "again"),
    [
        (StoreUnavailable("it moves", "moving", 0.25), "moving", 0.25),
        (StoreAway("it is closed"), "moving", 0.5),
    ],
)
def test_stores_that_are_away(slot: Slot, error: Exception, code: str, again: float) -> None:
    slot.away["counts"] = error
    for ask in (Lookup("counts", ((0, b"k"),)), Scan("counts"), Count("counts")):
        refusal = slot.ask(ask)
        assert (refusal.code, refusal.retry_after) == (code, again)
        assert isinstance(refusal.error, StoreUnavailable)


def test_an_error_that_nobody_expects_is_the_answer(slot: Slot) -> None:
    slot.away["counts"] = IndexError("no such row")
    refusal = slot.ask(Lookup("counts", ((0, b"k"),)))
    assert (refusal.code, refusal.text) == ("unreadable", "IndexError: no such row")
    assert slot.ask(Lookup("users", ((0, b"k"),))).values == [None]


def test_a_backup_says_how_far_behind_it_is(slot: Slot) -> None:
    slot.behind = 3
    assert slot.ask(Lookup("counts", ((0, b"k"),), stale=True)).behind == 3
    assert slot.ask(Scan("counts", stale=True)).behind == 6


def test_a_page_is_no_larger_than_it_may_be(slot: Slot) -> None:
    for n in range(8):
        slot.store("last", 0).write({b"%d" % n: b"x" * (PAGE_BYTES // 2)}, Offset(n + 1))
    page = slot.ask(Scan("last"))
    assert len(page.rows) == 2
    assert page.next == b"2"
    refusal = slot.ask(Lookup("last", tuple((0, b"%d" % n) for n in range(8)) * 2))
    assert refusal.code == "large"


def test_merged_pages_stop_where_one_of_them_does() -> None:
    one, two = Page([(b"a", b""), (b"c", b"")], b"e"), Page([(b"b", b""), (b"f", b"")], None)
    assert merged([one, two], 10) == ([(b"a", b""), (b"b", b""), (b"c", b"")], b"e")
    assert merged([one, two], 2) == ([(b"a", b""), (b"b", b"")], b"c")


def test_messages_are_found_however_they_are_cut() -> None:
    sent = [(n, bytes([n]) * n) for n in range(40)]
    data = b"".join(Frames.framed(*each) for each in sent)
    for size in (1, 3, 50, len(data)):
        frames, found = Frames(), list[tuple[int, bytes]]()
        for at in range(0, len(data), size):
            found += frames.take(data[at : at + size])
        assert found == sent
    with pytest.raises(ValueError, match="a message of"):
        Frames().take(b"\xff" * 8)


class Order(BaseModel):
    """By its alias."""

    amount: Decimal = Field(alias="Amount")


@pytest.mark.parametrize(
    ("annotation", "text", "key"),
    [
        (str, "5", "5"),
        (int, "5", 5),
        (bool, "true", True),
        (bytes, "AAE=", b"\0\1"),
        (date, "2026-01-31", date(2026, 1, 31)),
        (UUID, str(UUID(int=7)), UUID(int=7)),
        (tuple[str, int], '["eu", 7]', ("eu", 7)),
        (Any, "5", 5),
        (Any, '"5"', "5"),
        (Any, "ann", "ann"),
    ],
)
def test_keys_as_text(annotation: Any, text: str, key: Any) -> None:
    assert key_of(key_serde_for(annotation, what="keys"), text) == key


def test_a_text_that_is_no_key() -> None:
    with pytest.raises(QueryError, match="is no key of"):
        key_of(key_serde_for(int, what="keys"), "ann")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (Decimal("1.50"), "1.50"),
        (b"\0\1", "AAE="),
        (date(2026, 1, 31), "2026-01-31"),
        (Order(Amount=Decimal("2.5")), {"Amount": "2.5"}),
        ({(1, 2): {3}}, {"(1, 2)": [3]}),
        (1 + 2j, "(1+2j)"),
    ],
)
def test_values_as_json(value: Any, expected: Any) -> None:
    assert json.loads(msgspec.json.encode(json_form(value))) == expected


def test_times_and_cursors() -> None:
    assert time_of("1970-01-01T00:00:01", "from") == time_of("1000", "from") == 1000
    with pytest.raises(QueryError, match="from=soon is no time"):
        time_of("soon", "from")
    assert cursor_of(cursor_text(b"\0\xff")) == b"\0\xff"
    with pytest.raises(QueryError, match="what `next` was"):
        cursor_of("!")


def test_a_row_that_can_not_be_read() -> None:
    with pytest.raises(QueryError, match="can't be read") as raised:
        answers.entry(STORES["counts"], b"k", b"?")
    assert raised.value.code == "unreadable"
