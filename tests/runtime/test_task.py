"""A batch goes through as its records would one at a time, whichever of them are bad."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from processor import Topology, every, key_value
from processor.errors import BadRecordError
from processor.operators.process import ProcessContext
from processor.records import (
    Policy,
    Record,
    Timestamp,
)
from processor.testing import TopologyDriver

AnyRecord = Record[Any, Any]
COUNTS = key_value("counts", key=str, value=int)


def letters(driver: TopologyDriver) -> list[dict[str, str]]:
    """The headers of the dead letters that say why."""
    return [
        {name.removeprefix("kproc."): (data or b"").decode() for name, data in letter.headers}
        for letter in driver.dead_letters()
    ]


def where(driver: TopologyDriver) -> list[tuple[int, str, str]]:
    return [(int(each["offset"]), each["step"], each["reason"]) for each in letters(driver)]


def pipe(driver: TopologyDriver, *values: Any, key: str = "k") -> None:
    driver.pipe("in", *(Record(key, value, Timestamp(time)) for time, value in enumerate(values)))


def refuse(*refused: Any) -> Any:
    def function(value: Any) -> Any:
        if value in refused:
            raise ValueError(f"no {value}")
        return value

    return function


def test_a_record_behind_a_bad_one_is_not_blamed_for_what_that_one_did() -> None:
    # 1 is counted and refused behind the count. In one batch 2 comes as the second, and would be
    # refused as well; one at a time it is the first.
    topology = Topology("app")
    counted = (
        topology.stream("in")
        .group_by_key()
        .aggregate(
            dict,
            lambda so_far, value: {"n": so_far.get("n", 0) + 1, "last": value},
            name="counts",
            emit="change",
        )
    )
    counted.to_stream().map_values(
        refuse({"n": 1, "last": 1}, {"n": 2, "last": 2}), name="check"
    ).to("out")
    driver = TopologyDriver(topology)
    pipe(driver, 1, 2)
    assert driver.read("out") == [("k", {"n": 1, "last": 2})]
    assert where(driver) == [(0, "check", "function")]
    assert driver.store("counts") == {"k": {"n": 1, "last": 2}}


def test_a_bad_record_is_out_of_the_way_wherever_it_stands() -> None:
    for bad in range(7):
        topology = Topology("app")
        sums = topology.stream("in").group_by_key().reduce(lambda a, b: a + b, name="sum")
        sums.to("out")
        driver = TopologyDriver(topology)
        values = [10**number for number in range(7)]
        pipe(driver, *values[:bad], "text", *values[bad + 1 :])
        if bad == 0:  # what comes first is the start, and then nothing can be added to it
            assert len(where(driver)) == 6
        else:
            assert where(driver) == [(bad, "sum", "function")]
            assert driver.store("sum") == {"k": 1111111 - 10**bad}


def test_of_several_failures_of_one_record_the_first_counts() -> None:
    topology = Topology("app")
    stream = topology.stream("in")
    stream.map_values(refuse(1), name="first").to("out")
    stream.map_values(refuse(1, 2), name="second").to("out")
    driver = TopologyDriver(topology)
    pipe(driver, 1, 2, 3)
    assert where(driver) == [(0, "first", "function"), (1, "second", "function")]
    assert driver.bad_records == {("first", "function"): 1, ("second", "function"): 1}
    assert driver.read("out") == [("k", 3), ("k", 3)]


def test_an_aggregate_that_can_not_be_kept_names_its_record() -> None:
    topology = Topology("app")
    topology.stream("in").group_by_key().aggregate(
        lambda: 0, lambda so_far, value: object() if value == 3 else so_far + value, name="sum"
    )
    driver = TopologyDriver(topology)
    pipe(driver, 1, 2, 3, 4)
    ((letter),) = letters(driver)
    assert (letter["offset"], letter["step"], letter["reason"]) == ("2", "sum", "state")
    assert "object can't be kept" in letter["error"]
    assert driver.store("sum") == {"k": 7}


def test_a_bad_record_lets_no_time_pass() -> None:
    topology = Topology("app")
    topology.stream("in").process(
        lambda record, context: [
            record._replace(value=(refuse(1)(record.value), context.stream_time))
        ],
        name="time",
    ).to("out")
    driver = TopologyDriver(topology)
    records = [(0, 5), (1, 99), (2, 7)]
    driver.pipe("in", *(Record("k", value, Timestamp(time)) for value, time in records))
    assert driver.read("out") == [("k", [0, 5]), ("k", [2, 7])]


def punctuated(function: Any) -> TopologyDriver:
    """Every 10 ms of stream time a punctuation; what it returns is refused if it is "bad"."""

    def count(record: AnyRecord, context: ProcessContext) -> list[AnyRecord]:
        store = context.store(COUNTS)
        store.put("records", (store.get("records") or 0) + 1)
        return [record]

    topology = Topology("app")
    topology.stream("in").process(
        count, stores=[COUNTS], punctuators=[every("10ms", function)], name="step"
    ).map_values(refuse("bad"), name="check").to("out")
    return TopologyDriver(topology)


def at(driver: TopologyDriver, *times: int, value: Any = None) -> None:
    driver.pipe("in", *(Record("k", value or time, Timestamp(time)) for time in times))


def test_a_punctuation_that_fails_is_counted_and_leaves_no_trace() -> None:
    def fails(time: Timestamp, context: ProcessContext) -> Iterator[AnyRecord]:
        context.store(COUNTS).put("touched", time)
        yield Record("k", "first", time)
        if time == 20:
            raise ValueError("no")

    driver = punctuated(fails)
    at(driver, 5, 12, 25, 38)
    assert driver.read("out") == [
        ("k", 5),
        ("k", "first"),
        ("k", 12),
        ("k", 25),
        ("k", "first"),
        ("k", 38),
    ]
    assert driver.bad_records == {("step", "punctuation"): 1}
    assert driver.dead_letters() == []
    assert driver.store("counts") == {"records": 4, "touched": 30}


def test_a_punctuation_whose_outputs_fail_is_not_blamed_on_the_record_that_brought_it() -> None:
    driver = punctuated(lambda time, _: [Record("k", "bad" if time == 10 else "good", time)])
    at(driver, 5, 12, 13, 25)
    assert driver.read("out") == [("k", 5), ("k", 12), ("k", 13), ("k", "good"), ("k", 25)]
    assert driver.bad_records == {("step", "punctuation"): 1}
    assert driver.dead_letters() == []


def test_a_bad_record_brings_no_punctuation() -> None:
    driver = punctuated(lambda time, _: [Record("k", "tick", time)])
    at(driver, 5)
    at(driver, 12, value="bad")
    at(driver, 13)
    assert driver.read("out") == [("k", 5), ("k", "tick"), ("k", 13)]
    assert driver.bad_records == {("check", "function"): 1}
    assert where(driver) == [(1, "check", "function")]


def test_a_failing_punctuation_of_a_bad_record_is_counted_when_it_comes_with_a_good_one() -> None:
    def fails(time: Timestamp, context: ProcessContext) -> None:
        raise ValueError("no")

    driver = punctuated(fails)
    at(driver, 5)
    at(driver, 12, value="bad")
    assert driver.bad_records == {("check", "function"): 1}
    at(driver, 13)
    assert driver.bad_records == {("check", "function"): 1, ("step", "punctuation"): 1}


def test_a_failing_punctuation_does_not_take_the_others_with_it() -> None:
    def first(time: Timestamp, context: ProcessContext) -> None:
        context.store(COUNTS).put("spoilt", 1)
        raise ValueError("no")

    def second(time: Timestamp, context: ProcessContext) -> list[AnyRecord]:
        if "spoilt" in context.store(COUNTS):
            raise ValueError("it is spoilt")
        return [Record("k", "fine", time)]

    for clock in ("stream", "wall"):
        topology = Topology("app")
        topology.stream("in").process(
            lambda r, _: [r],
            stores=[COUNTS],
            punctuators=[every("10ms", first, clock=clock), every("10ms", second, clock=clock)],
            name="step",
        ).to("out")
        driver = TopologyDriver(topology)
        at(driver, 5, 12)
        driver.advance("12ms")
        assert ("k", "fine") in driver.read("out")
        assert driver.bad_records == {("step", "punctuation"): 1}


def test_outputs_of_the_wall_clock_that_fail_are_dead_letters_of_the_step() -> None:
    topology = Topology("app")
    topology.stream("in").process(
        lambda r, _: [r],
        punctuators=[
            every(
                "10ms",
                lambda time, _: [Record("k", value, time) for value in ("a", "bad", {"c": 1})],
                clock="wall",
            )
        ],
        name="step",
    ).map_values(refuse("bad"), name="check").to("out")
    driver = TopologyDriver(topology)
    driver.advance("12ms")
    assert driver.read("out") == [("k", "a"), ("k", {"c": 1})]
    (letter,) = driver.dead_letters()
    assert (letter.key, letter.value, letter.timestamp) == (b"k", b"bad", 10)
    headers = dict(letter.headers)
    assert (headers["kproc.topic"], headers["kproc.offset"]) == (b"step", b"1")


def test_a_change_of_a_table_that_fails_is_a_dead_letter_of_the_table() -> None:
    topology = Topology("app")
    table = topology.table("in", name="table")
    table.to_stream().map_values(refuse([2]), name="check").to("out")
    driver = TopologyDriver(topology)
    driver.pipe("in", *(Record(f"k{n}", [n], Timestamp(n)) for n in range(4)))
    assert driver.read("out") == [("k0", [0]), ("k1", [1]), ("k3", [3])]
    (letter,) = driver.dead_letters()
    assert (letter.key, letter.value, letter.timestamp) == (b"k2", b"[2]", 2)
    assert dict(letter.headers)["kproc.topic"] == b"table"
    assert driver.store("table")["k2"] == [2]


@pytest.mark.parametrize("policy", ["fail", "skip", "dead-letter"])
def test_policies(policy: Policy) -> None:
    topology = Topology("app")
    topology.stream("in").map_values(refuse(2), name="check").to("out")
    driver = TopologyDriver(topology, on_bad_record=policy)
    if policy == "fail":
        with pytest.raises(BadRecordError, match=r"in\[0\] offset 1: ValueError: no 2 \(in check"):
            pipe(driver, 1, 2, 3)
        assert driver.read("out") == []
        return
    pipe(driver, 1, 2, 3)
    assert driver.read("out") == [("k", 1), ("k", 3)]
    assert driver.bad_records == {("check", "function"): 1}
    assert len(driver.dead_letters()) == (policy == "dead-letter")


def test_a_source_may_have_a_policy_of_its_own() -> None:
    topology = Topology("app")
    topology.stream("in", on_bad_record="skip").map_values(refuse(2), name="check").to("out")
    driver = TopologyDriver(topology, on_bad_record="fail")
    pipe(driver, 1, 2, 3)
    assert driver.read("out") == [("k", 1), ("k", 3)]


def test_many_bad_records_do_not_make_the_work_many_times_longer() -> None:
    # State is met in each half again, rows that fail before any state are left out at once.
    calls: Counter[int] = Counter()

    def checked(value: int) -> int:
        calls[value] += 1
        return refuse(*range(0, 1000, 10))(value)

    topology = Topology("app")
    topology.stream("in").map_values(checked, name="check").group_by_key().count(name="count")
    driver = TopologyDriver(topology)
    pipe(driver, *range(1000))
    assert driver.store("count") == {"k": 900}
    assert max(calls.values()) == 2


def test_functions_that_change_values_in_place_see_each_value_as_it_was_read() -> None:
    def grow(value: dict[str, int]) -> dict[str, int]:
        value["n"] += 1
        return value

    topology = Topology("app")
    topology.stream("in").map_values(grow).map_values(refuse({"n": 2}), name="check").to("out")
    driver = TopologyDriver(topology)
    pipe(driver, {"n": 0}, {"n": 1}, {"n": 5})
    assert driver.read("out") == [("k", {"n": 1}), ("k", {"n": 6})]
    (letter,) = driver.dead_letters()
    assert letter.value == b'{"n":1}'
