"""What happens to stores and topics when a topology changes: one verdict each."""

from collections.abc import Callable
from dataclasses import make_dataclass, replace
from decimal import Decimal
from enum import Enum
from typing import Any

import msgspec
import pytest
from pydantic import BaseModel

from processor import Topology, tumbling
from processor.serdes import avro, json_of
from processor.topology.changes import (
    Change,
    DescribedStore,
    Description,
    Facts,
    compare,
    describe,
    following,
    is_alike,
    ledger_places,
    stamp,
)
from processor.topology.plan import Layout, lay_out, plan

Color = Enum("Color", {"RED": 1, "BLUE": 2})
Define = Callable[[Topology], Any]


def layout(define: Define, partitions: int = 2) -> Layout:
    topology = Topology("app")
    define(topology)
    made = plan(topology)
    return lay_out(made, dict.fromkeys(made.inputs, partitions))


def counts(topology: Topology, name: str = "counts", topic: str = "in", key: Any = str) -> None:
    topology.stream(topic, key=key).group_by_key().count(name=name).to("out")


def regrouped(topology: Topology, name: str = "by", value: Any = int) -> None:
    topology.stream("in", value=value).key_by(str, name=name).repartition(name=name).to("out")


def there(made: Layout) -> dict[str, int]:
    return {topic.name: topic.partitions for topic in made.internal_topics}


def verdicts(before: Layout, after: Layout, held: int = 5, unread: int = 0) -> dict[str, Change]:
    topics = there(before)
    facts = Facts(topics, dict.fromkeys(topics, held), dict.fromkeys(topics, unread))
    return {each.name: each for each in compare(describe(before), after, facts)}


COUNTS = layout(counts)


def test_the_same_again() -> None:
    found = verdicts(COUNTS, COUNTS)
    assert found["counts"] == ("store", "counts", "keep", "about 5 records in its changelog")
    assert found["in"] == ("input", "in", "keep", "it is read on")


def test_a_first_start() -> None:
    found = compare(None, COUNTS, Facts({}, {}, {}))
    assert [(each.name, each.action) for each in found] == [("counts", "new"), ("in", "new")]


def test_an_application_that_left_no_description() -> None:
    topics = there(COUNTS)
    found = compare(None, COUNTS, Facts(topics, dict.fromkeys(topics, 3), {}))
    assert found[0].action == "keep"
    assert "not known" in found[0].why


@pytest.mark.parametrize(("held", "action"), [(5, "refuse"), (0, "drop")])
def test_a_store_that_goes(held: int, action: str) -> None:
    found = verdicts(COUNTS, layout(lambda t: t.stream("in").to("out")), held)
    assert found["counts"].action == action


def test_a_store_that_was_renamed() -> None:
    found = verdicts(COUNTS, layout(lambda t: counts(t, "totals")))
    assert found["totals"].action == "new"
    assert found["counts"].why == (
        "the topology does not have it any more, but its changelog has about 5 records. If it was "
        "renamed (as totals?), give it its name back with name='counts'; if it is to be given up, "
        "kproc reset FILE.py --store counts"
    )


@pytest.mark.parametrize(("held", "action"), [(5, "refuse"), (0, "migrate")])
def test_other_serdes(held: int, action: str) -> None:
    found = verdicts(COUNTS, layout(lambda t: counts(t, key=int)), held)["counts"]
    assert found.action == action
    assert "its key is text and would be int64" in found.why


def test_other_partitions() -> None:
    found = verdicts(COUNTS, layout(counts, 3))["counts"]
    assert found.action == "refuse"
    assert "has 2 partitions, but 3 are needed: its input has grown" in found.why
    moved = verdicts(COUNTS, layout(lambda t: counts(t, topic="other"), 3))["counts"]
    assert "other topics are upstream of the store now" in moved.why


def test_a_store_downstream_of_another_topic() -> None:
    found = verdicts(COUNTS, layout(lambda t: counts(t, topic="other")))
    assert found["counts"].action == "migrate"
    assert "by records of other" in found["counts"].why
    assert found["in"].action == "drop"
    assert found["other"].action == "new"


def windowed(size: str, grace: str | int = 0) -> Layout:
    def define(topology: Topology) -> None:
        windows = tumbling(size, grace=grace)
        topology.stream("in").group_by_key().window(windows).count(name="counts").to("out")

    return layout(define)


def joined(within: str) -> Layout:
    def define(topology: Topology) -> None:
        other = topology.stream("other")
        topology.stream("in").join(other, lambda one, _: one, within=within, name="pairs").to("out")

    return layout(define)


