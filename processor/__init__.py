"""kproc: a Kafka-native stream processor for Python.

A topology is written with `Topology`, and run with `kproc run FILE` or by its file with `run`.
"""

from processor.errors import BadRecordError, KprocError, TopologyError, UsageError
from processor.operators.aggregates.catalogue import (
    Aggregator,
    approx_distinct_of,
    approx_quantiles_of,
    collect_of,
    count,
    distinct_of,
    first_of,
    last_of,
    max_of,
    mean_of,
    min_of,
    sum_of,
    top_of,
)
from processor.operators.event_time import wall_clock
from processor.operators.process import ProcessContext, Punctuator
from processor.operators.windows.kinds import calendar, counted, hopping, session, sliding, tumbling
from processor.records import Headers, Record, Timestamp
from processor.script import run
from processor.serdes import SchemaRegistry, Serde, avro, json_schema, protobuf
from processor.serdes.windowed import Windowed
from processor.state.keyvalue import KeyValueStore, StoreSpec
from processor.topology.global_table import GlobalTable
from processor.topology.grouped import CogroupedStream, GroupedStream
from processor.topology.joining import JoinWindow
from processor.topology.stream import JoinedStream, Stream
from processor.topology.table import GroupedTable, Table
from processor.topology.topology import Topology, every, key_value
from processor.topology.windowed import WindowedStream, WindowedTable

__all__ = [
    "Aggregator",
    "BadRecordError",
    "CogroupedStream",
    "GlobalTable",
    "GroupedStream",
    "GroupedTable",
    "Headers",
    "JoinWindow",
    "JoinedStream",
    "KeyValueStore",
    "KprocError",
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
    "TopologyError",
    "UsageError",
    "Windowed",
    "WindowedStream",
    "WindowedTable",
    "approx_distinct_of",
    "approx_quantiles_of",
    "avro",
    "calendar",
    "collect_of",
    "count",
    "counted",
    "distinct_of",
    "every",
    "first_of",
    "hopping",
    "json_schema",
    "key_value",
    "last_of",
    "max_of",
    "mean_of",
    "min_of",
    "protobuf",
    "run",
    "session",
    "sliding",
    "sum_of",
    "top_of",
    "tumbling",
    "wall_clock",
]


def __dir__() -> list[str]:
    """What is public: the modules of the package are not."""
    return __all__
