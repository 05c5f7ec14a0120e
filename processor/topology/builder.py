"""Collects the nodes of one topology, and refuses what can't be meant.

The only mutable part of the language: streams are immutable and share one builder.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar, get_args

from processor.errors import TopologyError
from processor.operators.base import Operator
from processor.operators.event_time import EventTime
from processor.records import Policy
from processor.serdes.base import Serde, for_topic
from processor.state.keyvalue import StoreSpec
from processor.state.shared import GlobalSpec
from processor.topology.graph import (
    Edge,
    Node,
    OnBadRecord,
    Read,
    Repartition,
    Sink,
    Source,
    Step,
    TopicChoice,
)

N = TypeVar("N", bound=Node)

_NAME_LETTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")
_TOPIC_LENGTH = 249  # the broker's own limit
_NAME_LENGTH = 100  # leaves room for what internal topics add


class Builder:
    """The nodes so far, in the order in which they were made: parents before children."""

    def __init__(self, application: str) -> None:
        check_name("application", application)
        self.application = application
        self.nodes: list[Node] = []
        self.repartitions: list[Repartition] = []
        self._names: set[str] = set()
        self._stores: dict[str, str] = {}
        self._sources: dict[str, Source] = {}
        self.global_tables: list[GlobalSpec[Any, Any]] = []
        self._repartitioned: dict[tuple[Edge, str, str], Edge] = {}

    def source(
        self,
        topics: tuple[str, ...],
        key: Serde[Any],
        value: Serde[Any],
        policy: Policy | None,
        time: EventTime | None = None,
    ) -> Source:
        """A source of these topics; the same one again if it is asked for in the same way.

        Raises:
            TopologyError: No topic, a malformed name, or a topic that is read already, with other
                topics or in another way.
        """
        for topic in topics:
            check_name("topic", topic, _TOPIC_LENGTH)
            self._check_unread(topic, (each.topic for each in self.global_tables))
        if not topics or len(set(topics)) < len(topics):
            named = ", ".join(topics) or "none"
            raise TopologyError(f"give stream() one topic or several different ones, not {named}")
        check_choice("on_bad_record", policy, (None, *get_args(Policy)))
        source = Source(f"source-{'-'.join(topics)}", (), topics, key, value, policy, time)
        if not (known := {self._sources[topic] for topic in topics if topic in self._sources}):
            self._sources |= dict.fromkeys(topics, source)
            return self._add(source)
        (first, *others) = known
        if others or _reading(first) != _reading(source):
            raise TopologyError(
                f"{', '.join(topics)}: a topic is read once in a topology, and already as "
                f"{_described(first)}; keep that stream in a variable and use it twice"
            )
        return first

    def global_table(self, topic: str, store: StoreSpec[Any, Any]) -> None:
        """A global table of this topic.

        Raises:
            TopologyError: A malformed or taken name, or a topic that is read already.
        """
        check_name("topic", topic, _TOPIC_LENGTH)
        check_name("store", store.name)
        self._check_unread(topic, (*self._sources, *(each.topic for each in self.global_tables)))
        self._take(store.name, f"global table of {topic}")
        self.global_tables.append(GlobalSpec(topic, store))

    def _check_unread(self, topic: str, read: Iterable[str]) -> None:
        if topic in read:
            raise TopologyError(
                f"{topic}: a topic is read once in a topology, as a global table or as a stream; "
                "keep the table in a variable and use it twice"
            )

    def _take(self, store: str, owner: str) -> None:
        if store in self._stores:
            raise TopologyError(
                f"store {store!r} belongs to {self._stores[store]} already: "
                f"give one of them another name=, or do both things in one step"
            )
        self._stores[store] = owner

    def step(
        self,
        kind: str,
        parents: tuple[Edge, ...],
        operator: Operator | Callable[[str], Operator],
        stores: tuple[StoreSpec[Any, Any], ...] = (),
        name: str | None = None,
        outputs: tuple[str, ...] = (),
        reads: tuple[Read, ...] = (),
        on_bad_record: OnBadRecord | None = None,
    ) -> Step:
        """A step; without a name it is called after its kind and number.

        Raises:
            TopologyError: The name, or that of a store, is taken or malformed.
        """
        name = self._free_name(kind, name)
        for spec in stores:
            check_name("store", spec.name)
            self._take(spec.name, f"step {name!r}")
        made = operator if isinstance(operator, Operator) else operator(name)
        return self._add(Step(name, parents, kind, made, stores, outputs, reads, on_bad_record))

    def sink(
        self,
        parent: Edge,
        topic: str | TopicChoice,
        key: Serde[Any],
        value: Serde[Any],
        on_bad_record: OnBadRecord | None = None,
    ) -> Sink:
        """Writes what the parent gives."""
        if isinstance(topic, str):
            check_name("topic", topic, _TOPIC_LENGTH)
            if not any(topic == internal.name for internal in self.repartitions):
                key, value = for_topic(key, topic, "key"), for_topic(value, topic, "value")
        name = self._free_name("sink", None)
        return self._add(Sink(name, (parent,), topic, key, value, on_bad_record))

    def repartition(
        self,
        parent: Edge,
        key: Serde[Any],
        value: Serde[Any],
        name: str,
        partitions: int | None,
        on_bad_record: OnBadRecord | None = None,
    ) -> Edge:
        """Sends the parent's records through an internal topic, so that equal keys meet.

        Asked for the same records in the same form again it gives the same topic.
        """
        asked = (parent, key.name, value.name)
        if partitions is None and asked in self._repartitioned:
            return self._repartitioned[asked]
        topic = f"{self.application}-{name}-repartition"
        if any(topic == known.name for known in self.repartitions):
            raise TopologyError(
                f"two repartitions are called {name!r}: give one of them another name=, or keep "
                "the grouped stream in a variable and use it twice"
            )
        check_name("repartition", name)
        if partitions is not None:
            check_number(f"repartition {name}: partitions", partitions, least=1)
        self.repartitions.append(Repartition(topic, partitions))
        self.sink(parent, topic, key, value, on_bad_record)
        edge = Edge(self.source((topic,), key, value, None))
        self._repartitioned[asked] = edge
        return edge

    def _free_name(self, kind: str, name: str | None) -> str:
        if name is None:
            number = 1
            while f"{kind}-{number}" in self._names:
                number += 1
            return f"{kind}-{number}"
        check_name("step", name)
        if name in self._names:
            raise TopologyError(f"two steps are called {name!r}: give one of them another name=")
        return name

    def _add(self, node: N) -> N:
        self._names.add(node.name)
        self.nodes.append(node)
        return node


def check_name(what: str, name: object, longest: int = _NAME_LENGTH) -> None:
    """Raises TopologyError unless the name can be part of a topic's name."""
    letters = name if isinstance(name, str) and name not in {".", ".."} else ""
    if not 0 < len(letters) <= longest or not _NAME_LETTERS.issuperset(letters):
        raise TopologyError(
            f"{what} name {name!r}: names have 1 to {longest} letters, digits, '.', '_' or '-'"
        )


def check_choice(what: str, given: object, possible: Sequence[object]) -> None:
    """Raises TopologyError unless what is given is among what is possible."""
    if given not in possible:
        listed = ", ".join(map(repr, filter(None, possible)))
        raise TopologyError(f"{what}={given!r}: possible are {listed}")


def check_number(what: str, given: object, *, least: int) -> None:
    """Raises TopologyError unless it is a whole number, and not less."""
    if type(given) is not int or given < least:
        raise TopologyError(f"{what}={given!r}: give {least} or more, as a whole number")


def _described(source: Source) -> str:
    policy = f", on_bad_record={source.on_bad_record!r}" if source.on_bad_record else ""
    time = f", timestamp={source.time.label}" if source.time else ""
    topics = ", ".join(map(repr, source.topics))
    return f"stream({topics}, key={source.key.name}, value={source.value.name}{policy}{time})"


def _reading(source: Source) -> tuple[object, ...]:
    serdes = source.key.name, source.value.name
    return source.topics, *serdes, source.on_bad_record, source.time
