"""What an application ran with, and whether a topology can go on from there and lose nothing.

Pure: a `Description` of the last start, the layout of the next and some facts about topics in, one
verdict for each store and topic out. Who keeps the description, and who asks Kafka, is elsewhere.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from itertools import chain
from typing import Any, ClassVar, Literal, NamedTuple, TypeAlias

import msgspec
from msgspec import Struct

from processor.serdes.shapes import Shape, key_misfits, misfits
from processor.state.keyvalue import StoreSpec
from processor.topology.describe import times_of
from processor.topology.plan import Layout, Subtopology, meeting
from processor.topology.slots import slot_partitions
from processor.wording import several

Action: TypeAlias = Literal["new", "keep", "migrate", "rebuild", "drop", "refuse"]
"""What happens to a store or topic: made and empty; as it is; goes on under another description;
restored from its changelog; used no more, with nothing in it; something would be lost."""


EMPTY = "it is empty"


class DescribedStore(Struct, frozen=True):
    """A store: the names of its serdes, its partitions, and the topics whose records come to it.

    The shapes are those of the serdes' types; empty where there are none, or they are not known. So
    are the times, which are those of the step: its windows, or the interval of a join.
    """

    key: str
    value: str
    partitions: int
    fed_by: tuple[str, ...]
    key_shape: Shape = {}
    value_shape: Shape = {}
    times: str = ""


class DescribedTopic(Struct, frozen=True):
    """A topic that is read: the names of its serdes, and its partitions; shapes as of stores.

    Those of inputs are left out: their records are judged one by one.
    """

    key: str
    value: str
    partitions: int
    key_shape: Shape = {}
    value_shape: Shape = {}


class Description(Struct, frozen=True):
    """What an application runs with, by the names of stores and topics.

    Attributes:
        began: Topic → how many partitions an input had when it was read for the first time.
        ledger: Topic → the ledger's partition for each of its partitions.
        former: What `ledger` was before, the latest first: what is not written since is there.
        ids: Topic → its id, of inputs and the application's own topics.
        epoch: Counted up whenever what runs from then on must not meet what ran before.
        resetting: Whether a reset has begun, and has not ended.
        version: Of this form; counted up when an older kproc would misunderstand a newer one's.
    """

    VERSION: ClassVar[int] = 1

    stores: dict[str, DescribedStore]
    repartitions: dict[str, DescribedTopic]
    inputs: dict[str, DescribedTopic]
    began: dict[str, int] = {}
    ledger: dict[str, tuple[int, ...]] = {}
    former: tuple[dict[str, tuple[int, ...]], ...] = ()
    ids: dict[str, str] = {}
    epoch: int = 0
    resetting: bool = False
    version: int = VERSION


class Change(NamedTuple):
    """What happens to one store or topic, and why; with a refusal, what to do."""

    what: Literal["store", "repartition", "input"]
    name: str
    action: Action
    why: str


@dataclass(frozen=True, slots=True)
class Facts:
    """What Kafka reports.

    Attributes:
        there: The partition counts of the topics that there are.
        held: Topic → about how many records it has, of changelogs.
        unread: Topic → how many records of it were not worked on, of repartition topics.
        ids: Topic → its id, of inputs and the application's own topics.
    """

    there: Mapping[str, int]
    held: Mapping[str, int]
    unread: Mapping[str, int]
    ids: Mapping[str, str] = field(default_factory=dict[str, str])


def describe(layout: Layout) -> Description:
    """What a start with this layout runs with."""
    inputs: dict[str, DescribedTopic] = {}
    repartitions: dict[str, DescribedTopic] = {}
    for part in layout.plan.subtopologies:
        for source in part.sources:
            for topic in source.topics:
                count = layout.partitions[topic]
                key, value = source.key, source.value
                if topic in layout.plan.repartitions:
                    repartitions[topic] = DescribedTopic(
                        key.name, value.name, count, key.shape, value.shape
                    )
                else:
                    inputs[topic] = DescribedTopic(key.name, value.name, count)
    stores = {
        spec.name: _described(layout, part, spec, fed_by, times_of(step.operator))
        for part in layout.plan.subtopologies
        for step, fed_by in meeting(part)
        for spec in step.stores
    }
    return Description(stores, repartitions, inputs)


def following(before: Description | None, layout: Layout) -> Description:
    """What a start with this layout runs with, after what ran before; topics' ids are to come."""
    known, now = before or Description({}, {}, {}), describe(layout)
    counts = {name: each.partitions for name, each in now.inputs.items()}
    changelogs = {layout.plan.changelog(name): each.partitions for name, each in now.stores.items()}
    ledger, former = _allocated(known, layout.slots, {**layout.partitions, **changelogs})
    return msgspec.structs.replace(
        now,
        epoch=known.epoch + (not is_alike(known, now)),
        began=counts | known.began,
        ledger=ledger,
        former=former,
        ids=known.ids,
    )


