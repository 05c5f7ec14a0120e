"""What tasks of the reference run use besides their input: global tables, answers about schemas.

Global tables are written before a run begins and stay as they are, so that every record meets the
same. Knows neither Kafka nor a registry.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from processor.records import Offset, RawBatch, TopicPartition
from processor.serdes import SchemasMissing
from processor.state.keyvalue import StoreSpec
from processor.state.shared import ReadOnlyStore, SharedStore
from processor.state.store import MemoryStore
from processor.topology.plan import Plan

Tables = Mapping[str, ReadOnlyStore[Any, Any]]


def _refuse(missing: SchemasMissing) -> None:
    raise missing


@dataclass(frozen=True, slots=True)
class Outside:
    """What is there besides the input.

    Attributes:
        tables: The global tables by name.
        answer: Answers what serdes ask of a schema registry.
    """

    tables: Tables = field(default_factory=dict[str, ReadOnlyStore[Any, Any]])
    answer: Callable[[SchemasMissing], None] = _refuse


def tables_of(plan: Plan, logs: Mapping[TopicPartition, RawBatch]) -> Tables:
    """The plan's global tables as their topics say; records that can't be decoded are left out.

    Args:
        plan: The plan.
        logs: The committed records of the tables' topics.
    """
    tables: dict[str, ReadOnlyStore[Any, Any]] = {}
    for topic, spec in plan.global_tables:
        shared = SharedStore(MemoryStore())
        for source, log in logs.items():
            if source.topic == topic:
                rows = zip(log.keys, log.values, strict=True)
                known = {key: data for key, data in rows if key and _is_known(spec, key, data)}
                shared.write(source.partition, known, Offset(len(log)))
        tables[spec.name] = ReadOnlyStore(spec, shared)
    return tables


def _is_known(spec: StoreSpec[Any, Any], key: bytes, data: bytes | None) -> bool:
    if spec.key.registered or spec.value.registered:
        return True  # as a worker has it: it asks for schemas when a step reads
    try:
        spec.key.decode(key)
        if data is not None:
            spec.value.decode(data)
    except Exception:  # noqa: BLE001 - a decoder may raise anything
        return False
    return True
