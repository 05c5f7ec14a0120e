"""Process: outputs are records or the record is bad; stream time passes as one record at a time."""

from collections.abc import Iterable, Iterator
from typing import Any

import pytest

from processor import key_value
from processor.operators.base import AnyBatch, Context
from processor.operators.process import Process, ProcessContext, Punctuator
from processor.records import NO_OFFSET, Headers, Record, Timestamp
from tests.operators.rows import batch, context, failed, row

COUNTS = key_value("counts", key=str, value=int)
AnyRecord = Record[Any, Any]


def process(function: Any, *punctuators: Punctuator[Any, Any]) -> Process:
    return Process("step", function, frozenset({"counts"}), punctuators)


def run(step: Process, rows: AnyBatch, at: Context) -> AnyBatch:
    at.clock.enter([rows], advance=True)
    (made,) = step.process(rows, at)
    return made


def times(name: str) -> Any:
    """A function for a punctuator: emits the time it is given, and the stream time that it sees."""

    def punctuate(time: Timestamp, view: ProcessContext) -> list[AnyRecord]:
        return [Record(name, (time, view.stream_time), time)]

    return punctuate


def test_outputs_come_in_order_and_keep_the_offset_of_their_record() -> None:
    def twice(record: AnyRecord, _: ProcessContext) -> Iterator[AnyRecord]:
        yield record
        yield record._replace(key="again")

    made = run(process(twice), batch(row(1), row(2)), context(COUNTS))
    assert made.records() == [row(1), row(1, "again"), row(2), row(2, "again")]
    assert made.offsets == [0, 0, 1, 1]


def test_headers_are_kept_and_changed() -> None:
    headers: Headers = (("a", b"1"), ("a", None))
    made = run(process(lambda r, _: [r]), batch(row(1, headers=headers), row(2)), context(COUNTS))
    assert made.headers == [headers, ()]


def test_none_is_no_output() -> None:
    assert len(run(process(lambda _r, _c: None), batch(row(1)), context(COUNTS))) == 0


def test_a_function_that_fails_midway_leaves_none_of_its_outputs() -> None:
    def yields_and_fails(record: AnyRecord, _: ProcessContext) -> Iterator[AnyRecord]:
        yield record
        if record.value == 2:
            raise ValueError("two")
        yield record

    at = context(COUNTS)
    made = run(process(yields_and_fails), batch(row(1), row(2), row(3)), at)
    assert made.values == [1, 1, 3, 3]
    assert made.offsets == [0, 0, 2, 2]
    assert failed(at) == [(1, "function", "ValueError: two")]


@pytest.mark.parametrize(
    ("output", "message"),
    [
        (row(1), "str is no Record"),  # one record instead of several
        ([("k", 1)], "tuple is no Record"),
        ([None], "NoneType is no Record"),
        (5, "not iterable"),
        ([row(1, timestamp=-1)], "milliseconds since 1970, not -1"),
        ([Record("k", 1, 1.5)], "milliseconds since 1970, not 1.5"),
        ([Record("k", 1, None)], "milliseconds since 1970, not None"),
        ([Record("k", 1, 0, {"a": b"1"})], "not enough values to unpack"),
        ([Record("k", 1, 0, (("a", "text"),))], "pairs of a str and bytes"),
        ([Record("k", 1, 0, None)], "not iterable"),
    ],
)
def test_what_is_no_record_makes_the_record_bad(output: object, message: str) -> None:
    at = context(COUNTS)
    made = run(process(lambda _r, _c: output), batch(row(7)), at)
    assert len(made) == 0
    ((offset, reason, error),) = failed(at)
    assert (offset, reason) == (0, "function")
    assert message in error


def test_a_store_that_the_step_was_not_given() -> None:
    other = key_value("other", key=str, value=int)
    at = context(COUNTS, other)
    run(process(lambda _r, c: c.store(other).get("k")), batch(row(1)), at)
    assert "this step has no store 'other'" in failed(at)[0][2]


