"""What a worker knows of its checkpoints."""

from dataclasses import dataclass, field

from processor.records import TopicPartition
from processor.runtime.commands import Position


@dataclass(slots=True)
class Checkpoints:
    """What is uncommitted, and when the last checkpoint was."""

    begun: bool = False  # a transaction is open
    moved: bool = False  # positions have moved on
    under_way: bool = False
    elapsed: int = 0
    purged: int = 0
    persisted: int = 0
    done: int = 0
    positions: dict[TopicPartition, Position] = field(
        default_factory=dict[TopicPartition, Position]
    )
    """The committed ones."""
