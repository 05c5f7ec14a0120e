"""Slots: which partitions belong to which, as a pure function of their number.

This is what the `range` assignor gives to N static members whose ids sort in
the order of their slots, worked out without asking.
"""

from collections.abc import Mapping

from processor.records import Partition, TopicPartition


def slot_name(application: str, slot: int, slots: int) -> str:
    """The `group.instance.id` and `transactional.id` of a slot: `orders-03`.

    All names of one application are equally long, so that they sort by number.
    """
    width = max(2, len(str(slots - 1)))
    return f"{application}-{slot:0{width}}"


def slot_partitions(
    slot: int, slots: int, partitions: Mapping[str, int]
) -> frozenset[TopicPartition]:
    """The partitions of a slot: of each topic a range, one longer for the first ones if need be."""
    mine: set[TopicPartition] = set()
    for topic, count in partitions.items():
        share, longer = divmod(count, slots)
        first = slot * share + min(slot, longer)
        last = first + share + (1 if slot < longer else 0)
        mine |= {TopicPartition(topic, Partition(number)) for number in range(first, last)}
    return frozenset(mine)
