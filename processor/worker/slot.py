"""Slot: the loop of a worker process. Gives the core what happens and carries out what it answers.

    fetch → events → core → commands → Kafka and disk

One thread does all of this; only opening and restoring tasks goes on beside it, and reporting.

A backup holds everything that a primary does, its clients connected, and has its stores follow
their changelogs; it is no member of the group and has no transactional id yet. To adopt the slot,
which each primary begins with, is to

1. fence: `init_transactions` aborts what a predecessor left open, and fences it;
2. join: the group hands a static member's partitions over, and fences its predecessor there (all
   the fencing there is without transactions); meanwhile
3. catch up: replay the changelogs up to their ends as they are now, go on from what is committed.

Who has the transactional id has the slot. A worker that has it, and is fenced in the group by
another that had lost it but joined later, joins again.
"""

import gc
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from threading import Event as Signal
from typing import Any

from confluent_kafka import KafkaException

from processor.errors import (
    BrokerUnreachable,
    Fenced,
    Interrupted,
    KprocError,
    MembershipTimedOut,
    StateError,
    StoreCorrupt,
    TopicMismatch,
    TransactionTimedOut,
)
from processor.kafka.changelogs import changelog_id
from processor.kafka.description import check_current, read_description
from processor.kafka.registry import prepare
from processor.records import Offset, Timestamp, TopicPartition
from processor.runtime.commands import (
    Assigned,
    Command,
    CommitFailed,
    Committed,
    Event,
    Fetched,
    InputEnded,
    Lost,
    ReachedEnd,
    Stop,
    Tick,
    Turn,
)
from processor.runtime.host import carry_out
from processor.runtime.partitioning import Partitioning
from processor.runtime.worker import Worker
from processor.topology.plan import Layout, Plan, TaskId
from processor.topology.slots import slot_partitions
from processor.worker.aborts import Aborts
from processor.worker.adoption import Adoption, Step
from processor.worker.channel import ADOPTED, BadRecords, Channel, Lateness, Reading, Spent, Status
from processor.worker.effort import Effort, Size, cpu_seconds, starved_seconds
from processor.worker.global_tables import GlobalTables
from processor.worker.host import SlotHost
from processor.worker.inbox import ADMITTED, check_partitions
from processor.worker.obstacles import Obstacles
from processor.worker.outbox import Abortable, TransactionalOutbox
from processor.worker.queries import OpenStores, answerer
from processor.worker.refill import Refills
from processor.worker.reporter import Reporter
from processor.worker.snapshots import Snapshots
from processor.worker.spec import WorkerSpec
from processor.worker.stores import StoreOpener

_POLL = 0.02
"""Seconds that a poll waits for a full batch; it bounds what waiting adds to latency."""

_SHORT_POLL = 0.005
"""The same while the slot is adopted."""

_STAND_BY = 0.1
"""Seconds after which a backup looks whether something failed."""

_SEARCHED = 16
"""Records at once while it is found out which of them Kafka refuses, one by one."""

_LONG = 0.05
"""Seconds of work in a turn after which the clock is looked at again."""

_SLOW = 1.0
"""Seconds from which on a step is what took long."""

_LONGEST = 500
"""Characters of an error's text in the log: it may quote a record."""

_LONG_HOLD = 2_000
"""Milliseconds for which the time of a task is held back before that is reported."""

_WARM_SECONDS = 60.0
"""Seconds after which a backup uses its connections: brokers close them after some idle minutes."""


