"""Fetching: what a consumer gets, as runs of records, by its own calls or by the native plane.

Either way the consumer is confluent_kafka's, and only its own calls serve its callbacks.
"""

from collections.abc import Collection, Mapping
from typing import Any

from confluent_kafka import Consumer, Message
from confluent_kafka.cimpl import KafkaError as ClientError

from processor.kafka.clients import COMMON
from processor.kafka.messages import Run, Span, bare_batch, raw_batch, runs, spans, split_errors
from processor.native.client import FetchedError, FetchedRun, made
from processor.records import Batch, Partition, TopicPartition


class Fetcher:
    """A consumer, read by its own calls.

    Args:
        consumer: The consumer, of which nobody else asks for records.
        bare: Whether neither timestamps nor headers are needed.
    """

    def __init__(self, consumer: Consumer, *, bare: bool = False) -> None:
        self.consumer = consumer
        self._batch = bare_batch if bare else raw_batch

    def fetch(
        self, limit: int, timeout: float, flowing: Collection[TopicPartition]
    ) -> tuple[list[Run], list[Message]]:
        """What has come, and errors and ends; the consumer's callbacks are called.

        Args:
            limit: Messages at most.
            timeout: Seconds to wait until there are so many.
            flowing: The partitions that records are expected of.
        """
        del flowing
        records, others = split_errors(self.consumer.consume(limit, timeout))
        found = [Run(source, self._batch(run), spans(run)) for source, run in runs(records)]
        return found, others

    def close(self) -> None:
        """Closes the consumer."""
        self.consumer.close()


class NativeFetcher(Fetcher):
    """A consumer whose records come by the native plane, and all else by its own calls.

    A partition's records go into the consumer's own queue until they are taken from it, so that
    what is there comes before what the plane has.

    Args:
        config: Settings of librdkafka.
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        consumer, self._handle = made(Consumer, config)
        super().__init__(consumer)

    def fetch(
        self, limit: int, timeout: float, flowing: Collection[TopicPartition]
    ) -> tuple[list[Run], list[Message]]:
        """As `Fetcher.fetch`."""
        for source in flowing:
            self._handle.take(*source)
        runs, others = super().fetch(limit, 0, flowing)
        left = limit - sum(len(run.records) for run in runs) - len(others)
        if left > 0:
            found, errors = self._handle.fetch(left, int(timeout * 1000))
            runs += map(_run, found)
            others += map(_message, errors)
        return runs, others

    def close(self) -> None:
        """Closes the consumer, which waits for ever for records that somebody holds."""
        self._handle.release()
        super().close()


def fetcher(config: Mapping[str, Any], *, native: bool, bare: bool = False) -> Fetcher:
    """A consumer to fetch with, quiet as all of kproc's clients.

    Args:
        config: Settings of librdkafka.
        native: Whether records come by the native plane, which has to be there.
        bare: Whether neither timestamps nor headers are needed.
    """
    full = {**COMMON, **config}
    return NativeFetcher(full) if native else Fetcher(Consumer(full), bare=bare)


def _run(found: FetchedRun) -> Run:
    topic, partition, keys, values, timestamps, offsets, headers, epochs = found
    source = TopicPartition(topic, Partition(partition))
    records = Batch(keys, values, timestamps, offsets, headers)
    return Run(source, records, list(map(Span._make, epochs)))


def _message(found: FetchedError) -> Message:
    code, text, topic, partition, offset = found
    error: Any = ClientError(code, text)
    return Message(topic=topic, partition=partition, offset=offset, error=error)
