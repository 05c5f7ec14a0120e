"""A fetcher that gives what a test has put there, without a broker."""

from collections.abc import Collection
from typing import Generic, TypeVar

from confluent_kafka import Message

from processor.kafka.messages import Run
from processor.records import TopicPartition

C = TypeVar("C")


class Fetching(Generic[C]):
    """Gives once what the test has put there.

    Attributes:
        consumer: The client that it stands beside.
        runs: Records to give.
        others: Errors and ends to give.
        closed: Whether it was closed.
    """

    def __init__(self, consumer: C) -> None:
        self.consumer = consumer
        self.runs: list[Run] = []
        self.others: list[Message] = []
        self.closed = False

    def fetch(
        self, _limit: int, _timeout: float, _flowing: Collection[TopicPartition]
    ) -> tuple[list[Run], list[Message]]:
        """What there is, which is gone then."""
        runs, others = self.runs, self.others
        self.runs, self.others = [], []
        return runs, others

    def close(self) -> None:
        """Notes that it was closed."""
        self.closed = True
