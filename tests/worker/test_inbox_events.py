"""What the inbox makes of what its client says, without a group."""

from collections.abc import Callable, Mapping
from typing import Any

import pytest
from confluent_kafka import KafkaError as ClientError
from confluent_kafka import Message
from confluent_kafka import TopicPartition as ClientPartition

from processor.errors import Fenced, Interrupted, KafkaError, KprocError, StateError, TopicMismatch
from processor.kafka.messages import Run, Span
from processor.records import Batch, Offset, Partition, RawBatch, Timestamp, TopicPartition
from processor.runtime.commands import Assigned, Fetched, Lost, ReachedEnd, Revoked
from processor.worker import inbox as module
from processor.worker.epochs import Epochs
from processor.worker.inbox import Inbox, check_partitions
from tests.worker.fetching import Fetching

ONE, OTHER = (TopicPartition("in", Partition(number)) for number in range(2))
OWN = frozenset([ONE, OTHER])


class Client:
    """A consumer whose group and broker are the test."""

    def __init__(self) -> None:
        self.assigned: list[tuple[str, int, int]] = []
        self.stopped: set[TopicPartition] = set()
        self.topics: list[list[str]] = []
        self.callbacks: Mapping[str, Callable[[Any, Any], None]] = {}
        self.member = "member"

    def subscribe(self, topics: list[str], **callbacks: Callable[[Any, Any], None]) -> None:
        self.topics.append(topics)
        self.callbacks = callbacks

    def assign(self, partitions: list[ClientPartition]) -> None:
        self.assigned = [(each.topic, each.partition, each.offset) for each in partitions]

    def unassign(self) -> None:
        self.assigned = []

    def pause(self, partitions: list[ClientPartition]) -> None:
        self.stopped |= {TopicPartition(p.topic, Partition(p.partition)) for p in partitions}

    def resume(self, partitions: list[ClientPartition]) -> None:
        self.stopped -= {TopicPartition(p.topic, Partition(p.partition)) for p in partitions}

    def memberid(self) -> str:
        return self.member


class Group:
    """An inbox that has joined, and what its group may do."""

    def __init__(self, epochs: Epochs | None = None) -> None:
        self.fetching: Any = Fetching(Client())
        self.client: Client = self.fetching.consumer
        self.inbox = Inbox(self.fetching, ["in"], OWN, "aside", epochs or Epochs())
        self.inbox.subscribe()

    def gives(self, *sources: TopicPartition) -> None:
        self.client.callbacks["on_assign"](self.client, [ClientPartition(*s) for s in sources])

    def takes(self, how: str) -> None:
        self.client.callbacks[how](self.client, [])

    def poll(self) -> list[Any]:
        return self.inbox.poll(10, 0)


def records(*offsets: int) -> RawBatch:
    count = len(offsets)
    return Batch([None] * count, [b""] * count, [Timestamp(0)] * count, list(map(Offset, offsets)))


def run(source: TopicPartition, *offsets: int, epoch: int = 1) -> Run:
    return Run(source, records(*offsets), [Span(offsets[0], offsets[-1], epoch)])


def said(code: int, source: TopicPartition = ONE, text: str = "", **options: bool) -> Message:
    return Message(*source, 4, error=ClientError(code, text, **options))


def test_partitions_flow_from_explicit_offsets_alone() -> None:
    group = Group()
    group.gives(ONE, OTHER)
    assert group.client.assigned == []
    assert group.poll() == [Assigned(OWN)]
    group.inbox.fetch({ONE: Offset(3)})
    assert group.client.assigned == [("in", 0, 3)]


def test_what_the_group_did_comes_first_and_ends_come_last() -> None:
    group = Group()
    group.gives(ONE, OTHER)
    group.fetching.runs = [run(ONE, 0, 1)]
    group.fetching.others = [said(ClientError._PARTITION_EOF)]
    kinds = [type(event) for event in group.poll()]
    assert kinds == [Assigned, Fetched, ReachedEnd]


@pytest.mark.parametrize(("how", "event"), [("on_revoke", Revoked()), ("on_lost", Lost())])
def test_what_is_taken_flows_no_more(how: str, event: Revoked | Lost) -> None:
    group = Group()
    group.gives(ONE, OTHER)
    group.inbox.fetch({ONE: Offset(0)})
    group.takes(how)
    assert group.poll() == [Assigned(OWN), event]
    assert group.inbox.assigned == frozenset()
    assert group.client.assigned == []