def ledger_places(description: Description) -> dict[str, tuple[tuple[int, ...], ...]]:
    """Topic → the ledger's partitions for each of its partitions, as `Settled` has them."""
    ledgers = (description.ledger, *description.former)
    topics = dict.fromkeys(chain.from_iterable(ledgers))
    return {
        topic: tuple(
            tuple(each[topic][number] for each in ledgers if number < len(each.get(topic, ())))
            for number in range(max(len(each.get(topic, ())) for each in ledgers))
        )
        for topic in topics
    }


def is_alike(one: Description, other: Description) -> bool:
    """Whether nodes that run by one and nodes that run by the other may share the work.

    If not, the one that has a slot would leave out of its stores what the other one keeps there.
    """
    return _core(one) == _core(other)


def stamp(description: Description | None) -> str:
    """What distinguishes a description from all others: whoever has another must not work on."""
    if description is None:
        return ""
    text = msgspec.json.encode(_core(description), order="deterministic")
    return f"{description.epoch}-{sha256(text).hexdigest()[:16]}" + "*" * description.resetting


def _core(description: Description) -> tuple[Any, ...]:
    """What nodes that share the work have to have in common; other times are as other code is."""
    stores = {
        name: msgspec.structs.replace(store, times="") for name, store in description.stores.items()
    }
    return stores, description.repartitions, description.inputs


def _allocated(
    known: Description, slots: int, partitions: Mapping[str, int]
) -> tuple[dict[str, tuple[int, ...]], tuple[dict[str, tuple[int, ...]], ...]]:
    """Topic → the ledger's partition for each of its partitions, and what that was before.

    Each slot writes into one of its own: entries can be read while transactions of other slots are
    open, and a transaction has no more partitions than it needs. Where partitions have come to
    other slots, all slots get new ones: of an old one nobody knows whose transactions are open.
    """
    before = known.ledger
    wanted = _placed(min(_numbers(before), default=0), slots, partitions)
    if all(wanted[topic] == before[topic] for topic in wanted.keys() & before.keys()):
        return {**before, **wanted}, known.former
    free = 1 + max(chain(_numbers(before), *map(_numbers, known.former)))
    return _placed(free, slots, partitions), (before, *known.former)


def _numbers(ledger: Mapping[str, tuple[int, ...]]) -> Iterator[int]:
    return chain.from_iterable(ledger.values())


def _placed(first: int, slots: int, partitions: Mapping[str, int]) -> dict[str, tuple[int, ...]]:
    placed = {topic: [0] * count for topic, count in partitions.items()}
    for slot in range(slots):
        for topic, partition in slot_partitions(slot, slots, partitions):
            placed[topic][partition] = first + slot
    return {topic: tuple(numbers) for topic, numbers in placed.items()}


def _described(
    layout: Layout, part: Subtopology, spec: StoreSpec[Any, Any], fed_by: list[str], times: str
) -> DescribedStore:
    key, value, topics = spec.key, spec.value, tuple(sorted(fed_by))
    count = layout.tasks_of(part)
    return DescribedStore(key.name, value.name, count, topics, key.shape, value.shape, times)


def compare(before: Description | None, layout: Layout, facts: Facts) -> list[Change]:
    """A verdict for each store and topic, of the layout or of what ran before.

    Args:
        before: What ran before; None: it is not known, as of an application that never was started,
            or by a version that left no description.
        layout: What shall run.
        facts: What Kafka reports.
    """
    after = describe(layout)
    known = Description({}, {}, {}) if before is None else before
    comparison = _Comparison(layout.plan.application, known, after, facts)
    return [*comparison.stores(), *comparison.repartitions(), *comparison.inputs()]


