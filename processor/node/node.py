"""Node: one `kproc run`. From a topology and settings to workers at work, until they are done.

Owns the order of things: topics checked and made, workers started, the end waited for. What a
person sees of it is the business of the watchers that it is given.
"""

import math
import os
import signal
import socket
import sys
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

import msgspec
from confluent_kafka import Consumer, KafkaException, Producer
from confluent_kafka.admin import AdminClient

from processor.cluster.beats import Role
from processor.cluster.view import View
from processor.durations import milliseconds, seconds
from processor.errors import Interrupted, SettingsError, SnapshotsAway
from processor.kafka.broker_clock import clock_offset
from processor.kafka.clients import COMMON
from processor.kafka.durability import shortcomings
from processor.kafka.limits import limits_of
from processor.kafka.progress import Backlog
from processor.native.client import missing, uses_native
from processor.node.ending import Ending
from processor.node.identity import Identity, take_identity
from processor.node.machine import cores
from processor.node.membership import MemberOptions, Membership
from processor.node.pool import WorkerPool
from processor.node.setup import prepare
from processor.node.slots_topic import SlotsTopic
from processor.node.supervisor import Supervisor
from processor.options import TopicLimits
from processor.runtime.dataflow import NO_LIMITS
from processor.settings import Settings
from processor.storage.bucket import Bucket
from processor.storage.leftovers import Leftovers
from processor.topology.plan import Layout, Plan
from processor.worker.channel import ADOPTED, Log, Report, Status
from processor.worker.global_tables import drop_former
from processor.worker.spec import WorkerSpec

_BATCH_BYTES, _FRAME = 1_000_000, 200
"""Bytes of a batch of records, and what it has besides them."""

_TURN = 0.1
_LOOK = 0.1
"""Seconds between two looks at what is committed, with `until_end`."""


class Watcher(Protocol):
    """Shows what is going on."""

    def report(self, report: Report) -> None:
        """A worker reported something."""

    def turn(self, state: "NodeState") -> None:
        """Some time has passed."""


@dataclass(slots=True)
class NodeState:
    """What is known of the node at the moment."""

    layout: Layout
    began: float
    node: str = ""
    """Its id among the application's nodes."""
    view: View | None = None
    """What the nodes say of themselves."""
    workers: dict[int, Status] = field(default_factory=dict[int, Status])
    backlog: Backlog | None = None
    stopping: bool = False
    finished: bool = False
    """Whether all is committed that was to be done until the end."""
    lines: Mapping[int, socket.socket] = field(default_factory=dict[int, socket.socket])
    """Where the workers' stores are asked, by slot."""
    heard_at: float | None = None
    """When it was last true that the view had all that other nodes said; by `since_start`."""
    killed: bool = False
    """Whether workers were killed, so that work which was not committed is still to be done."""


