"""SlotHost: what a slot holds of Kafka and the disk, and what its core has done with that.

Owns the slot's clients, its opener of tasks and the threads that ask brokers beside the loop. Which
command comes when is the core's business, and what follows from a failure is the loop's.
"""

import time
from collections.abc import Mapping

from processor.errors import KprocError
from processor.kafka.clients import admin_client
from processor.kafka.fetching import fetcher
from processor.kafka.registry import Registry
from processor.records import Offset, TopicPartition
from processor.runtime.commands import (
    Aborted,
    Committed,
    LookAtEnds,
    LookAtOthers,
    Persist,
    Position,
    Produce,
    TaskOpened,
)
from processor.serdes import SchemasMissing
from processor.topology.plan import Layout, StoreId, TaskId
from processor.worker.channel import Channel
from processor.worker.deletions import Deletions
from processor.worker.downloads import Downloads
from processor.worker.effort import Effort
from processor.worker.ends import EndsReader
from processor.worker.epochs import Epochs
from processor.worker.follower import follower
from processor.worker.inbox import Inbox
from processor.worker.ledger import Ledger
from processor.worker.opener import Readers, TaskOpener
from processor.worker.outbox import Outbox, PlainOutbox, TransactionalOutbox
from processor.worker.purger import Purger
from processor.worker.spec import WorkerSpec
from processor.worker.stores import StoreOpener


class SlotHost:
    """The host of a slot's core, see `runtime.host`.

    Args:
        spec: The slot's work.
        layout: The plan and the partition counts.
        channel: To the supervisor.
        stores: Where stores are opened.
        effort: What the loop has done; what waits for brokers is no work.
    """

    def __init__(
        self,
        spec: WorkerSpec,
        layout: Layout,
        channel: Channel,
        stores: StoreOpener,
        effort: Effort,
    ) -> None:
        self._spec, self._layout, self._channel = spec, layout, channel
        self._stores, self._effort = stores, effort
        self._epochs = Epochs()
        self.admin = admin_client(spec.clients.kafka)
        self.ledger = Ledger(spec, layout.plan.ledger_topic)
        readers = Readers(self.admin, follower(spec, channel), self.ledger, self._downloads())
        self.opener = TaskOpener(spec, layout, stores, readers, channel, self._epochs)
        self.inbox = self._make_inbox()
        self.deletions = Deletions(spec, layout)
        self.outbox = self._make_outbox()
        self._purger = Purger(spec.clients.kafka, channel)
        self.ends = EndsReader(spec.clients.kafka, spec.application, channel)
        self.registry = Registry(spec.clients.schema_registry)
        self.rewound = False
        """Whether `fetch` has set positions since somebody has cleared this."""
        self.finished = False
        self.commit_seconds = 0.0

    def join_again(self) -> None:
        """Joins the group with a new consumer, in place of one that the group does not know."""
        self.inbox.close()
        self.inbox = self._make_inbox()
        self.outbox.use(self.inbox.consumer)
        self.inbox.subscribe()

    def open_task(self, task: TaskId) -> TaskOpened | None:
        """Has the opener's thread open it; that is reported later."""
        self.opener.open(task)
        return None

    def close_task(self, task: TaskId) -> None:
        """Flushes and closes the task's stores."""
        part = self._layout.plan.subtopologies[task.subtopology]
        for spec in part.stores:
            self._stores.close(StoreId(spec.name, task.partition))

    def fetch(self, offsets: Mapping[TopicPartition, Offset]) -> None:
        """Fetches from there on."""
        self.rewound = True
        self.inbox.fetch(offsets)

    def pause(self, sources: frozenset[TopicPartition]) -> None:
        """Fetches no more of these for now."""
        self.inbox.pause(sources)

    def begin(self) -> None:
        """Begins a transaction."""
        self.outbox.begin()

    def produce(self, command: Produce) -> None:
        """Writes records."""
        self.outbox.produce(command)

    def send_offsets(self, positions: Mapping[TopicPartition, Position]) -> None:
        """Makes positions part of the transaction."""
        with self._effort.waiting():
            self.outbox.send_offsets(positions)

    def commit(self) -> Committed:
        """Commits."""
        began = time.monotonic()
        with self._effort.waiting():
            written = self.outbox.commit()
        self.commit_seconds += time.monotonic() - began
        return Committed(written)

    def abort(self) -> Aborted:
        """Aborts."""
        with self._effort.waiting():
            self.outbox.abort()
        return Aborted()

    def persist(self, command: Persist) -> None:
        """Writes committed changes to a store."""
        self._stores.stores[command.store].write(command.changes, command.position)

    def purge(self, offsets: Mapping[TopicPartition, Offset]) -> None:
        """Has records deleted that nobody needs."""
        self._purger.purge(offsets)

    def look_up(self, missing: SchemasMissing) -> None:
        """Asks the schema registry."""
        self.registry.answer(missing)

    def look_at_ends(self, command: LookAtEnds) -> None:
        """Asks in a thread, whose answers the loop fetches."""
        self.ends.ask(command)

    def look_at_others(self, command: LookAtOthers) -> None:
        """Asks in a thread, whose answers the loop fetches."""
        self.ends.ask(command)

    def finish(self, error: KprocError | None) -> None:
        """Ends the loop; with an error by raising it."""
        self.finished = True
        if error is not None:
            raise error

    def _downloads(self) -> Downloads | None:
        spec = self._spec
        if spec.snapshots is None:
            return None
        return Downloads(spec.snapshots.url, spec.application, self._stores, self._channel)

    def _make_inbox(self) -> Inbox:
        spec, aside = self._spec, self._layout.plan.slots_topic
        fetching = fetcher(spec.input_config(), native=spec.native)
        return Inbox(fetching, list(spec.partitions), spec.own, aside, self._epochs)

    def _make_outbox(self) -> Outbox:
        spec, consumer = self._spec, self.inbox.consumer
        plan = self._layout.plan
        topics = {*plan.outputs, *plan.internal, plan.dead_letters}
        if not spec.exactly_once:
            return PlainOutbox(
                spec.output_config(),
                consumer,
                self._epochs,
                self.ledger.records,
                topics,
                native=spec.native,
                meanwhile=self.deletions.look,
            )
        return TransactionalOutbox(
            spec.output_config(),
            consumer,
            self._epochs,
            lambda text: self._channel.log_seldom("transaction", text),
            self.ledger.records,
            topics,
            native=spec.native,
            meanwhile=self.deletions.look,
        )
