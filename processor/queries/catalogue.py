"""The stores of a topology that can be asked, and what their bytes mean.

Leaves out the stores that steps keep for themselves: what is due, what joins wait for.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

from processor.errors import QueryError
from processor.operators.aggregates.by_key import TableOperator
from processor.operators.process import Process
from processor.operators.windows.keyed import KeyedStep
from processor.operators.windows.windowed import WindowStep
from processor.runtime.partitioning import partition_of
from processor.serdes import Serde
from processor.state.keyvalue import StoreSpec
from processor.topology.graph import Node, Source, Step
from processor.topology.plan import Layout, Plan, Subtopology

Kind: TypeAlias = Literal["table", "windows", "key-value", "global"]
"""One value a key with its event time; one a key and window; one a key; a topic of which each
worker has all."""

ANY_PARTITION: Final = -1
"""That of all keys of a global table."""


@dataclass(frozen=True)
class Queryable:
    """A store that can be asked.

    Attributes:
        kind: What it has.
        spec: Its name, and the serdes of what lies in it.
        key: The serde of the keys that are asked for; those of windows without the window.
        index: Of windows that depend on the records of their key the store that has the windows of
            each key; empty: there is none.
        part: Whose tasks keep it; None: each worker.
        placed: The serdes whose bytes have chosen the partition of a key.
        is_own: Whether kproc itself has chosen it, so that it is sure where a key is.
    """

    kind: Kind
    spec: StoreSpec[Any, Any]
    key: Serde[Any]
    index: str = ""
    part: Subtopology | None = None
    placed: Serde[Any] | None = None
    is_own: bool = True

    @property
    def name(self) -> str:
        """The store's."""
        return self.spec.name

    def encoded(self, key: Any) -> bytes:
        """The bytes of a key.

        Raises:
            QueryError: The store has no such keys.
        """
        try:
            return self.key.encode(key)
        except Exception as error:
            raise self.no_key(error) from error

    def no_key(self, error: Exception) -> QueryError:
        """What to raise where something is no key of the store."""
        return QueryError(f"that is no key of {self.name} ({self.key.name}): {error}")

    def partitions(self, layout: Layout) -> range:
        """The partitions that it has; of a global table none."""
        return range(0 if self.part is None else layout.tasks_of(self.part))

    def partition(self, key: Any, layout: Layout) -> int:
        """Where a key is; unless `is_own`, where it is if its producer writes as kproc does."""
        if self.placed is None:
            return ANY_PARTITION
        return partition_of(self.placed.encode(key), len(self.partitions(layout)))


def catalogue(plan: Plan) -> Mapping[str, Queryable]:
    """What can be asked, by name."""
    own = (
        found
        for part in plan.subtopologies
        for node in part.nodes
        if isinstance(node, Step)
        for found in _stores(part, node, plan)
    )
    tables = (Queryable("global", each.store, each.store.key) for each in plan.global_tables)
    return {each.name: each for each in sorted((*own, *tables), key=lambda each: each.name)}


def find(stores: Mapping[str, Queryable], name: str) -> Queryable:
    """The store of that name.

    Raises:
        QueryError: There is none.
    """
    if name in stores:
        return stores[name]
    there = f"there are {', '.join(stores)}" if stores else "the topology keeps none"
    raise QueryError(f"no store {name!r} can be asked: {there}", "unknown-store")


def _stores(part: Subtopology, step: Step, plan: Plan) -> Iterator[Queryable]:
    operator = step.operator
    sources = list(dict.fromkeys(_sources(step)))
    placed = sources[0].key
    is_own = all(topic in plan.repartitions for source in sources for topic in source.topics)
    for spec in step.stores:
        if isinstance(operator, Process):
            yield Queryable("key-value", spec, spec.key, "", part, placed, is_own)
        elif isinstance(operator, WindowStep) and spec.name == operator.store:
            index = operator.index if isinstance(operator, KeyedStep) else ""
            yield Queryable("windows", spec, operator.key, index, part, placed, is_own)
        elif isinstance(operator, TableOperator) and spec.name == operator.store:
            yield Queryable("table", spec, spec.key, "", part, placed, is_own)


def _sources(node: Node) -> Iterator[Source]:
    if isinstance(node, Source):
        yield node
    for parent in node.parents:
        yield from _sources(parent.node)
