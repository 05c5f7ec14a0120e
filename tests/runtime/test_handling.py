"""What happens to a record that fails in a step with a policy or a handler of its own."""

import re
from pathlib import Path
from typing import Any

import pytest

from processor import Record, Stream, Timestamp, Topology, every, tumbling
from processor.errors import BadRecordError, TopologyError
from processor.testing import TopologyDriver
from processor.topology.graph import OnBadRecord

AnyRecord = Record[Any, Any]


def invert(value: int) -> float:
    return 1 / value


def twice(value: Any) -> list[Any]:
    return [value, value]


def driver_of(on_bad_record: OnBadRecord, policy: Any = "dead-letter") -> TopologyDriver:
    topology = Topology("app")
    topology.stream("in").on_bad_record(on_bad_record).map_values(invert, name="invert").to("out")
    return TopologyDriver(topology, on_bad_record=policy)


def headers(driver: TopologyDriver, name: str) -> list[str]:
    letters = driver.dead_letters()
    return [(dict(each.headers)[f"kproc.{name}"] or b"").decode() for each in letters]


def pipe(driver: TopologyDriver, *values: Any) -> None:
    driver.pipe("in", *(Record("k", value, time) for time, value in enumerate(values, 1)))


@pytest.mark.parametrize("setting", ["fail", "skip", "dead-letter"])
def test_the_policy_of_the_step_goes_before_the_setting(setting: Any) -> None:
    driver = driver_of("dead-letter", setting)
    pipe(driver, 0, 2)
    assert driver.read("out") == [("k", 0.5)]
    assert len(driver.dead_letters()) == 1
    driver = driver_of("skip", setting)
    pipe(driver, 0, 2)
    assert driver.dead_letters() == []
    assert driver.bad_records == {("invert", "function"): 1}
    driver = driver_of("fail", setting)
    with pytest.raises(BadRecordError, match='on_bad_record of invert to "dead-letter" or "skip"'):
        pipe(driver, 0, 2)


def test_the_policy_of_the_step_goes_before_that_of_the_source() -> None:
    topology = Topology("app")
    stream = topology.stream("in", on_bad_record="skip")
    stream.map_values(invert).to("out")
    stream.on_bad_record("dead-letter").filter(lambda value: 1 / (value - 1)).to("other")
    driver = TopologyDriver(topology, on_bad_record="fail")
    pipe(driver, 0, 1, 3)
    assert driver.read("out") == [("k", 1 / 3)]
    assert [letter.value for letter in driver.dead_letters()] == [b"1"]


def test_a_handler_decides_by_error_and_record() -> None:
    asked: list[tuple[str, AnyRecord]] = []

    def decide(error: Exception, record: AnyRecord) -> Any:
        asked.append((type(error).__name__, record))
        return "skip" if isinstance(error, ZeroDivisionError) else None

    driver = driver_of(decide)
    pipe(driver, 0, "text", 4)
    assert driver.read("out") == [("k", 0.25)]
    assert [letter.value for letter in driver.dead_letters()] == [b'"text"']
    assert asked[0] == ("ZeroDivisionError", Record("k", 0, 1))
    assert asked[1] == ("TypeError", Record("k", "text", 2))


def test_a_record_takes_the_place_of_the_one_that_failed() -> None:
    topology = Topology("app")
    stream: Stream[str, Any] = topology.stream("in").flat_map_values(twice)
    fixed = stream.on_bad_record(lambda error, record: record._replace(value=type(error).__name__))
    fixed.map_values(invert).to("out")
    driver = TopologyDriver(topology)
    pipe(driver, 1, 0, 2)
    values = [value for _, value in driver.read("out")]
    assert values == [1.0, 1.0, "ZeroDivisionError", "ZeroDivisionError", 0.5, 0.5]
    assert driver.bad_records == {}


def test_downstream_of_a_split_it_goes_to_the_rest() -> None:
    topology = Topology("app")
    stream = topology.stream("in").on_bad_record(lambda _, record: record)
    small, rest = stream.split(small=lambda value: value < 10).values()
    small.to("small")
    rest.to("rest")
    driver = TopologyDriver(topology)
    pipe(driver, 5, "text", 50)
    assert driver.read("small") == [("k", 5)]
    assert driver.read("rest") == [("k", "text"), ("k", 50)]


def test_at_a_sink_it_is_written_instead() -> None:
    topology = Topology("app")
    stream = topology.stream("in").flat_map_values(lambda value: [value, object(), value])
    stream.on_bad_record(lambda _, record: record._replace(value="no JSON")).to("out")
    driver = TopologyDriver(topology)
    pipe(driver, 1)
    assert [value for _, value in driver.read("out")] == [1, "no JSON", 1]
    again = Topology("app")
    stream = again.stream("in").map_values(lambda value: object())
    stream.on_bad_record(lambda _, record: record).to("out")
    driver = TopologyDriver(again)
    pipe(driver, 1)
    assert headers(driver, "reason") == ["serialize"]


def add(so_far: int, value: Any) -> int:
    return so_far + value


