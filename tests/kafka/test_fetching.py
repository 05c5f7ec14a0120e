"""What a consumer gets, on both ways: by its own calls, and by the native plane."""

import random
import time
from collections.abc import Callable, Collection, Generator, Iterator
from threading import Thread
from typing import Any

import pytest
from confluent_kafka import Producer
from confluent_kafka import TopicPartition as ClientPartition
from confluent_kafka.cimpl import KafkaError as ClientError

from processor.kafka.fetching import Fetcher, fetcher
from processor.kafka.messages import Run, source_of
from processor.records import Partition, TopicPartition
from tests import ledger

pytestmark = pytest.mark.kafka
MakeTopic = Callable[..., str]
MakeFetcher = Callable[..., Fetcher]

_PATIENCE = 120.0


@pytest.fixture
def make_fetcher(kafka: str, topic_name: str, *, native: bool) -> Generator[MakeFetcher]:
    """Makes consumers of one group."""
    made: list[Fetcher] = []

    def make(**settings: Any) -> Fetcher:
        named = {name.replace("_", "."): value for name, value in settings.items()}
        config = {
            "bootstrap.servers": kafka,
            "group.id": topic_name,
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "auto.offset.reset": "error",
            **named,
        }
        made.append(fetcher(config, native=native))
        return made[-1]

    yield make
    for each in made:
        closes(each)


def closes(used: Fetcher) -> None:
    """Makes sure that closing ends, however much has been fetched and not taken."""
    closing = Thread(target=used.close, daemon=True)
    closing.start()
    closing.join(_PATIENCE)
    assert not closing.is_alive(), "closing hangs"


def write(kafka: str, topic: str, count: int, partitions: int = 1) -> None:
    """Records whose values are their offsets."""
    producer = Producer({"bootstrap.servers": kafka, "queue.buffering.max.messages": 2_000_000})
    for number in range(count):
        for partition in range(partitions):
            producer.produce(topic, b"%d" % number, b"k", partition)
        if number % 1000 == 0:
            producer.poll(0)
    assert producer.flush(_PATIENCE) == 0


def sources(topic: str, partitions: int = 1) -> list[TopicPartition]:
    return [TopicPartition(topic, Partition(number)) for number in range(partitions)]


def assign(used: Fetcher, topic: str, *offsets: int) -> None:
    """Each partition from its offset on."""
    partitions = zip(sources(topic, len(offsets)), offsets, strict=True)
    used.consumer.assign([ClientPartition(*source, offset) for source, offset in partitions])


def fetched(used: Fetcher, flowing: Collection[TopicPartition]) -> Iterator[tuple[list[Run], Any]]:
    """What comes, for as long as somebody wants to know."""
    deadline = time.monotonic() + _PATIENCE
    while time.monotonic() < deadline:
        yield used.fetch(1000, 0.02, flowing)
    pytest.fail("what is waited for does not come")


def offsets_of(runs: Collection[Run], source: TopicPartition) -> list[int]:
    return [offset for run in runs if run.source == source for offset in run.records.offsets]


def test_every_part_of_a_record_comes(
    kafka: str, make_topic: MakeTopic, make_fetcher: MakeFetcher
) -> None:
    topic = make_topic(partitions=2)
    producer = Producer({"bootstrap.servers": kafka})
    headers = [("a", b"1"), ("a", b""), ("none", None), ("ü", b"\xff\x00")]
    producer.produce(topic, b"value", b"key", 0, timestamp=1_000, headers=headers)
    producer.produce(topic, b"", b"", 0, timestamp=2_000)
    producer.produce(topic, None, None, 0, timestamp=3_000)
    producer.produce(topic, b"\x00other", b"\xff", 1, timestamp=4_000)
    producer.flush()
    used, own = make_fetcher(), sources(topic, 2)
    assign(used, topic, 0, 0)
    runs: list[Run] = []
    ends: dict[TopicPartition, Any] = {}
    for more, others in fetched(used, own):
        runs += more
        ends |= {source_of(each): each for each in others}
        if len(ends) == len(own):
            break
    first, second = ([run.records for run in runs if run.source == source] for source in own)
    rows = [record for batch in first for record in batch.records()]
    assert [tuple(row) for row in rows] == [
        (b"key", b"value", 1_000, tuple(headers)),
        (b"", b"", 2_000, ()),
        (None, None, 3_000, ()),
    ]
    assert [offset for batch in first for offset in batch.offsets] == [0, 1, 2]
    (other,) = second
    assert other.headers is None
    assert (other.keys, other.values, other.timestamps) == ([b"\xff"], [b"\x00other"], [4_000])
    assert {span.epoch for run in runs for span in run.spans} == {0}
    assert [(run.spans[0].first, run.spans[-1].last) for run in runs if run.source == own[1]] == [
        (0, 0)
    ]
    assert [ends[source].error().code() for source in own] == [ClientError._PARTITION_EOF] * 2
    assert [ends[source].offset() for source in own] == [3, 1]


