"""The workloads of the peers' benchmark as a topology; everything comes from PEER_ variables.

Run by the harness as `--system "cmd: uv run --project DIR kproc run DIR/tests/benchmarks/\
peers_topology.py"`; what the variables mean is said there.
"""

import os
from collections.abc import Iterator
from typing import Any

from processor import ProcessContext, Record, Topology, key_value
from processor.serdes import json

ENV = os.environ
WORKLOAD = ENV.get("PEER_WORKLOAD", "count")
INPUT, OUTPUT = ENV.get("PEER_INPUT", "input"), ENV.get("PEER_OUTPUT", "output")
WINDOW_MS, GRACE_MS = 10_000, 1_000

topology = Topology(
    ENV.get("PEER_GROUP", "peers"),
    settings={
        "bootstrap": ENV.get("PEER_BOOTSTRAP", "127.0.0.1:9092"),
        "slots": int(ENV.get("PEER_THREADS", "2")),
        "guarantee": ENV.get("PEER_GUARANTEE", "exactly-once"),
        "checkpoint_interval": f"{ENV.get('PEER_COMMIT_MS', '100')}ms",
        "state_dir": ENV.get("PEER_STATE_DIR", ".kproc/state"),
        **dict(each.split("=", 1) for each in ENV.get("PEER_CONFIG", "").split(",") if each),
    },
)

sums = key_value("sums", key=tuple[int, str], value=int)


def add(record: Record[str, Any], context: ProcessContext) -> Iterator[Record[str, Any]]:
    """The sum per key and tumbling window so far; late records change nothing any more."""
    start = record.timestamp // WINDOW_MS * WINDOW_MS
    if start + WINDOW_MS + GRACE_MS > context.stream_time:
        store = context.store(sums)
        total = store.get((start, record.key), 0) + record.value["amount"]
        store.put((start, record.key), total)
        yield Record(record.key, {"start": start, "sum": total}, record.timestamp)


if WORKLOAD == "map":
    orders = topology.stream(INPUT)
    big = orders.filter(lambda order: order["amount"] >= 500)
    big.map_values(lambda order: {**order, "big": True}).to(OUTPUT, value=json)
elif WORKLOAD == "count":
    topology.stream(INPUT, value=bytes).group_by_key().count().to(OUTPUT, value=json)
elif WORKLOAD == "sum":
    topology.stream(INPUT).process(add, stores=[sums]).to(OUTPUT, value=json)
else:
    raise SystemExit(f"{WORKLOAD}: this workload needs joins")
