"""The line between the nodes of an application: the slots topic, written and read.

Owns the clients and the thread that reads. What the beats mean is `cluster`'s business.
"""

import contextlib
import os
from collections.abc import Iterator
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any

import msgspec
from confluent_kafka import Consumer, KafkaException, Message, Producer
from confluent_kafka import TopicPartition as ClientPartition
from confluent_kafka.cimpl import KafkaError as ClientError

from processor.cluster.beats import Beat
from processor.kafka.clients import (
    COMMON,
    PASSING,
    ClientConfig,
    connect,
    partitions_of,
    translated,
    watermarks,
)
from processor.records import Timestamp

_HISTORY = 1000
"""Records before the end that are read at first: what the nodes that live have said lately."""

_SWIFT: ClientConfig = {
    # A connection that is cut without a word, as by a network that fails, is given up in seconds.
    "socket.timeout.ms": 3000,
    "socket.connection.setup.timeout.ms": 3000,
    "reconnect.backoff.ms": 20,
    "reconnect.backoff.max.ms": 200,
}
_READER: ClientConfig = {
    **_SWIFT,
    "enable.auto.commit": False,
    "enable.partition.eof": True,
    "auto.offset.reset": "earliest",  # what retention has deleted is of no interest
    "fetch.error.backoff.ms": 50,
}
_WRITER: ClientConfig = {
    **_SWIFT,
    "request.timeout.ms": 2000,
    "linger.ms": 0,
    # Keeps the order without a producer id, which takes half a second to get.
    "max.in.flight.requests.per.connection": 1,
    "message.timeout.ms": 5000,
}
_ENCODER = msgspec.json.Encoder()
_DECODER = msgspec.json.Decoder(Beat)


class BeatsReader:
    """Reads the slots topic in order, from some records before its end.

    Args:
        client: librdkafka settings.
        topic: The slots topic.

    Raises:
        KprocError: The topic is not there, or no broker answers.
    """

    def __init__(self, client: ClientConfig, topic: str) -> None:
        group = {"group.id": topic}  # never joined, but the client wants one, and looks for it
        self._consumer = Consumer({**COMMON, **_READER, **client, **group})
        self.passing: list[str] = []
        """What went wrong, and resolves itself or concerns one record."""
        partitions_of(client, topic, self._consumer)
        first, end = watermarks(self._consumer, ClientPartition(topic, 0))
        self._consumer.assign([ClientPartition(topic, 0, max(first, end - _HISTORY))])

    def read(self, timeout: float) -> list[tuple[Beat, Timestamp]]:
        """The next beats with the broker's times; waits up to `timeout` seconds for the first.

        Raises:
            KprocError: The topic can't be read any more.
        """
        found = self._consumer.consume(1, timeout)
        return list(self._beats([*found, *self._consumer.consume(_HISTORY, 0)] if found else []))

    def close(self) -> None:
        """Ends the client."""
        self._consumer.close()

    def _beats(self, messages: list[Message]) -> Iterator[tuple[Beat, Timestamp]]:
        for message in messages:
            error: Any = message.error()
            if error is None:
                try:
                    beat = _DECODER.decode(message.value() or b"")
                except msgspec.DecodeError as problem:
                    self.passing.append(f"{message.topic()} {message.offset()}: {problem}")
                else:
                    yield beat, Timestamp(message.timestamp()[1])
            elif error.code() in PASSING:
                self.passing.append(f"{error.name()}: {error.str()}")
            elif error.code() != ClientError._PARTITION_EOF:  # noqa: SLF001 - its public name
                raise translated(error, f"read {message.topic()}")


class SlotsTopic:
    """A node's place at the slots topic.

    Args:
        client: librdkafka settings.
        topic: The slots topic.

    Raises:
        KprocError: The topic is not there, or no broker answers.
    """

    def __init__(self, client: ClientConfig, topic: str) -> None:
        self._topic = topic
        self._producer = Producer({**COMMON, **_WRITER, **client, "on_delivery": self._delivered})
        connect(self._producer, [topic])
        self._reader = BeatsReader(client, topic)
        self._heard: SimpleQueue[list[tuple[Beat, Timestamp]] | Exception] = SimpleQueue()
        self._woken, self._wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._passing: list[str] = []
        self._closed = False
        self._thread = Thread(target=self._run, name="slots-topic", daemon=True)
        self._thread.start()

    def fileno(self) -> int:
        """A descriptor that is readable when there is something to `read`."""
        return self._woken

    def write(self, beat: Beat) -> None:
        """Sends a beat to the other nodes; what does not arrive in some seconds is given up.

        Raises:
            KafkaError: The broker refuses it for good.
        """
        try:
            self._producer.produce(self._topic, _ENCODER.encode(beat), beat.node, 0)
        except BufferError:
            self._passing.append("no broker takes heartbeats")
        except KafkaException as error:
            raise translated(error, f"write {self._topic}") from error
        self._producer.poll(0)

    def read(self) -> list[tuple[Beat, Timestamp]]:
        """The beats that have come meanwhile, one's own too, in order, with the broker's times.

        Raises:
            KprocError: The topic can't be read any more.
        """
        with contextlib.suppress(BlockingIOError):
            os.read(self._woken, 4096)
        beats: list[tuple[Beat, Timestamp]] = []
        with contextlib.suppress(Empty):
            while True:
                found = self._heard.get_nowait()
                if isinstance(found, Exception):
                    raise found
                beats += found
        return beats

    def passing(self) -> list[str]:
        """What went wrong lately and resolves itself, to be reported."""
        reported = self._passing + self._reader.passing
        self._passing, self._reader.passing = [], []
        return reported

    def close(self) -> None:
        """Sends what is still to be sent, and ends the clients."""
        self._producer.flush(2)
        self._closed = True
        self._thread.join()
        os.close(self._woken)
        os.close(self._wake)

    def _delivered(self, error: Any, _message: Message) -> None:
        if error is not None:
            self._passing.append(f"a heartbeat did not arrive: {error.str()}")

    def _run(self) -> None:
        try:
            while not self._closed:
                beats = self._reader.read(0.2)
                if beats:
                    self._report(beats)
        except Exception as error:  # noqa: BLE001 - the node's loop raises it
            self._report(error)
        finally:
            self._reader.close()

    def _report(self, found: list[tuple[Beat, Timestamp]] | Exception) -> None:
        self._heard.put(found)
        with contextlib.suppress(BlockingIOError):  # full of wake-ups
            os.write(self._wake, b".")
