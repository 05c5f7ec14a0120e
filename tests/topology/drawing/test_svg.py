import re
from xml.etree import ElementTree as ET

import pytest

from processor import Topology
from processor.topology.drawing.svg import svg
from processor.topology.plan import plan
from tests.topology.samples import ALL, order_totals

SVG = "{http://www.w3.org/2000/svg}"


@pytest.mark.parametrize("name", ALL)
def test_every_box_arrow_and_name_is_in_the_picture(name: str) -> None:
    made = plan(ALL[name]())
    root = ET.fromstring(svg(made))
    texts = "".join(text.text or "" for text in root.iter(f"{SVG}text"))
    names = [*made.inputs, *made.outputs, *made.repartitions]
    names += [spec.name for part in made.subtopologies for spec in part.stores]
    assert not [name for name in names if name not in texts]
    frames = [each for each in root.iter(f"{SVG}rect") if each.get("class") == "frame"]
    assert len(frames) == len(made.subtopologies)


def test_needs_nothing_else() -> None:
    text = svg(plan(order_totals()))
    addresses = re.findall(r"[a-z]+://[^\s\"]+", text)
    assert addresses == ["http://www.w3.org/2000/svg"]
    assert not re.search(r"<script|<image|href|@import|url\(", text)
    assert "prefers-color-scheme:dark" in text


def test_names_of_functions_are_escaped() -> None:
    def fn(value: object) -> object:
        return value

    fn.__name__ = "<script>&"
    topology = Topology("app")
    topology.stream("in").map_values(fn).to("out")
    text = svg(plan(topology))
    assert "<script>" not in text
    assert "&lt;script&gt;&amp;" in text


def test_the_same_topology_gives_the_same_picture() -> None:
    assert svg(plan(order_totals())) == svg(plan(order_totals()))
