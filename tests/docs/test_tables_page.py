"""The examples of docs/guides/tables.md do what the page says."""

from typing import Any

from processor import Topology
from processor.testing import TopologyDriver
from tests.docs.pages import ROOT, blocks

PAGE = ROOT / "docs/guides/tables.md"


def test_its_examples_work() -> None:
    names: dict[str, Any] = {}
    for example in blocks(PAGE, "python"):
        exec(example.text, names)
    topology: Topology = names["topology"]
    driver = TopologyDriver(topology)
    driver.pipe("accounts", key="ann", value={"region": "north", "balance": 1200})
    driver.pipe("accounts", key="bob", value={"region": "north", "balance": 70})
    driver.pipe("accounts", key="ann", value={"region": "south", "balance": 300})
    assert driver.read("rich") == [("ann", "north"), ("ann", None)]
    assert driver.store("accounts-by-region") == {"north": 1, "south": 1}
    assert driver.store("balances") == {"north": 70, "south": 300}
    driver.pipe("prices", key="pear", value=2.0, timestamp=1000)
    driver.pipe("prices", key="pear", value=3.0, timestamp=2000)
    driver.pipe("orders", key="pear", value={"amount": 5}, timestamp=1500)
    assert driver.read("totals") == [("pear", 10.0)]
    driver.pipe("airports", key="HAM", value={"city": "Hamburg"})
    driver.pipe("flights", key="1", value={"destination": "HAM"})
    driver.pipe("flights", key="2", value={"destination": "XXX"})
    assert driver.read("flights-with-cities") == [("1", {"destination": "HAM", "city": "Hamburg"})]
    driver.pipe("visits", key="1", value={"user": "ann"}, timestamp=0)
    driver.pipe("visits", key="2", value={"user": "bob"}, timestamp=31 * 60_000)
    assert driver.read("active-users") == [("ann", 1), ("ann", None), ("bob", 1)]
