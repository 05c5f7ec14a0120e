"""What is reported of a node to Prometheus."""

from collections.abc import Iterable

from prometheus_client.metrics_core import Metric

from processor.cluster.beats import Replica
from processor.health.metrics import families
from processor.node.accounting import Figures
from processor.worker.channel import BadRecords, Lateness, RestoreStatus, Spent, Status
from tests.cluster.topic import Topic, backup, primary


def values(found: Iterable[Metric], name: str) -> dict[tuple[str, ...], float]:
    """The samples of a family, by the values of their labels."""
    return {
        tuple(sample.labels.values()): sample.value
        for family in found
        for sample in family.samples
        if sample.name == name
    }


def test_the_application_as_the_node_sees_it() -> None:
    topic = Topic(slots=3).says("a", primary(0), claims={0: 1}, zone="east").says("b")
    found = families("orders", "a", topic.view, Figures(0))
    assert values(found, "kproc_slots") == {(): 3}
    assert values(found, "kproc_slots_held") == {(): 1}
    assert values(found, "kproc_slots_unattended") == {(): 2}
    assert values(found, "kproc_nodes") == {(): 2}
    (labels,) = values(found, "kproc_node_info")
    assert labels[:4] == ("orders", "a", "a.host", "east")


def test_totals_outlast_a_worker_and_gauges_do_not() -> None:
    topic = Topic(slots=2).says("a", primary(0), backup(1, "restoring", 7), claims={0: 1})
    figures = Figures(0)
    bad, late = (BadRecords("step: x", "decode", 2),), {"sums": Lateness(10, 3, 1)}
    figures.note(Status(0, "running", 90, Spent(2.5), checkpoints=4, bad_records=bad, late=late), 1)
    figures.note_restart(0)
    figures.note(Status(0, "running", 10, Spent(0.5), checkpoints=1, partitions=3, tasks=2), 2)
    restore = RestoreStatus(1, 5, 12, 100, 0.1, 30, 90)
    figures.note(Status(1, "restoring", restore=restore, role="backup"), 2)
    figures.note(Status(5, "running", 7, partitions=9), 2)  # it has moved away since
    found = families("orders", "a", topic.view, figures)
    assert values(found, "kproc_records_total") == {("0",): 100, ("1",): 0, ("5",): 7}
    assert values(found, "kproc_busy_seconds_total")["0",] == 3
    assert values(found, "kproc_checkpoints_total")["0",] == 5
    assert values(found, "kproc_worker_restarts_total")["0",] == 1
    assert values(found, "kproc_bad_records_total") == {("0", "step: x", "decode"): 2}
    assert values(found, "kproc_judged_records_total") == {("0", "sums"): 10}
    assert values(found, "kproc_late_records_total") == {("0", "sums"): 3}
    assert values(found, "kproc_partly_late_records_total") == {("0", "sums"): 1}
    assert values(found, "kproc_held_tasks") == {("0",): 0}
    assert values(found, "kproc_partitions") == {("0",): 3}
    assert values(found, "kproc_tasks") == {("0",): 2}
    assert values(found, "kproc_backup_lag_records") == {("1",): 7}
    assert values(found, "kproc_lag_records") == {}
    assert values(found, "kproc_restored_records") == {("1",): 5}
    assert values(found, "kproc_restore_records") == {("1",): 12}
    assert values(found, "kproc_downloaded_bytes") == {("1",): 30}
    assert values(found, "kproc_download_bytes") == {("1",): 90}
    assert values(found, "kproc_worker_state") == {
        ("0", "primary", "running"): 1,
        ("1", "backup", "restoring"): 1,
    }


def test_a_worker_that_is_stuck() -> None:
    stuck = Replica(0, "primary", "stuck", turn_age=91.5, stuck="slow (a.py, line 5)")
    topic = Topic().says("a", stuck, claims={0: 1})
    found = families("orders", "a", topic.view, Figures(0))
    assert values(found, "kproc_worker_state") == {("0", "primary", "stuck"): 1}
    assert values(found, "kproc_turn_age_seconds") == {("0",): 91.5}
    assert values(found, "kproc_lag_records") == {}
