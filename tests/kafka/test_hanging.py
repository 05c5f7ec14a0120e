"""Where Kafka keeps a group's offsets: by Java's hash of its name, as Java computes it."""

import pytest

from processor.kafka.hanging import offsets_partition


@pytest.mark.parametrize(
    ("group", "partition"),
    [
        ("", 0),
        ("a", 97 % 50),
        ("orders", 31),
        ("polygenelubricants", 0),  # the lowest of all hashes has no positive counterpart
    ],
)
def test_partitions_of_groups(group: str, partition: int) -> None:
    assert offsets_partition(group, 50) == partition