def test_the_stream_time_includes_the_record() -> None:
    seen: list[int] = []
    step = process(lambda _r, c: seen.append(c.stream_time))
    run(step, batch(row(timestamp=5), row(timestamp=3), row(timestamp=9)), context(COUNTS))
    assert seen == [5, 5, 9]


def test_a_punctuation_comes_before_the_record_that_brings_its_time() -> None:
    step = process(lambda r, _: [r], Punctuator(10, times("tick")))
    rows = batch(row("a", timestamp=9), row("b", timestamp=12), row("c", timestamp=35))
    made = run(step, rows, context(COUNTS))
    assert made.values == ["a", (10, 9), "b", (30, 12), "c"]
    assert made.offsets == [0, 1, 1, 2, 2]


def test_the_first_record_of_a_task_brings_no_punctuation() -> None:
    step = process(lambda r, _: [r], Punctuator(10, times("tick")))
    assert run(step, batch(row("a", timestamp=25)), context(COUNTS)).values == ["a"]


def test_records_that_do_not_reach_the_step_let_its_time_pass_one_by_one() -> None:
    step = process(lambda r, _: [r], Punctuator(10, times("tick")))
    at = context(COUNTS, stream_time=1)
    rows = batch(*(row(time, timestamp=time) for time in (5, 12, 14, 27, 33)))
    at.clock.enter([rows], advance=True)
    (made,) = step.process(rows.take([3]), at)
    assert made.values == [(10, 5), (20, 14), 27]
    assert made.offsets == [1, 3, 3]
    later = step.advance(at)
    assert later is not None
    assert (later.values, later.offsets) == ([(30, 27)], [4])


def test_several_punctuators_come_by_time_then_by_number() -> None:
    step = process(lambda _r, _c: None, Punctuator(20, times("b")), Punctuator(10, times("a")))
    rows = batch(*(row(time, timestamp=time) for time in (0, 10, 20)))
    made = run(step, rows, context(COUNTS))
    assert list(zip(made.keys, made.values, strict=True)) == [
        ("a", (10, 0)),
        ("b", (20, 10)),
        ("a", (20, 10)),
    ]


def test_a_punctuation_that_fails_is_named_and_can_be_left_out() -> None:
    def fails(time: Timestamp, view: ProcessContext) -> Iterable[AnyRecord]:
        view.store(COUNTS).put("touched", time)
        yield row("first", timestamp=time)
        raise ValueError("no")

    step = process(lambda r, _: [r], Punctuator(10, fails))
    at = context(COUNTS, stream_time=0)
    made = run(step, batch(row("a", timestamp=10)), at)
    assert made.values == ["a"]
    ((punctuation, error),) = at.failures.failed
    assert (*punctuation, str(error)) == ("step", 0, 10, "no")
    at.failures.skip = {punctuation: error}
    at.begin()
    assert run(step, batch(row("a", timestamp=10)), at).values == ["a"]
    assert at.failures.failed == []


def test_the_wall_clock_drives_its_own_punctuators_alone() -> None:
    step = process(None, Punctuator(10, times("stream")), Punctuator(10, times("wall"), "wall"))
    at = context(COUNTS, stream_time=3)
    at.clock.now = Timestamp(45)
    made = step.tick(Timestamp(21), at)
    assert made is not None
    assert (made.keys, made.values, made.offsets) == (["wall"], [(40, 3)], [NO_OFFSET])


def test_the_first_look_at_the_wall_clock_brings_no_punctuation() -> None:
    step = process(None, Punctuator(10, times("wall"), "wall"))
    at = context(COUNTS)
    at.clock.now = Timestamp(45)
    made = step.tick(Timestamp(-1), at)
    assert made is not None
    assert len(made) == 0


@pytest.mark.parametrize(
    ("since", "now", "due"),
    [(0, 9, None), (0, 10, 10), (9, 10, 10), (10, 10, None), (10, 19, None), (3, 57, 50)],
)
def test_due(since: int, now: int, due: int | None) -> None:
    punctuator: Punctuator[Any, Any] = Punctuator(10, times("p"))
    assert punctuator.due(Timestamp(since), Timestamp(now)) == due