def test_an_offset_that_is_not_there_is_an_error_of_its_partition(
    kafka: str, make_topic: MakeTopic, make_fetcher: MakeFetcher
) -> None:
    topic = make_topic(partitions=2)
    write(kafka, topic, 10, 2)
    used = make_fetcher()
    assign(used, topic, 0, 77)
    found: list[Any] = []
    records = 0
    for runs, others in fetched(used, sources(topic, 2)):
        records += sum(len(run.records) for run in runs)
        found += [each for each in others if each.error().code() != ClientError._PARTITION_EOF]
        if found and records == 10:
            break
    (message,) = found
    assert message.error().code() == ClientError._AUTO_OFFSET_RESET
    assert source_of(message) == sources(topic, 2)[1]
    assert "fetch failed due to requested offset not available" in message.error().str()


def test_partitions_that_are_not_there_or_go_end_nothing(
    kafka: str, make_topic: MakeTopic, make_fetcher: MakeFetcher
) -> None:
    """librdkafka puts what it would call the client back for into the partition's queue."""
    topic, gone = make_topic(), make_topic()
    write(kafka, topic, 100)
    soon = {"topic_metadata_refresh_interval_ms": 200, "topic_metadata_propagation_max_ms": 100}
    used = make_fetcher(**soon)
    own = [*sources(topic), TopicPartition(topic, Partition(7)), *sources(gone)]
    used.consumer.assign([ClientPartition(*source, 0) for source in own])
    runs: list[Run] = []
    texts: list[str] = []
    until = time.monotonic() + 8
    ledger.delete(kafka, [gone])
    for more, others in fetched(used, own):
        runs += more
        texts += [each.error().str() for each in others]
        if time.monotonic() > until and offsets_of(runs, own[0]) == list(range(100)):
            break
    assert not [text for text in texts if text.startswith((f"{topic} [", f"{gone} ["))]


def test_each_new_position_is_gone_on_from(
    kafka: str, make_topic: MakeTopic, make_fetcher: MakeFetcher, chance: random.Random
) -> None:
    """Assigned again while records flow, a partition is stopped and started in other threads."""
    count, partitions = 3000, 3
    topic = make_topic(partitions=partitions)
    write(kafka, topic, count, partitions)
    used, own = make_fetcher(), sources(topic, partitions)
    for _ in range(40):
        starts = [chance.randrange(count) for _ in own]
        lengths = [chance.randrange(1, 400) for _ in own]
        assign(used, topic, *starts)
        runs: list[Run] = []
        for more, _ in fetched(used, own):
            runs += more
            seen = [len(offsets_of(runs, source)) for source in own]
            wanted = [
                min(length, count - start) for length, start in zip(lengths, starts, strict=True)
            ]
            if all(one >= least for one, least in zip(seen, wanted, strict=True)):
                break
        for source, start in zip(own, starts, strict=True):
            got = offsets_of(runs, source)
            assert got == list(range(start, start + len(got)))
        for run in runs:
            assert run.records.values == [b"%d" % offset for offset in run.records.offsets]


def test_no_more_than_asked_for_comes(
    kafka: str, make_topic: MakeTopic, make_fetcher: MakeFetcher
) -> None:
    topic = make_topic(partitions=2)
    write(kafka, topic, 500, 2)
    used, own = make_fetcher(), sources(topic, 2)
    assign(used, topic, 0, 0)
    got = 0
    deadline = time.monotonic() + _PATIENCE
    while got < 1000:
        assert time.monotonic() < deadline
        runs, others = used.fetch(7, 0.02, own)
        assert sum(len(run.records) for run in runs) + len(others) <= 7
        got += sum(len(run.records) for run in runs)


def test_nothing_comes_of_a_paused_partition_and_nothing_is_lost(
    kafka: str, make_topic: MakeTopic, make_fetcher: MakeFetcher
) -> None:
    count = 20_000
    topic = make_topic(partitions=2)
    write(kafka, topic, count, 2)
    used, (first, second) = make_fetcher(), sources(topic, 2)
    assign(used, topic, 0, 0)
    runs: list[Run] = []
    for more, _ in fetched(used, (first, second)):
        runs += more
        if offsets_of(runs, first) and offsets_of(runs, second):
            break
    used.consumer.pause([ClientPartition(*first)])
    before = offsets_of(runs, first)
    for more, _ in fetched(used, (first, second)):
        runs += more
        if len(offsets_of(runs, second)) == count:
            break
    assert offsets_of(runs, first) == before
    used.consumer.resume([ClientPartition(*first)])
    for more, _ in fetched(used, (first, second)):
        runs += more
        if len(offsets_of(runs, first)) == count:
            break
    assert offsets_of(runs, first) == offsets_of(runs, second) == list(range(count))


