"""What imports what: no circle of files, and the rooms as ARCHITECTURE.md draws them.

Imports within functions count, and those of our own package alone.
"""

import re
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import grimp
import pytest

ARCHITECTURE = Path(__file__).parents[1] / "ARCHITECTURE.md"
STREAM = "processor.topology.stream"  # tables name the type, and streams make tables


def imports(*, types: bool) -> dict[str, set[str]]:
    """What each file imports; with `types` also what it imports for type checkers alone."""
    graph = grimp.build_graph("processor", exclude_type_checking_imports=not types, cache_dir=None)
    return {each: graph.find_modules_directly_imported_by(each) for each in graph.modules}


def circle(graph: dict[str, set[str]]) -> str:
    """The files of a circle, each imported by the next; empty if there is no circle."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return " → ".join(error.args[1])
    return ""


def test_a_circle_is_found() -> None:
    assert circle({"a": {"b"}, "b": {"c"}, "c": set()}) == ""
    assert circle({"a": {"b"}, "b": {"c"}, "c": {"b"}}) in {"b → c → b", "c → b → c"}


def test_no_files_import_each_other() -> None:
    found = imports(types=False)
    assert "processor.cli.main" in found["processor.script"]  # where a function needs it
    assert circle(found) == ""


def test_nor_do_types_but_for_those_of_streams_and_tables() -> None:
    upwards = {"processor.topology.table", "processor.topology.windowed"}
    found = imports(types=True)
    for each in upwards:
        found[each].remove(STREAM)
    assert circle(found) == ""


@pytest.fixture
def drawn() -> set[tuple[str, str]]:
    """The arrows between rooms in the architecture's picture."""
    (picture,) = re.findall(r"```mermaid\n(.*?)```", ARCHITECTURE.read_text(), re.DOTALL)
    rows = re.findall(r"^ +(\w+) --> ([\w &]+)$", picture, re.MULTILINE)
    return {(room, each) for room, others in rows for each in others.split(" & ")}


def test_the_picture_has_the_arrows_that_others_do_not_imply(drawn: set[tuple[str, str]]) -> None:
    ways = {
        (one.split(".")[1], other.split(".")[1])
        for one, others in imports(types=False).items()
        for other in others
        if one.count(".") == other.count(".") == 2
    }
    ways = {(one, other) for one, other in ways if one != other}
    implied = set(ways)
    while more := {(a, d) for a, b in implied for c, d in ways if b == c} - implied:
        implied |= more
    around = {(a, d) for a, b in ways for c, d in implied if b == c}
    assert drawn == ways - around
