"""Keys that are not where Kafka's default partitioner has them."""

import pytest

from processor import Topology
from processor.records import Batch, Offset, Partition, RawBatch, Timestamp, TopicPartition
from processor.runtime.partitioning import Partitioning, murmur2, partition_of
from processor.topology.plan import lay_out, plan


@pytest.mark.parametrize(
    ("data", "value"),
    [  # from the tests of Kafka's own clients
        (b"21", -973932308),
        (b"foobar", -790332482),
        (b"a-little-bit-long-string", -985981536),
        (b"a-little-bit-longer-string", -1486304829),
        (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
        (b"abc", 479470107),
    ],
)
def test_the_hash_is_that_of_the_java_clients(data: bytes, value: int) -> None:
    assert murmur2(data) == value & 0xFFFFFFFF


def looking(*, meets: bool = True, partitions: int = 4) -> Partitioning:
    topology = Topology("app")
    orders, users = topology.stream("orders"), topology.stream("users")
    if meets:
        users = users.to_table(name="u")
        orders.join(users, lambda order, user: (order, user)).to("out")
    else:
        users.to("there")
        orders.group_by_key().count(name="n").to("out")
    made = plan(topology)
    return Partitioning(lay_out(made, dict.fromkeys(made.inputs, partitions)))


def batch(*keys: bytes | None) -> RawBatch:
    size = len(keys)
    times, offsets = [Timestamp(0)] * size, list(map(Offset, range(size)))
    return Batch(keys, [b""] * size, times, offsets)


def test_a_key_in_its_place_is_nothing_to_report() -> None:
    partitioning = looking()
    for number in range(100):
        key = b"key-%d" % number
        source = TopicPartition("orders", Partition(partition_of(key, 4)))
        assert partitioning.look(source, batch(key, None)) is None
    assert not partitioning.misplaced


def test_a_key_elsewhere_is_reported_once_and_counted() -> None:
    partitioning = looking()
    wrong = Partition((partition_of(b"k", 4) + 1) % 4)
    said = partitioning.look(TopicPartition("orders", wrong), batch(b"k", b"k"))
    assert said is not None
    assert f"a key in partition {wrong} belongs to partition {partition_of(b'k', 4)}" in said
    assert ".repartition()" in said
    assert partitioning.look(TopicPartition("orders", wrong), batch(b"k")) is None
    assert partitioning.look(TopicPartition("users", wrong), batch(b"k")) is not None
    assert partitioning.misplaced == {"orders": 3, "users": 1}


def test_one_key_of_each_later_batch_is_looked_at() -> None:
    partitioning = looking()
    wrong = TopicPartition("orders", Partition((partition_of(b"k", 4) + 1) % 4))
    partitioning.look(wrong, batch(*[b"k"] * 200))
    assert partitioning.misplaced["orders"] == 50
    partitioning.look(wrong, batch(*[b"k"] * 200))
    assert partitioning.misplaced["orders"] == 51


def test_topics_that_meet_no_others_are_free() -> None:
    for partitioning in (looking(meets=False), looking(partitions=1)):
        for partition in range(4):
            source = TopicPartition("orders", Partition(partition))
            assert partitioning.look(source, batch(b"k")) is None
