"""What `kproc run --dev` needs besides the run: sample data in topics that are empty.

Knows topologies' samples and topics; the embedded Kafka itself is in `embedded`.
"""

from collections.abc import Iterator

from processor.edges.clients import ClientConfig, create_topic
from processor.edges.transfer import OnProgress, Row, load_once
from processor.errors import UsageError
from processor.topology.topology import SampleData


def load_sample(
    client: ClientConfig, sample: SampleData, partitions: int, on_progress: OnProgress
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
    return load_once(client, sample.topic, _rows(sample), sample.count, on_progress)


def _rows(sample: SampleData) -> Iterator[Row]:
    key, value = sample.key.encode, sample.value.encode
    try:
        for record in sample.records():
            yield Row(
                None if record.key is None else key(record.key),
                None if record.value is None else value(record.value),
                record.timestamp if record.timestamp > 0 else None,
            )
    except Exception as error:
        raise UsageError(
            f"the sample data for {sample.topic} can't be made: {type(error).__name__}: {error}"
        ) from error
