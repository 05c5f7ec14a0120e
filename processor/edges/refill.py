"""Makes a changelog whole whose records somebody has deleted, from a store that has them all.

It is done by who has the slot's transactional id, before the task begins: nobody else can write the
changelog meanwhile. What is written is what the store holds, so that a crash anywhere, and the same
again, change nothing; the last transaction has the mark that the changelog is whole again.
"""

from itertools import islice

from processor.edges.channel import Channel
from processor.edges.ledger import Ledger
from processor.edges.outbox import Outbox
from processor.records import NO_OFFSET, Batch, Offset, RawBatch, Timestamp, TopicPartition
from processor.runtime.commands import Produce
from processor.state.store import Store

_CHUNK = 10_000
"""Records in one transaction."""


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
        channel: To tell.

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
    for mark in ledger.whole_from(changelog, first):
        outbox.produce(mark)
    outbox.commit()
    channel.log("warning", "changelog is made whole", changelog=str(changelog), records=records)


def _batch(entries: list[tuple[bytes, bytes]]) -> RawBatch:
    count, time = len(entries), Timestamp(0)
    keys, values = (list(column) for column in zip(*entries, strict=True))
    return Batch(keys, values, [time] * count, [NO_OFFSET] * count)
