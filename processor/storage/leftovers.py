"""Stores of slots that have moved to other nodes: kept for a while, then removed.

A slot that comes back soon finds its stores and reads only what is missing; later it would hardly
be faster than a restore, and the disk would fill with copies that nobody uses. Knows no clock.
"""

from collections.abc import Callable, Collection
from pathlib import Path
from threading import Thread

from processor.errors import StateError
from processor.storage.state_dir import destroy, has_store, store_directory
from processor.topology.plan import Layout
from processor.topology.slots import slot_partitions

KEPT = 60 * 60.0
"""Seconds without a worker of the slot after which its stores are removed."""

_LOOK = 60.0
"""Seconds between two looks."""


class Leftovers:
    """The stores in a node's folder that it has no worker for.

    Args:
        layout: The plan and the partition counts.
        state_dir: The node's folder.
        report: Called with each store that is removed, and why one can't be.
    """

    def __init__(
        self, layout: Layout, state_dir: Path, report: Callable[[Path, str], None]
    ) -> None:
        self._layout = layout
        self._state_dir = state_dir
        self._report = report
        self._since: dict[int, float] = {}
        self._looked: float | None = None
        self._removing: Thread | None = None

    def look(self, now: float, present: Collection[int]) -> Thread | None:
        """Removes stores of slots that have had no worker for long, beside everything else.

        Args:
            now: Seconds, by a clock that only goes on.
            present: The slots that the node has workers of.

        Returns:
            What removes them, if there is anything to remove.
        """
        for slot in range(self._layout.slots):
            if slot in present:
                self._since.pop(slot, None)
            else:
                self._since.setdefault(slot, now)
        if self._looked is not None and now < self._looked + _LOOK:
            return None
        self._looked = now
        old = [slot for slot, since in self._since.items() if now >= since + KEPT]
        folders = [each for slot in old for each in self._folders(slot) if has_store(each)]
        if not folders or (self._removing is not None and self._removing.is_alive()):
            return None
        self._removing = Thread(target=self._remove, args=(folders,), daemon=True)
        self._removing.start()
        return self._removing

    def _folders(self, slot: int) -> list[Path]:
        layout, application = self._layout, self._layout.plan.application
        own = slot_partitions(slot, layout.slots, layout.partitions)
        stores = {
            (spec.name, task.partition)
            for task in map(layout.task_of, own)
            for spec in layout.plan.subtopologies[task.subtopology].stores
        }
        stores |= {(table.store.name, slot) for table in layout.plan.global_tables}
        return [store_directory(self._state_dir, application, *each) for each in sorted(stores)]

    def _remove(self, folders: list[Path]) -> None:
        for folder in folders:
            try:
                destroy(folder)  # a worker that has started meanwhile has its lock
            except StateError as error:
                self._report(folder, str(error))
            else:
                self._report(folder, "")
