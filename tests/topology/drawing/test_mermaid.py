import re
from collections.abc import Callable

import pytest

from processor import Topology
from processor.topology.drawing.mermaid import mermaid
from processor.topology.plan import plan
from tests.topology.samples import ALL


@pytest.mark.parametrize("name", ALL)
def test_flowchart_is_the_golden_one(name: str, golden: Callable[[str, str], None]) -> None:
    golden(f"{name}.mmd", mermaid(plan(ALL[name]())))


@pytest.mark.parametrize("name", ALL)
def test_arrows_lead_from_and_to_boxes_that_are_there(name: str) -> None:
    text = mermaid(plan(ALL[name]()))
    boxes = re.findall(r"^ +(n\w+)[(\[>]", text, re.MULTILINE)
    ends = re.findall(r"^ +(n\w+) -.*[->.] (n\w+)$", text, re.MULTILINE)
    assert len(boxes) == len(set(boxes))
    assert {end for pair in ends for end in pair} == set(boxes)


def test_marks_that_mean_something_to_mermaid_are_written_as_numbers() -> None:
    def fn(value: object) -> object:
        return value

    fn.__name__ = 'a"];b#<br>'
    topology = Topology("app")
    topology.stream("in").map_values(fn).to("out")
    assert 'n1["map-values a#34;#93;#59;b#35;#60;br#62;"]' in mermaid(plan(topology))
