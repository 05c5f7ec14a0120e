"""Which steps the methods of a stream add, and what these refuse; joins and tables have their own.

Gives points of the dataflow, which `Stream` makes streams of.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from processor.durations import Duration, milliseconds
from processor.errors import TopologyError
from processor.operators.base import Operator
from processor.operators.columns.steps import (
    FilterColumns,
    KeyByColumn,
    SelectColumns,
    is_expression,
    polars,
)
from processor.operators.deduplicate import Deduplicate
from processor.operators.stateless import Filter, KeyBy, Merge, Split
from processor.records import Record
from processor.serdes import bytes_serde, int64, key_json
from processor.state.keyvalue import StoreSpec
from processor.topology.flow import Flow
from processor.topology.form import Form
from processor.topology.functions import checked_function, getter
from processor.topology.graph import Edge

if TYPE_CHECKING:
    from polars import Expr


def filtered(
    flow: Flow,
    kind: str,
    predicate: Callable[[Any], object] | Expr,
    name: str | None,
    *,
    keep: bool,
) -> Flow:
    """The records whose value a function or a column of bools accepts, or does not."""
    operator: Operator
    if is_expression(predicate):
        from processor.topology import columnar  # noqa: PLC0415 - where Polars is wanted

        operator = FilterColumns(columnar.predicate(flow.value, predicate, kind), keep)
    else:
        operator = Filter(checked_function(kind.replace("-", "_"), predicate, "value"), keep)
    return flow.then(kind, operator, name)


def selected(
    flow: Flow,
    kind: str,
    positional: tuple[Expr | str, ...],
    by_name: dict[str, Expr | str],
    value: type[Any] | None,
    name: str | None,
) -> Flow:
    """Values made of columns, for `with-columns` with the fields that were there."""
    polars()
    from processor.topology import columnar  # noqa: PLC0415 - where Polars is wanted

    asked, added = columnar.named(positional, by_name, kind), kind == "with-columns"
    evaluated = columnar.columns(flow.value, list(asked.values()), kind)
    form = Form(value)
    if value is None:
        form = columnar.record(flow.value, list(asked), evaluated, added=added)
    operator = SelectColumns(evaluated, tuple(asked), added, value)
    return flow.then(kind, operator, name, value=form)


def keyed(flow: Flow, by: Callable[[Any], Any] | str | Expr, name: str | None) -> Flow:
    """The same records with other keys."""
    if is_expression(by) and by.meta.is_column():
        by = by.meta.output_name()
    if is_expression(by):
        from processor.topology import columnar  # noqa: PLC0415 - where Polars is wanted

        columns = columnar.columns(flow.value, [by], "key_by")
        operator, (form,) = KeyByColumn(columns), columnar.forms(columns)
    else:
        function, form = getter("key_by", flow.value, by)
        operator = KeyBy(function)
    made = flow.then("key-by", operator, name, key=form)
    return replace(made, label=flow.grouped_by(by, name))


def split(
    flow: Flow, names: Sequence[str], predicates: tuple[Callable[[Any], object], ...]
) -> Iterator[Flow]:
    """The records that each predicate is the first to accept, and the rest."""
    for predicate in predicates:
        checked_function("a branch", predicate, "value")
    outputs = (*names, "default")
    node = flow.builder.step(
        "split", (flow.edge,), Split(predicates), outputs=outputs, on_bad_record=flow.on_bad_record
    )
    return (replace(flow, edge=Edge(node, port)) for port, _ in enumerate(outputs))


def merged(flows: Sequence[Flow], name: str | None) -> Flow:
    """The records of all, with the policy for errors that the settings have.

    Raises:
        TopologyError: They belong to different topologies.
    """
    first = flows[0]
    if any(flow.builder is not first.builder for flow in flows):
        raise TopologyError("merge: the streams belong to different topologies; use one")
    node = first.builder.step("merge", tuple(flow.edge for flow in flows), Merge(), name=name)
    settled = (flow.key for flow in flows if not flow.rekeyed)
    written = {key.placed_key("the key of a merge").name for key in settled}
    return replace(
        first,
        edge=Edge(node),
        key=Form.common(flow.key for flow in flows),
        value=Form.common(flow.value for flow in flows),
        label=name,
        rekeyed=len(written) > 1 or any(flow.rekeyed for flow in flows),
        on_bad_record=None,
    )


def written(
    flow: Flow, topic: str | Callable[[Record[Any, Any]], str], key: Any, value: Any
) -> None:
    """Writes to a topic, or to the one that is chosen for each record."""
    if isinstance(topic, str):
        what = topic
    else:
        what, topic = "the chosen topic", checked_function("to without a name", topic, "record")
    key_serde = flow.key.written_key(key, f"the key of {what}")
    value_serde = flow.value.written_value(value, f"the value of {what}")
    flow.builder.sink(flow.edge, topic, key_serde, value_serde, flow.on_bad_record)


def reread(flow: Flow, topic: str, key: Any, value: Any) -> Flow:
    """The same records, downstream of a topic of the user's."""
    key_serde = flow.key.through_key(key, f"the key of {topic}")
    value_serde = flow.value.through_value(value, f"the value of {topic}")
    flow.builder.sink(flow.edge, topic, key_serde, value_serde, flow.on_bad_record)
    return replace(
        flow,
        edge=Edge(flow.builder.source((topic,), key_serde, value_serde, None)),
        key=Form(flow.key.type, key_serde),
        value=Form(flow.value.type, value_serde),
        label=topic,
        rekeyed=False,
        on_bad_record=None,
    )


def deduplicated(
    flow: Flow, within: Duration, by: Callable[[Any], Any] | str | None, name: str | None
) -> Flow:
    """The records without those that repeat one within a time."""
    name = flow.needed(name, "deduplicate", "seen")
    flow = flow.partitioned_by_key(name)
    key_serde = flow.key.kept_key(None, f"the key of {name}")
    identity = None if by is None else _Identity(getter("deduplicate: by", flow.value, by)[0])
    span = milliseconds(within, f"within of {name}")
    operator = Deduplicate(name, span, identity, key_serde)
    return flow.then("deduplicate", operator, name, stores=(StoreSpec(name, bytes_serde, int64),))


@dataclass(frozen=True)
class _Identity:
    by: Callable[[Any], Any]

    def __call__(self, value: Any) -> bytes:
        return key_json.encode(self.by(value))