class Slot:
    """Everything that one slot holds, and its loop.

    Args:
        spec: The slot's work.
        plan: The topology's plan.
        channel: To the supervisor.
    """

    def __init__(self, spec: WorkerSpec, plan: Plan, channel: Channel) -> None:
        self._spec = spec
        self._channel = channel
        self._layout = Layout(plan, spec.partitions)
        first = Status(spec.slot, "starting", role=spec.role)
        self._reporter = Reporter(channel, first, spec.stuck_after / 1000 or None)
        self._stores = StoreOpener(spec, channel)
        self._tables = GlobalTables(spec, plan, self._stores, channel)
        self._effort = Effort(spec.max_batch, suspects=spec.suspects)
        self._host = SlotHost(spec, self._layout, channel, self._stores, self._effort)
        self._opener = self._host.opener
        self._refills = Refills(plan, self._opener.truncated, self._host.ledger, channel)
        self._obstacles = Obstacles(spec, channel)
        self._lost_to: KprocError | None = None
        self._worker = Worker(self._layout, spec.own, spec.options, self._effort.entered)
        self._partitioning = Partitioning(self._layout)
        opened = OpenStores(
            self._layout, lambda: self._worker.tasks, self._stores, self._opener, self._tables
        )
        self.answerer = answerer(spec, self._layout, opened)
        """Answers queries, from any thread."""
        self._snapshots = self._take_snapshots()
        self._news = Signal()  # that there is something to be done
        self._adopt_asked = spec.role == "primary"
        self._adoption: Adoption | None = None
        self._stop_asked = self._stop_passed_on = False
        self._ended: frozenset[str] = frozenset()
        self._aborts = Aborts(channel)
        self._size = Size(self._stores.folders)
        self._fetched = Counter[str]()

    def stop(self) -> None:
        """Asks the loop to finish; may be called from a signal handler or another thread."""
        self._stop_asked = True
        self._news.set()

    def adopt(self) -> None:
        """Has a backup take the slot over; may be called from another thread."""
        self._adopt_asked = True
        self._news.set()

    def end_input(self, topics: frozenset[str]) -> None:
        """Has what waits for more in these topics reported; may be called from another thread."""
        self._ended = topics

    def run(self) -> None:
        """Works until it is asked to stop.

        Raises:
            KprocError: It has to end for another reason.
        """
        gc.collect()
        gc.freeze()  # what is loaded by now stays: no collection need look at it again
        try:
            report = partial(self._channel.log_seldom, "schema registry")
            prepare(self._layout.plan, self._host.registry, report)
            self._stand_by()
            if not self._stop_asked:
                self._adopt()
                while not self._host.finished:
                    self._turn()
        except StoreCorrupt as error:
            self._stores.drop(error)
            raise Interrupted(f"a store is dropped and will be restored: {error}") from error
        except BrokerUnreachable as error:
            raise Interrupted(str(error)) from error
        except (TopicMismatch, StateError) as error:
            self._host.deletions.explain(error)
            raise
        except TransactionTimedOut as error:
            raise TransactionTimedOut(f"{error}. {self._slowest()}", self._suspects) from error
        finally:
            self._host.outbox.close()
            self._close()

    def _stand_by(self) -> None:
        """Waits as a backup until the slot is to be adopted, or all is to end."""
        warmed = 0.0
        while not (self._adopt_asked or self._stop_asked):
            if time.monotonic() - warmed >= _WARM_SECONDS:
                self._connect()
                warmed = time.monotonic()
            self._opener.opened()  # raises what went wrong there
            self._tables.is_ready()  # likewise
            self._host.inbox.poll(1, 0)
            self._report()
            self._news.wait(_STAND_BY)

    def _connect(self) -> None:
        """Has the clients connected, which takes a moment that nobody waits for now."""
        try:
            self._host.inbox.connect()
            self._host.outbox.connect()
        except KprocError as error:
            self._channel.log_seldom("kafka", str(error))

    def _adopt(self) -> None:
        adoption = self._adoption = Adoption()
        self._opener.hurry()
        self._report(now=True)
        self._check_current()
        if isinstance(self._host.outbox, TransactionalOutbox):
            self._host.outbox.take_over()
            self.passed("fenced")
            self._host.inbox.subscribe()
            self._execute(self._worker.start())
        else:
            self._host.inbox.subscribe()
            # Only the group fences: what is committed is asked for once it has done so.
            while not adoption.has("fenced") and not self._stop_asked:
                self._turn()

    def _check_current(self) -> None:
        """Looks whether the slot may be adopted at all, before who has it is fenced for nothing.

        What counts is the opener's look afterwards: from then on, who changes the application
        fences this worker.
        """
        if self._spec.role == "backup":
            self._opener.check_current()
        elif self._spec.settled.stamp:
            plan = self._layout.plan
            found = read_description(self._spec.clients.kafka, plan)
            check_current(found, self._spec.settled.stamp, plan.application)

    def passed(self, step: Step) -> None:
        """Notes a step of the adoption that is done, and reports the whole of it at its end."""
        assert self._adoption is not None
        self._adoption.note(step)
        if self._adoption.is_complete:
            fields = dict(self._adoption.seconds())
            self._channel.log("info", ADOPTED, **fields, tasks=len(self._worker.tasks))
            self._adoption = None

    @property
    def _suspects(self) -> int:
        """Among how many records the one is that took too long."""
        return sum(len(batch.rows) for batch in self._worker.batches)

    def _slowest(self) -> str:
        """What took so long, and what to do."""
        step, seconds = self._effort.slowest
        if seconds < _SLOW:
            return "No function took long: brokers were slow, or the process was suspended"
        where = f" at {places}" if (places := ", ".join(map(str, self._worker.batches))) else ""
        return (
            f"{step} takes that long{where}: make it faster, or raise "
            "transaction_timeout and consumer.max.poll.interval.ms; calls that wait for others can "
            "be made at once, by map_async"
        )

    def _turn(self) -> None:
        self._host.rewound, worked = False, self._worker.worked
        self._worker.batches.clear()
        self._effort.begin()
        most = self._most
        events = self._poll(most)
        fetched = sum(len(event.records) for event in events if isinstance(event, Fetched))
        self._effort.fetched(fetched, most)
        self._handle(Turn(self._effort.limit))
        self._handle_answers()
        for event in events:
            if isinstance(event, Assigned):
                check_partitions(event.partitions, self._layout.partitions)
            if isinstance(event, Fetched):
                self._fetched[event.source.topic] += len(event.records)
            if isinstance(event, Fetched) and (
                said := self._partitioning.look(event.source, event.records)
            ):
                self._channel.log("warning", "keys are elsewhere", cause=said)
            # What was fetched before a rewind does not follow from where it went back to.
            if not (self._host.rewound and isinstance(event, Fetched | ReachedEnd)):
                self._handle(event)
        if self._adoption is not None:
            self._look_at(self._adoption, events)
        self._tick()
        if self._effort.worked > _LONG:
            self._tick()  # a checkpoint may have become due meanwhile
        self._refill()
        if self._ended:
            self._handle(InputEnded(self._ended))
        if self._stop_asked and not self._stop_passed_on and not self._host.finished:
            self._stop_passed_on = True
            self._handle(Stop())
        self._effort.done(self._worker.worked - worked)
        self._report()

    def _handle_answers(self) -> None:
        """Handles what other threads have found out since."""
        for seen in iter(self._host.ends.answer, None):
            self._handle(seen)
        for opened in self._tables.complete(iter(self._opener.opened, None)):
            if not self._refills.holds(opened):
                self._handle(opened)

    def _refill(self) -> None:
        """Has tasks begin whose changelogs have to be made whole before, as soon as they are."""
        try:
            for opened in self._refills.filled(self._host.outbox):
                self._handle(opened)
        except Abortable as error:
            self._host.outbox.abort()
            self._aborts.note(error)

    def _tick(self) -> None:
        self._handle(Tick(Timestamp(time.time_ns() // 1_000_000), time.monotonic_ns() // 1_000_000))

    @property
    def _most(self) -> int:
        """Records to be fetched: half of what is worked on, if there are some that wait already.

        So that soon none are left, and batches go through whole. Those that wait for others to come
        are not worked on: then there is no end to it.
        """
        limit = self._effort.limit
        if self._host.outbox.is_searching or self._aborts.have_come:
            return limit
        return max(1, limit // 2) if self._worker.is_exhausted else self._spec.max_batch

    def _poll(self, most: int) -> list[Event]:
        if self._host.inbox.is_kept_out:
            self._join_again(f"the group has not admitted it for {ADMITTED:.0f} s")
        if self._lost_to is None:
            try:
                return self._host.inbox.poll(most, self._patience)
            except (Fenced, Interrupted) as error:
                self._lost_to = error
        if not self._worker.has_opened_all:
            time.sleep(_POLL)  # until it is known what is committed
            return []
        self._host.outbox.check_ours(self._worker.committed, self._lost_to)
        self._lost_to, cause = None, self._lost_to
        self._join_again(str(cause))
        return [Lost()]

    @property
    def _patience(self) -> float:
        """Seconds to wait for records; none if there is more to do."""
        if self._worker.is_exhausted:
            return 0.0
        longest = _POLL if self._adoption is None else _SHORT_POLL
        due = self._worker.due
        return longest if due is None else min(longest, due / 1000)

    def _join_again(self, cause: str) -> None:
        self._channel.log("warning", "joins the group again", cause=cause)
        self._host.join_again()

    def _look_at(self, adoption: Adoption, events: Iterable[Event]) -> None:
        """Notes the steps of the adoption that are done by now."""
        assigned = (event.partitions for event in events if isinstance(event, Assigned))
        if not adoption.has("joined") and any(each >= self._spec.own for each in assigned):
            self.passed("joined")
            if not adoption.has("fenced"):
                self.passed("fenced")
                self._execute(self._worker.start())
        caught_up = adoption.has("fenced") and self._worker.has_opened_all
        if caught_up and not adoption.has("caught up"):
            self.passed("caught up")

    def _handle(self, event: Event) -> None:
        self._execute(self._worker.handle(event))

    def _execute(self, commands: Sequence[Command]) -> None:
        for command in commands:
            try:
                result = self.carry_out(command)
            except Abortable as error:
                event = self._failed(error)
                self._host.deletions.look_after_abort()
                return self._handle(event)
            if result is not None:
                self._handle(result)
        return None

    def _failed(self, error: Abortable) -> Event:
        """What a failure is for the core.

        Raises:
            MembershipTimedOut: It comes of the group having waited in vain for the worker.
            Interrupted: There were too many.
        """
        longest = self._spec.clients.longest_turn / 1000
        if self._effort.worked > longest:
            raise MembershipTimedOut(
                "the worker asked for no records for longer than consumer.max.poll.interval.ms "
                f"({longest:g} s), so that the group has given its partitions up. "
                f"{self._slowest()}",
                self._suspects,
            ) from error
        if self._host.outbox.is_searching:
            self._effort.shrink(_SEARCHED)
        if error.refused is not None:
            self._aborts.progressed()
        self._aborts.note(error)
        return error.refused or CommitFailed(error)

    def carry_out(self, command: Command) -> Event | None:
        """Carries out one command; returns what came of it, if that is an event."""
        event = carry_out(self._host, command)
        if isinstance(event, Committed):
            self._aborts.progressed()
        return event

    def _report(self, *, now: bool = False) -> None:
        for text in self._host.inbox.passing:
            self._channel.log_seldom("kafka", text)
        self._host.inbox.passing.clear()
        for source, offset, _ in self._worker.ahead():
            self._channel.log_seldom(
                "a record is far ahead of the clock",
                f"{source} offset {offset}: stream time does not follow it (max_time_ahead)",
            )
        if held := self._held():
            self._channel.log_seldom("time is held back", "; ".join(held), 30.0)
        if self._adopt_asked and self._adoption is None:
            self._obstacles.look(self._host.inbox.assigned)
            self._host.deletions.look()
        unreported = self._worker.bad_records.unreported
        for (step, reason), error in unreported.items():
            self._channel.log_seldom("left out", f"{step}: {reason}: {error[:_LONGEST]}")
        unreported.clear()
        self._reporter.report(self._status, now=now)

    def _take_snapshots(self) -> Snapshots | None:
        if self._spec.snapshots is None:
            return None
        snapshots = Snapshots(
            self._spec.snapshots,
            partial(changelog_id, self._host.admin),
            self._layout,
            self._stores,
            self._at_work,
            self._channel,
        )
        snapshots.start()
        return snapshots

    def _at_work(self) -> list[TaskId]:
        return list(self._worker.tasks)

    def _status(self) -> Status:
        bad = self._worker.bad_records.committed.items()
        lags: Mapping[str, int | None] = self._lags() if self._adopt_asked else {}
        return Status(
            slot=self._spec.slot,
            state=self._state(),
            records=self._worker.fetched,
            misplaced=dict(self._partitioning.misplaced),
            spent=self._spent(),
            state_bytes=self._size.bytes,
            checkpoints=self._worker.checkpoints,
            lag=self._lag(lags),
            tasks=len(self._worker.tasks),
            partitions=len(self._worker.active),
            bad_records=tuple(BadRecords(*cause, count) for cause, count in bad),
            late=self._late(),
            held=self._held(),
            overtaken=self._worker.overtaken,
            restore=self._tables.status(self._opener.status()),
            role="primary" if self._adopt_asked else "backup",
            reported=self._worker.reported,
            withheld=self._obstacles.withheld,
            topics={topic: Reading(self._fetched[topic], lag) for topic, lag in lags.items()},
            native=self._spec.native,
        )

    def _spent(self) -> Spent:
        return Spent(
            busy=round(self._effort.busy, 3),
            cpu=round(cpu_seconds(), 3),
            starved=round(starved_seconds(), 3),
            commits=round(self._host.commit_seconds, 4),
            steps={step: round(seconds, 3) for step, seconds in self._effort.steps.items()},
        )

    def _held(self) -> tuple[str, ...]:
        """Whom tasks wait for, where that takes long."""
        return tuple(
            f"{task} waits for {upstream} in slot {self._slot_of(upstream)}, for {ms // 1000} s"
            for task, (upstream, ms) in sorted(self._worker.held().items())
            if ms >= _LONG_HOLD
        )

    def _slot_of(self, task: TaskId) -> int:
        spec, source = self._spec, self._layout.sources_of(task)[0]
        slots = range(spec.slots)
        return next(
            slot for slot in slots if source in slot_partitions(slot, spec.slots, spec.partitions)
        )

    def _late(self) -> dict[str, Lateness]:
        judged = self._worker.judged
        return {
            step: Lateness(
                judged[step, "judged"], judged[step, "late"], judged[step, "partly-late"]
            )
            for step in sorted({step for step, _ in judged})
        }

    def _lag(self, lags: Mapping[str, int | None]) -> int | None:
        """Records behind the ends: of the input, or of a backup those of the changelogs."""
        if not self._adopt_asked:
            return self._opener.lag
        known = [lag for lag in lags.values() if lag is not None]
        return sum(known) if known or not self._spec.own else None

    def _lags(self) -> Mapping[str, int | None]:
        """Records behind the ends of each topic at work; None of one of which no end is known."""
        lags: dict[str, int | None] = {}
        for task in self._worker.tasks.values():
            for source, position in task.positions.items():
                lag, before = self._behind(source, position.offset), lags.get(source.topic)
                lags[source.topic] = before if lag is None else lag + (before or 0)
        return lags

    def _behind(self, source: TopicPartition, offset: Offset) -> int | None:
        """Records of one partition, those included that others keep from the slot."""
        if (end := self._obstacles.end(source)) is not None:
            return max(0, end - offset)
        return self._host.inbox.lag(source, offset)

    def _state(self) -> Any:
        if self._stop_passed_on:
            return "stopping"
        if not self._adopt_asked:
            ready = self._opener.is_ready and self._tables.is_ready()
            return "ready" if ready else "restoring"
        if self._tables.status(self._opener.status()) is not None and not self._worker.active:
            return "restoring"
        if self._obstacles.withheld:
            return "deprived"
        return "running" if self._worker.active else "waiting"

    def _close(self) -> None:
        self._report(now=True)
        snapshots = () if self._snapshots is None else (self._snapshots,)
        threads = *snapshots, self._opener, self._tables, self._host.ends
        first = tuple(each.close for each in threads)
        # The consumer ends with the process: a static member stays in the group either way, and an
        # assignment that comes while it is closed can block librdkafka, and so Python, for ever.
        for close in (*first, self._stores.close_all, self._reporter.close):
            try:
                close()
            except (KprocError, KafkaException, RuntimeError) as error:
                self._channel.log("warning", "closing failed", error=str(error))
