import os
import sys
from collections.abc import Callable, Generator
from pathlib import Path
from types import ModuleType

import pytest

from processor.errors import TopologyError
from processor.loading import load
from processor.topology.topology import builder_of

TOPOLOGY = "from processor import Topology\ntopology = Topology('app')\n"

Write = Callable[..., Path]


@pytest.fixture(autouse=True)
def _as_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Generator[None]:
    """Works in a folder of its own; modules and the path are as they were afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        del sys.modules[name]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(text: str, name: str = "flows_a.py") -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    return write


def fails(spec: str) -> str:
    with pytest.raises(TopologyError) as caught:
        load(spec)
    return str(caught.value)


def test_the_only_topology_of_a_file(write: Write) -> None:
    write(TOPOLOGY)
    assert load("flows_a.py").name == "app"
    assert load("./flows_a.py:topology").name == "app"


def test_a_file_is_run_once(write: Write) -> None:
    path = write(TOPOLOGY)
    assert load(str(path)) is load("flows_a.py")


def test_a_file_that_was_written_twice_in_a_second_is_run_as_it_is(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    for name in ("one", "two"):
        os.utime(write(TOPOLOGY.replace("app", name)), (1, 1))
        assert load("flows_a.py").name == name
        del sys.modules["flows_a"]


def test_one_of_several_is_named(write: Write) -> None:
    write(TOPOLOGY + "other = Topology('other')\n")
    assert load("flows_a.py:other").name == "other"
    assert fails("flows_a.py") == (
        "flows_a.py has several topologies, topology, other: say flows_a.py:topology"
    )


def test_two_names_for_one_topology_are_one(write: Write) -> None:
    write(TOPOLOGY + "other = topology\n")
    assert load("flows_a.py").name == "app"


def test_a_name_that_is_not_there(write: Write) -> None:
    write(TOPOLOGY)
    assert fails("flows_a.py:tpology") == (
        "flows_a.py has no topology 'tpology': its topologies are topology"
    )


def test_a_name_for_something_else(write: Write) -> None:
    write("flow = 5")
    assert fails("flows_a.py:flow") == "flows_a.py has no topology 'flow': it has no topology"


def test_a_file_without_a_topology(write: Write) -> None:
    write("def make():\n    pass\n")
    assert fails("flows_a.py") == (
        'flows_a.py has no topology: write `topology = Topology("NAME")` in it, outside of '
        "functions, and begin with `topology.stream(...)`"
    )


def test_a_file_imports_what_lies_beside_it(write: Write) -> None:
    write("NAME = 'beside'\n", "deep/helper_a.py")
    text = "from helper_a import NAME\nfrom processor import Topology\nt = Topology(NAME)\n"
    write(text, "deep/flows_a.py")
    assert load("deep/flows_a.py").name == "beside"


PACKAGED = "from processor import Topology\n{}\ntopology = Topology(NAME)\n"


@pytest.mark.parametrize(
    "line",
    [
        "from .names import NAME",
        "from ..names_a import NAME",
        "from shop_a.flows.names import NAME",
        "from shop_a.names_a import NAME",
    ],
)
@pytest.mark.parametrize("folder", ["", "shop_a", "shop_a/flows"])
def test_a_file_in_a_package_imports_what_is_in_the_package(
    write: Write, monkeypatch: pytest.MonkeyPatch, line: str, folder: str
) -> None:
    for name in ("shop_a/__init__.py", "shop_a/flows/__init__.py"):
        write("", name)
    for name in ("shop_a/names_a.py", "shop_a/flows/names.py"):
        write("NAME = 'packaged'\n", name)
    path = write(PACKAGED.format(line), "shop_a/flows/orders.py")
    monkeypatch.chdir(path.parents[2] / folder)
    loaded = load(str(path.relative_to(Path.cwd())))
    assert loaded.name == "packaged"
    assert load(str(path)) is loaded
    monkeypatch.chdir(path.parents[2])
    assert load("shop_a.flows.orders") is loaded


def test_a_file_in_a_package_imports_what_lies_beside_it(write: Write) -> None:
    write("", "shop_a/__init__.py")
    write("NAME = 'beside'\n", "shop_a/helper_a.py")
    write(PACKAGED.format("from helper_a import NAME"), "shop_a/flows_a.py")
    assert load("shop_a/flows_a.py").name == "beside"


def test_a_file_of_no_package_imports_by_its_path_from_the_current_folder(write: Write) -> None:
    write("NAME = 'beside'\n", "shop_a/names_a.py")
    write(PACKAGED.format("from shop_a.names_a import NAME"), "shop_a/flows_a.py")
    assert load("shop_a/flows_a.py").name == "beside"


def test_a_package_that_is_called_as_another_hides_no_module(write: Write) -> None:
    write("", "json/__init__.py")
    write(TOPOLOGY, "json/flows_a.py")
    assert load("json/flows_a.py").name == "app"
    assert hasattr(sys.modules["json"], "loads")


def test_the_error_of_a_relative_import_without_a_package_says_what_to_add(write: Write) -> None:
    path = write(PACKAGED.format("from ..names_a import NAME"), "shop_a/flows/orders.py")
    reason = "which makes it a package"
    assert fails(str(path)).endswith(f"; put an empty __init__.py into {path.parent}, {reason}")
    write("", "shop_a/flows/__init__.py")
    above = path.parents[1]
    assert fails(str(path)).endswith(f"; put an empty __init__.py into {above}, {reason}")


def test_the_error_of_a_module_further_up_says_where_it_is(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    write("NAME = 'beside'\n", "shop_a/names_a.py")
    path = write("import shop_a\n", "shop_a/flows/orders.py")
    monkeypatch.chdir(path.parent)
    assert fails("orders.py") == (
        "orders.py:1: ModuleNotFoundError: No module named 'shop_a'; "
        f"shop_a is in {path.parents[2]}: run kproc there"
    )


def test_types_of_a_file_are_found_by_their_annotations(write: Write) -> None:
    write(
        "from __future__ import annotations\n"
        "from dataclasses import dataclass\n"
        "from processor import Topology\n"
        "@dataclass\nclass Inner:\n    amount: int\n"
        "@dataclass\nclass Order:\n    inner: Inner\n"
        "topology = Topology('app')\n"
        "orders = topology.stream('orders', value=Order)\n"
    )
    assert builder_of(load("flows_a.py")).nodes[0].value.name == "json(Order)"


@pytest.mark.parametrize("name", ["json.py", "processor.py", "my flow.py", "2nd.py"])
def test_any_name_of_a_file_will_do_and_hides_no_module(write: Write, name: str) -> None:
    write(TOPOLOGY, name)
    known = sys.modules["processor"]
    assert load(name).name == "app"
    assert load(name) is load(name)
    assert sys.modules["processor"] is known


def test_two_files_of_one_name(write: Write) -> None:
    write(TOPOLOGY, "one/flows_a.py")
    write(TOPOLOGY.replace("app", "app-2"), "two/flows_a.py")
    assert load("one/flows_a.py").name == "app"
    assert load("two/flows_a.py").name == "app-2"
    write(TOPOLOGY.replace("app", "app-3"), "three/flows_a.py")
    assert load("three/flows_a.py").name == "app-3"
    assert load("two/flows_a.py").name == "app-2"


def test_an_error_is_reported_with_its_line(write: Write) -> None:
    write("import json\n\njson.loads('{')\n")
    assert fails("flows_a.py").startswith("flows_a.py:3: JSONDecodeError: Expecting property name")


def test_an_error_of_kproc_is_reported_in_its_own_words(write: Write) -> None:
    write(TOPOLOGY + "topology.stream('my orders')\n")
    assert fails("flows_a.py").startswith("flows_a.py:3: topic name 'my orders': names have")


def test_the_original_error_is_the_cause(write: Write) -> None:
    write("1 / 0\n")
    with pytest.raises(TopologyError) as caught:
        load("flows_a.py")
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


def test_an_error_in_what_it_imports_is_reported_with_the_importing_line(write: Write) -> None:
    write("1 / 0\n", "helper_b.py")
    write("\nimport helper_b\n")
    assert fails("flows_a.py") == "flows_a.py:2: ZeroDivisionError: division by zero"


def test_a_mistake_of_syntax(write: Write) -> None:
    write("\n\ndef flow(:\n")
    assert fails("flows_a.py") == "flows_a.py:3: SyntaxError: invalid syntax"


def test_a_module_that_is_not_installed(write: Write) -> None:
    write("import no_such_module_a\n")
    assert fails("flows_a.py") == (
        "flows_a.py:1: ModuleNotFoundError: No module named 'no_such_module_a'"
    )


def test_a_file_that_ends_the_process(write: Write) -> None:
    write("import sys\nsys.exit(1)\n")
    assert fails("flows_a.py") == (
        "flows_a.py:2: the file ends the process while it is loaded; put what is not the topology "
        'under `if __name__ == "__main__":`'
    )


def test_a_file_that_failed_is_run_again(write: Write) -> None:
    write("1 / 0\n")
    fails("flows_a.py")
    write(TOPOLOGY)
    assert load("flows_a.py").name == "app"


def test_a_file_that_is_not_there_but_nearly(write: Write) -> None:
    write(TOPOLOGY, "flights.py")
    write(TOPOLOGY, "orders.py")
    assert fails("flihgts.py") == "there is no file flihgts.py; there is flights.py"
    assert fails("zzz.py") == "there is no file zzz.py; there is flights.py, orders.py"
    assert (
        fails("flihgts")
        == "there is no module flihgts, and there is no file flihgts; there is flights.py"
    )


def test_no_file_at_all(tmp_path: Path) -> None:
    assert fails("a.py") == f"there is no file a.py, and no other Python file in {tmp_path}"
    assert fails("no/a.py") == "there is no folder no"


def test_a_folder(write: Write) -> None:
    write(TOPOLOGY, "flows/a.py")
    assert fails("flows") == "there is no file flows; there is flows/a.py"


def test_a_file_that_is_no_python(write: Write) -> None:
    write("hello", "flow.txt")
    assert fails("flow.txt") == "flow.txt: a topology is written in a Python file, called NAME.py"


def test_a_module_of_a_package(write: Write) -> None:
    write("", "package_a/__init__.py")
    write(TOPOLOGY, "package_a/flow.py")
    assert load("package_a.flow").name == "app"
    assert load("package_a.flow:topology") is load("package_a.flow")


def test_a_module_that_fails(write: Write) -> None:
    write("", "package_b/__init__.py")
    write("\n1 / 0\n", "package_b/flow.py")
    assert fails("package_b.flow") == "package_b.flow:2: ZeroDivisionError: division by zero"
    write("1 / 0\n", "package_c/__init__.py")
    write(TOPOLOGY, "package_c/flow.py")
    assert fails("package_c.flow") == "package_c.flow: ZeroDivisionError: division by zero"


def test_a_module_that_is_not_there() -> None:
    assert fails("no_such.module_b").startswith("there is no module no_such.module_b, and")


def test_what_is_loaded_is_in_a_module_of_its_name(write: Write) -> None:
    write(TOPOLOGY + "class Order: ...\n")
    load("flows_a.py")
    module = sys.modules["flows_a"]
    assert isinstance(module, ModuleType)
    assert module.Order.__module__ == "flows_a"
