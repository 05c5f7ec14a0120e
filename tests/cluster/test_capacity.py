"""The capacity model by numbers worked out by hand."""

import pytest

from processor.cluster.capacity import (
    Assumptions,
    Measured,
    availability,
    best_snapshot_interval,
    capacity,
    failure_probability,
    measured,
    replay,
    shared_throughput,
    standstill,
    throughput,
)
from processor.cluster.load import Load, SlotLoad
from processor.cluster.measure import Measurement, NodeFigures
from processor.errors import UsageError

DAY = 86_400.0


def test_throughput_grows_with_the_nodes_up_to_the_slots() -> None:
    assert [throughput(8000, nodes, 8) for nodes in (1, 4, 8, 12)] == [1000, 4000, 8000, 8000]


@pytest.mark.parametrize(
    ("nodes", "expected"), [(1, 1000), (2, 2000), (3, 8000 / 3), (4, 4000), (7, 4000), (8, 8000)]
)
def test_whole_slots_make_steps(nodes: int, expected: float) -> None:
    assert shared_throughput(1000, nodes, 8) == pytest.approx(expected)


def test_a_failure_is_likelier_in_a_longer_period() -> None:
    assert failure_probability(30 * DAY, DAY) == pytest.approx(0.03278, abs=1e-5)
    assert failure_probability(DAY, DAY) == pytest.approx(0.63212, abs=1e-5)


@pytest.mark.parametrize(("backups", "expected"), [(0, 0.999), (1, 0.9999), (2, 0.99999)])
def test_each_backup_makes_a_loss_rarer(backups: int, expected: float) -> None:
    assert availability(0.1, 0.99, backups) == pytest.approx(expected)


def test_standstill_replay_and_snapshots() -> None:
    assert standstill(30 * DAY, 1.2) == pytest.approx(14.61)
    assert replay(50_000, 0.1) == 5000
    assert best_snapshot_interval(5, 30 * DAY) == pytest.approx(5091.2, abs=0.1)


def lines(assumed: Assumptions, known: Measured) -> dict[str, tuple[float | None, float | None]]:
    return {line.quantity: (line.predicted, line.measured) for line in capacity(assumed, known)}


def test_without_measurements_nothing_is_made_up() -> None:
    found = lines(Assumptions(slots=4, nodes=2), Measured())
    assert found["throughput, 2 nodes"] == (None, None)
    assert found["replay after a failure"] == (None, None)
    assert all(known is None for _, known in found.values())


def test_what_is_measured_stands_beside_what_is_predicted() -> None:
    known = Measured(
        nodes=3, rate=1900.0, per_node=1000.0, takeover=0.2, restore=5e6, state=40_000_000
    )
    assumed = Assumptions(slots=4, nodes=2, backups=2, snapshot=60.0)
    found = lines(assumed, known)
    assert found["throughput, 3 nodes"] == (3000.0, 1900.0)
    assert found["  with whole slots"] == (2000.0, None)
    assert found["throughput, 4 nodes"] == (4000.0, None)
    assert found["takeover of a slot"] == (None, 0.2)
    assert found["standstill in a year"] == (pytest.approx(14.61), None)
    assert found["replay after a failure"] == (pytest.approx(190.0), None)
    assert found["replay after a snapshot"] == (1900.0 * 60, None)
    assert found["best snapshot interval"] == (pytest.approx(5091.2, abs=0.1), 60.0)
    assert found["restore of a slot"] == (2.0, None)
    assert "availability, 2 backups" in found


def test_an_assumed_rate_where_none_is_measured() -> None:
    found = lines(Assumptions(slots=2, nodes=1, rate=5000), Measured())
    assert found["replay after a failure"] == (500.0, None)


def test_what_measurements_show() -> None:
    load = Load((SlotLoad(0, "a", 500.0, 510.0, 7, bytes=1000),), cost=1e-3, cores=2.0)
    measurement = Measurement(9.0, 1, (), (NodeFigures("a", 2.0),), restored=3e6, pause=0.3)
    assert measured(measurement, load) == Measured(1, 1, 500.0, 2000.0, 0.3, 3e6, 1000)
    nothing = measured(Measurement(0.0, 1, (), ()), Load((), cost=None, cores=0.0))
    assert nothing == Measured(None, 1)


@pytest.mark.parametrize("wrong", [{"recovers": 1.5}, {"nodes": 0}])
def test_what_can_not_be(wrong: dict[str, float]) -> None:
    with pytest.raises(UsageError):
        Assumptions(**{"slots": 1, "nodes": 1, **wrong})
