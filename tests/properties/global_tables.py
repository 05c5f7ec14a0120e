"""A global table whose contents stay, and joins with it by the book."""

from typing import Any

from processor.operators.joins.global_tables import GlobalJoin
from processor.records import Offset, Partition, Record
from processor.serdes import json, text
from processor.state.shared import ReadOnlyStore, SharedStore
from processor.state.store import MemoryStore
from processor.topology.graph import Step
from processor.topology.plan import Plan
from tests.properties import one_record, policies

Rows = list[Record[Any, Any]]

CONTENTS: dict[bytes, bytes | None] = {b"k0": b"3", b"k1": b'{"n":4}', b"k2": b'"a"'}


def shared(plan: Plan) -> dict[str, ReadOnlyStore[Any, Any]]:
    """What a task is given of the global tables."""
    return {spec.name: ReadOnlyStore(spec, filled()) for _, spec in plan.global_tables}


def filled() -> SharedStore:
    store = SharedStore(MemoryStore())
    store.write(Partition(0), CONTENTS, Offset(len(CONTENTS)))
    return store


def joined(node: Step, operator: GlobalJoin, rows: Rows) -> Rows:
    """By the book."""
    made: Rows = []
    for row in rows:
        if row.value is None:
            continue
        with policies.at(row):
            key = one_record.call(node, operator.function, row.key, row.value)
            data = None if key is None else CONTENTS.get(one_record.call(node, text.encode, key))
            if data is not None or operator.left:
                other = None if data is None else json.decode(data)
                value = one_record.call(node, operator.joiner, row.value, other)
                made.append(row._replace(value=value))
    return made
