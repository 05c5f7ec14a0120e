"""Records of many schemas, known and not, in any batches: as if all schemas had been known."""

from collections import Counter
from typing import Any, NamedTuple

from hypothesis import given, settings
from hypothesis import strategies as st

from processor import SchemaRegistry, Topology, avro
from processor.serdes.avro.schema import read_schema
from processor.serdes.registry import SchemaText, prefix
from processor.testing import TopologyDriver
from tests.suites import examples


def schema(*more: dict[str, Any], kind: str = "int") -> dict[str, Any]:
    fields = [{"name": "amount", "type": kind}, *more]
    return {"type": "record", "name": "Order", "fields": fields}


NOTE = {"name": "note", "type": ["null", "string"], "default": None}
OWN = schema(NOTE, kind="long")
WRITERS = [schema(), schema(kind="long"), schema({"name": "gone", "type": "string"}), OWN]
EXTRA: list[dict[str, Any]] = [{}, {}, {"gone": "x"}, {"note": "n"}]
UNREADABLE = schema(kind="string")


class Written(NamedTuple):
    """A record: its key, the schema it has (the last two: unreadable, unknown), its amount."""

    key: str
    writer: int
    amount: int


WRITTEN = st.builds(Written, st.sampled_from("abc"), st.integers(0, 5), st.integers(0, 99))
STEPS = st.lists(
    st.one_of(
        st.lists(WRITTEN, min_size=1, max_size=6), st.sampled_from(["commit", "crash", "forget"])
    ),
    max_size=12,
)


def topology(registry: SchemaRegistry) -> Topology:
    made = Topology("orders")
    serde = avro(OWN, registry=registry)
    orders = made.stream("orders", value=serde)
    orders.to("copies")
    orders.group_by_key().aggregate(int, lambda total, order: total + order["amount"], name="sums")
    return made


def encoded(driver: TopologyDriver, record: Written) -> bytes:
    if record.writer > len(WRITERS):
        return prefix(record.amount) + b"\x02"
    if record.writer == len(WRITERS):
        form, value = UNREADABLE, {"amount": "1"}
    else:
        form = WRITERS[record.writer]
        value = {"amount": record.amount, **EXTRA[record.writer]}
    text = SchemaText("AVRO", read_schema(form).text)
    known = driver.registry.register("orders-value", text).id
    return prefix(known) + avro(form).encode(value)


@settings(max_examples=examples(30, 2_000), deadline=None)
@given(STEPS)
def test_as_if_all_schemas_had_been_known(steps: list[Any]) -> None:
    registry = SchemaRegistry(auto_register=True)
    driver = TopologyDriver(topology(registry), auto_checkpoint=False)
    good: list[Written] = []
    bad = 0
    for step in steps:
        if step == "commit":
            driver.checkpoint()
        elif step == "crash":
            driver.restart()  # what is uncommitted comes again, all in one batch
        elif step == "forget":
            registry.answers.clear()
            registry.absent.clear()
        else:
            for each in step:
                data, time = encoded(driver, each), len(good)
                driver.pipe_bytes("orders", key=each.key.encode(), value=data, timestamp=time)
                bad += each.writer >= len(WRITERS)
                good += [each] if each.writer < len(WRITERS) else []
    driver.checkpoint()
    sums: Counter[str] = Counter()
    for each in good:
        sums[each.key] += each.amount
    assert driver.store("sums") == sums
    copies = driver.read_records("copies")
    assert [record.value["amount"] for record in copies] == [each.amount for each in good]
    assert len(driver.dead_letters()) == bad