@pytest.mark.parametrize(
    ("before", "after", "was", "now"),
    [
        (windowed("1h"), windowed("5m"), "tumbling 1h", "tumbling 5m"),
        (windowed("1h"), windowed("1h", "5m"), "tumbling 1h", "tumbling 1h, grace 5m"),
        (joined("10s"), joined("1m"), "within 10s", "within 1m"),
    ],
)
def test_a_window_or_interval_that_has_changed(
    before: Layout, after: Layout, was: str, now: str
) -> None:
    stores = [each for each in verdicts(before, after).values() if each.what == "store"]
    assert stores
    for change in stores:
        assert change.action == "migrate"
        assert change.why.startswith(f"it is {now} now and was {was}: ")
    empty = [each for each in verdicts(before, after, held=0).values() if each.what == "store"]
    assert {each.action for each in empty} == {"keep"}
    # Such a change can be rolled out node by node, as other code can.
    assert is_alike(describe(before), describe(after))
    assert stamp(describe(before)) == stamp(describe(after))


def test_times_of_a_description_of_before_they_were_kept_are_not_known() -> None:
    before, after = describe(windowed("1h")), windowed("5m")
    stores = {"counts": msgspec.structs.replace(before.stores["counts"], times="")}
    topics = there(after)
    facts = Facts(topics, dict.fromkeys(topics, 5), {})
    found = compare(msgspec.structs.replace(before, stores=stores), after, facts)
    assert [each.action for each in found if each.what == "store"] == ["keep"]


def test_a_changelog_that_is_gone() -> None:
    (store, _) = compare(describe(COUNTS), COUNTS, Facts({}, {}, {}))
    assert store.action == "refuse"
    assert "app-counts-changelog is gone" in store.why


BY = layout(regrouped)
TOPIC = "app-by-repartition"


@pytest.mark.parametrize(("unread", "action"), [(0, "drop"), (7, "refuse")])
def test_a_repartition_topic_that_goes(unread: int, action: str) -> None:
    found = verdicts(BY, layout(lambda t: regrouped(t, "other")), unread=unread)
    assert found[TOPIC].action == action
    assert found["app-other-repartition"].action == "new"


@pytest.mark.parametrize(("unread", "action"), [(0, "migrate"), (7, "refuse")])
def test_a_repartition_topic_with_other_serdes(unread: int, action: str) -> None:
    found = verdicts(BY, layout(lambda t: regrouped(t, value=str)), unread=unread)
    assert found[TOPIC].action == action
    assert found["in"].action == "migrate"


def test_a_repartition_topic_with_records_to_be_read_is_kept() -> None:
    assert verdicts(BY, BY, unread=7)[TOPIC].why == "7 records to be worked on"


def test_an_input_that_grows_where_no_state_hangs_on_it() -> None:
    narrow, wide = (layout(lambda t: t.stream("in").to("out"), partitions) for partitions in (2, 3))
    assert verdicts(narrow, wide)["in"].why == "it has 3 partitions, and had 2"


def test_a_description_survives_the_topic() -> None:
    for made in (COUNTS, BY):
        data = msgspec.json.encode(describe(made))
        assert msgspec.json.decode(data, type=Description) == describe(made)


def summed(value: type[Any], serde: Any = None) -> Layout:
    def define(topology: Topology) -> None:
        grouped = topology.stream("in", value=value).group_by("user", name="by")
        grouped.reduce(lambda _, new: new, name="last", value=serde)

    return layout(define)


def order(*fields: Any, name: str = "Order") -> Any:
    return make_dataclass(name, [("user", str), *fields])


@pytest.mark.parametrize(
    ("after", "why"),
    [
        (
            [("amount", int), ("currency", str)],
            "Order has a field currency more, without a default",
        ),
        ([("amount", str)], "Order.amount is int and would be str"),
        ([("amount", Color)], "Order.amount is int and would be Color"),
    ],
)
def test_a_type_that_could_not_read_what_the_store_holds(after: list[Any], why: str) -> None:
    before, changed = summed(order(("amount", int))), summed(order(*after))
    found = verdicts(before, changed)["last"]
    assert found.action == "refuse"
    assert found.why.startswith(f"{why}: what it holds could not be read. Give new fields")
    assert "kproc reset FILE.py --store last" in found.why
    topic = "app-by-repartition"
    assert verdicts(before, changed)[topic].action == "keep"
    unread = verdicts(before, changed, unread=2)[topic]
    assert unread.action == "refuse"
    assert why in unread.why
    assert verdicts(before, changed, held=0)["last"].action == "keep"


