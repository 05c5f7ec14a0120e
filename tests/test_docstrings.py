"""What users call says what it takes, what it gives and what it raises."""

import inspect
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import processor
from processor.testing import TopologyDriver

SECTION = r"^{}:\n((?:[ ]+.*\n?|\n)+)"
MADE_BY_OTHERS = {
    "CogroupedStream",
    "GlobalTable",
    "GroupedStream",
    "GroupedTable",
    "JoinedStream",
    "KeyValueStore",
    "ProcessContext",
    "Stream",
    "Table",
    "WindowedStream",
    "WindowedTable",
}
"""Nobody makes these but by a method that gives them."""

ENTRIES = {
    "Stream": "filter filter_not map map_values flat_map flat_map_values key_by group_by merge to "
    "peek for_each process repartition to_table join left_join outer_join",
    "Topology": "stream table global_table",
    "GroupedStream": "count reduce aggregate window",
    "Table": "filter map_values join suppress group_by to_stream",
}
"""The entries of the language with a counterpart in Kafka Streams."""


def section(text: str, name: str) -> str:
    found = re.search(SECTION.format(name), text, re.MULTILINE)
    return found[1] if found else ""


def entries(text: str, name: str) -> set[str]:
    return set(re.findall(r"^ {4}(\w+): \S", section(text, name), re.MULTILINE))


def classes() -> Iterator[type]:
    named = (getattr(processor, name) for name in processor.__all__)
    found = (each for each in (*named, TopologyDriver) if inspect.isclass(each))
    yield from (each for each in found if not issubclass(each, (BaseException, tuple)))


def methods(owner: type) -> Iterator[tuple[str, Callable[..., Any]]]:
    ours = (each for each in owner.__mro__ if each.__module__.startswith("processor."))
    for name in sorted({name for each in ours for name in vars(each) if name[0] != "_"}):
        found = inspect.getattr_static(owner, name)
        if inspect.isfunction(found) and found.__name__ == name:  # and no field that holds one
            yield f"{owner.__name__}.{name}", found


def callables() -> Iterator[tuple[str, Any]]:
    """Everything that is called, with what describes it."""
    for name in processor.__all__:
        if inspect.isfunction(found := getattr(processor, name)):
            yield name, found
    for owner in classes():
        yield from methods(owner)
        if owner.__name__ not in MADE_BY_OTHERS:
            yield owner.__name__, owner


CALLABLES = dict(callables())
FUNCTIONS = [name for name, each in CALLABLES.items() if inspect.isfunction(each)]
STEPS = [
    f"{owner.__name__}.{name}"
    for owner in classes()
    if owner.__name__ in {*MADE_BY_OTHERS, "Topology"}
    for name, each in vars(owner).items()
    if inspect.isfunction(each) and name[0] != "_" and "name" in inspect.signature(each).parameters
]
"""Those that take the name of a step or of a store."""


@pytest.mark.parametrize("name", CALLABLES)
def test_every_parameter_is_described(name: str) -> None:
    taken = {each for each in inspect.signature(CALLABLES[name]).parameters if each != "self"}
    text = inspect.getdoc(CALLABLES[name]) or ""
    assert entries(text, "Args") == taken


@pytest.mark.parametrize("name", FUNCTIONS)
def test_what_is_returned_is_described(name: str) -> None:
    gives = str(inspect.signature(CALLABLES[name]).return_annotation) != "None"
    assert bool(section(inspect.getdoc(CALLABLES[name]) or "", "Returns")) == gives


@pytest.mark.parametrize("name", STEPS)
def test_steps_say_what_they_refuse(name: str) -> None:
    assert "TopologyError" in entries(inspect.getdoc(CALLABLES[name]) or "", "Raises")


@pytest.mark.parametrize(
    "name", [f"{owner}.{name}" for owner, names in ENTRIES.items() for name in names.split()]
)
def test_entries_have_an_example_and_their_counterpart(name: str) -> None:
    text = " ".join((inspect.getdoc(CALLABLES[name]) or "").split())
    assert re.search(r"Example: `[^`]+`\.", text)
    assert "In Kafka Streams: `" in text
