"""The same steps with functions and with columns, from bytes to bytes, on flights as JSON.

    python -m tests.benchmarks.columns [rows in a batch]

Microseconds of processor time a record, the least of seven rounds, for decoding, steps and
encoding together, and what of that is left without decoding (the steps and encoding).
"""

import re
import sys
import time
from collections.abc import Callable
from typing import Any

import msgspec
from polars import when

from processor import Stream, Topology, col, count, sum_of, tumbling
from processor.operators.base import Context
from processor.records import Batch, Offset, RawBatch
from processor.runtime.dataflow import Dataflow
from processor.state.keyvalue import EncodedStore
from processor.state.overlay import Overlay
from processor.state.store import MemoryStore
from processor.topology.graph import Edge
from processor.topology.plan import plan
from topologies.flights import Flight, records

COUNT, ROUNDS = 20_000, 7
Build = Callable[[Any], None]

LATE = col("departure_delay") > 60
COST = col("distance") * 3 + when(col("arrival_delay") > 0).then(col("arrival_delay")).otherwise(0)
DIGITS = col("distance") * 7 + col("number") * (col("distance") - 3) - col("number") // 10
MANY = (DIGITS % 1000 > 500) & ~(col("distance").is_between(90, 110)) & (col("number") % 7 != 3)
TEXT = col("origin").str.to_lowercase().str.contains("^[ej]") & col("destination").str.contains("A")


def fields(typed: bool) -> Callable[[Any, str], Any]:  # noqa: FBT001 - of which the rest is made
    return getattr if typed else lambda value, name: value[name]


def cases(typed: bool) -> dict[str, tuple[Build, Build]]:  # noqa: FBT001 - of which all is made
    """By what they do, with functions and with columns."""
    get, matches = fields(typed), re.compile("^[ej]").search

    def late(flight: Any) -> bool:
        delay = get(flight, "departure_delay")
        return delay is not None and delay > 60

    def cost(flight: Any) -> int:
        delay = get(flight, "arrival_delay")
        return get(flight, "distance") * 3 + (delay if delay is not None and delay > 0 else 0)

    def short(flight: Any) -> dict[str, Any]:
        return {"tail": get(flight, "tail"), "cost": cost(flight), "late": late(flight)}

    def many(flight: Any) -> bool:
        distance, number = get(flight, "distance"), get(flight, "number")
        digits = distance * 7 + number * (distance - 3) - number // 10
        return digits % 1000 > 500 and not 90 <= distance <= 110 and number % 7 != 3

    def text(flight: Any) -> bool:
        named = matches(get(flight, "origin").lower()) is not None
        return named and "A" in get(flight, "destination")

    def chain(flights: Stream[str, Any]) -> None:
        chosen = flights.filter(lambda flight: get(flight, "distance") > 500)
        costs = chosen.map_values(short).filter(lambda flight: flight["cost"] > 3000)
        costs.map_values(lambda flight: {**flight, "half": flight["cost"] / 2}).to("out")

    def columns(flights: Stream[str, Any]) -> None:
        chosen = flights.filter(col("distance") > 500).select("tail", cost=COST, late=LATE)
        chosen.filter(col("cost") > 3000).with_columns(half=col("cost") / 2).to("out")

    def total(**parts: Any) -> Build:
        return lambda s: s.group_by_key().agg(**parts, orders=count(), name="t").to("out")

    def windowed(**parts: Any) -> Build:
        return lambda s: (
            s.group_by_key().window(tumbling("1h")).agg(**parts, orders=count(), name="t").to("out")
        )

    return {
        "filter": (lambda s: s.filter(late).to("out"), lambda s: s.filter(LATE).to("out")),
        "filter, many operators": (
            lambda s: s.filter(many).to("out"),
            lambda s: s.filter(MANY).to("out"),
        ),
        "filter, text": (lambda s: s.filter(text).to("out"), lambda s: s.filter(TEXT).to("out")),
        "select": (
            lambda s: s.map_values(short).to("out"),
            lambda s: s.select("tail", cost=COST, late=LATE).to("out"),
        ),
        "filter, select, filter, add": (chain, columns),
        "agg of a field": (
            total(most=sum_of("distance")),
            total(most=col("distance").sum()),
        ),
        "agg of an expression": (total(cost=sum_of(cost)), total(cost=COST.sum())),
        "windows of an expression": (windowed(cost=sum_of(cost)), windowed(cost=COST.sum())),
    }


def least(build: Build, source: type[Any] | None, batches: list[RawBatch]) -> tuple[float, float]:
    """Microseconds a record, with and without decoding."""
    topology = Topology("app")
    build(topology.stream("in") if source is None else topology.stream("in", value=source))
    (part,) = plan(topology).subtopologies
    flow, entry = Dataflow(part, 10**6), part.sources[0]
    whole: list[float] = []
    steps: list[float] = []
    for _ in range(ROUNDS):
        stores = {
            spec.name: EncodedStore(spec, Overlay(MemoryStore(), 2**30), 1000)
            for spec in part.stores
        }
        context = Context(stores)
        began, decoding = time.process_time(), 0.0
        for raw in batches:
            context.begin()
            before = time.process_time()
            decoded = flow.decode(entry, raw, context)
            decoding += time.process_time() - before
            flow.run({Edge(entry): decoded}, context, advance=True)
        took = time.process_time() - began
        whole.append(took)
        steps.append(took - decoding)
    return min(whole) / COUNT * 1e6, min(steps) / COUNT * 1e6


def main() -> None:
    size = int(sys.argv[1]) if len(sys.argv) > 1 else 2000
    rows = list(records())[:COUNT]
    data = [msgspec.json.encode(row.value) for row in rows]
    keys = [row.value.carrier.encode() for row in rows]
    batches: list[RawBatch] = [
        Batch(
            keys[start : start + size],
            data[start : start + size],
            [row.timestamp for row in rows[start : start + size]],
            [Offset(number) for number in range(start, start + size)],
        )
        for start in range(0, COUNT, size)
    ]
    print(f"{'':40} functions         columns           ratio")
    for typed in (False, True):
        for name, (functions, columns) in cases(typed).items():
            source = Flight if typed else None
            one, other = least(functions, source, batches), least(columns, source, batches)
            shown = f"{'dataclass' if typed else 'dict'}: {name}"
            print(
                f"{shown:40} {one[0]:6.2f} ({one[1]:5.2f})    {other[0]:6.2f} ({other[1]:5.2f})"
                f"    {one[0] / other[0]:5.2f} ({one[1] / other[1]:5.2f})"
            )


if __name__ == "__main__":
    main()