@pytest.mark.parametrize(
    "after",
    [
        [("amount", int), ("currency", str, "EUR")],
        [("amount", int | None)],
        [("amount", float)],
        [("amount", int | str)],
        [],
    ],
)
def test_a_type_that_reads_what_the_store_holds(after: list[Any]) -> None:
    found = verdicts(summed(order(("amount", int))), summed(order(*after)))["last"]
    assert (found.action, found.why) == (
        "migrate",
        "its types have changed, and read what it holds",
    )


def test_types_in_types_are_compared() -> None:
    before = summed(order(("inner", order(("a", int), name="Inner"))))
    after = summed(order(("inner", order(("a", int), ("b", int), name="Inner"))))
    assert "Inner has a field b more" in verdicts(before, after)["last"].why
    less = Enum("Color", {"RED": 1})
    found = verdicts(summed(order(("color", Color))), summed(order(("color", less))))["last"]
    assert "Color has no BLUE any more" in found.why


def test_state_that_was_written_as_json_is_refused_with_the_way_out() -> None:
    model = order(("amount", int))
    before, after = summed(model, json_of(model)), summed(model)
    why = verdicts(before, after)["last"].why
    assert "its value is stamped(json(Order)) and would be stamped(internal(Order))" in why
    assert "value=processor.serdes.json_of(TYPE) in the step reads it as JSON" in why


def by_place(*fields: Any) -> Layout:
    return layout(lambda topology: counts(topology, key=place(*fields)))


def place(*fields: Any) -> Any:
    return make_dataclass("Place", [("city", str), *fields], frozen=True)


@pytest.mark.parametrize(
    "after",
    [by_place(("zip", str, "")), by_place(("zip", str)), by_place(("height", str))],
)
def test_keys_that_would_have_other_bytes_are_refused(after: Layout) -> None:
    found = verdicts(by_place(("height", int)), after)["counts"]
    assert found.action == "refuse"
    assert "Place, of which keys are made, has other fields: city: str, height: int" in found.why
    assert "what it holds could not be found" in found.why
    assert "kproc reset FILE.py --store counts" in found.why
    assert verdicts(by_place(), after, held=0)["counts"].action == "keep"


def test_keys_with_the_same_bytes_are_kept() -> None:
    more = Enum("Color", {"RED": 1, "BLUE": 2, "GREEN": 3})
    before, after = by_place(("color", Color)), by_place(("color", more))
    assert verdicts(before, after)["counts"].action == "migrate"
    assert verdicts(after, before)["counts"].action == "refuse"
    assert verdicts(by_place(("height", int)), by_place(("height", int, 5)))["counts"].action in {
        "keep",
        "migrate",
    }


class Checked(BaseModel, frozen=True):
    city: str


def test_keys_of_models_that_were_written_as_json_are_refused_with_the_way_out() -> None:
    def as_before(topology: Topology) -> None:
        stream = topology.stream("in", key=Checked)
        stream.to_table(name="counts", key=json_of(Checked, sort=True))

    def now(topology: Topology) -> None:
        topology.stream("in", key=Checked).to_table(name="counts")

    why = verdicts(layout(as_before), layout(now))["counts"].why
    assert "its key is json(Checked) and would be internal-key(Checked)" in why
    assert "key=processor.serdes.json_of(TYPE, sort=True) in the step reads it as JSON" in why
    assert verdicts(layout(as_before), layout(as_before))["counts"].action == "keep"


def test_keys_that_equal_ones_did_not_meet_as_json_are_refused_with_the_way_out() -> None:
    def table(topology: Topology, key: Any) -> None:
        topology.stream("in", key=Decimal).to_table(name="counts", key=key)

    own = json_of(Decimal, sort=True)
    before, now = (layout(lambda t, key=key: table(t, key)) for key in (own, None))
    why = verdicts(before, now)["counts"].why
    assert "its key is json(Decimal) and would be key-json(Decimal)" in why
    assert "key=processor.serdes.json_of(TYPE, sort=True) in the step reads it as JSON" in why


