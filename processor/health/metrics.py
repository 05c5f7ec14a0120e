"""Metrics: what is known of a node, as Prometheus families. Knows no server and no thread.

Totals are those of the node since its start, over the restarts of its workers. What is so at the
moment is given the workers that the node has now, by their slot and role.
"""

from collections.abc import Iterable, Iterator
from importlib.metadata import version
from typing import Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric

from processor.cluster.beats import Replica
from processor.cluster.view import View
from processor.node.accounting import Figures
from processor.worker.channel import Status

_VERSION: Final = version("kproc")


def families(application: str, node: str, view: View, figures: Figures) -> tuple[Metric, ...]:
    """All families, to be kept as they are.

    Args:
        application: Its name.
        node: The node's id.
        view: What the nodes say.
        figures: What the node's workers have reported.
    """
    member = view.members.get(node)
    replicas = member.beat.replicas if member else ()
    return (
        *_cluster(application, node, view),
        *_now(replicas),
        *_statuses(replicas, figures),
        *_totals(figures),
    )


def _cluster(application: str, node: str, view: View) -> Iterator[Metric]:
    member = view.members.get(node)
    zone, name = (member.beat.zone, member.beat.name) if member else ("", "")
    labels = {"application": application, "node": node, "name": name, "zone": zone}
    info = GaugeMetricFamily("kproc_node_info", "The node.", labels=[*labels, "version"])
    info.add_metric([*labels.values(), _VERSION], 1)
    yield info
    yield _gauge("kproc_slots", "Slots of the application.", view.slots)
    attended = sum(not view.is_orphaned(slot) for slot in range(view.slots))
    yield _gauge("kproc_slots_unattended", "Slots nobody works on.", view.slots - attended)
    yield _gauge("kproc_nodes", "Nodes that live and don't leave.", len(view.live()))
    held = sum(holder.node == node for holder in view.holders.values())
    yield _gauge("kproc_slots_held", "Slots that this node has.", held)


def _now(replicas: Iterable[Replica]) -> Iterator[Metric]:
    """What the node reports to the others of its workers."""
    states = GaugeMetricFamily(
        "kproc_worker_state",
        "1 for the state that a worker is in.",
        labels=["slot", "role", "state"],
    )
    lags = _per_slot("kproc_lag_records", "Input records not processed yet.")
    backups = _per_slot("kproc_backup_lag_records", "Changelog records a backup has not read yet.")
    rates = _per_slot("kproc_records_per_second", "Input records a second, over some seconds.")
    busy = _per_slot("kproc_busy_ratio", "Share of the time not waiting for records.")
    cpu = _per_slot("kproc_worker_cpus", "Processor cores that a worker uses.")
    starved = _per_slot("kproc_starved_ratio", "Share of the time without a free processor.")
    size = _per_slot("kproc_state_bytes", "Bytes on disk of a worker's stores.")
    turns = _per_slot("kproc_turn_age_seconds", "Seconds since a worker's loop last moved on.")
    for replica in replicas:
        slot = [str(replica.slot)]
        size.add_metric(slot, replica.bytes)
        turns.add_metric(slot, replica.turn_age)
        starved.add_metric(slot, replica.starved)
        if replica.cpu is not None:
            cpu.add_metric(slot, replica.cpu)
        states.add_metric([*slot, replica.role, replica.state], 1)
        if replica.lag is not None:
            (lags if replica.role == "primary" else backups).add_metric(slot, replica.lag)
        if replica.role == "primary":
            rates.add_metric(slot, replica.rate)
            busy.add_metric(slot, replica.busy)
    yield from (states, lags, backups, rates, busy, cpu, starved, size, turns)


def _statuses(replicas: Iterable[Replica], figures: Figures) -> Iterator[Metric]:
    """What else workers report."""
    partitions = _per_slot("kproc_partitions", "Partitions at work.")
    tasks = _per_slot("kproc_tasks", "Tasks that are open.")
    restored = _per_slot("kproc_restored_records", "Records that a restore has read so far.")
    held = _per_slot("kproc_held_tasks", "Tasks whose time waits for others upstream.")
    total = _per_slot("kproc_restore_records", "Records that a restore has to read, at most.")
    downloaded = _per_slot("kproc_downloaded_bytes", "Bytes of snapshots fetched so far.")
    download = _per_slot("kproc_download_bytes", "Bytes of snapshots to be fetched.")
    misplaced = GaugeMetricFamily(
        "kproc_misplaced_keys",
        "Keys, of those looked at, that are in another partition than the default one.",
        labels=["slot", "topic"],
    )
    for replica in replicas:
        known = figures.slots.get(replica.slot)
        status = known.last if known else Status(replica.slot, "starting")
        slot = [str(replica.slot)]
        if replica.role == "primary":
            partitions.add_metric(slot, status.partitions)
            tasks.add_metric(slot, status.tasks)
            held.add_metric(slot, len(status.held))
            for topic, count in status.misplaced.items():
                misplaced.add_metric([*slot, topic], count)
        if status.restore is not None:
            restored.add_metric(slot, status.restore.records)
            total.add_metric(slot, status.restore.total)
            downloaded.add_metric(slot, status.restore.downloaded)
            download.add_metric(slot, status.restore.to_download)
    yield from (partitions, tasks, held, restored, total, downloaded, download, misplaced)


def _totals(figures: Figures) -> Iterator[Metric]:
    records = _count_per_slot("kproc_records", "Input records worked on, aborted ones each time.")
    busy = _count_per_slot("kproc_busy_seconds", "Seconds not waiting for records.")
    checkpoints = _count_per_slot("kproc_checkpoints", "Checkpoints.")
    restarts = _count_per_slot("kproc_worker_restarts", "Workers started again after a crash.")
    overtaken = _count_per_slot(
        "kproc_upstream_overtaken", "Waits for tasks upstream that max_upstream_wait ended."
    )
    bad = CounterMetricFamily(
        "kproc_bad_records",
        "Records that could not be processed.",
        labels=["slot", "step", "reason"],
    )
    judged, late, partly = (
        CounterMetricFamily(f"kproc_{name}_records", text, labels=["slot", "step"])
        for name, text in (
            ("judged", "Records that came to a step which closes its windows or forgets."),
            ("late", "Of those, the ones that were late for all of their windows."),
            ("partly_late", "Those that were late for some of their windows."),
        )
    )
    for number, slot in sorted(figures.slots.items()):
        label = [str(number)]
        for step, lateness in sorted(slot.late.items()):
            judged.add_metric([*label, step], lateness.judged)
            late.add_metric([*label, step], lateness.late)
            partly.add_metric([*label, step], lateness.partly)
        records.add_metric(label, slot.records)
        busy.add_metric(label, slot.busy_seconds)
        checkpoints.add_metric(label, slot.checkpoints)
        overtaken.add_metric(label, slot.last.overtaken)
        restarts.add_metric(label, slot.restarts)
        for cause, count in sorted(slot.bad_records.items()):
            bad.add_metric([*label, *cause], count)
    yield from (records, busy, checkpoints, restarts, overtaken, bad, judged, late, partly)


def _gauge(name: str, help_text: str, value: float) -> Metric:
    return GaugeMetricFamily(name, help_text, value=value)


def _per_slot(name: str, help_text: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, help_text, labels=["slot"])


def _count_per_slot(name: str, help_text: str) -> CounterMetricFamily:
    return CounterMetricFamily(name, help_text, labels=["slot"])
