"""Batches and contexts for tests of single operators."""

from typing import Any

from processor.operators.base import AnyBatch, Clock, Context
from processor.records import Batch, Headers, Offset, Record, Timestamp
from processor.state.keyvalue import EncodedStore, StoreSpec
from processor.state.overlay import Overlay
from processor.state.store import MemoryStore


def row(
    value: Any = None, key: Any = "k", timestamp: int = 0, headers: Headers = ()
) -> Record[Any, Any]:
    return Record(key, value, Timestamp(timestamp), headers)


def batch(*records: Record[Any, Any], start: int = 0) -> AnyBatch:
    """The records, at offsets from `start` on."""
    headers = [record.headers for record in records]
    return Batch(
        [record.key for record in records],
        [record.value for record in records],
        [record.timestamp for record in records],
        [Offset(start + number) for number in range(len(records))],
        headers if any(headers) else None,
    )


def values(*column: Any) -> AnyBatch:
    return batch(*map(row, column))


def context(*specs: StoreSpec[Any, Any], stream_time: int = -1) -> Context:
    """A context with empty stores."""
    stores = {spec.name: EncodedStore(spec, Overlay(MemoryStore(), 2**20), 1000) for spec in specs}
    return Context(stores, Clock(Timestamp(stream_time)), step="step")


def failed(context: Context) -> list[tuple[int, str, str]]:
    """Offset, reason and error of the rows that were rejected."""
    return [
        (each.offset, each.reason, f"{type(each.error).__name__}: {each.error}")
        for each in context.failures.rejected
    ]
