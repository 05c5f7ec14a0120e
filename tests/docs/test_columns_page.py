"""The example of docs/guides/columns.md does what the page says."""

from typing import Any

from processor.testing import TopologyDriver
from tests.docs.pages import ROOT, blocks

PAGE = ROOT / "docs/guides/columns.md"


def test_its_topology() -> None:
    found: dict[str, Any] = {}
    (block,) = blocks(PAGE, "python")
    exec(block.text, found)
    driver, order = TopologyDriver(found["topology"]), found["Order"]
    driver.pipe("orders", key="1", value=order("Ann", 700, 2), timestamp=0)
    driver.pipe("orders", key="2", value=order("ann", 5), timestamp=1)
    driver.pipe("orders", key="3", value=order("Bob", 2**62, 2), timestamp=2)
    driver.pipe("orders", key="4", value=order("Bob", 3), timestamp=20_000)
    assert [value for _, value in driver.read("big-orders")] == [order("Ann", 700, 2)]
    ann = {"user": "Ann", "price": 700, "quantity": 2, "cost": 1400}
    assert driver.read("costs")[0] == ("1", ann)
    assert driver.read("flags")[1] == ("2", {"user": "ann", "big": False})
    totals = {"total": 1405, "many": 1, "orders": 2}
    assert [total for _, total in driver.read("order-totals")] == [totals]
    assert driver.bad_records == {("with-columns-1", "function"): 1}
