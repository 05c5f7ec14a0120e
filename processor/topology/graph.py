"""The dataflow as immutable nodes.

A node knows its parents, never its children; nothing here runs, connects or changes.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

from processor.operators.base import (
    Operator,
)
from processor.operators.event_time import EventTime
from processor.records import (
    Policy,
    Record,
)
from processor.serdes.base import Serde
from processor.state.keyvalue import StoreSpec

ErrorHandler: TypeAlias = Callable[[Exception, Record[Any, Any]], Policy | Record[Any, Any] | None]
"""Says what happens to a record that failed with this error, as it was when it came to the step.

A `Record` takes its place; None leaves it to the policy of the source or the settings.
"""

OnBadRecord: TypeAlias = Policy | ErrorHandler

TopicChoice: TypeAlias = Callable[[Record[Any, Any]], str]
"""Names the topic of one record."""


class Edge(NamedTuple):
    """One output of a node; only `Split` has more than output 0."""

    node: "Node"
    port: int = 0


@dataclass(frozen=True, eq=False)
class Node:
    """A place in the dataflow; names are unique in a topology."""

    name: str
    parents: tuple[Edge, ...]


@dataclass(frozen=True, eq=False)
class Source(Node):
    """Reads topics: the application's input, or an internal topic."""

    topics: tuple[str, ...]
    key: Serde[Any]
    value: Serde[Any]
    on_bad_record: Policy | None  # None: as the settings say
    time: EventTime | None = None  # None: the records' timestamps


class Read(NamedTuple):
    """A step reads the store of another one, which it does not write.

    The rows from the parent of that number meet the store as it is at their own record.
    """

    parent: int
    store: str


@dataclass(frozen=True, eq=False)
class Step(Node):
    """Works on batches; its stores are its own: no other step writes them, and `reads` says which.

    A step and the one whose store it reads are in one subtopology, as the latter is a parent.
    """

    kind: str  # what a reader knows it as: filter, count
    operator: Operator
    stores: tuple[StoreSpec[Any, Any], ...] = ()
    outputs: tuple[str, ...] = ()  # the names of a split's, of which one is chosen for each record
    reads: tuple[Read, ...] = ()
    on_bad_record: OnBadRecord | None = None  # None: as the source or the settings say


@dataclass(frozen=True, eq=False)
class Sink(Node):
    """Writes a topic, or the one that is chosen for each record."""

    topic: str | TopicChoice
    key: Serde[Any]
    value: Serde[Any]
    on_bad_record: OnBadRecord | None = None


@dataclass(frozen=True)
class Repartition:
    """An internal topic between two subtopologies: written by one, read by the next."""

    name: str
    partitions: int | None  # None: as its reader's other topics have, or its writer's largest