def test_the_topic_aside_is_none_of_its_own() -> None:
    group = Group()
    group.gives(ONE, OTHER, TopicPartition("aside", Partition(0)))
    assert group.poll() == [Assigned(OWN)]


def test_pausing_some_resumes_the_others() -> None:
    group = Group()
    group.gives(ONE, OTHER)
    group.inbox.fetch({ONE: Offset(0), OTHER: Offset(0)})
    group.inbox.pause(frozenset([ONE]))
    assert group.client.stopped == {ONE}
    group.inbox.pause(frozenset([OTHER]))
    assert group.client.stopped == {OTHER}


def test_a_group_that_keeps_partitions_back_is_asked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_SHARED", -1.0)
    group = Group()
    group.gives(ONE)
    for _ in range(4):
        group.poll()
    assert group.client.topics == [["in"], ["in", "aside"]]
    assert group.inbox.passing == ["the group has kept partitions back: it is asked to rebalance"]


def known(position: int, epoch: int) -> Epochs:
    epochs = Epochs()
    epochs.know(ONE, Offset(position), epoch)
    return epochs


def test_the_record_before_a_position_is_compared_and_left_out() -> None:
    group = Group(known(3, 1))
    group.gives(ONE, OTHER)
    group.inbox.fetch({ONE: Offset(3)})
    assert group.client.assigned == [("in", 0, 2)]
    group.fetching.runs = [run(ONE, 2, 3)]
    (_, fetched) = group.poll()
    assert fetched.records.offsets == [3]


def test_one_that_was_compacted_away_is_not_compared() -> None:
    group = Group(known(3, 1))
    group.gives(ONE, OTHER)
    group.inbox.fetch({ONE: Offset(3)})
    group.fetching.runs = [run(ONE, 3, epoch=2)]
    (_, fetched) = group.poll()
    assert fetched.records.offsets == [3]


def test_another_record_in_its_place_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_HEARTBEATS", 0.0)
    group = Group(known(3, 1))
    group.gives(ONE, OTHER)
    group.inbox.fetch({ONE: Offset(3)})
    group.fetching.runs = [run(ONE, 2, 3, epoch=2)]
    with pytest.raises(StateError, match="record 2 is of leader epoch 2, not 1"):
        group.poll()


@pytest.mark.parametrize(
    ("message", "error", "text"),
    [
        (said(ClientError._AUTO_OFFSET_RESET), StateError, "retention deleted them"),
        (said(ClientError._AUTO_OFFSET_RESET, text="log truncation"), StateError, "has lost"),
        (said(ClientError.UNKNOWN_MEMBER_ID, fatal=True), Fenced, "another worker"),
        (said(ClientError.TOPIC_AUTHORIZATION_FAILED), KafkaError, "read in"),
    ],
    ids=["gone", "truncated", "fenced", "refused"],
)
def test_errors_that_end_the_worker(
    message: Message, error: type[KprocError], text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_HEARTBEATS", 0.0)
    group = Group()
    group.fetching.others = [message]
    with pytest.raises(error, match=text):
        group.poll()


def test_a_fence_counts_before_what_was_deleted_meanwhile() -> None:
    group = Group()
    fence = said(ClientError.UNKNOWN_MEMBER_ID, fatal=True)
    group.fetching.others = [said(ClientError._AUTO_OFFSET_RESET), fence]
    with pytest.raises(Fenced):
        group.poll()


def test_a_member_that_heard_of_no_broker_is_not_fenced() -> None:
    group = Group()
    group.client.member = ""
    group.fetching.others = [said(ClientError.UNKNOWN_MEMBER_ID, fatal=True)]
    with pytest.raises(Interrupted, match="no broker answered"):
        group.poll()


def test_what_resolves_itself_is_reported() -> None:
    group = Group()
    group.fetching.others = [said(ClientError._TRANSPORT, text="Broker 1 is gone")]
    assert group.poll() == []
    assert group.inbox.passing == ["_TRANSPORT: Broker 1 is gone"]


def test_topics_that_have_grown_are_named() -> None:
    check_partitions(OWN, {"in": 2})
    with pytest.raises(TopicMismatch, match="in has got more partitions"):
        check_partitions(OWN, {"in": 1})
