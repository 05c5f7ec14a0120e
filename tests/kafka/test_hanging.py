"""Where Kafka keeps a group's offsets, by Java's hash of its name, and whose a record there is."""

import pytest

from processor.kafka.hanging import committed_by, offsets_partition


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


@pytest.mark.parametrize(
    ("key", "whose"),
    [
        (b"\0\0\0\3app\0\2in\0\0\0\5", ("app", "in", 5)),
        (b"\0\1\0\5caf\xc3\xa9\0\2in\0\0\1\0", ("caf\xe9", "in", 256)),
        (b"\0\2\0\3app", None),  # the members of a group
        (b"\0\3\0\3app", None),
    ],
)
def test_whose_offset_a_record_has(key: bytes, whose: tuple[str, str, int] | None) -> None:
    assert committed_by(key) == whose
