"""What another number of slots, or of an input's partitions, means for an application.

Pure: worked out from partition counts alone. State is kept by task, and a task is one partition, so
that slots can change without any key moving; `topology.plan.check_existing` says when inputs can.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from processor.topology.plan import Layout, TaskId
from processor.topology.slots import slot_name, slot_partitions


@dataclass(frozen=True)
class Rescaling:
    """From one layout of an application to another.

    Attributes:
        before: As it is.
        after: As it shall be.
    """

    before: Layout
    after: Layout

    @cached_property
    def shares(self) -> tuple[tuple[frozenset[TaskId], frozenset[TaskId]], ...]:
        """The tasks of each slot, before and after; of all slots that there are or shall be."""
        most = range(max(self.before.slots, self.after.slots))
        return tuple((_share(self.before, slot), _share(self.after, slot)) for slot in most)

    @property
    def grown(self) -> Mapping[str, tuple[int, int]]:
        """Topic → its numbers of partitions, of those that change."""
        counts = {
            topic: (self.before.partitions[topic], count)
            for topic, count in self.after.partitions.items()
        }
        return {topic: (old, new) for topic, (old, new) in counts.items() if old != new}

    @property
    def moved(self) -> frozenset[TaskId]:
        """The tasks that another slot has afterwards."""
        return frozenset(
            task for before, after in self.shares for task in before & self._tasks - after
        )

    @property
    def new(self) -> frozenset[TaskId]:
        """The tasks that there were not before."""
        return self._tasks.difference(self.before.tasks)

    @property
    def idle(self) -> tuple[int, ...]:
        """The slots that have nothing to do afterwards."""
        after = enumerate(share for _, share in self.shares)
        return tuple(slot for slot, share in after if slot < self.after.slots and not share)

    @property
    def uneven(self) -> tuple[int, int] | None:
        """The least and the most tasks that slots have afterwards, if that is not the same."""
        sizes = [len(share) for _, share in self.shares[: self.after.slots]]
        least, most = min(sizes), max(sizes)
        return None if least == most else (least, most)

    def retired(self, member: str) -> bool:
        """Whether a member of the group, by its `group.instance.id`, may not be in it any more.

        As long as the group waits for one to come back that is no slot any more, it keeps
        partitions for it; as long as there is any, nobody else can commit what new partitions
        begin with.
        """
        if self.grown:
            return True
        name, slots = self.after.plan.application, self.after.slots
        return member not in {slot_name(name, slot, slots) for slot in range(slots)}

    @cached_property
    def _tasks(self) -> frozenset[TaskId]:
        return frozenset(self.after.tasks)


def _share(layout: Layout, slot: int) -> frozenset[TaskId]:
    if slot >= layout.slots:
        return frozenset()
    sources = slot_partitions(slot, layout.slots, layout.partitions)
    return frozenset(map(layout.task_of, sources))
