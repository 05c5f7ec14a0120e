"""What is asked of the broker about offsets."""

from pathlib import Path
from typing import Any

import pytest
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._listoffsets import OffsetSpec

from processor.errors import TopicMismatch
from processor.kafka.clients import create_topic
from processor.kafka.progress import list_offsets
from processor.local.embedded import EmbeddedKafka
from processor.records import Offset, Partition, TopicPartition


@pytest.mark.kafka
def test_offsets_are_reported_after_the_broker_was_restarted(tmp_path: Path) -> None:
    source = TopicPartition("topic", Partition(0))
    with EmbeddedKafka.start(tmp_path, port=0) as first:
        client: dict[str, Any] = {"bootstrap.servers": first.bootstrap, "log_level": 0}
        create_topic(client, "topic", 1)
        admin: Any = AdminClient(client)
        assert list_offsets(admin, [source], OffsetSpec.latest()) == {source: Offset(0)}
    with EmbeddedKafka.start(tmp_path, port=first.port):
        assert list_offsets(admin, [source], OffsetSpec.latest()) == {source: Offset(0)}


@pytest.mark.kafka
@pytest.mark.parametrize("beside", [True, False], ids=["beside another", "alone"])
def test_a_topic_that_is_gone_is_reported(kafka: str, topic_name: str, *, beside: bool) -> None:
    client: dict[str, Any] = {"bootstrap.servers": kafka}
    create_topic(client, topic_name, 1)
    names = [f"{topic_name}-gone", *([topic_name] if beside else [])]
    asked = [TopicPartition(each, Partition(0)) for each in names]
    admin: Any = AdminClient(client)
    with pytest.raises(TopicMismatch, match="create the topic first"):
        list_offsets(admin, asked, OffsetSpec.latest())
