"""Encoding and decoding the flights: Avro, fastavro's and kproc's own, and JSON.

    python -m tests.benchmarks.avro

Microseconds of processor time a record, the best of five rounds, and how long messages are.
"""

import io
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import msgspec
from fastavro import parse_schema, schemaless_reader, schemaless_writer

from processor.serdes import Serde, avro, decode_column, encode_column, json_of
from topologies.flights import Flight, records

SCHEMA = "schemas/flight.avsc"
COUNT = 20_000
ROUNDS = 5


def fastavro_serde() -> Serde[Flight]:
    """What there is without a reader of one's own."""
    schema: Any = parse_schema(json.loads(Path(SCHEMA).read_text()))

    def encode(flight: Flight) -> bytes:
        out = io.BytesIO()
        schemaless_writer(out, schema, msgspec.to_builtins(flight))
        return out.getvalue()

    def decode(data: bytes) -> Flight:
        return msgspec.convert(schemaless_reader(io.BytesIO(data), schema, None), Flight)

    return Serde("fastavro(Flight)", encode, decode)


def micros(function: Callable[..., object], serde: Serde[Any], column: Sequence[Any]) -> float:
    """The least that a round took, for each row."""
    took: list[float] = []
    for _ in range(ROUNDS):
        began = time.process_time()
        function(serde, column)
        took.append(time.process_time() - began)
    return min(took) / len(column) * 1e6


def main() -> None:
    flights = [record.value for record in records()[:COUNT]]
    assert avro(SCHEMA, Flight).decode(avro(SCHEMA).encode(asdict(flights[0]))) == flights[0]
    print(f"{'':20} {'encode':>8} {'decode':>8} {'bytes':>8}")
    for serde in (json_of(Flight), avro(SCHEMA, Flight), fastavro_serde()):
        data, _ = encode_column(serde, flights)
        length = sum(len(each or b"") for each in data) / len(data)
        encode = micros(encode_column, serde, flights)
        decode = micros(decode_column, serde, data)
        print(f"{serde.name.split(',')[0][:20]:20} {encode:8.2f} {decode:8.2f} {length:8.1f}")


if __name__ == "__main__":
    main()