@dataclass(frozen=True, slots=True)
class _Comparison:
    application: str
    before: Description
    after: Description
    facts: Facts

    def stores(self) -> Iterator[Change]:
        for name, store in self.after.stores.items():
            yield Change("store", name, *self._store(name, store))
        for name in self.before.stores.keys() - self.after.stores.keys():
            yield Change("store", name, *self._gone_store(name))

    def repartitions(self) -> Iterator[Change]:
        for name, topic in self.after.repartitions.items():
            yield Change("repartition", name, *self._repartition(name, topic))
        for name in self.before.repartitions.keys() - self.after.repartitions.keys():
            yield Change("repartition", name, *self._gone_repartition(name))

    def inputs(self) -> Iterator[Change]:
        for name, topic in self.after.inputs.items():
            yield Change("input", name, *self._input(name, topic))
        for name in self.before.inputs.keys() - self.after.inputs.keys():
            yield Change("input", name, "drop", "it is not read any more; what it holds stays")

    def _changelog(self, store: str) -> str:
        return f"{self.application}-{store}-changelog"

    def _store(self, name: str, now: DescribedStore) -> tuple[Action, str]:  # noqa: PLR0911
        changelog, was = self._changelog(name), self.before.stores.get(name)
        count = self.facts.there.get(changelog)
        if count is None and was is None:
            return "new", "it begins empty"
        if count is None:
            return "refuse", (
                f"its changelog {changelog} is gone, and with it the state: restore the topic, or "
                f"{_reset(name)} to begin empty"
            )
        if count != now.partitions:
            moved = was is not None and was.fed_by != now.fed_by
            return "refuse", self._partitions(changelog, count, now.partitions, moved=moved)
        if was is not None and self._is_recreated(changelog):
            return "refuse", (
                f"its changelog {changelog} was deleted and created again, and what is in it now "
                f"is not the state: {_reset(name)} to begin empty"
            )
        held = self.facts.held.get(changelog, 0)
        if was is None:
            return "keep", "what it was written with is not known" if held else EMPTY
        if (was.key, was.value) != (now.key, now.value):
            return self._other_serdes(name, was, now, held)
        if held and (why := _lost(name, was, now)):
            return "refuse", why
        return _kept(was, now, held)

    def _other_serdes(
        self, name: str, was: DescribedStore, now: DescribedStore, held: int
    ) -> tuple[Action, str]:
        pairs = (("key", was.key, now.key), ("value", was.value, now.value))
        texts = [
            f"its {part} is {old} and would be {new}" for part, old, new in pairs if old != new
        ]
        differences = ", ".join(texts)
        if not held:
            return "migrate", f"{differences}; it is empty"
        return "refuse", (
            f"{differences}: what it holds could not be read. Go back to what wrote it, give the "
            f"store another name to start over beside it, or {_reset(name)} to begin empty"
            f"{_named_json(was, now)}"
        )

    def _gone_store(self, name: str) -> tuple[Action, str]:
        held = self.facts.held.get(self._changelog(name), 0)
        if not held:
            return "drop", "it is used no more, and empty"
        was = self.before.stores[name]
        alike = [
            each
            for each, now in self.after.stores.items()
            if each not in self.before.stores and (now.key, now.value) == (was.key, was.value)
        ]
        renamed = f" (as {alike[0]}?)" if len(alike) == 1 else ""
        return "refuse", (
            "the topology does not have it any more, but its changelog has about "
            f"{several(held, 'record')}. If it was renamed{renamed}, give it its name back with "
            f"name={name!r}; if it is to be given up, {_reset(name)}"
        )

    def _repartition(  # noqa: PLR0911 - a table
        self, name: str, now: DescribedTopic
    ) -> tuple[Action, str]:
        count, was = self.facts.there.get(name), self.before.repartitions.get(name)
        if count is None:
            return "new", "it is made"
        if count != now.partitions:
            return "refuse", self._partitions(name, count, now.partitions, moved=False)
        if was is not None and self._is_recreated(name):
            return "refuse", (
                "it was deleted and created again, and records in it may not have been worked on: "
                "kproc reset FILE.py to start over"
            )
        unread = self.facts.unread.get(name, 0)
        is_same = was is None or (was.key, was.value) == (now.key, now.value)
        if was is not None and is_same and unread and (found := _misfits(was, now)):
            return "refuse", (
                f"{_unread(unread)}, and can't be read: "
                f"{', '.join(found)}. Run the old topology with --until-end first, or give what "
                "is new a default"
            )
        if is_same:
            return (
                "keep",
                f"{several(unread, 'record')} to be worked on" if unread else "nothing is in it",
            )
        if not unread:
            return "migrate", "records are written otherwise from now on; nothing is in it"
        return "refuse", (
            f"{_unread(unread)}, and written with other serdes than the topology has now: "
            "run the old topology with --until-end first"
        )

    def _gone_repartition(self, name: str) -> tuple[Action, str]:
        unread = self.facts.unread.get(name, 0)
        if not unread:
            return "drop", "it is used no more, and nothing is in it"
        return "refuse", (
            f"the topology does not have it any more, but {_unread(unread)}: "
            "run the old topology with --until-end first, or give the step its name back"
        )

    def _input(self, name: str, now: DescribedTopic) -> tuple[Action, str]:
        was = self.before.inputs.get(name)
        if was is None:
            return "new", "it is read from where the setting start_from says, or the group is"
        if self._is_recreated(name):
            return "refuse", (
                "it was deleted and created again: how far it was read, and the state, stand for "
                "records that are gone. kproc reset FILE.py to start over with the records that "
                "there are now, or with --to"
            )
        if was.partitions != now.partitions:
            return (
                "migrate",
                f"it has {several(now.partitions, 'partition')}, and had {was.partitions}",
            )
        if (was.key, was.value) != (now.key, now.value):
            return "migrate", f"read as {now.key} → {now.value}, before as {was.key} → {was.value}"
        return "keep", "it is read on"

    def _is_recreated(self, topic: str) -> bool:
        """Whether the topic is not the one that there was, but for its name."""
        was, now = self.before.ids.get(topic), self.facts.ids.get(topic)
        return was is not None and now is not None and was != now

    def _partitions(self, topic: str, found: int, needed: int, *, moved: bool) -> str:
        moving = "other topics are upstream of the store now" if moved else "its input has grown"
        return (
            f"{topic} has {found} partitions, but {needed} are needed: {moving}, and keys are "
            f"where the old number put them. Put .repartition(partitions={found}) in front of the "
            "step, go back to what there was, or kproc reset the application to start over"
        )


