"""Makes a changelog whole whose records somebody has deleted, from a store that has them all.

It is done by who has the slot's transactional id, before the task begins: nobody else can write the
changelog meanwhile. What is written is what the store holds, so that a crash anywhere, and the same
again, change nothing; the last transaction notes in the ledger that the changelog is whole again.
"""

from collections.abc import Iterator
from itertools import islice

from processor.records import NO_OFFSET, Batch, Offset, RawBatch, Timestamp, TopicPartition
from processor.runtime.commands import Produce, TaskOpened
from processor.state.store import Store
from processor.topology.plan import Plan
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
        if any(self._changelogs(opened)):
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
            for changelog, name in list(self._changelogs(opened)):
                first, store = self._truncated[changelog], opened.stores[name]
                refill(outbox, self._ledger, changelog, store, first, self._channel)
                del self._truncated[changelog]
            yield self._waiting.pop(0)

    def _changelogs(self, opened: TaskOpened) -> Iterator[tuple[TopicPartition, str]]:
        """Those of the task's changelogs that are not whole, with the names of their stores."""
        for name in opened.stores:
            source = TopicPartition(self._plan.changelog(name), opened.task.partition)
            if source in self._truncated:
                yield source, name


def refill(
    outbox: Outbox,
    ledger: Ledger,
    changelog: TopicPartition,
    store: Store,
    first: Offset,
    channel: Channel,
) -> None:
    """Writes all that a store holds to its changelog.

    Args:
        outbox: The slot's, with no transaction open.
        ledger: Where it is noted.
        changelog: The changelog's partition.
        store: The store, which is complete.
        first: Where the changelog begins now.
        channel: For reports.

    Raises:
        Abortable: It has to be done again, after an abort.
        KprocError: It can't be done.
    """
    entries, records = store.scan(), 0
    while chunk := list(islice(entries, _CHUNK)):
        outbox.begin()
        outbox.produce(Produce(changelog.topic, _batch(chunk), changelog.partition))
        outbox.commit()
        records += len(chunk)
    outbox.begin()
    for note in ledger.whole_from(changelog, first):
        outbox.produce(note)
    outbox.commit()
    channel.log("warning", "changelog is made whole", changelog=str(changelog), records=records)


def _batch(entries: list[tuple[bytes, bytes]]) -> RawBatch:
    count, time = len(entries), Timestamp(0)
    keys, values = (list(column) for column in zip(*entries, strict=True))
    return Batch(keys, values, [time] * count, [NO_OFFSET] * count)
