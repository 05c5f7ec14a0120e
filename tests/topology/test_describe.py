from collections.abc import Callable

import pytest

from processor import Topology
from processor.topology.describe import describe, function_name
from processor.topology.plan import plan
from tests.topology.samples import ALL, order_totals


@pytest.mark.parametrize("name", ALL)
def test_text_is_the_golden_one(name: str, golden: Callable[[str, str], None]) -> None:
    golden(f"{name}.txt", describe(plan(ALL[name]())))


def test_a_topology_made_again_has_the_same_text() -> None:
    assert describe(plan(order_totals())) == describe(plan(order_totals()))


def test_every_name_of_the_plan_is_in_the_text() -> None:
    for make in ALL.values():
        made = plan(make())
        text = describe(made)
        names = [*made.inputs, *made.outputs, *made.repartitions, made.dead_letters]
        names += [made.changelog(spec.name) for part in made.subtopologies for spec in part.stores]
        assert not [name for name in names if name not in text]


def test_what_follows_a_merge_stands_once() -> None:
    topology = Topology("app")
    one, other = topology.stream("a").split(yes=bool).values()
    one.merge(other, name="both").filter(bool, name="after").to("out")
    assert describe(plan(topology)).count("after") == 1


def test_remarks_are_two_spaces_behind_names_that_are_too_long_for_the_column() -> None:
    topology = Topology("app")
    topology.stream("t" * 100).to("out")
    lines = describe(plan(topology)).splitlines()
    assert f"  {'t' * 100}  topic, text → json" in lines
    assert f"  {'└─ → out':<60}  topic, text → json" in lines


def test_functions_without_a_name() -> None:
    assert function_name(lambda: None) == ""
    assert function_name(object()) == ""
    assert function_name(str.upper) == "upper"
