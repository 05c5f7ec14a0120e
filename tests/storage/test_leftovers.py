"""Stores of slots that have moved away: kept for an hour, then removed."""

from pathlib import Path

from processor import Topology
from processor.records import Offset
from processor.storage.leftovers import KEPT, Leftovers
from processor.storage.rocksdb import RocksResources
from processor.storage.state_dir import has_store, open_store, store_directory
from processor.topology.plan import Layout, plan


class Machine:
    """A node's folder with a store for each partition of an application with two slots."""

    def __init__(self, folder: Path) -> None:
        topology = Topology("app")
        topology.stream("in").group_by_key().count(name="counts").to("out")
        self.folder = folder
        self.reports: list[tuple[Path, str]] = []
        layout = Layout(plan(topology), {"in": 4}, slots=2)
        self.leftovers = Leftovers(layout, folder, lambda *each: self.reports.append(each))
        shared = RocksResources()
        self.stores = [open_store(self.store(number), {}, shared) for number in range(4)]
        for store in self.stores:
            store.write({b"key": b"value"}, Offset(1))
        self.resources = shared

    def store(self, number: int) -> Path:
        return store_directory(self.folder, "app", "counts", number)

    def left(self, now: float, *present: int) -> list[int]:
        """The stores that are there after a look."""
        removing = self.leftovers.look(now, present)
        if removing is not None:
            removing.join()
        return [number for number in range(4) if has_store(self.store(number))]

    def close(self, *numbers: int) -> None:
        for number in numbers:
            self.stores[number].close()


def test_stores_of_a_slot_that_moved_away_are_removed_later(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    machine.close(0, 1)
    assert machine.left(0.0, 0, 1) == [0, 1, 2, 3]
    assert machine.left(100.0, 1) == [0, 1, 2, 3]
    assert machine.left(99.0 + KEPT, 1) == [0, 1, 2, 3]
    assert machine.left(161.0 + KEPT, 1) == [2, 3]
    assert [(path.name, why) for path, why in machine.reports] == [("0", ""), ("1", "")]
    machine.close(2, 3)
    machine.resources.close()


def test_a_slot_that_comes_back_keeps_its_stores(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    machine.close(0, 1)
    machine.left(0.0, 1)
    machine.left(KEPT - 1, 0, 1)
    assert machine.left(KEPT + 100, 1) == [0, 1, 2, 3]
    machine.close(2, 3)
    machine.resources.close()


def test_what_a_process_has_open_stays(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    machine.close(0)
    machine.left(0.0, 1)
    assert machine.left(KEPT, 1) == [1, 2, 3]
    assert "is open in process" in machine.reports[1][1]
    machine.close(1, 2, 3)
    machine.resources.close()
