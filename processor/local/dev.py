"""What `kproc run --dev` needs besides the run: a Kafka that stays, and sample data in its topics.

The embedded Kafka itself is in `embedded`; here it is known whose it is. Each run that starts one
notes that in the file `owner`: a run that is killed takes its Kafka with it, but a moment later.
"""

import os
from collections.abc import Iterator
from pathlib import Path

import psutil

from processor.errors import KprocError, UsageError
from processor.kafka.clients import ClientConfig, create_topic
from processor.kafka.registry import Registry
from processor.kafka.transfer import OnProgress, Row, load_once
from processor.local.embedded import EmbeddedKafka, running
from processor.topology.topology import SampleData

_PATIENCE = 30.0


def lasting_kafka(data_dir: Path) -> EmbeddedKafka | None:
    """The Kafka that runs on a folder; one whose run was killed is ending, and waited for."""
    kafka = running(data_dir)
    if kafka is None or not _is_orphan(kafka):
        return kafka
    if not kafka.wait(_PATIENCE):
        kafka.kill()
    return None


def own(kafka: EmbeddedKafka) -> None:
    """Notes that this process has started it."""
    _owner_file(kafka).write_text(f"{kafka.pid} {os.getpid()}")


def _is_orphan(kafka: EmbeddedKafka) -> bool:
    """Whether a run has started it that is gone."""
    try:
        pid, owner = map(int, _owner_file(kafka).read_text().split())
    except (FileNotFoundError, ValueError):
        return False
    return pid == kafka.pid and not psutil.pid_exists(owner)


def _owner_file(kafka: EmbeddedKafka) -> Path:
    return kafka.data_dir / "owner"


def load_sample(
    client: ClientConfig,
    sample: SampleData,
    registry: Registry,
    partitions: int,
    on_progress: OnProgress,
) -> int:
    """Writes sample data to its topic, all or nothing, unless there are records; makes the topic.

    Returns:
        How many records were written.

    Raises:
        UsageError: The topology's function for it failed.
        KafkaError: It could not be written.
    """
    on_progress(0, sample.count)
    create_topic(client, sample.topic, partitions)
    return load_once(client, sample.topic, sample_rows(sample, registry), sample.count, on_progress)


def sample_rows(sample: SampleData, registry: Registry) -> Iterator[Row]:
    """The records of sample data, encoded.

    Args:
        sample: What gives them.
        registry: Is asked for the schemas that they need.

    Raises:
        UsageError: The topology's function for it failed.
        KprocError: The registry does not answer, or refuses.
    """
    key, value = registry.asking(sample.key).encode, registry.asking(sample.value).encode
    try:
        for record in sample.records():
            yield Row(
                None if record.key is None else key(record.key),
                None if record.value is None else value(record.value),
                record.timestamp if record.timestamp > 0 else None,
            )
    except KprocError:
        raise
    except Exception as error:
        raise UsageError(
            f"the sample data for {sample.topic} can't be made: {type(error).__name__}: {error}"
        ) from error
