"""Dead letters: what is in them, and when there are none."""

import pytest

from processor.errors import BadRecordError
from processor.operators.base import Rejected
from processor.records import (
    Batch,
    Headers,
    Offset,
    Partition,
    Policy,
    RawBatch,
    Timestamp,
    TopicPartition,
)
from processor.runtime.badrecords import BadRecords, Origin

SOURCE = TopicPartition("in", Partition(3))
REJECTED = Rejected(Offset(17), "check", "function", ValueError("no \ud800 good"))


def record(value: bytes | None = b"v", headers: Headers = (), time: int = 5) -> RawBatch:
    return Batch([b"k"], [value], [Timestamp(time)], [Offset(17)], [headers] if headers else None)


def make(policy: Policy = "dead-letter", limit: int = 1000) -> BadRecords:
    return BadRecords(policy, "dead", limit)


def origin(record: RawBatch, policy: Policy | None = None) -> Origin:
    return Origin(SOURCE, Offset(17), record, policy)


def test_a_dead_letter_is_the_record_with_headers_that_say_why() -> None:
    bad = make()
    output = bad.handle(REJECTED, origin(record(headers=(("own", None),))))
    assert output is not None
    assert output.topic == "dead"
    letter = output.records
    assert (letter.keys, letter.values, letter.timestamps) == ([b"k"], [b"v"], [5])
    assert letter.headers == [
        (
            ("own", None),
            ("kproc.topic", b"in"),
            ("kproc.partition", b"3"),
            ("kproc.offset", b"17"),
            ("kproc.timestamp", b"5"),
            ("kproc.step", b"check"),
            ("kproc.reason", b"function"),
            ("kproc.error", b"ValueError: no \\ud800 good"),
        )
    ]
    assert bad.counts == {("check", "function"): 1}


def test_a_record_without_timestamp_gets_one() -> None:
    output = make().handle(REJECTED, origin(record(time=-1)))
    assert output is not None
    assert output.records.timestamps == [0]


@pytest.mark.parametrize(("size", "kept"), [(590, True), (700, False), (5000, False)])
def test_a_dead_letter_that_would_be_too_large_loses_its_value(size: int, *, kept: bool) -> None:
    output = make().handle(REJECTED, origin(record(b"v" * size)))
    assert output is not None
    letter = output.records
    headers = dict((letter.headers or [()])[0])
    assert letter.values == ([b"v" * size] if kept else [None])
    assert ("kproc.truncated" in headers) is not kept
    assert headers["kproc.offset"] == b"17"


def test_a_dead_letter_with_large_headers_loses_these_too() -> None:
    output = make().handle(REJECTED, origin(record(headers=(("own", b"x" * 2000),))))
    assert output is not None
    headers = dict((output.records.headers or [()])[0])
    assert "own" not in headers
    assert b"too large" in (headers["kproc.truncated"] or b"")


def test_a_long_error_is_cut() -> None:
    rejected = REJECTED._replace(error=ValueError("x" * 10_000))
    output = make(limit=10_000).handle(rejected, origin(record()))
    assert output is not None
    headers = dict((output.records.headers or [()])[0])
    assert len(headers["kproc.error"] or b"") == 1000


def test_skip_counts_only() -> None:
    bad = make("skip")
    assert bad.handle(REJECTED, origin(record())) is None
    assert bad.counts == {("check", "function"): 1}
    assert bad.unreported == {("check", "function"): "ValueError: no \ud800 good"}


def test_fail_says_where_and_what_to_do() -> None:
    bad = make("fail")
    with pytest.raises(BadRecordError) as raised:
        bad.handle(REJECTED, origin(record()))
    assert str(raised.value).startswith("in[3] offset 17: ValueError: no")
    assert "(in check, function). Nothing of this record was committed." in str(raised.value)
    assert 'set on_bad_record to "dead-letter" or "skip"' in str(raised.value)
    assert raised.value.__cause__ is REJECTED.error


def test_the_policy_of_the_source_goes_before_the_setting() -> None:
    assert make("fail").handle(REJECTED, origin(record(), "skip")) is None
    with pytest.raises(BadRecordError):
        make("skip").handle(REJECTED, origin(record(), "fail"))


@pytest.mark.parametrize("policy", ["skip", "dead-letter"])
def test_punctuations_that_failed_are_counted(policy: Policy) -> None:
    bad = make(policy)
    bad.punctuation_failed("step", ValueError("no"))
    assert bad.counts == {("step", "punctuation"): 1}
    assert bad.unreported == {("step", "punctuation"): "ValueError: no"}


def test_a_punctuation_that_failed_stops_the_worker_by_policy() -> None:
    with pytest.raises(BadRecordError, match="a punctuator of step failed: ValueError: no"):
        make("fail").punctuation_failed("step", ValueError("no"))
