"""Purger: deletes records of repartition topics that everyone who needed them has committed."""

from collections.abc import Mapping
from concurrent.futures import Future
from functools import cached_property
from typing import Any

from confluent_kafka import TopicPartition as ClientPartition

from processor.kafka.clients import ClientConfig, admin_client
from processor.records import Offset, TopicPartition
from processor.worker.channel import Channel


class Purger:
    """Asks for deletions, and reports those that fail.

    Args:
        config: Settings of librdkafka.
        channel: For reports.
    """

    def __init__(self, config: ClientConfig, channel: Channel) -> None:
        self._config = config
        self._channel = channel

    def purge(self, offsets: Mapping[TopicPartition, Offset]) -> None:
        """Has the records before these offsets deleted; those that stay are purged the next time.

        It is not waited for.
        """
        before = [ClientPartition(*source, offset) for source, offset in offsets.items()]
        for future in self._admin.delete_records(before).values():
            future.add_done_callback(self._note)

    @cached_property
    def _admin(self) -> Any:
        # Kept: a client that is let go of gives up what it was asked for.
        return admin_client(self._config)

    def _note(self, purged: "Future[object]") -> None:
        if (error := purged.exception()) is not None:
            self._channel.log_seldom("purge failed", str(error))
