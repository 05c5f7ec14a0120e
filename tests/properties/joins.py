"""Joins of one record, by the book: for the reference interpreter alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from processor.operators.aggregates.by_key import TableOperator
from processor.operators.changes import Change
from processor.operators.joins import pages as joins_pages
from processor.operators.joins.foreign_key import ForeignKeyJoin, Respond, Subscribe
from processor.operators.joins.pages import Page
from processor.operators.joins.streams import StreamStreamJoin
from processor.operators.joins.tables import StreamTableJoin, TableTableJoin
from processor.operators.joins.views import View
from processor.records import Record, Timestamp
from processor.topology.graph import Edge, Step
from tests.properties import foreign, one_record, policies, tables, windowed

if TYPE_CHECKING:
    from tests.properties.one_record import Rows, Trial

JoinOperator = (
    StreamTableJoin | TableTableJoin | StreamStreamJoin | Subscribe | Respond | ForeignKeyJoin
)


def join(trial: Trial, node: Step, operator: JoinOperator, rows: Rows) -> dict[int, Rows]:
    """The results of the rows of one record, whose values are pairs with the parent's number."""
    match operator:
        case StreamTableJoin():
            return {0: _stream_table(trial, node, operator, rows)}
        case TableTableJoin():
            return tables.ports(_table_table(trial, node, operator, rows))
        case StreamStreamJoin():
            return _StreamStream(trial, node, operator).run(rows)
        case Subscribe():
            return {0: foreign.subscribe(node, operator, rows)}
        case Respond():
            return {0: foreign.respond(trial, node, operator, rows)}
        case ForeignKeyJoin():
            return tables.ports(foreign.join(trial, node, operator, rows))


def _stream_table(trial: Trial, node: Step, operator: StreamTableJoin, rows: Rows) -> Rows:
    stream = [
        row._replace(value=value)
        for row, (parent, value) in ((row, row.value) for row in rows)
        if parent == 0 and value is not None
    ]
    if not operator.left and any(row.key is None for row in stream):
        raise one_record.Bad(node.name, "null-key")
    found = [lookup(trial, node, operator.table, row) for row in stream]
    made: Rows = []
    for row, pair in zip(stream, found, strict=True):
        if pair is not None or operator.left:
            other = None if pair is None else pair[1]
            value = one_record.call(node, operator.joiner, row.value, other)
            made.append(row._replace(value=value))
    return made


def lookup(trial: Trial, node: Step, view: View, row: Record[Any, Any]) -> tuple[int, Any] | None:
    if row.key is None:
        return None
    table, spec = view.store, trial.specs[view.store]
    try:
        data = trial.state.stores[table].get(spec.key.encode(row.key))
    except Exception:  # noqa: BLE001 - whatever a serde raises
        raise one_record.Bad(node.name, "key") from None
    if data is None:
        return None
    time, value = spec.value.decode(data)
    for step in view.steps:
        value = None if value is None else one_record.call(node, step.value, value)
    return None if value is None else (time, value)


def _table_table(trial: Trial, node: Step, operator: TableTableJoin, rows: Rows) -> Rows:
    def result(row: Record[Any, Any]) -> tuple[Any, int]:
        parent, value = row.value
        other = lookup(trial, node, operator.tables[1 - parent], row)
        sides = [None if other is None else other[1]] * 2
        sides[parent] = value
        left, right = sides
        time = row.timestamp if other is None else max(row.timestamp, other[0])
        if not has_result(operator.kind, left, right):
            return None, time
        return one_record.call(node, operator.joiner, left, right), time

    return keep(trial, node, rows, result)


def keep(
    trial: Trial,
    node: Step,
    rows: Rows,
    result_of: Callable[[Record[Any, Any]], tuple[Any, int] | None],
) -> Rows:
    """Keeps each row's result and its time, where it has one; the changes, if they are emitted."""
    (spec,) = node.stores
    assert isinstance(node.operator, TableOperator)
    held: dict[bytes, tuple[int, Any] | None] = {}
    emitted: Rows = []
    for row in rows:
        key = spec.key.encode(row.key)
        made = result_of(row)
        data = trial.state.stores[spec.name].get(key)
        before = held[key] if key in held else None if data is None else spec.value.decode(data)
        if made is not None and (before is not None or made[0] is not None):
            result, time = made
            held[key] = None if result is None else (time, result)
            change = Change(tables.copied(spec, before), result)
            emitted.append(row._replace(value=change, timestamp=Timestamp(time)))
    for key, pair in held.items():
        try:
            trial.state.put(spec.name, key, None if pair is None else spec.value.encode(pair))
        except Exception:  # noqa: BLE001 - whatever a serde raises
            raise one_record.Bad(node.name, "state") from None
    return emitted if node.operator.emit == "change" else []


def has_result(kind: str, left: Any, right: Any) -> bool:
    both = left is not None and right is not None
    on_left = kind != "inner" and left is not None
    return both or on_left or (kind == "outer" and right is not None)