def test_nothing_comes_after_a_partition_is_given_up(
    kafka: str, make_topic: MakeTopic, make_fetcher: MakeFetcher
) -> None:
    topic = make_topic(partitions=1)
    write(kafka, topic, 20_000)
    used, own = make_fetcher(), sources(topic)
    assign(used, topic, 0)
    next(runs for runs, _ in fetched(used, own) if runs)
    used.consumer.unassign()
    for _ in range(10):
        assert used.fetch(1000, 0.02, ()) == ([], [])


class Member:
    """A member of the group, which commits what it has when it loses its partitions."""

    def __init__(self, used: Fetcher, topic: str) -> None:
        self.used = used
        self.events: list[str] = []
        self.own: list[TopicPartition] = []
        self.got: list[tuple[int, int]] = []
        self.used.consumer.subscribe(
            [topic], on_assign=self._assign, on_revoke=self._revoke, on_lost=self._lost
        )

    def step(self) -> list[Any]:
        runs, others = self.used.fetch(1000, 0.02, self.own)
        for run in runs:
            assert run.source in self.own
            self.got += [(run.source.partition, offset) for offset in run.records.offsets]
        return [each.error().name() for each in others]

    def _assign(self, consumer: Any, partitions: list[ClientPartition]) -> None:
        self.events.append("assigned")
        found = consumer.committed(partitions, 30)
        for each in found:
            each.offset = max(each.offset, 0)
        consumer.assign(found)
        self.own = [TopicPartition(each.topic, Partition(each.partition)) for each in partitions]

    def _revoke(self, consumer: Any, _partitions: list[ClientPartition]) -> None:
        self.events.append("revoked")
        ends = {partition: offset + 1 for partition, offset in self.got}
        own = {each.partition for each in self.own}
        at = [
            ClientPartition(self.own[0].topic, partition, offset)
            for partition, offset in ends.items()
            if partition in own
        ]
        if at:
            consumer.commit(offsets=at, asynchronous=False)
        self._give_up(consumer)

    def _lost(self, consumer: Any, _partitions: list[ClientPartition]) -> None:
        self.events.append("lost")
        self._give_up(consumer)

    def _give_up(self, consumer: Any) -> None:
        self.own = []
        consumer.unassign()


def test_a_group_shares_out_again_and_each_record_comes_once(
    kafka: str, make_topic: MakeTopic, make_fetcher: MakeFetcher
) -> None:
    count, partitions = 25_000, 4
    topic = make_topic(partitions=partitions)
    write(kafka, topic, count, partitions)
    first = Member(make_fetcher(), topic)
    second: Member | None = None
    deadline = time.monotonic() + 2 * _PATIENCE
    while len(first.got) + (len(second.got) if second else 0) < count * partitions:
        assert time.monotonic() < deadline
        if second is None or len(first.own) != partitions or len(second.got) > 1000:
            first.step()
        else:
            first.used.fetch(1, 0, first.own[:0])  # it takes part in the group alone
        if second is None and len(first.got) > count:
            second = Member(make_fetcher(), topic)
        if second is not None:
            second.step()
    assert second is not None
    got = [*first.got, *second.got]
    assert len(set(got)) == len(got) == count * partitions
    assert "revoked" in first.events
    assert second.got


def test_who_does_not_fetch_for_too_long_loses_its_partitions(
    kafka: str, make_topic: MakeTopic, make_fetcher: MakeFetcher
) -> None:
    """And who fetches keeps them, for however long no record comes."""
    topic = make_topic(partitions=1)
    limits = {"max_poll_interval_ms": 6000, "session_timeout_ms": 6000}
    member = Member(make_fetcher(**limits), topic)
    deadline = time.monotonic() + _PATIENCE
    while not member.events:
        assert time.monotonic() < deadline
        member.step()
    until = time.monotonic() + 9
    while time.monotonic() < until:
        assert "_MAX_POLL_EXCEEDED" not in member.step()
    assert member.events == ["assigned"]
    reported: list[str] = []
    while "_MAX_POLL_EXCEEDED" not in reported:
        assert time.monotonic() < deadline
        time.sleep(7)
        reported += member.step()
    while len(member.events) < 3:
        assert time.monotonic() < deadline
        member.step()
    assert member.events == ["assigned", "lost", "assigned"]


def test_what_is_closed_gives_nothing(
    kafka: str, make_topic: MakeTopic, make_fetcher: MakeFetcher
) -> None:
    topic = make_topic(partitions=1)
    write(kafka, topic, 5000)
    used = make_fetcher()
    assign(used, topic, 0)
    next(runs for runs, _ in fetched(used, sources(topic)) if runs)
    used.close()
    with pytest.raises(RuntimeError, match="closed"):
        used.fetch(1, 0, sources(topic))
