"""Makes a changelog whole whose records somebody has deleted, from a store that has them all.

It is done by who has the slot's transactional id, before the task begins: nobody else can write the
changelog meanwhile. What is written is what the store holds, so that a crash anywhere, and the same
again, change nothing; the last transaction notes in the ledger that the changelog is whole again.
"""

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import islice

from processor.records import NO_OFFSET, Batch, Offset, RawBatch, Timestamp, TopicPartition
from processor.runtime.commands import Produce, TaskOpened
from processor.state.store import Store
from processor.topology.plan import Plan, StoreId
from processor.worker.channel import Channel
from processor.worker.ledger import Ledger
from processor.worker.outbox import Outbox

_CHUNK = 10_000
"""Records in one transaction."""


class Refills:
    """The tasks that have to wait until changelogs of their stores are whole.

    Args:
        plan: The topology's.
        truncated: Changelogs that are not whole, and where they begin now.
        ledger: Where it is noted that they are.
        channel: For reports.
    """

    def __init__(
        self,
        plan: Plan,
        truncated: dict[TopicPartition, Offset],
        ledger: Ledger,
        channel: Channel,
    ) -> None:
        self._plan = plan
        self._truncated = truncated
        self._ledger = ledger
        self._channel = channel
        self._waiting: list[TaskOpened] = []

    def holds(self, opened: TaskOpened) -> bool:
        """Whether a task that is ready has to wait; `filled` gives it later."""
        if any(self._truncated_of(opened)):
            self._waiting.append(opened)
            return True
        return False

    def filled(self, outbox: Outbox) -> Iterator[TaskOpened]:
        """Makes changelogs whole, as long as no transaction is open, and gives their tasks.

        Raises:
            Abortable: It has to be done again, after an abort.
            KprocError: It can't be done.
        """
        while self._waiting and not outbox.is_open:
            opened = self._waiting[0]
            for store in list(self._truncated_of(opened)):
                changelog = self._changelog(store)
                whole = partial(self._ledger.whole_from, changelog, self._truncated[changelog])
                records = refill(outbox, opened.stores[store.name], store, changelog.topic, whole)
                del self._truncated[changelog]
                self._channel.log(
                    "warning",
                    "changelog is made whole",
                    changelog=str(changelog),
                    records=records,
                )
            yield self._waiting.pop(0)

    def _truncated_of(self, opened: TaskOpened) -> Iterator[StoreId]:
        """The task's stores whose changelogs are not whole."""
        for name in opened.stores:
            store = StoreId(name, opened.task.partition)
            if self._changelog(store) in self._truncated:
                yield store

    def _changelog(self, store: StoreId) -> TopicPartition:
        return TopicPartition(self._plan.changelog(store.name), store.partition)


def refill(
    outbox: Outbox,
    store: Store,
    store_id: StoreId,
    changelog: str,
    whole: Callable[[], Iterable[Produce]],
) -> int:
    """Writes all that a store holds to its changelog, and notes that the store has seen that.

    Args:
        outbox: The slot's, with no transaction open.
        store: The store, which is complete.
        store_id: Which one it is.
        changelog: The changelog's topic.
        whole: What notes in the ledger that the changelog is whole.

    Returns:
        How many records were written.

    Raises:
        Abortable: It has to be done again, after an abort.
        KprocError: It can't be done.
    """
    entries, records, written = store.scan(), 0, dict[StoreId, Offset]()
    while chunk := list(islice(entries, _CHUNK)):
        outbox.begin()
        outbox.produce(Produce(changelog, _batch(chunk), store_id.partition, store_id))
        written |= outbox.commit()
        records += len(chunk)
    outbox.begin()
    for note in whole():
        outbox.produce(note)
    outbox.commit()
    # At once: records may be deleted again before the store changes, and it has them all.
    for last in written.values():
        store.write({}, Offset(last + 1))
        store.flush()
    return records


def _batch(entries: list[tuple[bytes, bytes]]) -> RawBatch:
    count, time = len(entries), Timestamp(0)
    keys, values = (list(column) for column in zip(*entries, strict=True))
    return Batch(keys, values, [time] * count, [NO_OFFSET] * count)
