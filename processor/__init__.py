"""kproc: a Kafka-native stream processor for Python.

A topology is written with `Topology` and run with `kproc run FILE`.
"""

from processor.operators.event_time import wall_clock
from processor.operators.process import ProcessContext, Punctuator
from processor.operators.windows import calendar, counted, hopping, session, sliding, tumbling
from processor.records import Headers, Record, Timestamp
from processor.serdes import SchemaRegistry, Serde, avro, json_schema, protobuf
from processor.serdes.windowed import Windowed
from processor.state.keyvalue import KeyValueStore, StoreSpec
from processor.topology.grouped_table import GroupedTable
from processor.topology.stream import GroupedStream, Stream, Table
from processor.topology.topology import Topology, every, key_value
from processor.topology.windowed import WindowedStream, WindowedTable

__all__ = [
    "GroupedStream",
    "GroupedTable",
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
    "Windowed",
    "WindowedStream",
    "WindowedTable",
    "avro",
    "calendar",
    "counted",
    "every",
    "hopping",
    "json_schema",
    "key_value",
    "protobuf",
    "session",
    "sliding",
    "tumbling",
    "wall_clock",
]
