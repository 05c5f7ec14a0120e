"""Joins by foreign keys, by the book: for the reference interpreter alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from processor.operators.joins.foreign_key import (
    ForeignKeyJoin,
    Respond,
    Response,
    Subscribe,
    Subscription,
    hash_of,
)
from processor.records import Record, Timestamp
from processor.topology.graph import Step
from tests.properties import joins, one_record

if TYPE_CHECKING:
    from tests.properties.one_record import Rows, Trial


def subscribe(node: Step, operator: Subscribe, rows: Rows) -> Rows:
    def made(row: Record[Any, Any]) -> Rows:
        key = operator.key.encode(row.key)
        old, new = (None if each is None else operator.on(each) for each in row.value)
        messages: list[tuple[Any, Subscription]] = []
        if old is not None and old != new:
            messages.append((old, Subscription(key, None)))
        if new is not None:
            messages.append((new, Subscription(key, hash_of(row.value.new, operator.value))))
        return [row._replace(key=name, value=message) for name, message in messages]

    return [each for row in rows for each in one_record.call(node, made, row)]


def respond(trial: Trial, node: Step, operator: Respond, rows: Rows) -> Rows:
    spec = trial.specs[operator.table.store]
    keys = one_record.keys_of(node, spec.key.encode, rows)
    made: Rows = []
    for key, row in zip(keys, rows, strict=True):
        parent, sent = row.value
        prefix = len(key).to_bytes(4, "big") + key
        if parent == 1:
            for name, hash_ in sorted(trial.state.stores[operator.store].items()):
                if name.startswith(prefix):
                    who = operator.key.decode(name[len(prefix) :])
                    made.append(row._replace(key=who, value=Response(hash_, sent)))
            continue
        trial.state.put(operator.store, prefix + sent.key, sent.hash)
        if sent.hash is not None:
            has = joins.lookup(trial, node, operator.table, row)
            value, time = (None, 0) if has is None else (has[1], has[0])
            made.append(
                Record(
                    operator.key.decode(sent.key),
                    Response(sent.hash, value),
                    Timestamp(max(time, row.timestamp)),
                    row.headers,
                )
            )
    return made


def join(trial: Trial, node: Step, operator: ForeignKeyJoin, rows: Rows) -> Rows:
    def result(row: Record[Any, Any]) -> tuple[Any, int] | None:
        parent, sent = row.value
        if parent == 0:
            has = joins.lookup(trial, node, operator.table, row)
            if has is None or has[1] is None:
                return None
            if one_record.call(node, hash_of, has[1], operator.value) != sent.hash:
                return None
            return _result(node, operator, has[1], sent.value), max(has[0], row.timestamp)
        if sent is not None and one_record.call(node, operator.on, sent) is not None:
            return None
        return _result(node, operator, sent, None), row.timestamp

    return joins.keep(trial, node, rows, result)


def _result(node: Step, operator: ForeignKeyJoin, value: Any, other: Any) -> Any:
    if not joins.has_result(operator.kind, value, other):
        return None
    return one_record.call(node, operator.joiner, value, other)
