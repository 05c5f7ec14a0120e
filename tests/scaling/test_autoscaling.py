"""The loop around the autoscaler: what it hears, has done, keeps and serves."""

import urllib.request
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from processor.cluster.autoscale import Policy
from processor.cluster.overview import NodeOverview, Overview, SlotOverview, Worker
from processor.errors import ActuatorFailed, SettingsError
from processor.scaling.actuators import Recommender
from processor.scaling.autoscaling import Autoscaling, Exporter, History, Turn, kept

POLICY = Policy(1, 4)


class Nodes(Recommender):
    """Nodes that are ordered and can't be had at times."""

    def __init__(self, nodes: int) -> None:
        super().__init__()
        self.scale_to(nodes)
        self.fails = False

    def scale_to(self, nodes: int) -> None:
        if getattr(self, "fails", False):
            raise ActuatorFailed("nobody starts nodes now")
        super().scale_to(nodes)

    def turn(self) -> Iterator[str]:
        yield from ()


def overview(rate: float, lag: int = 0, slots: int = 4) -> Overview:
    """One node of one core, 0.1 ms of it for each record."""
    each = rate / slots
    worker = Worker(
        "a", "alpha", "running", lag=lag // slots, rate=each, busy=each * 1e-4, cpu=each * 1e-4
    )
    return Overview(
        "app",
        healthy=True,
        slots=tuple(
            SlotOverview(slot, live=True, primary=worker, backups=(), adoption=None)
            for slot in range(slots)
        ),
        nodes=(NodeOverview("a", "alpha", "", "live", tuple(range(slots)), (), 0.1, 1.0),),
        last_heartbeat=None,
    )


def turns(work: Autoscaling, *seen: Overview, every: float = 5.0) -> list[Turn]:
    now = -every

    def clock() -> float:
        return now

    def overviews() -> Iterator[tuple[Overview, list[str]]]:
        nonlocal now
        for each in seen:
            now += every
            yield each, []

    return list(work.run(overviews(), clock))


BUSY = (overview(9000), overview(9000))


def test_what_is_decided_is_done() -> None:
    nodes = Nodes(1)
    found = [turn.entry for turn in turns(Autoscaling(POLICY, nodes, 5.0), *BUSY)]
    assert [(each.before, each.nodes, each.why) for each in found if each] == [
        (1, 1, "unknown"),
        (1, 2, "up"),
    ]
    assert nodes.count() == 2


def test_who_only_recommends_begins_with_what_lives() -> None:
    recommender = Recommender()
    turns(Autoscaling(POLICY, recommender, 5.0), *[overview(5000)] * 2)
    assert recommender.count() == 1
    turns(Autoscaling(POLICY, recommender, 5.0), *BUSY)
    assert recommender.count() == 2


def test_what_happens_to_live_is_no_recommendation() -> None:
    """After a restart of the autoscaler, and for as long as figures are missing."""
    recommender = Recommender()
    exporter = Exporter("127.0.0.1", 0, "app")
    try:
        work = Autoscaling(POLICY, recommender, 5.0, exporter=exporter)
        seen = overview(5000)
        first = msgspec.structs.replace(seen.slots[0], live=False)
        missing = msgspec.structs.replace(seen, slots=(first, *seen.slots[1:]))
        found = turns(work, seen, missing, missing)
        assert next(turn.entry.why for turn in found if turn.entry) == "unknown"
        assert recommender.count() is None
        assert "kproc_recommended_nodes" not in {each.name for each in exporter.collect()}
        turns(work, *[seen] * 9)
        assert recommender.count() == 1
        assert "kproc_recommended_nodes" in {each.name for each in exporter.collect()}
    finally:
        exporter.close()


def test_it_decides_no_more_often_than_it_should() -> None:
    work = Autoscaling(POLICY, Nodes(1), 5.0)
    assert len(turns(work, *[overview(100)] * 21, every=0.5)) == 3


def test_what_fails_is_reported_and_tried_again() -> None:
    nodes = Nodes(1)
    nodes.fails = True
    work = Autoscaling(POLICY, nodes, 5.0)
    assert [turn.news for turn in turns(work, *BUSY)][-1] == ("nobody starts nodes now",)
    nodes.fails = False
    turns(work, BUSY[0])
    assert nodes.count() == 2


def test_who_has_stopped_all_nodes_means_it() -> None:
    nodes = Nodes(0)
    work = Autoscaling(POLICY, nodes, 5.0)
    found = turns(work, *BUSY)
    assert [(turn.entry, turn.news) for turn in found] == [
        (None, ("no node is wanted: nothing is decided until somebody starts the first",))
    ]
    assert nodes.count() == 0
    nodes.scale_to(1)
    assert [turn.entry is not None for turn in turns(work, *BUSY)] == [True, True]


def test_nothing_is_decided_before_anybody_was_heard() -> None:
    nobody = Overview("app", healthy=False, slots=(), nodes=(), last_heartbeat=None)
    assert turns(Autoscaling(POLICY, Nodes(1), 5.0), nobody) == []


def test_the_history_keeps_what_is_new(tmp_path: Path) -> None:
    file = tmp_path / "app" / "autoscale.jsonl"
    work = Autoscaling(POLICY, Nodes(1), 5.0, History(file))
    turns(work, *BUSY, *[overview(9000)] * 3)
    assert [(each.nodes, each.why) for each in kept(file)] == [
        (1, "unknown"),
        (2, "up"),
        (2, "settling"),
    ]
    assert kept(file)[1].text.startswith("1 → 2 nodes because 9,000/s arrive")
    with file.open("ab") as cut:
        cut.write(b'{"time":"2026')
    assert len(kept(file)) == 3
    assert kept(tmp_path / "nonesuch") == []


def test_a_history_that_can_not_be_written(tmp_path: Path) -> None:
    """Is reported once, and the nodes are seen to all the same."""
    (tmp_path / "app").write_text("a file")
    nodes = Nodes(1)
    work = Autoscaling(POLICY, nodes, 5.0, History(tmp_path / "app" / "autoscale.jsonl"))
    news = [text for turn in turns(work, *BUSY, *BUSY) for text in turn.news]
    assert len(news) == 1
    assert "can't be written" in news[0]
    assert nodes.count() == 2


def test_the_figures_are_served() -> None:
    exporter = Exporter("127.0.0.1", 0, "app")
    try:
        work = Autoscaling(POLICY, Nodes(1), 5.0, exporter=exporter)
        turns(work, *BUSY)
        url = f"http://127.0.0.1:{exporter.port}/metrics"
        with urllib.request.urlopen(url) as answer:
            text = answer.read().decode()
    finally:
        exporter.close()
    lines = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    found = {name.removesuffix('{application="app"}'): float(at) for name, at in lines.items()}
    assert found == pytest.approx(
        {
            "kproc_recommended_nodes": 2,
            "kproc_autoscale_nodes": 1,
            "kproc_autoscale_arrival_records_per_second": 9000,
            "kproc_autoscale_records_per_second": 9000,
            "kproc_autoscale_node_records_per_second": 7000,
            "kproc_autoscale_lag_records": 0,
            "kproc_autoscale_busy_ratio": 0.225,
            "kproc_autoscale_slots_without_figures": 0,
        }
    )


def test_a_port_that_is_taken() -> None:
    exporter = Exporter("127.0.0.1", 0, "app")
    try:
        with pytest.raises(SettingsError, match="choose another --metrics-port"):
            Exporter("127.0.0.1", exporter.port, "app")
    finally:
        exporter.close()