def test_counts_take_the_keys_that_were_written_as_json_from_a_repartition() -> None:
    def grouped(topology: Topology, **more: Any) -> None:
        keyed = topology.stream("in", key=Checked).repartition(name="r", **more)
        keyed.group_by_key().count(name="counts").to("out")
        keyed.group_by_key().window(tumbling("1m")).count(name="windows").to("other")

    before, now = (
        layout(lambda t, more=more: grouped(t, **more))
        for more in ({"key": json_of(Checked, sort=True)}, {})
    )
    found = verdicts(before, now)
    for name in ("counts", "windows"):
        assert found[name].action == "refuse"
        assert (
            "a step without key= takes it from .repartition(key=...) before it" in found[name].why
        )
    assert {each.action for each in verdicts(before, before).values()} == {"keep"}


def test_keys_of_windows_that_equal_ones_did_not_meet_as_json_are_refused() -> None:
    def windows(topology: Topology, key: Any) -> None:
        stream = topology.stream("in", key=key).group_by_key().window(tumbling("1m"))
        stream.count(name="w").to_stream().to_table(name="results")

    found = {key: describe(layout(lambda t, key=key: windows(t, key))) for key in (str, Decimal)}
    names = [found[key].stores["results"].key for key in (str, Decimal)]
    assert names == ["windowed-json(json(str))", "windowed-json(key-json(Decimal))"]
    old = found[Decimal]
    store = msgspec.structs.replace(old.stores["results"], key="windowed-json(json(Decimal))")
    before = msgspec.structs.replace(old, stores={**old.stores, "results": store})
    made = layout(lambda t: windows(t, Decimal))
    topics = there(made)
    facts = Facts(topics, dict.fromkeys(topics, 5), dict.fromkeys(topics, 0))
    changes = {each.name: each for each in compare(before, made, facts)}
    assert changes["results"].action == "refuse"
    assert "its key is windowed-json(json(Decimal))" in changes["results"].why


def test_keys_of_avro_that_equal_ones_did_not_meet_are_refused() -> None:
    schema = {"type": "record", "name": "Place", "fields": [{"name": "lat", "type": "double"}]}
    made = layout(lambda t: counts(t, key=avro(schema)))
    old = describe(made)
    name = old.stores["counts"].key
    assert name.startswith("key-avro(Place")
    store = msgspec.structs.replace(old.stores["counts"], key=name.removeprefix("key-"))
    before = msgspec.structs.replace(old, stores={"counts": store})
    topics = there(made)
    facts = Facts(topics, dict.fromkeys(topics, 5), dict.fromkeys(topics, 0))
    (change,) = (each for each in compare(before, made, facts) if each.name == "counts")
    assert change.action == "refuse"
    assert layout_key(avro({**schema, "fields": [{"name": "n", "type": "int"}]})) == "avro(Place"


def layout_key(key: Any) -> str:
    return describe(layout(lambda t: counts(t, key=key))).stores["counts"].key.partition(",")[0]


def test_a_description_of_before_shapes_were_kept() -> None:
    data = b'{"key":"text","value":"stamped(json(Order))","partitions":2,"fed_by":["in"]}'
    assert msgspec.json.decode(data, type=DescribedStore).value_shape == {}


def test_each_slot_has_one_partition_of_the_ledger() -> None:
    two = replace(layout(counts, partitions=5), slots=2)
    first = following(None, two)
    places = (0, 0, 0, 1, 1)
    assert first.ledger == {"in": places, "app-counts-changelog": places}
    assert (first.former, following(first, two)) == ((), first)


def test_what_comes_to_an_application_is_written_where_the_slot_writes() -> None:
    both = layout(lambda t: [counts(t), counts(t, "more", "other")], partitions=2)
    before = following(None, replace(layout(counts), slots=2))
    after = following(before, replace(both, slots=2))
    assert after.former == ()
    assert {*after.ledger.values()} == {(0, 1)}


@pytest.mark.parametrize(("partitions", "slots"), [(4, 1), (4, 3), (5, 2)])
def test_other_slots_write_elsewhere_and_read_what_was_written_before(
    partitions: int, slots: int
) -> None:
    before = following(None, replace(layout(counts, partitions=4), slots=2))
    after = following(before, replace(layout(counts, partitions=partitions), slots=slots))
    assert after.former == (before.ledger,)
    assert min(after.ledger["in"]) == 2
    places = ledger_places(after)["in"]
    assert [each[1:] for each in places] == [(0,), (0,), (1,), (1,), ()][:partitions]
    again = following(after, replace(layout(counts, partitions=4), slots=2))
    assert again.former == (after.ledger, before.ledger)
    assert min(again.ledger["in"]) > max(after.ledger["in"])