@pytest.mark.parametrize(
    ("answer", "letters"), [("skip", 0), ("dead-letter", 1), (None, 1), (Record("k", 1, 1), 1)]
)
def test_a_step_with_state_is_undone(answer: Any, letters: int) -> None:
    topology = Topology("app")
    stream = topology.stream("in").on_bad_record(lambda _, record: answer)
    stream.group_by_key().aggregate(int, add, name="sums").to("out")
    driver = TopologyDriver(topology)
    pipe(driver, 1, "text", 2)
    driver.checkpoint()
    assert driver.store("sums") == {"k": 3}
    assert len(driver.dead_letters()) == letters
    assert driver.bad_records == {("sums", "function"): 1}


def test_what_a_store_can_not_take() -> None:
    topology = Topology("app")
    stream = topology.stream("in").on_bad_record("skip")
    stream.group_by_key().aggregate(list, lambda _, value: {value}, name="sets", value=list)
    driver = TopologyDriver(topology, on_bad_record="fail")
    pipe(driver, 1, 2)
    assert driver.bad_records == {("sets", "state"): 2}


@pytest.mark.parametrize("answer", ["drop", 1, Record("k", 1, -1)])
def test_a_wrong_answer_makes_a_bad_record(answer: Any) -> None:
    driver = driver_of(lambda _, record: answer)
    pipe(driver, 0)
    (error,) = headers(driver, "error")
    assert "on_bad_record gave" in error or "timestamp" in error


def test_a_handler_that_raises_leaves_it_to_the_setting() -> None:
    def handle(error: Exception, record: AnyRecord) -> Any:
        raise LookupError(record.value) from error

    driver = driver_of(handle)
    pipe(driver, 0)
    assert headers(driver, "error") == ["LookupError: 0"]


def test_it_ends_at_a_merge_and_does_not_look_back() -> None:
    topology = Topology("app")
    stream = topology.stream("in")
    before = stream.map_values(invert, name="before")
    before.on_bad_record("skip").merge(before, name="both").map_values(invert, name="after").to(
        "out"
    )
    driver = TopologyDriver(topology)
    pipe(driver, 0, 2)
    assert headers(driver, "step") == ["before"]


def test_a_punctuator_has_the_policy_of_its_step() -> None:
    def fails(time: Any, context: Any) -> None:
        raise ValueError

    topology = Topology("app")
    punctuators = [every("1s", fails)]
    stream = topology.stream("in").on_bad_record("skip")
    stream.process(lambda record, _: [record], punctuators=punctuators, name="step").to("out")
    driver = TopologyDriver(topology, on_bad_record="fail")
    driver.pipe("in", Record("k", 1, 10), Record("k", 2, 5000))
    assert driver.bad_records == {("step", "punctuation"): 1}


def test_an_unknown_policy_is_refused() -> None:
    unknown: Any = "drop"
    with pytest.raises(TopologyError, match="on_bad_record='drop': possible are 'fail', 'skip'"):
        Topology("app").stream("in").on_bad_record(unknown)


def test_the_examples_of_the_page_on_bad_records() -> None:
    page = Path("docs/guides/bad-records.md").read_text(encoding="utf-8")
    names: dict[str, Any] = {}
    for block in re.findall(r"```python\n(.*?)```", page, re.DOTALL):
        exec(block, names)
    driver = TopologyDriver(names["topology"])
    for value in ({"amount": 2, "fee": 1}, {"amount": 2}, {}, {"amount": 2, "fee": "one"}):
        driver.pipe("payments", key="k", value=value)
    assert [value for _, value in driver.read("rates")] == [{"rate": 0.5}, {"rate": 0}]
    assert headers(driver, "error")[0].startswith("TypeError")
    assert driver.bad_records == {("filter-1", "function"): 1, ("map-values-1", "function"): 1}


@pytest.mark.parametrize("answer", ["skip", "dead-letter", "fail", None, "record"])
@pytest.mark.parametrize("kind", ["window", "join"])
def test_a_handler_is_asked_about_late_records(kind: str, answer: Any) -> None:
    asked: list[tuple[str, AnyRecord]] = []

    def decide(error: Exception, record: AnyRecord) -> Any:
        asked.append((type(error).__name__, record))
        return record if answer == "record" else answer

    topology = Topology("app")
    stream = topology.stream("in").on_bad_record(decide)
    if kind == "window":
        stream.group_by_key().window(tumbling("1s")).count(name="late").to("out")
    else:
        stream.join(topology.stream("other"), twice_of, within="1s", name="late").to("out")
    driver = TopologyDriver(topology)
    rows = [Record("k", time, Timestamp(time)) for time in (60_000, 5)]
    if answer == "fail":
        with pytest.raises(BadRecordError, match="behind the stream time"):
            driver.pipe("in", *rows)
        return
    driver.pipe("in", *rows)
    assert set(map(str, asked)) == {str(("LateError", rows[1]))}
    errors = headers(driver, "error")
    assert len(errors) == (answer != "skip")
    assert driver.bad_records == {("late", "late"): 1}
    if answer == "record":
        assert "none can take its place" in errors[0]


def twice_of(one: Any, other: Any) -> list[Any]:
    return [one, other]
