"""kproc: a Kafka-native stream processor for Python.

A topology is written with `Topology` and run with `kproc run FILE`.
"""

from processor.operators.event_time import wall_clock
from processor.operators.process import ProcessContext, Punctuator
from processor.records import Headers, Record, Timestamp
from processor.serdes import SchemaRegistry, Serde, avro
from processor.state.keyvalue import KeyValueStore, StoreSpec
from processor.topology.stream import GroupedStream, Stream, Table
from processor.topology.topology import Topology, every, key_value

__all__ = [
    "GroupedStream",
    "Headers",
    "KeyValueStore",
    "ProcessContext",
    "Punctuator",
    "Record",
    "SchemaRegistry",
    "Serde",
    "StoreSpec",
    "Stream",
    "Table",
    "Timestamp",
    "Topology",
    "avro",
    "every",
    "key_value",
    "wall_clock",
]