def _kept(was: DescribedStore, now: DescribedStore, held: int) -> tuple[Action, str]:
    """How a store goes on whose contents can be read."""
    if was.fed_by != now.fed_by:
        fed_by = ", ".join(now.fed_by)
        return "migrate", f"it goes on with what it holds, from now on by records of {fed_by}"
    if held and was.times not in ("", now.times):
        return "migrate", (
            f"it is {now.times} now and was {was.times}: what it holds is from before, and "
            "records from now on are handled by the new times"
        )
    if held and (was.key_shape, was.value_shape) != (now.key_shape, now.value_shape):
        return "migrate", "its types have changed, and read what it holds"
    return "keep", f"about {several(held, 'record')} in its changelog" if held else EMPTY


def _unread(count: int) -> str:
    verb = "was" if count == 1 else "were"
    return f"{several(count, 'record')} in it {verb} not worked on"


def _misfits(was: DescribedTopic, now: DescribedTopic) -> list[str]:
    keys = key_misfits(was.key_shape, now.key_shape)
    return [*keys, *misfits(was.value_shape, now.value_shape)]


def _lost(name: str, was: DescribedStore, now: DescribedStore) -> str | None:
    """Why what a store holds could not be found, or read; None if it can."""
    if found := key_misfits(was.key_shape, now.key_shape):
        return f"{', '.join(found)}: {_other_keys(name)}"
    if found := misfits(was.value_shape, now.value_shape):
        return f"{', '.join(found)}: {_other_types(name)}"
    return None


def _other_keys(name: str) -> str:
    return (
        "what it holds could not be found. Go back to that type, give the store another name to "
        f"start over beside it, or {_reset(name)} to begin empty"
    )


def _other_types(name: str) -> str:
    return (
        "what it holds could not be read. Give new fields a default, go back to the types that "
        f"wrote it, give the store another name to start over beside it, or {_reset(name)} to "
        "begin empty"
    )


def _named_json(was: DescribedStore, now: DescribedStore) -> str:
    """What else there is for a store that was written as JSON."""
    own = [was.key.replace("json(", form) for form in ("internal-key(", "key-json(")]
    ways = (
        ("key", now.key in own, "json_of(TYPE, sort=True)"),
        ("value", was.value.replace("json(", "internal(") == now.value, "json_of(TYPE)"),
    )
    parts = [
        f"{part}=processor.serdes.{serde}"
        for part, is_form, serde in ways
        if is_form and getattr(was, part) != getattr(now, part)
    ]
    if not parts:
        return ""
    way = f"; {' and '.join(parts)} in the step reads it as JSON, as it was written"
    if not parts[0].startswith("key"):
        return way
    return f"{way}; a step without key= takes it from .repartition(key=...) before it"


def _reset(name: str) -> str:
    return f"kproc reset FILE.py --store {name}"
