"""Which steps the methods of a stream add, and what these refuse; joins and tables have their own.

Gives points of the dataflow, which `Stream` makes streams of.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from processor.durations import Duration, milliseconds
from processor.errors import TopologyError
from processor.operators.deduplicate import Deduplicate
from processor.operators.stateless import Filter, KeyBy, Merge, Split
from processor.records import Record
from processor.serdes import bytes_serde, int64, key_json
from processor.state.keyvalue import StoreSpec
from processor.topology.flow import Flow
from processor.topology.form import Form
from processor.topology.functions import checked_function, described, getter
from processor.topology.graph import Edge


def filtered(
    flow: Flow, kind: str, predicate: Callable[[Any], object], name: str | None, *, keep: bool
) -> Flow:
    """The records whose value a function accepts, or does not."""
    operator = Filter(checked_function(kind.replace("-", "_"), predicate, "value"), keep)
    return flow.then(kind, operator, name)


def keyed(flow: Flow, by: Callable[[Any], Any] | str, name: str | None) -> Flow:
    """The same records with other keys."""
    function, form = getter("key_by", flow.value, by)
    made = flow.then("key-by", KeyBy(function), name, key=form)
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
    elif callable(topic):
        what, topic = "the chosen topic", checked_function("to", topic, "record")
    else:
        raise TopologyError(
            f"to takes a topic's name or a function(record), not {described(topic)}"
        )
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
