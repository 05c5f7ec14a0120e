"""Tables that change with time, or know the past, against a plain account of what they mean.

The driver takes records in batches of any size, with checkpoints and restarts in between; the
account takes one record after the other.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from processor import Record, Table, Topology, collect_of, count
from processor.records import Timestamp
from processor.testing import TopologyDriver
from tests.suites import LONG, examples

COMMON = settings(
    deadline=None,
    derandomize=not LONG,
    max_examples=examples(30, 5_000),
    suppress_health_check=[HealthCheck.too_slow],
)


class Put(NamedTuple):
    key: str
    value: Any
    time: int


PUTS = st.builds(
    Put,
    st.sampled_from("abc"),
    st.one_of(st.integers(0, 9), st.lists(st.integers(0, 9), max_size=2), st.none()),
    st.integers(0, 60),
)
BATCHES = st.lists(st.lists(PUTS, max_size=6), max_size=6)
Changes = list[tuple[str, Any]]


def driven(
    make: Callable[[Topology], Table[str, Any]], batches: list[list[Put]]
) -> tuple[TopologyDriver, Changes]:
    """The driver after all batches, restarted between them, and what the table has emitted."""
    app = Topology("app")
    make(app).to_stream().to("out")
    app.stream("other").peek(lambda key, value: None)
    driver = TopologyDriver(app)
    for batch in batches:
        driver.pipe("in", *(Record(key, value, Timestamp(time)) for key, value, time in batch))
        driver.restart()
    return driver, driver.read("out")


def rounded(time: int, wait: int) -> int:
    grain = max(1, wait // 100)
    return -(-(time + wait) // grain) * grain


# Time to live


def expired(puts: list[Put], ttl: int) -> tuple[dict[str, Any], Changes]:
    held: dict[str, Put] = {}
    emitted: Changes = []
    now = -1
    for put in puts:
        now = max(now, put.time)
        due = [(rounded(each.time, ttl), key) for key, each in held.items()]
        for end, key in sorted(due):
            if end <= now:
                del held[key]
                emitted.append((key, None))
        if rounded(put.time, ttl) <= now:
            continue
        emitted.append((put.key, put.value))
        held.pop(put.key, None)
        if put.value is not None:
            held[put.key] = put
    return {key: each.value for key, each in held.items()}, emitted


@settings(COMMON)
@given(BATCHES, st.sampled_from([1, 7, 20, 250]), st.integers(1, 20))
def test_values_expire_record_by_record(batches: list[list[Put]], ttl: int, stretch: int) -> None:
    batches = [[put._replace(time=put.time * stretch) for put in batch] for batch in batches]
    driver, emitted = driven(
        lambda app: app.table("in", name="t", emit="change", ttl=ttl / 1000), batches
    )
    values, expected = expired([put for batch in batches for put in batch], ttl)
    assert emitted == expected
    assert driver.store("t") == values
    assert len(driver.store("t-expiry")) == len(values)


@settings(COMMON)
@given(BATCHES, st.sampled_from([7, 20]))
def test_expired_values_are_emitted_once_at_checkpoints(batches: list[list[Put]], ttl: int) -> None:
    driver, emitted = driven(lambda app: app.table("in", name="t", ttl=ttl / 1000), batches)
    values, _ = expired([put for batch in batches for put in batch], ttl)
    last = {key: value for key, value in emitted if value is not None or key in values}
    assert {key: value for key, value in last.items() if key in values} == values
    assert driver.store("t") == values
    assert {key for key, value in dict(emitted).items() if value is not None} == values.keys()


def folded(puts: list[Put], ttl: int, fold: Callable[[Any, Any], Any]) -> tuple[Any, Changes]:
    """As `expired`, of aggregates: what a record makes of what is there, or of None."""
    held: dict[str, tuple[int, Any]] = {}
    emitted: Changes = []
    now = -1
    for put in puts:
        now = max(now, put.time)
        for end, key in sorted((rounded(time, ttl), key) for key, (time, _) in held.items()):
            if end <= now:
                del held[key]
                emitted.append((key, None))
        if rounded(put.time, ttl) > now:
            time, value = held.get(put.key, (-1, None))
            held[put.key] = max(time, put.time), fold(value, put.value)
            emitted.append((put.key, held[put.key][1]))
    return {key: value for key, (_, value) in held.items()}, emitted


def appended(so_far: list[Any], value: Any) -> list[Any]:
    so_far.append(value)  # in place, as a user may
    return so_far


def listed(so_far: dict[str, Any] | None, value: Any) -> dict[str, Any]:
    before = {"count": 0, "all": []} if so_far is None else so_far
    if value is None:
        return before
    return {"count": before["count"] + 1, "all": [*before["all"], value]}


Made = tuple[Callable[[Any, Any], Table[str, Any]], Callable[[Any, Any], Any]]
AGGREGATES: dict[str, Made] = {
    "count": (
        lambda by, ttl: by.count(name="t", emit="change", ttl=ttl),
        lambda so_far, _: (so_far or 0) + 1,
    ),
    "aggregate": (
        lambda by, ttl: by.aggregate(list, appended, name="t", emit="change", ttl=ttl),
        lambda so_far, value: [*(so_far or []), value],
    ),
    "agg": (
        lambda by, ttl: by.agg(
            name="t", emit="change", ttl=ttl, count=count(), all=collect_of(lambda each: each)
        ),
        listed,
    ),
}


@settings(COMMON)
@given(
    BATCHES,
    st.sampled_from([1, 7, 20, 250]),
    st.integers(1, 20),
    st.sampled_from(sorted(AGGREGATES)),
    st.booleans(),
)
def test_aggregates_expire_record_by_record(
    batches: list[list[Put]], ttl: int, stretch: int, what: str, pairs: object
) -> None:
    batches = [[put._replace(time=put.time * stretch) for put in batch] for batch in batches]
    make, fold = AGGREGATES[what]

    def table(app: Topology) -> Table[str, Any]:
        made = make(app.stream("in").group_by_key(), ttl / 1000)
        if pairs:  # somebody reads old and new values
            made.group_by(str, name="by").count(name="groups")
        return made

    driver, emitted = driven(table, batches)
    values, expected = folded([put for batch in batches for put in batch], ttl, fold)
    assert emitted == expected
    assert driver.store("t") == values
    assert len(driver.store("t-expiry")) == len(values)
    if pairs:
        groups = Counter(map(str, values.values()))
        found = {key: count for key, count in driver.store("groups").items() if count}
        assert found == groups


# Suppression


def suppressed(puts: list[Put], wait: int, most: int) -> Changes:
    held: dict[str, tuple[int, Any]] = {}  # due, last value
    before: dict[str, Any] = {}
    emitted: Changes = []
    now = -1

    def emit(until: int) -> None:
        for end, key in sorted((end, key) for key, (end, _) in held.items()):
            if end <= until or len(held) > most:
                value = held.pop(key)[1]
                if value is not None or before.get(key) is not None:
                    emitted.append((key, value))
                before[key] = value

    for put in puts:
        now = max(now, put.time)
        emit(now - 1)
        due = held[put.key][0] if put.key in held else rounded(put.time, wait)
        held[put.key] = due, put.value
        emit(now)
    return emitted


@settings(COMMON)
@given(BATCHES, st.sampled_from([1, 9, 25]), st.integers(1, 4))
def test_changes_are_held_back(batches: list[list[Put]], wait: int, most: int) -> None:
    def make(app: Topology) -> Table[str, Any]:
        table = app.table("in", name="t", emit="change")
        return table.suppress(until=wait / 1000, max_records=most, name="s")

    driver, emitted = driven(make, batches)
    assert emitted == suppressed([put for batch in batches for put in batch], wait, most)
    buffered = driver.store("s")
    assert len(driver.store("s-expiry")) == len(buffered) + bool(buffered)


# Versions


def as_of(puts: list[Put], key: str, time: int) -> Any:
    """The value that a key had at a time: of the highest time before, the one that came last."""
    mine = [(put.time, number, put.value) for number, put in enumerate(puts) if put.key == key]
    return max((each for each in mine if each[0] <= time), default=(0, 0, None))[2]


def timely(puts: list[Put], history: int) -> Iterator[Put]:
    now = -1
    for put in puts:
        now = max(now, put.time)
        if put.time >= now - history:
            yield put


@settings(COMMON)
@given(BATCHES, st.sampled_from([1, 4, 10, 30, 100]), st.booleans())
def test_a_join_finds_the_value_as_of_its_time(
    batches: list[list[Put]], history: int, one_by_one: object
) -> None:
    app = Topology("app")
    prices = app.table("in", name="t", versioned=history / 1000, emit="change")
    prices.to_stream().to("out")
    app.stream("other").left_join(prices, lambda _, price: [price]).to("joined")
    driver = TopologyDriver(app)
    emitted: Changes = []
    for batch in batches:
        records = [Record(key, value, Timestamp(time)) for key, value, time in batch]
        for some in [[each] for each in records] if one_by_one else [records]:
            driver.pipe("in", *some)
        emitted += driver.read("out")
        driver.restart()
    puts = [put for batch in batches for put in batch]
    kept, now = list(timely(puts, history)), max((put.time for put in puts), default=-1)
    queries = [(key, time) for key in "abc" for time in range(now + 1)]
    driver.pipe("other", *(Record(key, 0, Timestamp(time)) for key, time in queries))
    found = dict(zip(queries, [value for _, (value,) in driver.read("joined")], strict=True))
    for (key, time), value in found.items():
        newest = max((put.time for put in kept if put.key == key), default=-1)
        alive = as_of(kept, key, now) is not None
        if time >= now - history or (time >= newest and alive):
            assert value == as_of(kept, key, time), (key, time)
        else:
            assert value is None, (key, time)
    latest = {key: as_of(kept, key, now) for key in "abc"}
    assert driver.store("t") == {key: each for key, each in latest.items() if each is not None}
    assert emitted == _latest_changes(kept)


def _latest_changes(puts: list[Put]) -> Changes:
    """Puts that were not behind a later one of their key."""
    newest: dict[str, int] = {}
    emitted: Changes = []
    for put in puts:
        if put.time >= newest.get(put.key, -1):
            newest[put.key] = put.time
            emitted.append((put.key, put.value))
    return emitted