class Node:
    """One `kproc run`.

    Args:
        spec: The topology as the workers can load it, `FILE.py:name`.
        plan: Its plan.
        settings: The effective settings.
        watchers: Show what is going on.
        http: Where other nodes ask its stores; empty: nowhere.
        until_end: Whether to end when all input is committed that is there at the start.

    Raises:
        SettingsError: librdkafka refuses a setting, or snapshots can't be written.
        KafkaError: The topics do not fit the topology, or the broker does not answer.
    """

    def __init__(
        self,
        spec: str,
        plan: Plan,
        settings: Settings,
        *watchers: Watcher,
        until_end: bool,
        http: str = "",
    ) -> None:
        check_clients(plan.application, settings)
        uses_native(settings.native)  # or says why it can't
        away = _snapshots_away(settings)
        client = settings.clients.kafka
        self._settings = settings
        self._watchers = watchers
        pool = WorkerPool(spec)
        # More would only get in each other's way, and a node that joins others has few slots.
        pool.warm(min(settings.slots, math.ceil(cores())))
        try:
            layout = prepare(plan, settings)
            self.state = NodeState(layout, time.monotonic())
            if until_end:
                self.state.backlog = Backlog(client, layout)
            identity = _identity(plan, settings)
            drop_former(layout, identity.state_dir)
            warnings = shortcomings(client, layout, settings.max_record_bytes)
            limits = limits_of(client, plan.outputs)
            topic = SlotsTopic(client, plan.slots_topic)
        except BaseException:
            pool.close()
            raise
        self._membership = Membership(
            topic, identity, _member_options(settings, layout, http), self._report
        )
        self.state.node, self.state.view = identity.node, self._membership.view

        def make_spec(slot: int, role: Role) -> WorkerSpec:
            clock = self._membership.clock_offset
            own = identity.state_dir
            return worker_spec(spec, layout, settings, slot, role, own, clock, limits)

        self._supervisor = Supervisor(
            make_spec,
            pool,
            restart=settings.backup_mode != "none",
            restart_stuck=settings.on_stuck == "restart",
            silent_after=seconds(settings.failover_timeout, "failover_timeout"),
            on_report=self._report,
        )
        self._supervisor.wake_for(topic)
        for text in warnings:
            self._report(Log(None, "warning", "brokers", {"text": text}))
        if settings.native == "auto" and (why := missing()):
            self._report(Log(None, "info", "native plane is not used", {"cause": why}))
        if away is not None:
            self._report(Log(None, "warning", "snapshots away", {"cause": away}))
        self._leftovers = Leftovers(layout, identity.state_dir, self._report_removed)
        self._ending = self._until_the_end()
        self._drain_until: float | None = None
        self._kill_at: float | None = None
        self._too_slow: list[int] = []
        """The slots whose workers were killed as they did not finish in time."""
        self._look_at = 0.0

    def run(self) -> NodeState:
        """Works until it is done or asked to stop by SIGINT or SIGTERM; a second one kills.

        Raises:
            KprocError: The workers had to end.
        """
        with self._signals():
            try:
                while self._supervisor.turn(_TURN):
                    self._turn()
            finally:
                self._supervisor.kill()
                self._membership.close()
        if self._too_slow:
            raise Interrupted(_unfinished(self._too_slow, self._settings.shutdown_timeout))
        return self.state

    def stop(self) -> None:
        """Hands the slots over, then lets the workers finish; asked again, it kills them.

        Other nodes have `drain_timeout` to warm up and take over, meanwhile this one works on.
        """
        if self.state.stopping:
            self._kill()
            return
        self.state.stopping = True
        patience = seconds(self._settings.drain_timeout, "drain_timeout")
        self._drain_until = time.monotonic() + patience
        self._membership.leave()

    def _turn(self) -> None:
        state, supervisor = self.state, self._supervisor
        supervisor.want(self._membership.hear(supervisor.replicas, supervisor.may_claim))
        self._membership.report(supervisor.replicas)
        present = {replica.slot for replica in supervisor.replicas}
        self._leftovers.look(time.monotonic(), present)
        state.lines, state.heard_at = supervisor.lines, self._membership.heard_at
        for watcher in self._watchers:
            watcher.turn(state)
        now = time.monotonic()
        if self._ending is not None and not state.stopping and now >= self._look_at:
            if self._ending.is_reached():
                state.finished = state.stopping = True
                self._finish()
            self._look_at = now + _LOOK
        if self._drain_until is not None:
            if not self._membership.is_needed or now > self._drain_until:
                self._finish()
        elif self._kill_at is not None and now > self._kill_at:
            self._too_slow = [each.slot for each in supervisor.replicas]
            self._kill_at = None
            self._kill()

    def _until_the_end(self) -> Ending | None:
        if self.state.backlog is None:
            return None
        reports = bool(self._settings.idle_timeout)
        return Ending(self.state.backlog, self._supervisor, reports=reports)

    def _finish(self) -> None:
        """Lets the workers finish; too slow at it, they are killed."""
        patience = seconds(self._settings.shutdown_timeout, "shutdown_timeout")
        self._drain_until, self._kill_at = None, time.monotonic() + patience
        self._membership.leave()
        self._supervisor.stop()

    def _kill(self) -> None:
        self.state.killed = True
        for replica in self._supervisor.replicas:
            self._report(Log(replica.slot, "warning", "worker killed", {"role": replica.role}))
        self._supervisor.kill()

    def _report(self, report: Report) -> None:
        if isinstance(report, Status):
            self.state.workers[report.slot] = report
        elif isinstance(report, Log) and report.event == ADOPTED and report.slot is not None:
            why = self._membership.adopted(report.slot, report.fields)
            report = msgspec.structs.replace(report, fields={**why, **report.fields})
        for watcher in self._watchers:
            watcher.report(report)

    def _report_removed(self, folder: Path, error: str) -> None:
        """Of a store whose slot has moved away."""
        why = {"error": error} if error else {}
        self._report(Log(None, "info", "store is removed", {"folder": str(folder), **why}))

    @contextmanager
    def _signals(self) -> Generator[None]:
        def stop(_number: int, _frame: Any) -> None:
            self.stop()

        before = {number: signal.signal(number, stop) for number in _STOPPING}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def _unfinished(slots: list[int], timeout: str) -> str:
    listed = ", ".join(map(str, slots))
    return (
        f"the worker of slot {listed} did not finish within shutdown_timeout ({timeout}) and was "
        "killed: what it had not committed is done again at the next start. A call of a function "
        "may take longer than that: raise shutdown_timeout"
    )


