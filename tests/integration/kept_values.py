"""A topology that keeps values of every kind, and says of what it gets back whether it is equal.

Values are made in the process that writes them, and compared with those of the process that reads
them. In state stays what came first, so that what is compared later comes from there.
"""

import os
from collections.abc import Callable
from typing import Any

from processor import Topology, tumbling
from processor.topology.stream import Stream
from tests.properties.test_values import typed
from tests.serdes import kinds
from tests.suites import LONG

AnyStream = Stream[Any, Any]
Sink = Callable[[AnyStream], None]
Place = Callable[[AnyStream, str, Sink], None]


def repartitioned(stream: AnyStream, name: str, sink: Sink) -> None:
    sink(stream.repartition(name=name))


def grouped(stream: AnyStream, name: str, sink: Sink) -> None:
    sink(stream.group_by(lambda _: "g", name=f"{name}-by").reduce(first, name=name).to_stream())


def tabled(stream: AnyStream, name: str, sink: Sink) -> None:
    """A table that keeps its results back until the checkpoint, and one made of it."""
    table = stream.group_by_key().reduce(first, name=name)
    kept = table.filter(is_there).group_by(lambda _: "g", name=f"{name}-by")
    sink(kept.reduce(second, first, name=f"{name}-of").to_stream())


def windowed(stream: AnyStream, name: str, sink: Sink) -> None:
    windows = stream.group_by_key().window(tumbling("1d"), emit="change")
    sink(windows.reduce(first, name=name).to_stream())


def joined(stream: AnyStream, name: str, sink: Sink) -> None:
    table = stream.group_by_key().reduce(first, name=name)
    sink(stream.join(table, second, name=f"{name}-join"))


PLACES: list[Place] = [repartitioned, tabled, *((grouped, windowed, joined) if LONG else ())]
"""Where values are kept; the last three keep them as `tabled` does."""


def is_there(value: Any) -> bool:
    return value is not None


def first(so_far: Any, _: Any) -> Any:
    return so_far


def second(_: Any, value: Any) -> Any:
    return value


def sink_of(what: list[Any], wanted: Any, out: str) -> Sink:
    def compared(value: Any) -> list[Any]:
        is_equal = type(value) is type(wanted) and bool(value == wanted)
        return [*what, is_equal, os.getpid()]

    return lambda stream: stream.map_values(compared).to(out)


def names(name: str) -> list[tuple[str, str]]:
    return [(name, place.__name__) for place in PLACES]


CASES = [
    each
    for name in (*map(str, range(len(kinds.EXAMPLES))), *(name for name, *_ in kinds.FROM_TOPICS))
    for each in names(name)
]
"""Kind and place of each result that there has to be."""


def define(topology: Topology, source: str, out: str) -> None:
    """All kinds in all places; topics of schemas' formats are called after the source."""
    numbers = topology.stream(source, key=str, value=bytes)
    for number, (annotation, value) in enumerate(kinds.EXAMPLES):
        made = numbers.map_values(typed(annotation, value), name=f"make-{number}")
        _keep(made, str(number), value, out)
    for name, serde, value in kinds.FROM_TOPICS:
        read = topology.stream(f"{source}-{name}", key=str, value=serde)
        _keep(read, name, serde.decode(serde.encode(value)), out)


def _keep(stream: AnyStream, name: str, wanted: Any, out: str) -> None:
    for place in PLACES:
        place(stream, f"{place.__name__}-{name}", sink_of([name, place.__name__], wanted, out))