class _StreamStream:
    """A join of streams: all rows of a side are looked through for each row."""

    def __init__(self, trial: Trial, node: Step, operator: StreamStreamJoin) -> None:
        self._trial = trial
        self._node = node
        self._operator = operator
        span = operator.span
        self._stretch = max(1, span.before + span.after)
        self._kept = span.before + span.after + span.grace

    def run(self, rows: Rows) -> dict[int, Rows]:
        encoded = [
            (row, *row.value, self._bytes(*row.value)) for row in rows if row.value[1] is not None
        ]
        loose = [
            row._replace(value=self._call(side, value, None))
            for row, side, value, _ in encoded
            if row.key is None and self._alone(side)
        ]
        encoded = [each for each in encoded if each[0].key is not None or not self._alone(each[1])]
        keys = one_record.keys_of(
            self._node, self._operator.key.encode, [row for row, *_ in encoded]
        )
        late = [self._late(row, side) for row, side, *_ in encoded]
        lates: dict[int, Rows] = {1: [], 2: []}
        read = {edge for node in self._trial._nodes for edge in node.parents}
        for (row, side, value, _), is_late in zip(encoded, late, strict=True):
            if is_late:
                own = row._replace(value=value)
                lates[1 + side].append(own)
                if Edge(self._node, 1 + side) not in read:
                    bad = one_record.Bad(self._node.name, "late")
                    bad.policy = self._operator.late
                    policies.late(self._node, own, bad)
                    self._trial.notes.append(windowed.Noted(bad, own))
        keys = [key for key, is_late in zip(keys, late, strict=True) if not is_late]
        encoded = [each for each, is_late in zip(encoded, late, strict=True) if not is_late]
        found = [
            self._row(key, row, side, data)
            for key, (row, side, _, data) in zip(keys, encoded, strict=True)
        ]
        joined = [
            row._replace(
                value=self._call(side, value if not number else self._value(side, data), other),
                timestamp=Timestamp(max(row.timestamp, time)),
            )
            for (row, side, value, data), others in zip(encoded, found, strict=True)
            for number, (time, other) in enumerate(others)
        ]
        return {0: [*self._closed(), *loose, *joined], **lates}

    def _row(
        self, key: bytes, row: Record[Any, Any], side: int, data: bytes
    ) -> list[tuple[int, Any]]:
        span, store = self._operator.span, self._operator.stores[side]
        before, after = (span.before, span.after) if side == 0 else (span.after, span.before)
        found = self._find(key, 1 - side, row.timestamp - before, row.timestamp + after)
        head = (row.timestamp // self._stretch).to_bytes(8, "big") + bytes(4) + key
        page = self._page(store, head) or Page()
        page.rows.append((row.timestamp, data))
        page.size += len(data) + 12
        if page.size > joins_pages.PAGE_BYTES:
            number = (page.full + 1).to_bytes(4, "big")
            self._put(store, head[:8] + number + key, Page(0, page.rows))
            page = Page(page.full + 1)
        self._put(store, head, page)
        if found and self._alone(1 - side):
            for time, _ in found:
                name = self._name(time, 1 - side, key)
                if name in self._trial.state.stores[self._operator.unmatched]:
                    self._trial.state.put(self._operator.unmatched, name, None)
        elif not found and self._alone(side):
            self._trial.state.put(
                self._operator.unmatched, self._name(row.timestamp, side, key), b""
            )
        return found

    def _closed(self) -> Rows:
        end = self._trial.seen_by(self._node) - self._kept
        closed: Rows = []
        if self._operator.kind != "inner":
            for name in sorted(self._trial.state.stores[self._operator.unmatched]):
                time, side, key = int.from_bytes(name[:8], "big"), name[8], name[9:]
                if time < end:
                    self._trial.state.put(self._operator.unmatched, name, None)
                    for _, value in self._find(key, side, time, time):
                        made = self._call(side, value, None)
                        closed.append(Record(self._operator.key.decode(key), made, Timestamp(time)))
        for store in self._operator.stores:
            for name in list(self._trial.state.stores[store]):
                if int.from_bytes(name[:8], "big") < max(0, end) // self._stretch:
                    self._trial.state.put(store, name, None)
        return closed

    def _find(self, key: bytes, side: int, first: int, last: int) -> list[tuple[int, Any]]:
        store = self._operator.stores[side]
        names = [name for name in self._trial.state.stores[store] if name[12:] == key]
        names.sort(key=lambda name: (name[:8], name[8:12] == bytes(4), name[8:12]))
        rows = [row for name in names if (page := self._page(store, name)) for row in page.rows]
        found = [(time, self._value(side, data)) for time, data in rows if first <= time <= last]
        return sorted(found, key=lambda row: row[0])

    def _call(self, side: int, value: Any, other: Any) -> Any:
        pair = (value, other) if side == 0 else (other, value)
        return one_record.call(self._node, self._operator.joiner, *pair)

    def _alone(self, side: int) -> bool:
        return self._operator.kind == "outer" or (self._operator.kind == "left" and side == 0)

    def _late(self, row: Record[Any, Any], side: int) -> bool:
        later = self._operator.span.after if side == 0 else self._operator.span.before
        end = row.timestamp + later + self._operator.span.grace
        return end < self._trial.seen_by(self._node, row)

    def _name(self, time: int, side: int, key: bytes) -> bytes:
        return time.to_bytes(8, "big") + bytes([side]) + key

    def _page(self, store: str, name: bytes) -> Page | None:
        data = self._trial.state.stores[store].get(name)
        return None if data is None else self._trial.specs[store].value.decode(data)

    def _put(self, store: str, name: bytes, page: Page) -> None:
        self._trial.state.put(store, name, self._trial.specs[store].value.encode(page))

    def _bytes(self, side: int, value: Any) -> bytes:
        try:
            return self._operator.values[side].encode(value)
        except Exception:  # noqa: BLE001 - whatever a serde raises
            raise one_record.Bad(self._node.name, "state") from None

    def _value(self, side: int, data: bytes) -> Any:
        return self._operator.values[side].decode(data)