def _snapshots_away(settings: Settings) -> str | None:
    """Why object storage can't be reached; without it the node works as without snapshots.

    Raises:
        SettingsError: It refuses to be used.
    """
    if not settings.snapshot_url:
        return None
    try:
        Bucket(settings.snapshot_url, patient=False).check()
    except SnapshotsAway as error:
        return f"{error}; tried again at each snapshot_interval"
    return None


def _identity(plan: Plan, settings: Settings) -> Identity:
    """The state folder's, if there is one."""
    keeps_state = plan.tables or any(part.stores for part in plan.subtopologies)
    if not keeps_state or settings.state_store == "memory":
        return Identity(state_dir=settings.state_dir)
    return take_identity(settings.state_dir, plan.application)


def _member_options(settings: Settings, layout: Layout, http: str) -> MemberOptions:
    return MemberOptions(
        name=f"{socket.gethostname()}:{os.getpid()}",
        slots=layout.slots,
        epoch=layout.settled.epoch,
        backups=settings.backups if settings.backup_mode == "primary-backup" else 0,
        failover_timeout=milliseconds(settings.failover_timeout, "failover_timeout"),
        heartbeat_interval=milliseconds(settings.heartbeat_interval, "heartbeat_interval"),
        zone=settings.node_zone,
        weight=settings.node_weight,
        cores=cores(),
        http=http,
    )


_STOPPING = (signal.SIGINT, signal.SIGTERM)


def check_clients(application: str, settings: Settings) -> None:
    """Makes a client of each kind once: librdkafka checks its settings then.

    Raises:
        SettingsError: librdkafka refuses a setting.
    """
    clients = settings.clients
    common = {**COMMON, **clients.kafka}
    makers: dict[str, tuple[Any, dict[str, Any]]] = {
        "kafka": (AdminClient, {}),
        "consumer": (Consumer, {"group.id": application, **clients.membership, **clients.consumer}),
        "producer": (Producer, clients.producer),
    }
    for part, (make, own) in makers.items():
        try:
            make({**common, **own})
        except KafkaException as error:
            raise SettingsError(
                f"librdkafka refuses the settings in `{part}`: {error.args[0].str()}; "
                "`kproc config` shows where each is from"
            ) from error


def _store_ids(layout: Layout) -> dict[str, str]:
    plan = layout.plan
    own = (spec.name for part in plan.subtopologies for spec in part.stores)
    topics = {name: plan.changelog(name) for name in own}
    topics |= {table.store.name: table.topic for table in plan.global_tables}
    return {name: layout.settled.ids.get(topic, "") for name, topic in topics.items()}


def worker_spec(
    topology: str,
    layout: Layout,
    settings: Settings,
    slot: int,
    role: Role = "primary",
    state_dir: Path | None = None,
    broker_clock: float | None = None,
    limits: Mapping[str, TopicLimits] = NO_LIMITS,
) -> WorkerSpec:
    """What the worker of one slot is given.

    `state_dir` is the node's, if not that of the settings, `broker_clock` a `clock_offset`, and
    `limits` are those of outputs.
    """
    state = settings.state
    return WorkerSpec(
        topology=topology,
        supervisor=os.getpid(),
        application=layout.plan.application,
        slot=slot,
        slots=layout.slots,
        partitions=dict(layout.partitions),
        settled=layout.settled,
        store_ids=_store_ids(layout),
        clock_offset=clock_offset() if broker_clock is None else broker_clock,
        options=replace(settings.options, limits=_limits(settings, limits)),
        clients=settings.clients,
        state=replace(state, folder=str((state_dir or settings.state_dir).absolute())),
        snapshots=settings.snapshots,
        start_from=settings.start_from,
        max_batch=settings.max_batch,
        batch_bytes=_batch_bytes(limits),
        stuck_after=settings.stuck_milliseconds,
        native=uses_native(settings.native),
        role=role,
    )


def _limits(settings: Settings, limits: Mapping[str, TopicLimits]) -> Mapping[str, TopicLimits]:
    """Whether a record that will be compressed is too large, only the broker knows."""
    own = {**settings.kafka, **settings.producer}
    if own.get("compression.type", own.get("compression.codec")) == "none":
        return limits
    return {topic: replace(each, bytes=sys.maxsize) for topic, each in limits.items()}


def _batch_bytes(limits: Mapping[str, TopicLimits]) -> int:
    """What a batch has at most, so that many small records are not refused together."""
    least = min((each.bytes for each in limits.values()), default=_BATCH_BYTES + _FRAME)
    return max(1, min(_BATCH_BYTES, least - _FRAME))
