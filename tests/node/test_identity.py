"""A node's name and folder: kept over starts, never shared."""

import os
import stat
from pathlib import Path

import pytest

from processor import Topology
from processor.errors import StateError
from processor.node.identity import take_identity
from processor.node.node import _identity
from processor.settings import Settings
from processor.topology.plan import plan


def test_the_same_folder_gives_the_same_node_and_another_boot(tmp_path: Path) -> None:
    first = take_identity(tmp_path, "app")
    first.close()
    again = take_identity(tmp_path, "app")
    assert (again.node, again.state_dir) == (first.node, tmp_path)
    assert again.boot != first.boot
    again.close()


def test_nodes_on_one_machine_take_a_folder_each(tmp_path: Path) -> None:
    one, two, other = (take_identity(tmp_path, each) for each in ("app", "app", "other"))
    assert [each.state_dir for each in (one, two, other)] == [
        tmp_path,
        tmp_path / "node-2",
        tmp_path,
    ]
    assert len({one.node, two.node, other.node}) == 3
    one.close()
    assert take_identity(tmp_path, "app").node == one.node


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_can_not_be_written(tmp_path: Path) -> None:
    tmp_path.chmod(stat.S_IRUSR | stat.S_IXUSR)
    with pytest.raises(StateError, match="choose another state_dir"):
        take_identity(tmp_path, "app")


def test_a_file_in_the_place_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "app").write_text("")
    with pytest.raises(StateError, match="can't be used"):
        take_identity(tmp_path, "app")


def test_global_tables_are_state_as_well(tmp_path: Path) -> None:
    topology = Topology("app")
    names = topology.global_table("names", value=str)
    topology.stream("in").join(names, lambda _, name: name, on="user").to("out")
    settings = Settings(state_dir=tmp_path)
    one, two = (_identity(plan(topology), settings) for _ in range(2))
    assert [one.state_dir, two.state_dir] == [tmp_path, tmp_path / "node-2"]
    one.close()
    two.close()
