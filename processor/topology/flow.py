"""What is known at one point of the dataflow, and the moves from it that all streams share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from operator import attrgetter
from typing import Any, NamedTuple, get_args

from processor.errors import TopologyError
from processor.operators.aggregates.by_key import Emit, StampedSerde, TableOperator
from processor.operators.base import Operator
from processor.operators.changes import CHANGES, ChangeOperator
from processor.operators.joins.views import View
from processor.operators.tables.derived import Derived
from processor.operators.tables.versioned import Kept
from processor.serdes import key_serde_for, serde_for
from processor.state.keyvalue import StoreSpec
from processor.topology.builder import Builder, check_choice
from processor.topology.form import Form
from processor.topology.graph import Edge, OnBadRecord, Step


@dataclass(frozen=True)
class Flow:
    """One point of the dataflow; immutable.

    `label` is what names are made of (the topic, the grouping), None where nothing stable is known.
    `rekeyed` says that equal keys may be in different partitions. `on_bad_record` is what the steps
    from here on make of records that fail. `stream` is the class of streams, which imports that of
    tables: so a table has it from here, to give its changes as one.
    """

    builder: Builder
    edge: Edge
    key: Form
    value: Form
    label: str | None
    stream: type[Any]
    rekeyed: bool = False
    on_bad_record: OnBadRecord | None = None

    def __str__(self) -> str:
        return f"{self.edge.node.name!r}, {self.key} → {self.value}"

    def then(
        self,
        kind: str,
        operator: Operator | Callable[[str], Operator],
        name: str | None,
        *,
        key: Form | None = None,
        value: Form | None = None,
        stores: tuple[StoreSpec[Any, Any], ...] = (),
    ) -> Flow:
        """The point after a new step; `key` and `value` are the forms it changes them to."""
        node = self.builder.step(
            kind, (self.edge,), operator, stores, name, on_bad_record=self.on_bad_record
        )
        return replace(
            self,
            edge=Edge(node),
            key=key or self.key,
            value=value or self.value,
            label=name or self.label,
            rekeyed=self.rekeyed or key is not None,
        )

    def table(
        self,
        kind: str,
        spec: StoreSpec[Any, Any],
        operator: TableOperator,
        value: Form,
        *more: StoreSpec[Any, Any],
    ) -> Flow:
        """The changes of a table that a new step keeps in the store, with the help of more."""
        check_choice(f"{kind} {spec.name}: emit", operator.emit, get_args(Emit))
        kept = spec.value.value if isinstance(spec.value, StampedSerde) else None
        made = Form(value.type, kept=kept)
        return self.then(kind, operator, spec.name, value=made, stores=(spec, *more))

    def to_stream(self) -> Any:
        """The records here as a stream."""
        return self.stream(self)

    @property
    def changes(self) -> Flow:
        """A table's changes, old and new value together, where this point has its new values.

        Raises:
            TopologyError: They are not to be had, as those of windows.
        """
        node = self.edge.node
        if not (isinstance(node, Step) and isinstance(node.operator, ChangeOperator)):
            raise TopologyError(
                f"{node.name} emits results and no changes, so that no table can be made of it "
                "directly: put .to_stream().to_table(name=...) in between"
            )
        return replace(self, edge=Edge(self.edge.node, CHANGES))

    def repartitioned(
        self, name: str, *, partitions: int | None = None, key: Any = None, value: Any = None
    ) -> Flow:
        """The same records downstream of an internal topic, partitioned by their keys."""
        key_serde = self.key.kept_key(key, f"the key of repartition {name}")
        what = f"the value of repartition {name}"
        value_serde = self.value.kept_value(value, what)
        edge = self.builder.repartition(
            self.edge, key_serde, value_serde, name, partitions, self.on_bad_record
        )
        read = None if value is None else serde_for(value, what=what)
        written = self.key.read if key is None else key_serde_for(key, what=name)
        return replace(
            self,
            edge=edge,
            key=Form(self.key.type or key_serde.type, written, key_serde),
            value=self.value if value is None else Form(self.value.type, read),
            rekeyed=False,
        )

    def partitioned_by_key(self, name: str) -> Flow:
        """The same records so that equal keys are in one partition, for the step of that name."""
        return self.repartitioned(self.label or name) if self.rekeyed else self

    def needed(self, name: str | None, step: str, ending: str = "") -> str:
        """The name for a step that needs one, if need be made of the label.

        Raises:
            TopologyError: There is neither.
        """
        if name is not None:
            return name
        if self.label is None:
            raise TopologyError(
                f"{step} needs a name= here: it names topics and stores, which must keep their "
                "names when the topology changes, and there is no topic or named function before "
                "it to make one of"
            )
        return f"{self.label}-{ending}" if ending else self.label

    def grouped_by(self, by: Any, name: str | None) -> str | None:
        """The label of this flow with keys made by a function, a field or something unnamed."""
        named = by if isinstance(by, str) else getattr(by, "__name__", "<lambda>")
        if name is not None or self.label is None or named == "<lambda>":
            return name
        return f"{self.label}-by-{named}"


@dataclass(frozen=True)
class Values:
    """Where the values of a table are read.

    Attributes:
        store: The store of the table, or of the table that it is made of.
        steps: What has been made of the values in the store.
        history: The history that is kept, of a versioned table.
        is_held: Whether the store has the values that the table emits.
    """

    store: StoreSpec[Any, Any]
    steps: tuple[Derived, ...] = ()
    history: Kept | None = None
    is_held: bool = True


class TableFlow(NamedTuple):
    """A table: the point of the dataflow where its new values are, and where they are read."""

    flow: Flow
    values: Values

    @property
    def view(self) -> View:
        """How a step reads the table's values.

        Raises:
            TopologyError: They are nowhere to be read.
        """
        values = self.values
        if not values.is_held:
            raise TopologyError(
                f"the results of {self.flow.label} are in no store that a join could read: put "
                ".to_stream().to_table(name=...) after it, which keeps them"
            )
        return View(values.store.name, values.steps, values.history)


@dataclass(frozen=True, eq=False, repr=False)
class FromFlow:
    """What the language has for one point of the dataflow; shown by the step and its types."""

    _flow: Flow

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._flow})"


flow_of: Callable[[FromFlow], Flow] = attrgetter("_flow")
"""The point of the dataflow that a part of the language stands for; users see the language alone.
"""
